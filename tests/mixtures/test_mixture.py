"""The base density: SciPy's densities, derivatives of its own, and samples to match."""

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.mixtures.mixture import MixtureDensity
from tests.mixtures.random_mixtures import in_blocks

INF = np.inf


def random_mixture(weights, d, dofs, seed=0, width=1.0):
    """A mixture with the weights and degrees of freedom given and random means and factors."""
    rng = np.random.default_rng(seed)
    k = len(weights)
    factors = np.tril(0.5 * rng.standard_normal((k, d, d)), -1)
    factors = width * (factors + np.eye(d) * rng.uniform(0.3, 1.5, (k, d, 1)))
    return MixtureDensity(weights, 2 * rng.standard_normal((k, d)), factors, dofs)


DENSITIES = {
    "gaussian-1d": random_mixture([1.0], 1, [INF]),
    "gaussians": random_mixture([0.2, 0.3, 0.5], 3, [INF, INF, INF]),
    "narrow": random_mixture([0.5, 0.5], 2, [INF, INF], width=1e-3),
    "student": random_mixture([1.0], 2, [3.0]),
    "students-1d": random_mixture([0.4, 0.6], 1, [1.0, 5.0]),
    "mixed": random_mixture([0.3, 0.5, 0.2], 4, [INF, 3.0, INF]),
    "mixed-tails": random_mixture([0.3, 0.3, 0.4], 2, [12.0, INF, 20.0]),
    "blocks": in_blocks(random_mixture([0.3, 0.5, 0.2], 4, [INF, 3.0, 7.0]), [0, 1, 0, 2]),
    "blocks-2d": in_blocks(random_mixture([0.5, 0.5], 2, [1.0, INF]), [1, 0]),
}
each_density = pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def covariances(density):
    """The scale matrices C_k = L_k L_k^T."""
    return (density.factors @ density.factors.mT).numpy()


def slow_joint(density, X):
    """log w_k c_k(x), shape (n, K), by SciPy."""
    columns = []
    parts = density.weights, density.means, covariances(density), density.dofs
    for weight, mean, scale, dof in zip(*(np.asarray(part) for part in parts), strict=True):
        if np.isinf(dof):
            total = stats.multivariate_normal(mean, scale).logpdf(X).reshape(len(X))
        else:
            total = 0.0
            for block in np.unique(density.blocks):
                own = density.blocks == block
                law = stats.multivariate_t(mean[own], scale[np.ix_(own, own)], df=dof)
                total = total + law.logpdf(X[:, own]).reshape(len(X))
        columns.append(np.log(weight) + total)
    return np.column_stack(columns)


def rows_of(density, n, seed):
    """Half are draws, half lie thrice as far from the origin."""
    z = density.sample(n // 2, generator(seed))
    return torch.cat([z, 3 * z])


def standard_errors_from(expected, values):
    """How many standard errors the mean of `values` lies from `expected`, entry by entry."""
    return (values.mean(axis=0) - expected) / (values.std(axis=0, ddof=1) / len(values) ** 0.5)


@each_density
def test_log_density_equals_scipy(density, random_seed):
    z = rows_of(density, 40, random_seed)
    oracle = np.logaddexp.reduce(slow_joint(density, z.numpy()), axis=1)
    np.testing.assert_allclose(density.log_density(z), oracle, rtol=1e-9, atol=1e-8)


@each_density
def test_responsibilities_are_shares_of_the_density(density, random_seed):
    z = rows_of(density, 40, random_seed)
    joint = slow_joint(density, z.numpy())
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    responsibilities = density.responsibilities(z)
    np.testing.assert_allclose(responsibilities, shares, atol=1e-7)
    np.testing.assert_allclose(responsibilities.sum(1), 1, rtol=1e-12)


@each_density
def test_evaluate_agrees_with_its_parts(density, random_seed):
    z = rows_of(density, 40, random_seed)
    log_density, _, responsibilities = density.evaluate(z)
    np.testing.assert_allclose(log_density, density.log_density(z), rtol=1e-13)
    np.testing.assert_allclose(responsibilities, density.responsibilities(z), atol=1e-13)


@each_density
def test_gradient_equals_automatic_differentiation(density, random_seed):
    z = rows_of(density, 40, random_seed).requires_grad_()
    (expected,) = torch.autograd.grad(density.log_density(z).sum(), z)
    gradient = density.evaluate(z.detach())[1]
    assert gradient.shape == z.shape
    scale = 1 + expected.abs().max()
    np.testing.assert_allclose(gradient / scale, expected / scale, atol=1e-12)


@each_density
def test_gradient_equals_finite_differences(density, random_seed):
    z = rows_of(density, 40, random_seed)
    width = float(density.factors.diagonal(dim1=1, dim2=2).min())
    step = 1e-3 * width
    differences = torch.stack(
        [
            (density.log_density(z + shift) - density.log_density(z - shift)) / (2 * step)
            for shift in step * torch.eye(density.n_features, dtype=torch.float64)
        ],
        dim=1,
    )
    gradient = density.evaluate(z)[1]
    scale = 1 / width + gradient.abs().max(dim=1, keepdim=True).values
    np.testing.assert_allclose((differences - gradient) / scale, 0, atol=1e-5)


@pytest.mark.parametrize("dof", [INF, 3.0])
def test_gradient_of_one_component_has_its_closed_form(dof):
    """-C^-1 (z - mu), which a Student-t damps by (nu + d) / (nu + m)."""
    mean, factor = np.array([1.0, -2.0]), np.array([[2.0, 0.0], [1.0, 0.5]])
    density = MixtureDensity([1.0], mean[None], factor[None], [dof])
    z = torch.tensor([[1.0, -2.0], [3.0, -1.0], [-40.0, 7.0]], dtype=torch.float64)
    deviations = z.numpy() - mean
    pulls = deviations @ np.linalg.inv(factor @ factor.T)
    squares = np.sum(deviations * pulls, axis=1, keepdims=True)
    damping = 1.0 if np.isinf(dof) else (dof + 2) / (dof + squares)
    np.testing.assert_allclose(density.evaluate(z)[1], -damping * pulls, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian-1d", "gaussians", "narrow", "mixed-tails"])
def test_samples_have_mean_and_covariance(name, random_seed):
    density = DENSITIES[name]
    weights, means, dofs = (a.numpy() for a in (density.weights, density.means, density.dofs))
    spreads = np.where(np.isinf(dofs), 1.0, dofs / (np.where(np.isinf(dofs), 3.0, dofs) - 2))
    mean = weights @ means
    shifts = means - mean
    within = np.einsum("k,kij->ij", weights * spreads, covariances(density))
    covariance = within + np.einsum("k,ki,kj->ij", weights, shifts, shifts)
    X = density.sample(40_000, generator(random_seed)).numpy()
    products = np.einsum("ni,nj->nij", X - mean, X - mean)
    assert np.abs(standard_errors_from(mean, X)).max() < 5
    assert np.abs(standard_errors_from(covariance, products)).max() < 5


@each_density
def test_samples_obey_stein_identities(density, random_seed):
    """E[grad log q] = 0 and E[(z - mu) grad log q^T] = -I, whatever the point mu."""
    z = density.sample(40_000, generator(random_seed))
    gradient = density.evaluate(z)[1].numpy()
    products = np.einsum("ni,nj->nij", z.numpy() - density.means[0].numpy(), gradient)
    assert np.abs(standard_errors_from(0, gradient)).max() < 5
    assert np.abs(standard_errors_from(-np.eye(density.n_features), products)).max() < 5


@each_density
def test_samples_follow_each_marginal_law(density, random_seed):
    X = density.sample(20_000, generator(random_seed)).numpy()
    weights, means, dofs = (a.numpy() for a in (density.weights, density.means, density.dofs))
    for feature in range(density.n_features):
        widths = np.sqrt(covariances(density)[:, feature, feature])

        # t with infinite degrees of freedom is the normal law.
        def cdf(x, centres=means[:, feature], widths=widths):
            return stats.t.cdf((x[:, None] - centres) / widths, dofs) @ weights

        assert stats.kstest(X[:, feature], cdf).pvalue > 1e-5 / density.n_features


def test_student_samples_have_heavy_tails(random_seed):
    """Of a t component in d dimensions, |L^-1 (z - mu)|^2 / d follows F(d, nu)."""
    density, n_samples = DENSITIES["student"], 100_000
    z = density.sample(n_samples, generator(random_seed))
    whitened = torch.linalg.solve(density.factors[0], (z - density.means[0]).T)
    ratios = whitened.square().mean(0).numpy()
    law = stats.f(2, 3)
    for tail in (0.5, 0.1, 0.01, 0.001):
        counted = np.count_nonzero(ratios > law.isf(tail))
        assert abs(counted - n_samples * tail) < 5 * np.sqrt(n_samples * tail * (1 - tail))
    assert stats.kstest(ratios, law.cdf).pvalue > 1e-5


@pytest.mark.parametrize("name", ["student", "mixed"])
def test_far_row_falls_off_as_the_power_of_the_tail(name):
    """Far away log q = const - (nu + d) log |z|, and its gradient points home."""
    density = DENSITIES[name]
    power = 3.0 + density.n_features
    direction = torch.ones(1, density.n_features, dtype=torch.float64)
    log_density, gradient, _ = density.evaluate(torch.cat([1e6 * direction, 1e7 * direction]))
    assert float(log_density[0] - log_density[1]) == pytest.approx(power * np.log(10), abs=1e-4)
    expected = -power * direction / (1e6 * density.n_features)
    along = float((gradient[0] * direction).sum() / (expected * direction).sum())
    assert along == pytest.approx(1, abs=1e-4)


def test_single_precision_rows_are_raised_to_double():
    density = DENSITIES["mixed"]
    z = density.sample(10, generator(0)).float()
    for narrow, wide in zip(density.evaluate(z), density.evaluate(z.double()), strict=True):
        assert narrow.dtype == torch.float64
        assert torch.equal(narrow, wide)
    assert torch.equal(density.log_density(z), density.log_density(z.double()))


@each_density
def test_arrays_rebuild_the_density(density):
    z = density.sample(10, generator(0))
    for same in (MixtureDensity(*density.arrays()), density.to("cpu")):
        for array, other in zip(density.arrays(), same.arrays(), strict=True):
            assert isinstance(array, np.ndarray)
            np.testing.assert_array_equal(array, other)
        assert torch.equal(density.log_density(z), same.log_density(z))


def test_samples_depend_on_the_generator_alone():
    density, state = DENSITIES["mixed"], torch.get_rng_state()
    first, again, other = (density.sample(5, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.any(first == other)
    assert torch.equal(torch.get_rng_state(), state)


@each_density
def test_no_rows_give_no_values(density):
    z = density.sample(0, generator(0))
    log_density, gradient, responsibilities = density.evaluate(z)
    assert z.shape == gradient.shape == (0, density.n_features)
    assert log_density.shape == (0,)
    assert responsibilities.shape == (0, len(density.weights))
