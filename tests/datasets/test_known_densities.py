"""Known densities: normalised, with the gradient of their own log density and samples to match."""

import re

import numpy as np
import pytest
from scipy import integrate, stats

from skrae import datasets
from skrae.datasets import (
    Banana,
    Funnel,
    Gaussian,
    GaussianCurve,
    LogGamma,
    MixtureOfGaussians,
    Moons,
    Ring,
    RotatedMixture,
    SexticWell,
    Spiral,
    StudentT,
    gaussian_mixtures,
)

COVARIANCES = [[[1.0, 0.6], [0.6, 0.5]], [[0.2, -0.1], [-0.1, 0.9]]]
DENSITIES = {
    "gaussian-1d": Gaussian([1.5], [[0.49]]),
    "gaussian": Gaussian([1.0, -2.0], COVARIANCES[0]),
    "mixture": MixtureOfGaussians([0.3, 0.7], [[-1.0, 0.5], [2.0, 0.0]], COVARIANCES),
    "rotated": RotatedMixture(),
    "rotated-small": RotatedMixture(n_features=3, n_components=2, random_state=7),
    "curve": GaussianCurve(),
    "curve-long": GaussianCurve(thickness=0.06, elongation=4.0),
    "spiral": Spiral(),
    "moons": Moons(),
    "ring": Ring(radius=1.5, thickness=0.2),
    "sextic": SexticWell(),
    "banana": Banana(scale=1.5, bend=0.5),
    "banana-8d": Banana(n_features=8),
    "funnel": Funnel(),
    "funnel-2d": Funnel(n_features=2, scale=1.0),
    "student-1d": StudentT(n_features=1, df=3.0),
    "student": StudentT(n_features=4, df=2.5),
    "loggamma-1d": LogGamma(n_features=1, shape=2.0),
    "loggamma": LogGamma(shape=2.0),
    "loggamma-6d": LogGamma(n_features=6, shape=0.5),
}
# Bounds of each feature outside of which less than 1e-8 of the mass lies.
BOXES = {
    "gaussian-1d": [(-3, 6)],
    "gaussian": [(-6, 8), (-7, 3)],
    "mixture": [(-8, 6), (-7, 7)],
    "spiral": [(-0.75, 0.75), (-0.75, 0.75)],
    "moons": [(-1.7, 2.7), (-1.2, 1.7)],
    "ring": [(-3, 3), (-3, 3)],
    "sextic": [(-2, 2)],
    "banana": [(-9, 9), (-42, 8)],
    "loggamma-1d": [(-12, 4)],
    "loggamma": [(-12, 4), (-12, 4)],
}

each_density = pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES)
each_box = pytest.mark.parametrize("name", BOXES)


def slow_mixture(density, X):
    components = zip(density.weights, density.means, density.covariances, strict=True)
    return np.log(sum(w * stats.multivariate_normal(m, C).pdf(X) for w, m, C in components))


def slow_banana(density, X):
    ridge = density.bend * (density.scale**2 - X[:, 0] ** 2)
    first = stats.norm(0, density.scale).logpdf(X[:, 0])
    others = stats.norm.logpdf(X[:, 2:]).sum(axis=1)
    return first + stats.norm(ridge, 1).logpdf(X[:, 1]) + others


def slow_funnel(density, X):
    first = stats.norm(0, density.scale).logpdf(X[:, 0])
    return first + stats.norm(0, np.exp(X[:, :1] / 2)).logpdf(X[:, 1:]).sum(axis=1)


def slow_student(density, X):
    return stats.multivariate_t(shape=np.eye(density.n_features), df=density.df).logpdf(X)


def slow_loggamma(density, X):
    return stats.loggamma(density.shape).logpdf(X).sum(axis=1)


def panel_rule(low, high, n_panels, n_nodes=12):
    """Points and weights, both (n_panels, n_nodes), of Gauss-Legendre quadrature by panels."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    width = (high - low) / n_panels
    points = low + width * (np.arange(n_panels)[:, None] + (nodes + 1) / 2)
    return points, np.tile(weights * width / 2, (n_panels, 1))


def mean_over_curve(curve, start, stop, thickness, X):
    """Mean over t of N(x; curve(t), thickness^2 I)."""
    t, weights = (part.ravel() for part in panel_rule(start, stop, 2000))
    peaks = [stats.norm(0, thickness).pdf(row[:, None] - curve(t)).prod(axis=0) for row in X]
    return np.array(peaks) @ weights / (stop - start)


def circle(t):
    return np.array([np.cos(t), np.sin(t)])


def slow_spiral(density, X):
    return np.log(mean_over_curve(lambda t: 0.04 * t * circle(np.pi / 2 - t), 3, 15, 0.02, X))


def slow_moons(density, X):
    lower = mean_over_curve(lambda t: np.array([[1], [0.5]]) - circle(t), 0, np.pi, 0.1, X)
    return np.log((mean_over_curve(circle, 0, np.pi, 0.1, X) + lower) / 2)


def slow_ring(density, X):
    radius, thickness = density.radius, density.thickness
    return np.log(mean_over_curve(lambda t: radius * circle(t), 0, 2 * np.pi, thickness, X))


def slow_sextic(density, X):
    def height(x):
        factors = (10 * (x + 1) ** 2 + 1) * (20 * x**2 + 1) * (30 * (x - 1) ** 2 + 1)
        return np.exp(-factors / 1000)

    return np.log(height(X[:, 0]) / integrate.quad(height, -3, 3, epsabs=1e-12, points=[0, 1])[0])


ORACLES = {
    Banana: slow_banana,
    Funnel: slow_funnel,
    Gaussian: slow_mixture,
    GaussianCurve: slow_mixture,
    LogGamma: slow_loggamma,
    MixtureOfGaussians: slow_mixture,
    Moons: slow_moons,
    Ring: slow_ring,
    RotatedMixture: slow_mixture,
    SexticWell: slow_sextic,
    Spiral: slow_spiral,
    StudentT: slow_student,
}


def box_masses(density, box, n_cells=16):
    """Mass of each of n_cells^d equal cells of a box."""
    rules = [panel_rule(low, high, n_cells) for low, high in box]
    axes = np.meshgrid(*[points.ravel() for points, _ in rules], indexing="ij")
    rows = np.column_stack([axis.ravel() for axis in axes])
    masses = np.exp(density.log_density(rows)).reshape(axes[0].shape)
    # Each pass moves the first axis to the end, so that all are back in order after the last.
    for _, weights in rules:
        folded = np.moveaxis(masses, 0, -1).reshape(*masses.shape[1:], *weights.shape)
        masses = np.einsum("...cn,cn->...c", folded, weights)
    return masses


def standard_errors_from(expected, values):
    """How many standard errors the mean of `values` lies from `expected`, entry by entry."""
    return (values.mean(axis=0) - expected) / (values.std(axis=0, ddof=1) / len(values) ** 0.5)


def test_every_public_density_is_tested():
    public = [getattr(datasets, name) for name in datasets.__all__]
    classes = {value for value in public if isinstance(value, type)}
    assert classes == {type(density) for density in DENSITIES.values()} == set(ORACLES)


@each_density
def test_log_density_equals_slow_oracle(density, random_seed):
    X = density.sample(30, random_seed)
    oracle = ORACLES[type(density)](density, X)
    np.testing.assert_allclose(density.log_density(X), oracle, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["spiral", "moons", "ring"])
def test_thick_curve_is_exact_off_the_curve(name, random_seed):
    density = DENSITIES[name]
    X = np.random.default_rng(random_seed).uniform(-0.6, 0.6, size=(30, 2))
    oracle = ORACLES[type(density)](density, X)
    np.testing.assert_allclose(density.log_density(X), oracle, rtol=0, atol=1e-10)


@each_box
def test_density_integrates_to_one(name):
    assert box_masses(DENSITIES[name], BOXES[name]).sum() == pytest.approx(1, abs=1e-6)


@each_density
def test_gradient_equals_finite_differences(density, random_seed):
    X = density.sample(20, random_seed)
    X = np.vstack([X, 1.5 * X])
    step = 1e-6
    differences = np.column_stack(
        [
            (density.log_density(X + shift) - density.log_density(X - shift)) / (2 * step)
            for shift in step * np.eye(density.n_features)
        ]
    )
    gradient = density.gradient(X)
    assert gradient.shape == X.shape
    scale = 1 + np.abs(gradient).max(axis=1, keepdims=True)
    np.testing.assert_allclose((differences - gradient) / scale, 0, atol=1e-6)


@each_density
def test_samples_obey_stein_identities(density, random_seed):
    """E[grad log p] = 0 and E[x grad log p^T] = -I; the latter's trace is -d."""
    X = density.sample(20_000, random_seed)
    gradient = density.gradient(X)
    products = np.einsum("ni,nj->nij", X, gradient)
    identity = np.eye(density.n_features)
    assert np.abs(standard_errors_from(0, gradient)).max() < 5
    assert np.abs(standard_errors_from(-identity, products)).max() < 5
    trace = np.sum(X * gradient, axis=1)
    assert abs(standard_errors_from(-density.n_features, trace)) < 5


@each_box
def test_samples_fill_cells_in_proportion_to_mass(name, random_seed):
    density, box, n_samples = DENSITIES[name], BOXES[name], 20_000
    expected = n_samples * box_masses(density, box).ravel()
    X = density.sample(n_samples, random_seed)
    counts = np.histogramdd(X, bins=16, range=box)[0].ravel()
    # The chi-square law needs about 5 rows expected in a cell: the poorer cells become one.
    rich = expected >= 5
    observed = np.append(counts[rich], n_samples - counts[rich].sum())
    expected = np.append(expected[rich], n_samples - expected[rich].sum())
    keep = expected >= 5
    statistic = np.sum((observed[keep] - expected[keep]) ** 2 / expected[keep])
    assert stats.chi2(keep.sum() - 1).sf(statistic) > 1e-5


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("gaussian-1d", stats.norm(1.5, 0.7)),
        ("student-1d", stats.t(3)),
        ("loggamma-1d", stats.loggamma(2)),
    ],
)
def test_samples_on_the_line_follow_known_law(name, law, random_seed):
    X = DENSITIES[name].sample(20_000, random_seed)
    assert stats.kstest(X[:, 0], law.cdf).pvalue > 1e-5


@each_density
def test_equal_seeds_give_equal_samples(density):
    first, again, other = (density.sample(5, seed) for seed in (3, 3, 4))
    assert first.shape == (5, density.n_features)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, density.sample(5, np.random.default_rng(3)))
    assert not np.any(first == other)


@pytest.mark.parametrize(
    "make",
    [np.random.default_rng, np.random.RandomState],
)
def test_generator_is_advanced_and_reproducible(make):
    density, rng, twin = DENSITIES["ring"], make(0), make(0)
    draws = [density.sample(5, rng) for _ in range(2)]
    assert not np.any(draws[0] == draws[1])
    np.testing.assert_array_equal(draws, [density.sample(5, twin) for _ in range(2)])


def test_unseeded_samples_differ():
    assert not np.any(DENSITIES["ring"].sample(5) == DENSITIES["ring"].sample(5))


@each_density
def test_no_rows_give_no_values(density):
    X = density.sample(0)
    assert X.shape == density.gradient(X).shape == (0, density.n_features)
    assert density.log_density(X).shape == (0,)


@each_density
@pytest.mark.parametrize("method", ["log_density", "gradient"])
def test_wrong_shape_is_refused(density, method):
    d = density.n_features
    for shape in [(3, d + 1), (d,), (2, 3, d)]:
        message = re.escape(f"Got X of shape {shape}, expected (n, {d}).")
        with pytest.raises(ValueError, match=message):
            getattr(density, method)(np.zeros(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ring(radius=0), "Got radius=0, expected a positive finite number."),
        (lambda: Spiral(thickness=-1.0), "Got thickness=-1.0, expected a positive"),
        (lambda: Moons(thickness=np.inf), "Got thickness=inf, expected a positive"),
        (lambda: GaussianCurve(thickness=[1]), r"Got thickness=\[1\], expected a positive"),
        (lambda: GaussianCurve(elongation=0), "Got elongation=0, expected a positive"),
        (lambda: LogGamma(shape=np.nan), "Got shape=nan, expected a positive"),
        (lambda: StudentT(df=0), "Got df=0, expected a positive"),
        (lambda: StudentT(n_features=0), "Got n_features=0, expected an integer of at least 1"),
        (lambda: Funnel(n_features=1), "Got n_features=1, expected an integer of at least 2"),
        (lambda: Banana(n_features=2.5), "Got n_features=2.5, expected an integer of at least 2"),
        (lambda: RotatedMixture(n_components=0), "Got n_components=0, expected an integer"),
        (lambda: Ring().sample(-1), "Got n_samples=-1, expected an integer of at least 0"),
        (lambda: Gaussian(0.0, [[1.0]]), r"Got means of shape \(1,\), expected \(k, d\)"),
        (lambda: Gaussian([0.0], np.eye(2)), r"covariances of shape \(2, 2\), expected \(1, 1\)"),
        (lambda: Gaussian([0, 0], [[1, 1], [0, 1]]), "Got asymmetric covariances, expected"),
        (lambda: Gaussian([0, 0], [[1, 2], [2, 1]]), "Got indefinite covariances"),
        (
            lambda: MixtureOfGaussians([0.5, 0.6], [[0], [1]], [[1]]),
            r"Got weights=\[0.5, 0.6\], expected positive numbers summing to one",
        ),
        (
            lambda: MixtureOfGaussians([1.0], [[0], [1]], [[1]]),
            r"Got weights of shape \(1,\), expected \(2,\)",
        ),
        (
            lambda: MixtureOfGaussians([0.5, 0.5], [[0], [1]], [[[1]]]),
            r"Got covariances of shape \(1, 1, 1\), expected \(2, 1, 1\)",
        ),
    ],
)
def test_invalid_parameter_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_mixture_is_independent_of_its_blocks(monkeypatch, random_seed):
    density = DENSITIES["mixture"]
    X = density.sample(10, random_seed)
    whole = density.log_density(X), density.gradient(X)
    monkeypatch.setattr(gaussian_mixtures, "BLOCK_SIZE", 3 * density.means.size)
    np.testing.assert_allclose(density.log_density(X), whole[0], rtol=1e-14)
    np.testing.assert_allclose(density.gradient(X), whole[1], rtol=1e-13)


def test_rotated_mixture_keeps_its_promises():
    density = RotatedMixture(n_features=4, n_components=500, random_state=0)
    variances = np.linalg.eigvalsh(density.covariances)
    assert 0.16 <= np.sqrt(variances.min()) < 0.17 < 0.78 < np.sqrt(variances.max()) <= 0.8
    log_scales = (np.log(variances) / 2 - np.log(0.16)) / np.log(5)
    assert stats.kstest(log_scales.ravel(), "uniform").pvalue > 1e-5
    assert stats.kstest(density.means.ravel(), stats.norm(0, 2).cdf).pvalue > 1e-5
    np.testing.assert_array_equal(
        density.means, RotatedMixture(n_features=4, n_components=500, random_state=0).means
    )


def test_gaussian_curve_has_equally_spaced_centres():
    means = GaussianCurve().means
    assert means.shape == (25, 10)
    gaps = np.linalg.norm(means - np.roll(means, 1, axis=0), axis=1)
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-12)
    assert gaps[0] == pytest.approx(0.55, abs=0.01)


def test_gaussian_curve_is_longer_along_the_curve():
    density = GaussianCurve(thickness=0.05, elongation=3.0)
    # In harmonic m, the chord c(t + h) - c(t - h) is the velocity at t times 2 sin(m h) / m.
    chords = np.roll(density.means, -1, axis=0) - np.roll(density.means, 1, axis=0)
    order = np.repeat(np.arange(1, 6), 2)
    velocities = chords * order / (2 * np.sin(2 * np.pi / 25 * order))
    for covariance, tangent in zip(density.covariances, velocities, strict=True):
        np.testing.assert_allclose(covariance @ tangent, 0.15**2 * tangent, atol=1e-14)
        variances = np.linalg.eigvalsh(covariance)
        np.testing.assert_allclose(variances, [0.05**2] * 9 + [0.15**2], rtol=1e-12)


def test_ring_is_smooth_at_its_centre():
    ring, offset = Ring(), np.array([[1e-9, 0.0]])
    np.testing.assert_array_equal(ring.gradient([[0.0, 0.0]]), 0)
    # log I_0(u) = u^2 / 4 + O(u^4), hence grad log p = x (R^2 / 2 s^4 - 1 / s^2) near 0.
    slope = 1 / (2 * 0.1**4) - 1 / 0.1**2
    np.testing.assert_allclose(ring.gradient(offset), slope * offset, rtol=1e-10)


@pytest.mark.parametrize(
    ("density", "row"), [(LogGamma(1), [1e3]), (Funnel(2), [-1e3, 1.0]), (SexticWell(), [1e60])]
)
def test_underflow_far_away_is_silent(density, row):
    assert density.log_density([row]) == -np.inf
