"""The density of the codes: what it finds, in any units; objects of others; draws; early ends."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skrae.autoencoders.transformers.fit import code_density
from skrae.autoencoders.transformers.fit.code_density import (
    NAMES,
    SIZES,
    draw_codes,
    fit_code_density,
)
from skrae.preprocessing.contract.work import as_work
from tests.autoencoders.transformers.estimators import bent_sheet, quick_auto_encoder
from tests.density.estimators import quick_estimator

each_name = pytest.mark.parametrize("name", NAMES)


def fitted(density, codes, seed=0, weights=None):
    """The density, fitted to codes of equal weights or of these."""
    weights = np.ones(len(codes)) if weights is None else weights / weights.mean()
    return fit_code_density(density, codes, weights, np.random.RandomState(seed))


def drawn(density, n, seed=0):
    return draw_codes(density, n, density.n_features_in_, np.random.RandomState(seed))


def clusters(n_clusters, n_each, seed):
    """Round clusters of deviation 0.1 on a circle of radius 3, and the density they are from."""
    angles = 2.0 * np.pi * np.arange(n_clusters) / n_clusters
    truth = GaussianMixture(n_clusters, covariance_type="spherical")
    truth.weights_ = np.full(n_clusters, 1.0 / n_clusters)
    truth.means_ = 3.0 * np.column_stack([np.cos(angles), np.sin(angles)])
    truth.covariances_ = np.full(n_clusters, 0.01)
    truth.precisions_cholesky_ = np.full(n_clusters, 10.0)
    noise = np.random.default_rng(seed).standard_normal((n_clusters, n_each, 2))
    return (truth.means_[:, None] + 0.1 * noise).reshape(-1, 2), truth


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_clusters", [2, 4, 8])
def test_a_mixture_of_clusters_is_found(n_clusters, random_seed):
    """No component spans two of them; the ridge and spare components cost a tenth of a nat."""
    for i in range(4):
        codes, truth = clusters(n_clusters, 60, 100 * random_seed + i)
        found = fitted("mixture", codes, random_seed + i)
        assert found.n_components in SIZES
        assert found.n_components >= n_clusters
        fresh = clusters(n_clusters, 200, 100 * random_seed + i + 50)[0]
        assert found.score(fresh) > truth.score(fresh) - 0.4
        apart = np.linalg.norm(found.means_[:, None] - truth.means_, axis=2)
        assert apart.min(axis=1).max() < 0.4
        assert apart.min(axis=0).max() < 0.4


def test_a_mixture_of_normal_codes_is_near_one_normal(random_seed):
    """A choice by few held-out codes may take more components, which costs hundredths of a nat."""
    lost = []
    for i in range(4):
        codes, fresh = np.random.default_rng(100 * random_seed + i).standard_normal((2, 1000, 2))
        found = fitted("mixture", codes, random_seed + i)
        truth = -np.log(2.0 * np.pi) - 0.5 * np.square(fresh).sum(axis=1)
        lost.append((truth - found.score_samples(fresh)).mean())
    assert np.mean(lost) < 0.05


def test_one_normal_of_few_codes_is_their_mean_and_covariance(random_seed):
    """Of too few to hold any out."""
    codes = np.random.default_rng(random_seed).standard_normal((3, 2)) * [1.0, 50.0]
    found = fitted("mixture", codes)
    assert_allclose(found.means_, [codes.mean(axis=0)])
    ridge = np.diag(code_density.RIDGE * codes.var(axis=0))
    assert_allclose(found.covariances_, [np.cov(codes.T, bias=True) + ridge])


def test_the_normal_density_is_mean_and_deviations(random_seed):
    codes = np.random.default_rng(random_seed).standard_normal((200, 3)).cumsum(axis=1)
    found = fitted("normal", codes)
    assert found.covariance_type == "diag"
    assert_allclose(found.means_, [codes.mean(axis=0)], atol=1e-12)
    ridge = 1.0 + code_density.RIDGE
    assert_allclose(found.covariances_, [ridge * codes.var(axis=0)], rtol=1e-9)


@each_name
def test_weights_are_repetitions(name, random_seed):
    """The mean and the variance of codes of weights 0.5 to 2, and of draws from their density."""
    rng = np.random.default_rng(random_seed)
    codes, weights = rng.standard_normal((4000, 2)), rng.choice([0.5, 1.0, 2.0], 4000)
    codes[weights == 2.0] += 1.5
    found = fitted(name, codes, random_seed, weights)
    expected = weights @ codes / weights.sum()
    spread = np.sqrt(weights @ (codes - expected) ** 2 / weights.sum())
    # One draw of each code would be uncertain by spread / sqrt(n); spaced draws are less so.
    mean = found.weights_ @ found.means_
    assert (np.abs(mean - expected) < 4.0 * spread / np.sqrt(4000)).all()
    assert (np.abs(mean - codes.mean(axis=0)) > 4.0 * spread / np.sqrt(4000)).all()
    draws = drawn(found, 4000)
    assert (np.abs(draws.mean(axis=0) - expected) < 8.0 * spread / np.sqrt(4000)).all()
    assert_allclose(draws.std(axis=0), spread, rtol=0.06)


# --- units ----------------------------------------------------------------------------------------


@each_name
def test_density_is_that_of_standardised_codes_less_the_log_of_their_scales(name, random_seed):
    codes = clusters(4, 50, random_seed)[0] @ [[1.0, 0.3], [0.0, 2.0]] + [5.0, -1.0]
    found = fitted(name, codes)
    mean, scale = codes.mean(axis=0), codes.std(axis=0)
    u = (codes - mean) / scale
    standardised = fitted(name, u)
    expected = standardised.score_samples(u) - np.log(scale).sum()
    assert_allclose(found.score_samples(codes), expected, rtol=1e-6)
    assert_allclose(drawn(found, 50), mean + scale * drawn(standardised, 50), rtol=1e-6)
    assert found.means_init is None


@each_name
def test_all_parts_of_the_density_agree(name, random_seed):
    """Precisions are the inverses of covariances, and factors multiply to precisions."""
    codes = clusters(4, 50, random_seed)[0] * [1.0, 1e-3]
    found = fitted(name, codes)
    if name == "normal":
        assert_allclose(found.precisions_ * found.covariances_, 1.0)
        assert_allclose(found.precisions_cholesky_**2, found.precisions_)
        return
    products = found.precisions_ @ found.covariances_
    assert_allclose(products, np.broadcast_to(np.eye(2), products.shape), atol=1e-6)
    factors = found.precisions_cholesky_
    assert_allclose(factors @ factors.transpose(0, 2, 1), found.precisions_, rtol=1e-6)


@settings(max_examples=10)
@given(
    exponent=st.integers(-20, 20),
    between=st.integers(-10, 10),
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 1000),
)
def test_units_of_codes_change_nothing_but_the_units(exponent, between, name, seed):
    """Of all codes, 1e-6 to 1e6, and 1e-3 to 1e3 of one unit of the code to another."""
    codes, a = clusters(2, 15, seed)[0], 2.0 ** np.array([exponent, exponent + between])
    small, large = fitted(name, codes), fitted(name, a * codes)
    assert_allclose(large.means_ / a, small.means_, rtol=1e-6, atol=1e-9)
    expected = small.score_samples(codes) - np.log(a).sum()
    assert_allclose(large.score_samples(a * codes), expected, rtol=1e-6, atol=1e-6)
    assert_allclose(drawn(large, 9) / a, drawn(small, 9), rtol=1e-6, atol=1e-6)


@each_name
@pytest.mark.parametrize("constants", [[1], [0, 1]])
def test_constant_units_stay_what_they_are(name, constants, random_seed):
    codes = np.random.default_rng(random_seed).standard_normal((50, 2))
    codes[:, constants] = 3.0
    draws = drawn(fitted(name, codes), 500)
    assert_allclose(draws[:, constants], 3.0, atol=1e-4)
    others = [i for i in range(2) if i not in constants]
    spread = codes[:, others].std(axis=0)
    assert_allclose(draws[:, others].std(axis=0), spread, rtol=4.0 / np.sqrt(1000))


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@each_name
def test_few_codes_and_codes_that_coincide_are_enough(name, n, random_seed):
    codes = np.random.default_rng(random_seed).standard_normal((n, 3))
    for few in (codes, np.repeat(codes[:2], 20, axis=0)):
        draws = drawn(fitted(name, few), 200)
        widest = np.abs(few - few.mean(axis=0)).max() + 1e-9
        assert np.abs(draws - few.mean(axis=0)).max() < 8.0 * widest


# --- randomness -----------------------------------------------------------------------------------

# Densities of others, by names; those without a random state take that of the caller.
OBJECTS = {
    "kernels": KernelDensity(bandwidth=0.3),
    "tied": GaussianMixture(2, covariance_type="tied"),
    "spherical": GaussianMixture(2, covariance_type="spherical", random_state=3),
    "full": GaussianMixture(2, means_init=[[0.0, 0.0], [1.0, 1.0]]),
    "score": quick_estimator(max_iter=1, random_state=None),
}


class Resampling:
    """Codes as they were given: no estimator, and no random_state in its methods."""

    def fit(self, X):
        self.codes_, self.n_features_in_ = X, X.shape[1]
        return self

    def sample(self, n_samples):
        rng = np.random.default_rng(self.random_state)
        return self.codes_[rng.integers(len(self.codes_), size=n_samples)]


@pytest.mark.parametrize("density", [*NAMES, *OBJECTS, "resampling"])
def test_fits_and_draws_hang_on_their_seed_alone(density, random_seed):
    codes = clusters(2, 40, random_seed)[0]
    made = {**OBJECTS, "resampling": Resampling()}.get(density, density)
    before, ambient = repr(made), np.random.get_state()  # noqa: NPY002 - that it does not change
    first, again, other = (drawn(fitted(made, codes, 5), 30, seed) for seed in (1, 1, 2))
    assert_array_equal(again, first)
    assert not np.array_equal(other, first)
    assert repr(made) == before
    assert not hasattr(made, "n_features_in_")
    assert_array_equal(np.random.get_state()[1], ambient[1])  # noqa: NPY002
    assert np.random.get_state()[2] == ambient[2]  # noqa: NPY002


@pytest.mark.parametrize("density", [*NAMES, *OBJECTS, "resampling"])
def test_draws_are_like_the_codes_and_leave_the_density(density, random_seed):
    codes = np.random.default_rng(random_seed).standard_normal((200, 2)) + 4.0
    found = fitted({**OBJECTS, "resampling": Resampling()}.get(density, density), codes)
    before = copy.deepcopy(vars(found))
    draws = drawn(found, 1000, random_seed)
    assert_array_equal(list(vars(found)), list(before))
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            assert_array_equal(getattr(found, name), value)
    assert draws.shape == (1000, 2)
    # Kernels of bandwidth 0.3 add 0.09 to the variance, and 1000 draws are uncertain by 2 %.
    assert (np.abs(draws.mean(axis=0) - codes.mean(axis=0)) < 5.0 * 1.05 / np.sqrt(1000)).all()
    # The small network of the score knows less of them.
    tolerance = 0.5 if density == "score" else 0.05 + 0.1
    assert_allclose(draws.std(axis=0), codes.std(axis=0), rtol=tolerance)


def test_draws_are_in_random_order(random_seed):
    """scikit-learn's mixtures draw one component after the other."""
    codes = clusters(2, 100, random_seed)[0]
    signs = np.sign(drawn(fitted("mixture", codes), 400)[:, 0])
    n_changes = (signs[1:] != signs[:-1]).sum()
    assert abs(n_changes - 200) < 5.0 * 10.0


class Nonsense:
    """What gives something else than codes."""

    def __init__(self, draws):
        self.draws = draws

    def fit(self, X):
        return self

    def sample(self, n_samples):
        return self.draws


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (np.zeros((5, 3)), r"Got draws of shape \(5, 3\), 15 of their entries finite, from the"),
        (np.zeros((4, 2)), r"shape \(4, 2\).* expected finite codes of shape \(5, 2\)"),
        (
            np.full((5, 2), np.nan),
            r"shape \(5, 2\), 0 of their entries finite.* Nonsense, expected",
        ),
        (np.zeros(5), r"Got draws of shape \(5,\)"),
    ],
)
def test_draws_that_are_no_codes_are_refused(draws, message):
    with pytest.raises(ValueError, match=message):
        draw_codes(Nonsense(draws), 5, 2, np.random.RandomState(0))


# --- early ends -----------------------------------------------------------------------------------


def failing_at(place, error, monkeypatch):
    """Fits of mixtures raise from this one on."""
    fit, counter = GaussianMixture.fit, itertools.count()

    def failing(self, X, y=None):
        if next(counter) >= place:
            raise error
        return fit(self, X, y)

    monkeypatch.setattr(GaussianMixture, "fit", failing)


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_an_interrupted_choice_of_the_size_leaves_one_normal(place, random_seed, monkeypatch):
    X = bent_sheet(100, random_seed)
    whole = quick_auto_encoder(max_iter=5).fit(X)
    failing_at(place, KeyboardInterrupt, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="The fit was interrupted; the best") as caught:
        model = quick_auto_encoder(max_iter=5).fit(X)
    assert caught[0].filename == __file__
    monkeypatch.undo()
    assert model.code_density_.n_components == 1
    assert_array_equal(model.transform(X), whole.transform(X))
    codes = model.transform(X)
    assert_allclose(model.code_density_.means_, [codes.mean(axis=0)], atol=1e-8)
    draws = model.sample(2000, random_state=0)
    assert_allclose(draws.std(axis=0), X.std(axis=0), rtol=0.25)


def test_an_interrupt_of_the_first_normal_passes_and_loses_nothing(random_seed, monkeypatch):
    X = bent_sheet(60, random_seed)
    model = quick_auto_encoder(max_iter=5).fit(X)
    draws = model.sample(5, random_state=0)
    failing_at(0, KeyboardInterrupt, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :3])
    monkeypatch.undo()
    assert_array_equal(model.sample(5, random_state=0), draws)


@pytest.mark.parametrize("density", ["mixture", OBJECTS["tied"]])
def test_an_error_of_a_density_loses_nothing(density, random_seed, monkeypatch):
    X = bent_sheet(60, random_seed)
    model = quick_auto_encoder(max_iter=5, code_density=density).fit(X)
    draws = model.sample(5, random_state=0)
    failing_at(0, MemoryError, monkeypatch)
    with pytest.raises(MemoryError):
        model.fit(X[:, :3])
    monkeypatch.undo()
    assert_array_equal(model.sample(5, random_state=0), draws)


def test_a_time_limit_ends_the_choice_of_the_size(random_seed, monkeypatch):
    """Which takes longer than the training of a small network: the clock runs from size to size."""
    codes = clusters(8, 40, random_seed)[0]
    clock = itertools.count()
    monkeypatch.setattr("skrae.preprocessing.contract.work.time.monotonic", lambda: next(clock))
    weights, rng = np.ones(len(codes)), np.random.RandomState(0)
    found, ended_by = as_work(fit_code_density, "mixture", codes, weights, rng, time_limit=2.5)
    monkeypatch.undo()
    assert ended_by == "time limit"
    assert found.n_components == 1
    assert_allclose(found.means_, [codes.mean(axis=0)], atol=1e-9)
    rng = np.random.RandomState(0)
    whole, ended_by = as_work(fit_code_density, "mixture", codes, weights, rng, time_limit=1e6)
    assert ended_by is None
    assert whole.n_components >= 8
