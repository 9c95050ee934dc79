"""The terms of the criterion: the paper's formulas, closed forms and unbiased local noise."""

import math

import numpy as np
import pytest
import torch

from skrae.autoencoders.decoders.reconstruction import BOUND
from skrae.autoencoders.decoders.tied import TiedDecoder
from skrae.autoencoders.objectives import (
    balancing_shift,
    calibration_loss,
    contraction_estimate,
    contraction_penalty,
    corrupt,
    denoising_loss,
)
from skrae.density.score_field import NoiseMetric
from skrae.mixtures.mixture import MixtureDensity
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture

SIGMA = 0.5


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def random_factors(n, d, seed):
    """Lower triangular factors (n, d, d) and their inverses."""
    below = 0.5 * torch.randn(n, d, d, generator=generator(seed), dtype=torch.float64).tril(-1)
    widths = torch.rand(n, d, generator=generator(seed + 1), dtype=torch.float64) + 0.3
    factors = below + torch.diag_embed(widths)
    return factors, torch.linalg.inv(factors)


def identities(n, d):
    return torch.eye(d, dtype=torch.float64).expand(n, d, d)


def smooth_map(d, seed):
    """A random smooth function (n, d) -> (n, d)."""
    a, b = rows(d, 6, seed), rows(6, d, seed + 1)
    return lambda z: torch.tanh(z @ a + 0.3) @ b - 0.5 * z


def slow_jacobians(function, z):
    return torch.stack([torch.autograd.functional.jacobian(function, row[None]) for row in z])[
        :, 0, :, 0, :
    ]


def noise_like(z, draws):
    return torch.randn(z.shape, generator=draws, dtype=z.dtype)


# Corruption


@pytest.mark.parametrize("d", [1, 3])
def test_corruption_is_antithetic_and_its_noise_whitened(d, random_seed):
    z, (factors, inverses) = rows(40, d, random_seed), random_factors(40, d, random_seed)
    corrupted, t = corrupt(z, factors, inverses.mT, SIGMA, noise_like(z, generator(random_seed)))
    plus, minus = corrupted.chunk(2)
    torch.testing.assert_close(plus + minus, 2 * z, rtol=0, atol=1e-14)
    assert torch.equal(t[:40], -t[40:])
    # t = K^-T eps and z~ - z = sigma K eps, hence z~ - z = sigma K K^T t.
    shift = SIGMA * torch.einsum("nij,nj->ni", factors @ factors.mT, t[:40])
    torch.testing.assert_close(plus - z, shift, rtol=1e-10, atol=1e-12)


def test_corruption_noise_has_covariance_of_the_factors(random_seed):
    n = 200_000
    factors, inverses = (part.expand(n, -1, -1) for part in random_factors(1, 2, random_seed))
    z = torch.zeros(n, 2, dtype=torch.float64)
    shift = corrupt(z, factors, inverses.mT, SIGMA, noise_like(z, generator(random_seed)))[0][:n]
    products = shift[:, :, None] * shift[:, None, :]
    expected = SIGMA**2 * factors[0] @ factors[0].T
    error = (products.mean(0) - expected) / (products.std(0) / math.sqrt(n))
    assert error.abs().max() < 5


# Denoising


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("lam", [0.0, 0.07])
def test_isotropic_denoising_is_the_squared_error_of_the_reconstruction(d, lam, random_seed):
    """[ |r(z~) - z|^2 ] / tau with r = z~ + tau psi, Alain & Bengio (2014, equation 10)."""
    z, tau, psi = rows(30, d, random_seed), SIGMA**2 + lam, smooth_map(d, random_seed)
    factors = identities(30, d)
    corrupted, t = corrupt(z, factors, factors, SIGMA, noise_like(z, generator(random_seed)))
    reconstruction = corrupted + tau * psi(corrupted)
    expected = (reconstruction - z.repeat(2, 1)).square().sum(1).mean() / tau
    weights = torch.ones(60, dtype=torch.float64)
    loss = denoising_loss(psi(corrupted), t, identities(60, d), weights, SIGMA, tau)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_denoising_equals_a_loop_over_rows(random_seed):
    n, d, tau = 12, 3, 0.4
    psi, t = rows(n, d, random_seed), rows(n, d, random_seed + 1)
    factors = random_factors(n, d, random_seed)[0]
    weights = torch.linspace(0.1, 2.0, n, dtype=torch.float64)
    total = 0.0
    for i in range(n):
        error = factors[i].numpy().T @ (SIGMA * t[i] + tau * psi[i]).numpy()
        total += float(weights[i]) * error @ error
    loss = denoising_loss(psi, t, factors, weights, SIGMA, tau)
    assert float(loss) == pytest.approx(total / n / tau, rel=1e-12)


# Contraction


@pytest.mark.parametrize("d", [1, 2, 5])
def test_exact_contraction_is_the_norm_of_the_whitened_jacobian(d, random_seed):
    """|K^-1 (dr/dz) K|_F^2 from Jacobians row by row, and from finite differences."""
    z, tau, vector_field = rows(8, d, random_seed), 0.3, smooth_map(d, random_seed)
    factors, inverses = random_factors(8, d, random_seed)
    penalty = contraction_penalty(vector_field, z, factors, inverses, tau)
    eye = torch.eye(d, dtype=torch.float64)
    for slopes, tolerance in (
        (slow_jacobians(vector_field, z), 1e-12),
        (finite_differences(vector_field, z), 1e-6),
    ):
        whitened = inverses @ (eye + tau * slopes) @ factors
        expected = whitened.square().sum((1, 2)).mean()
        torch.testing.assert_close(penalty, expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("d", [2, 6])
def test_hutchinson_contraction_is_unbiased(d, random_seed):
    """Mean over directions within 4 standard errors of the exact penalty."""
    z, tau, vector_field = rows(1, d, random_seed), 0.3, smooth_map(d, random_seed)
    factors, inverses = random_factors(1, d, random_seed)
    exact = contraction_penalty(vector_field, z, factors, inverses, tau).item()
    rule = generator(random_seed)
    repeated = [part.expand(500, *part.shape[1:]) for part in (z, factors, inverses)]
    means = [contraction_estimate(vector_field, *repeated, tau, rule).item() for _ in range(100)]
    error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert abs(np.mean(means) - exact) < 4 * error
    assert error < 0.02 * exact, "too few directions to see a wrong constant"


def test_estimate_for_a_linear_map_is_that_of_its_directions(random_seed):
    """Differences of r = z + tau z A^T are exact: |K^-1 (I + tau A) K v|^2 with the same v."""
    n, d, tau = 12, 3, 0.3
    z, slopes = rows(n, d, random_seed), rows(d, d, random_seed + 1)
    factors, inverses = random_factors(n, d, random_seed)
    where = (lambda z: z @ slopes.T), z, factors, inverses, tau
    estimate = contraction_estimate(*where, generator(random_seed))
    v = torch.randn(n, d, generator=generator(random_seed), dtype=torch.float64)
    jacobian = torch.eye(d, dtype=torch.float64) + tau * slopes
    moved = (inverses @ jacobian @ factors @ v[:, :, None])[..., 0]
    torch.testing.assert_close(estimate, moved.square().sum(1).mean(), rtol=1e-10, atol=0)


def test_contraction_is_differentiable_in_the_parameters(random_seed):
    z, factors = rows(6, 2, random_seed), identities(6, 2)
    scale = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    penalty = contraction_penalty(lambda z: -scale * z, z, factors, factors, 0.5)
    # |(1 - tau a) I|_F^2 = d (1 - tau a)^2
    assert penalty.item() == pytest.approx(2 * (1 - 0.5 * 0.4) ** 2, rel=1e-12)
    (slope,) = torch.autograd.grad(penalty, scale)
    assert float(slope) == pytest.approx(-2 * 2 * 0.5 * (1 - 0.5 * 0.4), rel=1e-12)


# The reconstruction-contractive criterion is score matching with a curvature penalty


@pytest.mark.parametrize("d", [1, 2, 3])
def test_contractive_criterion_is_score_matching_with_a_curvature_penalty(d, random_seed):
    """E|r - z|^2 + lambda E|dr/dz|^2 = lambda^2 E[|psi|^2 + 2 tr dpsi + lambda |dpsi|^2] + lambda d

    at sigma = 0 with r = z + lambda psi (isotropic).
    """
    lam, z, psi = 0.15, rows(20, d, random_seed), smooth_map(d, random_seed)
    ones, factors = torch.ones(20, dtype=torch.float64), identities(20, d)
    denoising = denoising_loss(psi(z), torch.zeros_like(z), factors, ones, 0.0, lam)
    contraction = contraction_penalty(psi, z, factors, factors, lam)
    slopes = slow_jacobians(psi, z)
    trace = slopes.diagonal(dim1=1, dim2=2).sum(1)
    matching = psi(z).square().sum(1) + 2 * trace + lam * slopes.square().sum((1, 2))
    expected = lam**2 * matching.mean() + lam * d
    torch.testing.assert_close(lam * denoising + lam * contraction, expected, rtol=1e-12, atol=0)


def test_contractive_criterion_tends_to_the_fisher_divergence(random_seed):
    """E[|psi|^2 + 2 psi'] = E|psi - s|^2 - E|s|^2, s the score of p (Hyvarinen 2005)."""
    density = random_mixture(1, 3, random_seed)
    z = torch.linspace(-12, 12, 8001, dtype=torch.float64)[:, None]
    log_p, score, _ = density.evaluate(z)
    share = log_p.exp() * (z[1, 0] - z[0, 0])
    psi, lam = smooth_map(1, random_seed), 1e-3
    factors = identities(len(z), 1)
    weights = len(z) * share  # a mean over rows of weight n p dz is E_p
    denoising = denoising_loss(psi(z), torch.zeros_like(z), factors, weights, 0.0, lam)
    slopes = slow_slopes(psi, z)
    contraction = share @ (1 + lam * slopes) ** 2
    matching = (denoising + contraction - 1) / lam - lam * (share @ slopes**2)
    fisher = share @ (psi(z) - score).square()[:, 0] - share @ score.square()[:, 0]
    assert float(matching) == pytest.approx(float(fisher), abs=1e-6 * (1 + abs(float(fisher))))


def slow_slopes(psi, z):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(psi(z).sum(), z)[0][:, 0]


# Gaussian data: r = z s^2 / (s^2 + tau)


def linear_minimiser(criterion):
    """The a that minimises a quadratic criterion(a): one Newton step is exact."""
    a = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(criterion(a), a, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, a)
    return -slope.item() / curvature.item()


def gaussian_quadrature(n=20):
    """Nodes and probabilities of N(0, 1), exact for polynomials of degree 2 n - 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return torch.as_tensor(nodes), torch.as_tensor(weights / weights.sum())


@pytest.mark.parametrize(("sigma", "lam"), [(0.4, 0.0), (0.0, 0.1), (0.4, 0.1), (2.0, 3.0)])
@pytest.mark.parametrize("s", [0.3, 1.0, 2.5])
def test_gaussian_data_give_the_closed_form_reconstruction(sigma, lam, s):
    """The best linear psi = -a z of N(0, s^2) data gives r = z s^2 / (s^2 + tau)."""
    nodes, probabilities = gaussian_quadrature()
    tau = sigma**2 + lam
    z, eps = torch.cartesian_prod(s * nodes, nodes)[:, :, None].unbind(1)
    share = torch.outer(probabilities, probabilities).flatten()
    corrupted, factors = z + sigma * eps, identities(len(z), 1)

    def criterion(a):
        loss = denoising_loss(-a * corrupted, eps, factors, len(z) * share, sigma, tau)
        return loss + lam / tau * contraction_penalty(lambda z: -a * z, z, factors, factors, tau)

    slope = 1 - tau * linear_minimiser(criterion)
    assert slope == pytest.approx(s**2 / (s**2 + tau), rel=1e-12)


@pytest.mark.parametrize(("sigma", "lam"), [(0.4, 0.0), (0.0, 0.1), (0.4, 0.1)])
def test_gaussian_data_in_their_own_metric_give_the_closed_form(sigma, lam, random_seed):
    """N(0, C) data, noise sigma^2 C, psi = -a C^-1 z: r = z / (1 + tau), whatever C."""
    tau, n = sigma**2 + lam, 4
    nodes, probabilities = gaussian_quadrature(n)
    grid = torch.cartesian_prod(*4 * [nodes])
    share = torch.cartesian_prod(*4 * [probabilities]).prod(1)
    (factor,), (inverse,) = random_factors(1, 2, random_seed)
    factors, inverses = (m.expand(len(grid), 2, 2) for m in (factor, inverse))
    z, eps = grid[:, :2] @ factor.T, grid[:, 2:]
    corrupted, precision = z + sigma * eps @ factor.T, inverse.T @ inverse
    t = eps @ inverse

    def criterion(a):
        psi = -a * corrupted @ precision
        loss = denoising_loss(psi, t, factors, len(grid) * share, sigma, tau)

        def vector_field(z):
            return -a * z @ precision @ (factor @ factor.T)

        return loss + lam / tau * contraction_penalty(vector_field, z, factors, inverses, tau)

    slope = 1 - tau * linear_minimiser(criterion)
    assert slope == pytest.approx(1 / (1 + tau), rel=1e-10)


# Calibration


def test_calibration_is_stationary_at_the_log_tilt_alone(random_seed):
    """d/df(x) [E_p softplus(-f) + E_q softplus(f)] = 0 on a grid exactly at f = log p/q."""
    p, q = random_mixture(1, 2, random_seed + 1), random_mixture(1, 3, random_seed)
    z = torch.linspace(-6, 6, 400, dtype=torch.float64)[:, None]
    log_p, log_q = p.log_density(z), q.log_density(z)

    def slope(f):
        f = f.clone().requires_grad_()
        # The loss takes plain means: a grid's E_p is one call with each point alone.
        parts = [calibration_loss(f[i : i + 1], f[i : i + 1].detach()) for i in range(len(z))]
        over_p = torch.stack(parts) @ log_p.exp()
        parts = [calibration_loss(f[i : i + 1].detach(), f[i : i + 1]) for i in range(len(z))]
        over_q = torch.stack(parts) @ log_q.exp()
        return torch.autograd.grad(over_p + over_q, f)[0] / (log_p.exp() + log_q.exp())

    ratio = log_p - log_q
    assert slope(ratio).abs().max() < 1e-12
    moderate = ratio.abs() < 5  # elsewhere the sigmoid has no slope left
    assert (slope(ratio + 0.1)[moderate] > 1e-4).all()
    assert (slope(ratio - 0.1)[moderate] < -1e-4).all()


def test_calibration_equals_a_loop_over_rows(random_seed):
    f, g = rows(7, 1, random_seed)[:, 0], rows(11, 1, random_seed + 1)[:, 0]
    expected = np.mean([math.log1p(math.exp(-x)) for x in f.tolist()])
    expected += np.mean([math.log1p(math.exp(x)) for x in g.tolist()])
    assert float(calibration_loss(f, g)) == pytest.approx(expected, rel=1e-12)


# The offset of the head


def bound(u):
    """The bound of free and tied decoders."""
    return TiedDecoder("sigmoid", 1.0, None).bound(u)


def head_inputs(n, spread, seed):
    """u of rows and of draws, the rows higher; spread in nats."""
    return spread * rows(2 * n, 1, seed)[:, 0].abs(), spread * rows(n, 1, seed + 1)[:, 0]


@pytest.mark.parametrize("spread", [0.1, 3.0, 1000.0])
def test_balancing_shift_balances_the_errors(spread, random_seed):
    """E sigmoid(-f) over rows is E sigmoid(f) over draws; a little to either side it is not."""
    data, base = head_inputs(400, spread, random_seed)
    shift = balancing_shift(data, base, bound)

    def excess(o):
        errors = torch.sigmoid(-bound(data + o)).mean(), torch.sigmoid(bound(base + o)).mean()
        return float(errors[1] - errors[0])

    assert abs(excess(shift)) < 1e-5 * (1.0 + spread)
    step = max(0.1, 0.05 * spread)
    assert excess(shift - step) < 0.0 < excess(shift + step)


@pytest.mark.parametrize("constant", [-3e4, 2.0, 3e4])
def test_balancing_shift_undoes_any_constant(constant, random_seed):
    data, base = head_inputs(300, 2.0, random_seed)
    shift = balancing_shift(data, base, bound)
    moved = balancing_shift(data + constant, base + constant, bound)
    assert float(moved + constant) == pytest.approx(float(shift), abs=1e-6)


def test_balancing_shift_has_the_smallest_calibration_loss_below_the_bound(random_seed):
    data, base = (0.5 * part - 2.0 for part in head_inputs(300, 1.0, random_seed))
    shift = balancing_shift(data, base, bound)
    assert (data + shift).max() < BOUND - 2.0
    around = shift + torch.linspace(-0.2, 0.2, 41, dtype=torch.float64)
    losses = [float(calibration_loss(bound(data + o), bound(base + o))) for o in around]
    assert np.argmin(losses) == 20


def test_balancing_shift_of_log_tilts_is_zero(random_seed):
    """u = log p/q is in balance already: E_p sigmoid(-u) = E_q sigmoid(u) for any p and q."""
    p, q = random_mixture(1, 2, random_seed), random_mixture(1, 1, random_seed)
    draws = [part.sample(40_000, generator(random_seed)) for part in (p, q)]
    u = [p.log_density(z) - q.log_density(z) for z in draws]
    assert float(balancing_shift(*u, lambda u: u)) == pytest.approx(0.0, abs=0.05)


def test_balancing_shift_of_equal_inputs_is_finite():
    same = torch.full((5,), 700.0, dtype=torch.float64)
    shift = balancing_shift(same, same, bound)
    assert float(shift) == pytest.approx(-700.0, abs=1e-6)


# Local noise is unbiased: the minimiser is grad log p_sigma,
# p_sigma(z~) = E_z sum_k r_k(z) N(z~; z, sigma^2 C_k)


def narrow_and_wide(d):
    """A base whose components overlap and differ in width by a factor of thirty."""
    tilt = torch.eye(d).numpy() + np.tril(np.full((d, d), 0.4), -1)
    factors = np.array([0.06, 0.4, 2.0])[:, None, None] * tilt
    means = np.array([0.0, 0.3, -0.5])[:, None] * np.ones(d)
    return MixtureDensity([0.3, 0.3, 0.4], means, factors, [np.inf] * 3)


def minimiser_over_values(factors, weights, t, share, sigma):
    """The psi(z~_i) that minimises the mean over rows (i, j) of probability `share` (n, m)."""
    psi = torch.zeros(len(share), dtype=torch.float64, requires_grad=True)
    rows = psi[:, None].expand(share.shape).reshape(-1, 1)
    weights = (share.numel() * share * weights).flatten()
    factors = factors.expand(share.shape).reshape(-1, 1, 1)
    loss = denoising_loss(rows, t.reshape(-1, 1), factors, weights, sigma, sigma**2)
    (slope,) = torch.autograd.grad(loss, psi, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), psi)
    return (-slope / curvature).detach()


def test_minimiser_of_local_denoising_is_the_smoothed_score(random_seed):
    """By quadrature over the clean row and its component, at every corrupted point of a grid."""
    base, p = narrow_and_wide(1), random_mixture(1, 2, random_seed)
    metric, widths = NoiseMetric(base, "local"), base.factors[:, 0, 0]
    clean = torch.linspace(-12, 12, 6001, dtype=torch.float64)[:, None]
    shares = base.responsibilities(clean) * p.log_density(clean).exp()[:, None] * 0.004
    corrupted = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]

    def log_smoothed(z):
        distance = (z - clean.T)[:, :, None] / (SIGMA * widths)
        normal = torch.exp(-0.5 * distance**2) / (math.sqrt(2 * math.pi) * SIGMA * widths)
        return (shares * normal).flatten(1).sum(1).log(), shares * normal

    expected = finite_differences(lambda z: log_smoothed(z)[0], corrupted)[:, 0]
    joint = log_smoothed(corrupted)[1]
    joint = (joint / joint.sum((1, 2), keepdim=True)).flatten(1)
    eps_over_width = ((corrupted - clean.T)[:, :, None] / (SIGMA * widths**2)).flatten(1)
    responsibilities = base.responsibilities(corrupted)
    drawn, weights = metric.draw(responsibilities, generator(random_seed))
    assert len(drawn.unique()) > 1
    drawn_factors, drawn_weights = metric.factors[drawn, :, 0], weights[:, None]
    found = minimiser_over_values(drawn_factors, drawn_weights, eps_over_width, joint, SIGMA)
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-6)
    own_factors, ones = widths.repeat(len(clean)), torch.ones_like(joint)
    biased = minimiser_over_values(own_factors, ones, eps_over_width, joint, SIGMA)
    assert (biased - expected).abs().max() > 0.05 * scale


def moments_of_criterion(z, base, score, rule, own_component=False):
    """Slopes of the local denoising loss at psi = score along test fields: (batches, fields).

    `own_component` takes the metric of the clean row's component, as one must not.
    """
    metric, slopes = NoiseMetric(base, "local"), []
    for batch in z.split(2000):
        k = metric.draw(metric.responsibilities(batch), rule)[0]
        corrupted, t = corrupt(
            batch, metric.factors[k], metric.inverse_transposes[k], SIGMA, noise_like(batch, rule)
        )
        responsibilities = metric.responsibilities(corrupted)
        drawn, weights = metric.draw(responsibilities, rule)
        if own_component:
            drawn, weights = k.repeat(2), torch.ones_like(weights)
        psi = score(corrupted)
        # Along psi itself, a constant, and responsibilities: a field's usual errors.
        fields = [
            psi,
            torch.ones_like(psi),
            *(psi * r for r in responsibilities[:, :2].T[:, :, None]),
        ]
        size = torch.zeros(len(fields), dtype=torch.float64, requires_grad=True)
        moved = psi + sum(a * field for a, field in zip(size, fields, strict=True))
        loss = denoising_loss(moved, t, metric.factors[drawn], weights, SIGMA, SIGMA**2)
        slopes.append(torch.autograd.grad(loss, size)[0])
    return torch.stack(slopes).numpy()


def standard_errors_from_zero(slopes):
    return slopes.mean(0) / (slopes.std(0, ddof=1) / math.sqrt(len(slopes)))


@pytest.mark.parametrize("d", [1, 2])
def test_local_denoising_is_stationary_at_the_score_of_the_inflated_base(d, random_seed):
    """p = q: r_k p = w_k N_k, so p_sigma is q with its covariances times 1 + sigma^2."""
    base = narrow_and_wide(d)
    inflated = math.sqrt(1 + SIGMA**2) * base.factors
    smoothed = MixtureDensity(base.weights, base.means, inflated, base.dofs)
    z = base.sample(120_000, generator(random_seed))
    rule = generator(random_seed + 1)
    slopes = moments_of_criterion(z, base, lambda z: smoothed.evaluate(z)[1], rule)
    assert np.abs(standard_errors_from_zero(slopes)).max() < 5
    biased = moments_of_criterion(z, base, lambda z: smoothed.evaluate(z)[1], rule, True)
    assert np.abs(standard_errors_from_zero(biased)).max() > 10


@pytest.mark.parametrize("d", [1, 2])
def test_local_denoising_is_stationary_at_the_score_of_smoothed_points(d, random_seed):
    """Data of finitely many points: p_sigma is a mixture of one Gaussian a point and component."""
    base = narrow_and_wide(d)
    points = 0.7 * rows(12, d, random_seed)
    responsibilities = base.responsibilities(points)
    smoothed = MixtureDensity(
        (responsibilities / len(points)).flatten(),
        points.repeat_interleave(3, dim=0),
        SIGMA * base.factors.repeat(len(points), 1, 1),
        np.full(3 * len(points), np.inf),
    )
    rule = generator(random_seed + 2)
    z = points[torch.randint(len(points), (120_000,), generator=rule)]
    slopes = moments_of_criterion(z, base, lambda z: smoothed.evaluate(z)[1], rule)
    assert np.abs(standard_errors_from_zero(slopes)).max() < 5
    biased = moments_of_criterion(z, base, lambda z: smoothed.evaluate(z)[1], rule, True)
    assert np.abs(standard_errors_from_zero(biased)).max() > 10
