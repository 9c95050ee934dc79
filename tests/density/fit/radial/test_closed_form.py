"""Width and strength of radial units: what is chosen, on simple laws and by construction."""

import pytest
import torch

from skrae.density.fit.radial import closed_form
from skrae.density.fit.radial.closed_form import QuadraticCriterion, _strongest, fit_radial
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.rows import WeightedRows


def test_strongest_penalty_within_half_a_standard_error():
    """The folds' differences from the best have a mean of one half and of 3 standard errors."""
    best = torch.linspace(0.0, 7.0, 8, dtype=torch.float64)
    spread = best - best.mean()
    error = spread.std() / 8**0.5
    tried = [
        (best + spread + 3.0 * error, 1.0),
        (best + spread + 0.49 * error, 0.1),
        (best, 0.01),
        (best + 1.0, 0.001),
    ]
    value, strength = _strongest(tried)
    assert strength == 0.1
    assert value == pytest.approx(float(best.mean() + 0.49 * error))


def test_units_add_little_to_a_base_that_is_the_truth(monkeypatch, random_seed):
    """Less than the strength of the lowest criterion lets them."""
    generator = torch.Generator().manual_seed(random_seed)
    base = MixtureDensity([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]], [float("inf")])
    rows = WeightedRows(base.sample(500, generator), torch.ones(500, dtype=torch.float64))
    errors = {}
    for tolerance in (0.0, closed_form.TOLERANCE):
        monkeypatch.setattr(closed_form, "TOLERANCE", tolerance)
        same = torch.Generator().manual_seed(0)
        fit = fit_radial(rows, QuadraticCriterion(base), same)
        _, gradient = fit.units.value_and_gradient(rows.z, fit.coefficients)
        errors[tolerance] = float(gradient.square().sum(1).mean())
    assert errors[closed_form.TOLERANCE] <= errors[0.0]
    # |psi|^2 has a mean of 2; so many folds know it to a few per cent.
    assert errors[closed_form.TOLERANCE] < 0.1
