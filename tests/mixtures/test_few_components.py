"""Densities of many columns where a row is asked about some of the components alone."""

import numpy as np
import pytest
import torch

from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import WIDE
from tests.mixtures.random_mixtures import generator, random_mixture, with_levels


def wide_case(seed, levels):
    """A density of many columns, with a tail and perhaps categories, and rows of it."""
    density = random_mixture(WIDE + 1, 5, seed, 3 * [np.inf] + [4.0, np.inf])
    density = with_levels(density, levels, seed) if levels else density
    return density, density.sample(40, generator(seed))


@pytest.mark.parametrize("levels", [(), (2, 3)])
def test_all_components_of_a_row_are_the_density(levels, random_seed):
    density, z = wide_case(random_seed, levels)
    components = torch.rand(40, 5, generator=generator(random_seed)).argsort(1)
    log_density, gradient, shares = density.evaluate(z)
    found = density.evaluate_few(z, components)
    for one, other in zip(
        found, (log_density, gradient, shares.gather(1, components)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("levels", [(), (2, 3)])
def test_some_components_of_a_row_are_a_smaller_mixture(levels, random_seed):
    """For each row that of its own components, whose weights are less than one in sum."""
    density, z = wide_case(random_seed, levels)
    rule = generator(random_seed)
    components = torch.stack([torch.randperm(5, generator=rule)[:2] for _ in z])
    found = density.evaluate_few(z, components)
    weights, *parts, blocks, sizes = density.arrays()
    for i, own in enumerate(components.numpy()):
        smaller = MixtureDensity(weights[own], *(part[own] for part in parts), blocks, sizes)
        for one, other in zip(found, smaller.evaluate(z[i : i + 1]), strict=True):
            torch.testing.assert_close(one[i : i + 1], other, rtol=1e-9, atol=1e-9)
