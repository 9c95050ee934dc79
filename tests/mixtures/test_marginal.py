"""The base density of rows of one pattern: against conditionals, differences and enumeration."""

import numpy as np
import pytest
import torch

from skrae.mixtures.conditional import ConditionalMixture
from skrae.mixtures.marginal import MarginalDensity
from skrae.mixtures.noise import RowStreams
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, in_blocks, random_mixture, with_levels

INF = np.inf
LAWS = {
    "line": with_levels(random_mixture(1, 3, 0, [INF, 2.0, INF]), (2, 3), seed=1),
    "numbers": random_mixture(3, 4, 2),
    "blocks": with_levels(
        in_blocks(random_mixture(4, 3, 4, [INF, INF, 3.0]), [0, 1, 0, 2]), (2, 1, 4), seed=5
    ),
}


def patterns(law):
    """Every pattern of missing entries, bool (U, d)."""
    n_groups = law.n_numeric + len(law.levels)
    sizes = [1] * law.n_numeric + list(law.levels)
    flags = np.array(np.meshgrid(*[[False, True]] * n_groups)).reshape(n_groups, -1).T
    return [torch.as_tensor(np.repeat(row, sizes)) for row in flags]


def cases():
    for name, law in LAWS.items():
        for i, missing in enumerate(patterns(law)):
            if i % 5 in (0, 3):
                yield pytest.param(law, missing, id=f"{name}-{i}")


each_case = pytest.mark.parametrize(("law", "missing"), list(cases()))


@each_case
def test_log_density_and_gradient_are_those_of_the_conditional_mixture(law, missing):
    rows = law.sample(6, generator(0))
    found, gradient = MarginalDensity(law, missing).log_density_and_gradient(rows)
    holes = missing.expand(len(rows), -1)

    def marginal(x):
        return ConditionalMixture(law, x.masked_fill(holes, torch.nan), holes).log_marginal

    torch.testing.assert_close(found, marginal(rows), rtol=0, atol=1e-10)
    torch.testing.assert_close(MarginalDensity(law, missing).log_density(rows), found)
    x = rows.clone().requires_grad_()
    (expected,) = torch.autograd.grad(marginal(x).sum(), x)
    numeric = torch.arange(rows.shape[1]) < law.n_numeric
    torch.testing.assert_close(gradient, expected * (numeric & ~missing), rtol=0, atol=1e-9)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_without_holes_it_is_the_density_itself(law):
    rows = law.sample(20, generator(1))
    missing = torch.zeros(rows.shape[1], dtype=torch.bool)
    found, gradient = MarginalDensity(law, missing).log_density_and_gradient(rows)
    log_q, expected, _ = law.evaluate(rows)
    torch.testing.assert_close(found, log_q, rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-9)


def test_gradient_is_differentiable():
    law, missing = LAWS["blocks"], patterns(LAWS["blocks"])[1]
    density, row = MarginalDensity(law, missing), law.sample(1, generator(2))
    x = row.clone().requires_grad_()
    gradient = density.log_density_and_gradient(x)[1][0]
    slopes = torch.stack([torch.autograd.grad(g, x, retain_graph=True)[0][0] for g in gradient])

    expected = finite_differences(lambda z: density.log_density_and_gradient(z)[1], row, 1e-5)[0]
    n = law.n_numeric
    torch.testing.assert_close(slopes[:n, :n], expected[:n, :n], rtol=0, atol=1e-6)


@pytest.mark.parametrize("streams", [False, True])
def test_draws_have_the_moments_of_the_conditional(streams):
    law = with_levels(random_mixture(3, 3, 7), (3, 2), seed=8)
    missing = torch.tensor([False, True, True, False, False, False, True, True])
    row, n = law.sample(1, generator(3)), 40_000
    rng = RowStreams(torch.tensor([11])) if streams else generator(4)
    draws = MarginalDensity(law, missing).draw(row, n, rng)[0]
    expected = ConditionalMixture(law, row.masked_fill(missing, torch.nan), missing[None])
    assert (draws[:, ~missing] == row[:, ~missing]).all()
    spread = draws.std(0) / n**0.5
    assert ((draws.mean(0) - expected.mean()[0]).abs() <= 5.0 * spread + 1e-12).all()
    own = expected.factors @ expected.factors.mT
    apart = expected.means - expected.mean()[:, None]
    second = own + apart[..., None] * apart[..., None, :]
    covariance = torch.einsum("nk,nkij->ij", expected.responsibilities, second)[1:3, 1:3]
    torch.testing.assert_close(draws[:, 1:3].T.cov(), covariance, rtol=0.06, atol=0.02)


def test_draws_of_a_row_do_not_depend_on_the_others():
    law, missing = LAWS["blocks"], patterns(LAWS["blocks"])[-1]
    missing = missing.clone()
    missing[0] = False
    rows, keys = law.sample(8, generator(5)), torch.arange(8)
    density = MarginalDensity(law, missing)
    together = density.draw(rows, 5, RowStreams(keys))
    alone = [density.draw(rows[i : i + 1], 5, RowStreams(keys[i : i + 1])) for i in range(8)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("blocks", [[0, 0, 0, 0], [0, 1, 0, 1]], ids=str)
@pytest.mark.parametrize("dofs", [None, [INF, 3.0, 4.0]], ids=["gaussian", "heavy"])
def test_components_along_a_missing_number_are_those_of_the_conditional(dofs, blocks):
    base = in_blocks(random_mixture(4, 3, 7, dofs), blocks)
    rows, missing = base.sample(5, generator(8)), torch.tensor([False, False, True, True])
    conditional = ConditionalMixture(base, rows, missing.expand(5, 4))
    shares, locations, scales, found = MarginalDensity(base, missing).along(rows, 3)
    torch.testing.assert_close(shares.exp(), conditional.responsibilities)
    torch.testing.assert_close(locations, conditional.means[:, :, 3])
    torch.testing.assert_close(scales, conditional.factors[:, :, 3].norm(dim=2))
    torch.testing.assert_close(found.expand(5, 3), conditional.dofs[:, :, blocks[3]].expand(5, 3))
