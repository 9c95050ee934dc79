"""Margins under the estimator: a density in the units of X, whatever the columns were mapped to."""

import pickle

import numpy as np
import pytest
from scipy.stats import kstest

from skrae import RAESampler
from skrae.density.columns import working_space
from tests.density.estimators import quick_estimator


def skewed(n, seed):
    """A log-normal and a boxed column that depend on each other."""
    rng = np.random.default_rng(seed)
    x = rng.lognormal(0.0, 0.8, n)
    return np.column_stack([x, rng.random(n) + 0.3 * np.log(x)])


@pytest.fixture
def always(monkeypatch):
    """Margins are kept, whatever they gain."""
    monkeypatch.setattr(working_space, "MIN_STANDARD_ERRORS", -np.inf)


@pytest.fixture(scope="module")
def models():
    """A model of each decoder, with margins and a network that is not zero."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(working_space, "MIN_STANDARD_ERRORS", -np.inf)
        fitted = {
            decoder: quick_estimator(
                decoder=decoder,
                base_density="mixture",
                max_components=1,
                hidden_layer_sizes=(16,),
                noise_covariance="isotropic" if decoder == "gradient" else "auto",
                max_iter=120,
            ).fit(skewed(500, 0))
            for decoder in ("gradient", "free", "tied")
        }
    for model in fitted.values():
        assert model.margins_ is not None
        if model.network_gain_ == 0.0:  # a head that is not zero, for the derivatives
            model.coefs_[-1] = np.full_like(model.coefs_[-1], 0.3)
    return fitted


def differences(function, X, steps):
    pairs = [(function(X + s), function(X - s), s.max()) for s in np.diag(steps)]
    return np.stack([(a - b) / (2.0 * h) for a, b, h in pairs], axis=-1)


@pytest.mark.parametrize("decoder", ["gradient", "tied"])
def test_gradient_and_hessian_are_those_of_the_log_density(decoder, models):
    model, X = models[decoder], skewed(20, 1)
    steps = 1e-4 * skewed(500, 0).std(axis=0)
    gradient = differences(model.score_samples, X, steps)
    np.testing.assert_allclose(model.log_density_gradient(X), gradient, rtol=1e-3, atol=1e-2)
    hessian = differences(model.log_density_gradient, X, steps)
    size = np.abs(hessian).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(model.log_density_hessian(X) / size, hessian / size, atol=1e-2)


def test_base_density_integrates_to_one(models):
    """By a trapezoid rule on the square that holds nearly all of it."""
    model = models["gradient"]
    x, y = np.linspace(-2.0, 25.0, 1201), np.linspace(-4.0, 5.0, 601)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = np.exp(model.base_log_density(grid)).reshape(601, 1201)
    mass = np.trapezoid(np.trapezoid(density, x, axis=1), y)
    assert mass == pytest.approx(1.0, abs=0.01)


@pytest.mark.filterwarnings("ignore:.*beyond 20 deviations")
@pytest.mark.parametrize("law", ["box", "exponential", "lognormal", "cauchy", "arcsine", "edges"])
def test_density_on_the_line_integrates_to_one(law, always, random_seed):
    rng = np.random.default_rng(random_seed)
    draw = {
        "box": lambda n: rng.random(n),
        "exponential": lambda n: rng.exponential(size=n),
        "lognormal": lambda n: rng.lognormal(size=n),
        "cauchy": lambda n: rng.standard_cauchy(n),
        "arcsine": lambda n: rng.beta(0.5, 0.5, n),
        "edges": lambda n: np.where(rng.random(n) < 0.5, rng.random(n), 3.0 + rng.random(n)),
    }[law]
    X = draw(600)[:, None]
    model = quick_estimator(max_iter=1, base_density="mixture", max_mixtures=1).fit(X)
    centre, unit = np.median(X), np.subtract(*np.percentile(X, [75, 25]))
    # Fine about the rows, then ever coarser: the tails are those of a Student-t.
    inner = np.linspace(-4.0, 4.0, 40_001)
    outer = np.geomspace(4.0, 1e6, 40_000)[1:]
    points = centre + unit * np.concatenate([-outer[::-1], inner, outer])
    mass = np.trapezoid(np.exp(model.score_samples(points[:, None])), points)
    assert mass == pytest.approx(1.0, abs=0.01)


def test_margins_raise_the_likelihood_of_columns_with_edges():
    """Five columns that pile up at both ends of a box."""
    rng, options = np.random.default_rng(0), {"max_iter": 1, "max_mixtures": 1}
    X, fresh = rng.beta(0.4, 0.4, (600, 5)), rng.beta(0.4, 0.4, (600, 5))
    plain, mapped = (
        quick_estimator(margins=margins, base_density="mixture", **options).fit(X)
        for margins in ("identity", "auto")
    )
    assert mapped.margins_ is not None
    assert mapped.score(fresh) > plain.score(fresh) + 0.3


def test_margins_that_gain_nothing_leave_the_fit_as_it_is():
    """Normal rows: the same bits as without."""
    X = np.random.default_rng(0).standard_normal((300, 2))
    plain, mapped = (
        quick_estimator(margins=margins, base_density="mixture", max_iter=12).fit(X)
        for margins in ("identity", "auto")
    )
    assert mapped.margins_ is None
    np.testing.assert_array_equal(mapped.score_samples(X), plain.score_samples(X))
    np.testing.assert_array_equal(mapped.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("network", [False, True])
def test_samples_follow_the_density(network, always):
    """Marginally, and by their mean log density, which of the rows of a good fit is the same."""
    options = {"max_iter": 200, "hidden_layer_sizes": (32, 32), "max_components": 1}
    if not network:
        options = {"max_iter": 1}
    model = quick_estimator(base_density="mixture", **options).fit(skewed(1000, 0))
    assert (model.network_gain_ > 0.0) == network
    drawn, fresh = model.sample(4000, random_state=0), skewed(4000, 2)
    for j in range(2):
        assert kstest(drawn[:, j], fresh[:, j]).statistic < 0.07
    gap = model.score_samples(drawn).mean() - model.score_samples(fresh).mean()
    assert abs(gap) < 0.2


def test_chains_report_the_log_density_of_their_draws(models):
    chains = RAESampler(models["gradient"], n_chains=8, n_warmup=64, random_state=0).sample_chains(
        20
    )
    expected = models["gradient"].score_samples(chains.to_rows()).reshape(8, 20)
    np.testing.assert_allclose(chains.log_density, expected, atol=2e-4)  # a float32 network


def test_temperature_is_that_of_the_density_of_x(always):
    """One exact Gaussian with margins: chains of p^(1/T), against draws weighted by p^(1/T - 1)."""
    X = skewed(400, 0)[:, :1]
    model = quick_estimator(base_density="mixture", max_components=1, max_iter=1).fit(X)
    temperature = 1.5
    sampler = RAESampler(
        model, temperature=temperature, proposal="langevin", n_chains=32, random_state=0
    )
    rows = np.sort(sampler.sample(2000)[:, 0])
    grid = np.linspace(rows[0] - 1.0, rows[-1] + 1.0, 20_001)
    density = np.exp(model.score_samples(grid[:, None]) / temperature)
    cumulative = np.cumsum(density) / density.sum()
    assert kstest(rows, lambda x: np.interp(x, grid, cumulative)).statistic < 0.06


def test_completions_follow_the_conditional_density(models):
    """Of the second column given the first, on a grid."""
    model, given = models["gradient"], 1.5
    draws = RAESampler(model, random_state=0).sample_conditional([[given, np.nan]], 3000)[0]
    assert (draws[:, 0] == given).all()
    grid = np.linspace(-4.0, 5.0, 4001)
    density = np.exp(model.score_samples(np.column_stack([np.full(4001, given), grid])))
    cumulative = np.cumsum(density) / density.sum()
    assert kstest(draws[:, 1], lambda y: np.interp(y, grid, cumulative)).statistic < 0.08


@pytest.mark.parametrize("decoder", ["gradient", "free", "tied"])
def test_every_question_is_answered_and_kept_by_a_pickle(decoder, models):
    model, X = models[decoder], skewed(30, 3)
    again = pickle.loads(pickle.dumps(model))
    for question in ("score_samples", "log_density_gradient", "reconstruct", "transform"):
        answer = getattr(model, question)(X)
        assert np.isfinite(answer).all()
        np.testing.assert_array_equal(getattr(again, question)(X), answer)
    means, covariances = model.local_moments(X)
    np.testing.assert_array_equal(means, model.reconstruct(X))
    assert (np.linalg.eigvalsh(covariances) > -1e-12).all()


def test_a_fit_is_continued_with_its_margins(models):
    model = pickle.loads(pickle.dumps(models["gradient"])).set_params(warm_start=True)
    before = model.margins_["values"]
    model.fit(skewed(500, 4))
    np.testing.assert_array_equal(model.margins_["values"], before)


@pytest.mark.parametrize("rows", ["few", "constant column", "float32", "far value"])
def test_odd_tables_are_fitted(rows, always):
    X = skewed(60, 5)
    if rows == "few":
        X = X[:8]
    elif rows == "constant column":
        X = np.column_stack([X, np.full(60, 3.0)])
    elif rows == "float32":
        X = X.astype(np.float32)
    else:
        X[3, 0] = 1e6
    model = quick_estimator(base_density="mixture", max_components=4, max_iter=6)
    said = {"constant column": "constant columns", "far value": "beyond 20 deviations"}
    if rows in said:
        with pytest.warns(UserWarning, match=said[rows]):
            model.fit(X)
    else:
        model.fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.log_density_gradient(X)).all()
    assert model.sample(20, random_state=0).dtype == X.dtype
