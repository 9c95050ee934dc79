"""Densities of largest entropy beside closed forms, sums and quadrature of SciPy."""

import pickle

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import PolynomialFeatures

from skrae import MaximumEntropyDensity
from tests.tasks.laws import CASES, COVARIANCE, angle, log_density, second_order

ONE_COLUMN = [name for name, case in CASES.items() if case.rows.shape[1] == 1]


@pytest.mark.parametrize("name", CASES)
def test_log_density_is_that_of_the_law(name):
    case = CASES[name]
    model = MaximumEntropyDensity(**case.options).fit()
    np.testing.assert_allclose(
        model.score_samples(case.rows), log_density(case), rtol=0.0, atol=1e-10
    )
    np.testing.assert_allclose(model.entropy_, case.law.entropy(), rtol=0.0, atol=1e-10)
    np.testing.assert_allclose(model.moments_, model.targets_, rtol=1e-9, atol=1e-11)
    assert model.n_iter_ <= 12


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_law_and_are_those_of_a_seed(name):
    case = CASES[name]
    model = MaximumEntropyDensity(**case.options).fit()
    X = model.sample(2000, random_state=1)
    np.testing.assert_array_equal(X, model.sample(2000, random_state=1))
    error = np.std(model.score_samples(X)) / 2000**0.5
    assert abs(model.score(X) + model.entropy_) < 4.0 * error
    if X.shape[1] == 1:
        rows = np.abs(X[:, 0]) if case.rows.max() <= 0.0 else X[:, 0]
        assert stats.kstest(rows, case.law.cdf).pvalue > 1e-3
    else:
        for j, spread in enumerate(np.sqrt(np.diag(COVARIANCE))):
            assert stats.kstest(X[:, j], stats.norm(1.0 + j, spread).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["exponential", "truncated normal", "gamma", "von Mises"])
def test_multipliers_and_normaliser_are_of_the_moments_in_units(name):
    """log p = theta . f - log Z, with f written out here."""
    case = CASES[name]
    model = MaximumEntropyDensity(**case.options).fit()
    x = case.rows
    functions = {
        "exponential": lambda: x,
        "truncated normal": lambda: np.hstack([x, (x - model.targets_[0]) ** 2]),
        "gamma": lambda: np.hstack([x, np.log(x)]),
        "von Mises": lambda: angle(x),
    }[name]()
    by_hand = functions @ model.multipliers_ - model.log_normalizer_
    np.testing.assert_allclose(by_hand, model.score_samples(x), rtol=0.0, atol=1e-10)


def test_multipliers_of_known_laws():
    def multipliers(name):
        return MaximumEntropyDensity(**CASES[name].options).fit().multipliers_

    np.testing.assert_allclose(multipliers("exponential"), [-0.5], rtol=1e-10)
    np.testing.assert_allclose(multipliers("gamma"), [-1.0 / 3.0, 1.5], rtol=1e-9)
    np.testing.assert_allclose(multipliers("von Mises"), [3.0, 0.0], rtol=1e-9, atol=1e-9)
    precision = np.linalg.inv(COVARIANCE)
    expected = [0.0, 0.0, -precision[0, 0] / 2, -precision[0, 1], -precision[1, 1] / 2]
    np.testing.assert_allclose(multipliers("normal in closed form"), expected, rtol=1e-12)


def test_a_die_is_the_root_of_its_mean():
    """p_k ~ exp(theta k), theta by bisection."""
    faces = np.arange(1.0, 7.0)

    def weights(theta):
        return np.exp(theta * faces) / np.exp(theta * faces).sum()

    theta = brentq(lambda t: weights(t) @ faces - 4.5, -5.0, 5.0, xtol=1e-14)
    p = weights(theta)
    die = MaximumEntropyDensity("mean", targets=[4.5], support=range(1, 7)).fit()
    np.testing.assert_allclose(np.exp(die.score_samples(faces[:, None])), p, rtol=1e-10)
    np.testing.assert_allclose(die.entropy_, -p @ np.log(p), rtol=1e-12)
    np.testing.assert_allclose(die.multipliers_, [theta], rtol=1e-10)
    assert np.isneginf(die.score_samples([[2.5]])).all()
    counts = np.bincount(die.sample(6000, random_state=0)[:, 0].astype(int), minlength=7)[1:]
    assert stats.chisquare(counts, 6000 * p).pvalue > 1e-3


def test_points_of_two_columns_with_a_base_density():
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    base = KernelDensity(bandwidth=0.7).fit([[0.0, 0.0], [0.0, 1.0]])
    model = MaximumEntropyDensity(
        "mean", targets=[0.6, 0.3], support={"points": points}, base_density=base
    ).fit()
    p, q = np.exp(model.score_samples(points)), np.exp(base.score_samples(points))
    q /= q.sum()
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(p @ points, [0.6, 0.3], rtol=1e-9)
    # log p / q is affine in the points.
    log_ratio = np.log(p / q)
    np.testing.assert_allclose(log_ratio[0] + log_ratio[3], log_ratio[1] + log_ratio[2], atol=1e-10)
    np.testing.assert_allclose(model.relative_entropy_, p @ log_ratio, rtol=1e-10)
    np.testing.assert_allclose(model.entropy_, -p @ np.log(p), rtol=1e-10)


def test_moments_of_rows_are_the_targets(random_seed):
    units, weights = np.array([1.0, 1e-3, 1e4]), np.arange(50)
    Z = np.random.default_rng(random_seed).standard_normal((50, 3))
    X = Z * units + np.array([0.0, 1.0, 1e6])
    model = MaximumEntropyDensity().fit(X, sample_weight=weights)
    mean = np.average(X, weights=weights, axis=0)
    covariance = np.cov(X.T, aweights=weights, ddof=0)
    correlated = covariance / np.outer(units, units)
    expected = stats.multivariate_normal(np.zeros(3), correlated).logpdf((X - mean) / units)
    np.testing.assert_allclose(model.score_samples(X), expected - np.log(units).sum(), rtol=1e-8)
    np.testing.assert_allclose(model.moments_[:3], mean, rtol=1e-12)
    np.testing.assert_allclose(model.moments_[3:], covariance[np.triu_indices(3)], rtol=1e-9)


def test_a_transformer_gives_the_same_as_names(random_seed):
    X = np.random.default_rng(random_seed).gamma(3.0, size=(100, 1)) * 1000.0
    named = MaximumEntropyDensity(("mean", "variance")).fit(X)
    made = MaximumEntropyDensity(PolynomialFeatures(2)).fit(X)
    assert (named.method_, made.method_) == ("normal", "quadrature")
    np.testing.assert_allclose(made.score_samples(X), named.score_samples(X), atol=1e-9)
    assert len(made.moment_names_) == 3  # the constant is a dependent moment


def test_independent_columns_are_products(random_seed):
    """Where moments are of single columns: any number of columns, each as if it were alone."""
    X = np.random.default_rng(random_seed).beta(2.0, 3.0, (80, 4)) * [1.0, 10.0, 0.1, 1.0]
    support = [(0.0, 1.0), (0.0, np.inf), (-np.inf, 0.11), (-1.0, 2.0)]
    model = MaximumEntropyDensity(("mean", "variance"), support=support).fit(X)
    alone = [
        MaximumEntropyDensity(("mean", "variance"), support=pair).fit(X[:, [j]])
        for j, pair in enumerate(support)
    ]
    parts = sum(own.score_samples(X[:, [j]]) for j, own in enumerate(alone))
    np.testing.assert_allclose(model.score_samples(X), parts, atol=1e-10)
    np.testing.assert_allclose(model.entropy_, sum(own.entropy_ for own in alone), atol=1e-10)
    np.testing.assert_allclose(model.multipliers_[2], alone[2].multipliers_[0], rtol=1e-10)
    draws = model.sample(3000, random_state=0)
    assert (np.abs(draws.mean(axis=0) - X.mean(axis=0)) < 4.0 * X.std(axis=0) / 3000**0.5).all()


def test_quadrature_of_the_plane_is_that_of_columns(random_seed):
    """Moments that are sums of single columns' give independent columns, had by cells of both."""
    X = np.random.default_rng(random_seed).uniform(0.2, 0.9, (60, 2))
    names = MaximumEntropyDensity(("mean", "variance"), support=(0.0, 1.0)).fit(X)
    squares = MaximumEntropyDensity(lambda X: np.hstack([X, X**2]), support=(0.0, 1.0)).fit(X)
    np.testing.assert_allclose(squares.score_samples(X), names.score_samples(X), atol=1e-10)
    assert squares._law["low"].shape[1] == 2


@pytest.mark.parametrize("breakpoints", [(), [0.25]])
def test_jumps_inside_a_cell(breakpoints):
    """P(x < 1/4) = 0.7 on [0, 1] is a density of two steps."""
    model = MaximumEntropyDensity(
        lambda X: X < 0.25, targets=[0.7], support=(0.0, 1.0), breakpoints=breakpoints
    ).fit()
    found = np.exp(model.score_samples([[0.1], [0.9]]))
    np.testing.assert_allclose(found, [0.7 / 0.25, 0.3 / 0.75], rtol=1e-9)


def test_breakpoints_of_two_columns_end_cells():
    model = MaximumEntropyDensity(
        lambda X: (X[:, 0] < 0.3) & (X[:, 1] < 0.6),
        targets=[0.5],
        support=[(0.0, 1.0), (0.0, 1.0)],
        breakpoints=[[0.3], [0.6]],
    ).fit()
    found = np.exp(model.score_samples([[0.1, 0.1], [0.9, 0.1]]))
    np.testing.assert_allclose(found, [0.5 / 0.18, 0.5 / 0.82], rtol=1e-12)


def test_penalty_relaxes_the_moments(random_seed):
    """E f_k = t_k - alpha s_k^2 theta_k, and the dual value is least by a slow search."""
    X = np.random.default_rng(random_seed).uniform(0.0, 1.0, (40, 1)) ** 2
    model = MaximumEntropyDensity("mean", support=(0.0, 1.0), alpha=0.5).fit(X)
    theta, s = model.multipliers_[0], X.std()
    gap = model.targets_ - model.moments_
    np.testing.assert_allclose(gap, 0.5 * s**2 * theta, rtol=1e-8)

    def slope(t):
        z = quad(lambda x: np.exp(t * x), 0.0, 1.0)[0]
        first = quad(lambda x: x * np.exp(t * x), 0.0, 1.0)[0]
        return first / z - X.mean() + 0.5 * s**2 * t

    np.testing.assert_allclose(theta, brentq(slope, -50.0, 50.0), rtol=1e-7)
    assert abs(theta) < abs(MaximumEntropyDensity("mean", support=(0.0, 1.0)).fit(X).multipliers_)


def test_penalty_makes_infeasible_targets_feasible():
    model = MaximumEntropyDensity("mean", targets=[8.0], support=range(1, 7), alpha=1.0).fit()
    assert 3.5 < model.moments_[0] < 6.0
    np.testing.assert_allclose(model.moments_, 8.0 - model.multipliers_, rtol=1e-9)


def test_conditional_maximum_entropy_is_logistic_regression(random_seed):
    """Labels given rows, moments of x_j 1(y = k) and an L2 penalty: the dual is the likelihood.

    Of all p(y | x_i) with these moments that of largest entropy is exp(theta_y . x_i) / Z_i; its
    dual is minimised here by plain Newton steps.
    """
    rng = np.random.default_rng(random_seed)
    X = rng.standard_normal((12, 2))
    y = rng.integers(0, 3, 12)
    penalty = 0.3
    theta = np.zeros((3, 2))
    onehot = np.eye(3)[y]
    for _ in range(100):
        p = np.exp(X @ theta.T)
        p /= p.sum(axis=1, keepdims=True)
        gradient = ((p - onehot).T @ X).ravel() + penalty * theta.ravel()
        hessian = penalty * np.eye(6)
        for row, own in zip(X, p, strict=True):
            hessian += np.kron(np.diag(own) - np.outer(own, own), np.outer(row, row))
        theta -= np.linalg.solve(hessian, gradient).reshape(3, 2)
    # The moments: sum_i x_ij p_ik = sum_i x_ij 1(y_i = k) - penalty theta_kj.
    np.testing.assert_allclose(p.T @ X, onehot.T @ X - penalty * theta, atol=1e-10)
    model = LogisticRegression(C=1.0 / penalty, fit_intercept=False, tol=1e-12, max_iter=5000)
    np.testing.assert_allclose(model.fit(X, y).predict_proba(X), p, atol=1e-6)


def test_a_base_density_on_the_line_is_tilted_exactly():
    """q exp(theta x) / Z with q a mixture: components are shifted by theta times their variance."""
    X = np.concatenate([np.linspace(-3.0, -2.0, 40), np.linspace(1.0, 4.0, 60)])[:, None]
    base = GaussianMixture(2, random_state=0).fit(X)
    model = MaximumEntropyDensity("mean", targets=[1.5], base_density=base).fit()
    assert model.method_ == "quadrature"
    theta, m = model.multipliers_[0], base.means_[:, 0]
    v = base.covariances_[:, 0, 0]
    log_z = np.log(base.weights_ @ np.exp(theta * m + theta**2 * v / 2))
    np.testing.assert_allclose(model.log_normalizer_, log_z, atol=1e-9)
    shares = base.weights_ * np.exp(theta * m + theta**2 * v / 2 - log_z)
    np.testing.assert_allclose(shares @ (m + theta * v), 1.5, atol=1e-9)
    expected = base.score_samples(X) + theta * X[:, 0] - log_z
    np.testing.assert_allclose(model.score_samples(X), expected, atol=1e-9)
    np.testing.assert_allclose(model.relative_entropy_, theta * 1.5 - log_z, atol=1e-9)


def test_float32_stays_and_pickles_answer(random_seed):
    X = np.random.default_rng(random_seed).uniform(size=(30, 1)).astype(np.float32)
    model = MaximumEntropyDensity(("mean", "variance"), support=(0.0, 1.0)).fit(X)
    assert model.score_samples(X).dtype == model.sample(3).dtype == np.float32
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(again.sample(5, random_state=0), model.sample(5, random_state=0))


def test_frames_come_back(random_seed):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(
        np.random.default_rng(random_seed).standard_normal((30, 2)), columns=["a", "b"]
    )
    model = MaximumEntropyDensity().fit(X)
    assert list(model.sample(3).columns) == ["a", "b"]
    assert model.moment_names_[-1] == "covariance of b and b"


def test_second_moments_alone_of_a_normal_density():
    """The closed form and the general path agree."""
    X = CASES["normal of the plane"].rows
    closed = MaximumEntropyDensity().fit(X)
    general = MaximumEntropyDensity(second_order).fit(X)
    assert (closed.method_, general.method_) == ("normal", "quadrature")
    np.testing.assert_allclose(general.score_samples(X), closed.score_samples(X), atol=1e-10)
    np.testing.assert_allclose(general.entropy_, closed.entropy_, atol=1e-10)


def test_labelled_targets_go_by_name_and_a_range_is_a_set_of_points():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(np.random.default_rng(0).random((50, 2)), columns=["A", "B"])
    targets = pd.Series({"B": 0.2, "A": 0.7})
    model = MaximumEntropyDensity("mean", targets=targets, support=(0, 1)).fit(frame)
    np.testing.assert_allclose(model.moments_, [0.7, 0.2], atol=1e-9)
    coin = MaximumEntropyDensity("mean", targets=[0.3], support=range(2)).fit()
    np.testing.assert_allclose(np.exp(coin.score_samples([[0], [1]])), [0.7, 0.3], rtol=1e-9)
