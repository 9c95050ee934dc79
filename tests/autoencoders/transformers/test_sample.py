"""New rows: their units and dtype, their variance, and what a model refuses to draw."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from skrae import AutoEncoder
from skrae.preprocessing.contract.seal import sealed
from tests.autoencoders.transformers.estimators import (
    MEMBERS,
    bent_sheet,
    member,
    quick_auto_encoder,
    state_of,
)
from tests.density.estimators import quick_estimator

UNITS = np.array([1.0, 1e5, 1e-4, 1.0, 5.0])


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows near a curved sheet, their columns in units of their own, far from the origin."""
    return bent_sheet(400, random_seed) * UNITS + 3.0 * UNITS


@pytest.fixture(scope="module", params=MEMBERS)
def fitted(request, X):
    """One of each member of the family."""
    return member(request.param, max_iter=40, learning_rate=0.01).fit(X)


@pytest.fixture(scope="module")
def plain(X):
    """A network on a linear path, well fitted."""
    options = {"hidden_layer_sizes": (32,), "max_iter": 600, "learning_rate": 0.02}
    return quick_auto_encoder(**options).fit(X)


# --- what is drawn --------------------------------------------------------------------------------


def test_draws_have_the_shape_and_hang_on_their_seed_alone(fitted):
    draws = fitted.sample(7, random_state=3)
    assert draws.shape == (7, 5)
    assert draws.dtype == np.float64
    assert_array_equal(fitted.sample(7, random_state=np.random.RandomState(3)), draws)
    assert not np.array_equal(fitted.sample(7, random_state=4), draws)
    assert fitted.sample().shape == (1, 5)
    assert len(np.unique(draws, axis=0)) == 7


def test_draws_are_in_the_units_of_the_rows(fitted, X):
    """Columns 1e9 apart in unit. Draws of units at 0, of relu, are cut there: their mean is off."""
    draws = fitted.sample(500, random_state=0)
    spread = X.std(axis=0)
    assert (np.abs(draws.mean(axis=0) - X.mean(axis=0)) < spread).all()
    ratio = draws.std(axis=0) / spread
    assert (ratio > 0.3).all()
    assert (ratio < 1.5).all()


def test_noise_is_between_none_and_what_is_left(fitted):
    assert (fitted.noise_variance_ >= 0.0).all()
    assert (fitted.noise_variance_ <= fitted.residual_variance_).all()
    assert fitted.noise_variance_.shape == (5,)


def test_draws_of_a_good_fit_have_the_variance_of_the_rows(plain, X):
    assert plain.score(X) > 0.85
    draws = plain.sample(20_000, random_state=0)
    z = (draws - plain.location_) / plain.scale_
    # The noise mends what is lacking up to the residual; 400 rows tell a variance within 7 %.
    assert abs(z.var(axis=0).sum() / 5.0 - 1.0) < 0.1
    assert_allclose(z.var(axis=0), 1.0, atol=0.25)


def test_noise_is_added_independently_of_the_codes(plain):
    """Draws less the decoded codes of the same density are normal, of the variance that is said."""
    silent = copy.copy(plain)
    silent.noise_variance_ = np.zeros(5)
    loud = copy.copy(plain)
    loud.noise_variance_ = (0.3 * plain.scale_) ** 2
    difference = loud.sample(4000, random_state=0) - silent.sample(4000, random_state=0)
    z = difference / (0.3 * plain.scale_)
    assert_allclose(z.std(axis=0), 1.0, atol=5.0 / np.sqrt(8000))
    assert_allclose(np.corrcoef(z.T), np.eye(5), atol=5.0 / np.sqrt(4000))
    assert abs((z**4).mean() - 3.0) < 5.0 * np.sqrt(96.0 / z.size)


def test_draws_follow_the_sheet(plain, random_seed):
    """Of rows whose third column is the product of the first two."""
    draws = plain.sample(2000, random_state=random_seed) / UNITS - 3.0
    off = draws[:, 2] - draws[:, 0] * draws[:, 1]
    shuffled = np.random.default_rng(random_seed).permutation(draws[:, 2])
    independent = shuffled - draws[:, 0] * draws[:, 1]
    assert np.abs(off).mean() < 0.6 * np.abs(independent).mean()


@pytest.mark.parametrize("name", ["l1", "kl"])
@pytest.mark.parametrize("code_scaling", [None, "standardize"])
def test_codes_are_where_the_encoder_leads_before_they_are_decoded(name, code_scaling, X):
    """With no noise, a draw is the decoded code of some row that relu or sigmoid allow."""
    model = member(name, max_iter=5, code_density="normal", code_scaling=code_scaling).fit(X)
    codes = 10.0 * np.random.default_rng(0).standard_normal((300, 6))
    inside = model._answers().in_range(codes)
    raw = inside * model.code_scale_ + model.code_mean_
    low, high = (0.0, np.inf) if name == "l1" else (0.0, 1.0)
    assert raw.min() >= low - 1e-12
    assert raw.max() <= high + 1e-12
    untouched = codes * model.code_scale_ + model.code_mean_
    kept = (untouched >= low) & (untouched <= high)
    assert_array_equal(inside[kept], codes[kept])
    assert kept.any()
    assert not kept.all()
    wide = copy.copy(model)
    wide.code_density_ = Fixed(codes)
    wide.noise_variance_ = np.zeros(5)
    found, expected = wide.sample(300, random_state=0), model.inverse_transform(inside)
    assert_allclose(np.sort(found, axis=0), np.sort(expected, axis=0), rtol=1e-12)


class Fixed:
    """A density whose draws are given."""

    def __init__(self, draws):
        self.draws = draws

    def fit(self, X):
        return self

    def sample(self, n_samples, random_state=None):
        return self.draws[:n_samples]


@pytest.mark.parametrize("name", MEMBERS)
def test_single_rows_in_give_single_precision_out(name, X):
    model = member(name, max_iter=5).fit(X[:60].astype(np.float32))
    draws = model.sample(20, random_state=0)
    assert draws.dtype == np.float32
    spread = X[:60].std(axis=0)
    assert (np.abs(draws.mean(axis=0) - X[:60].mean(axis=0)) < 2.0 * spread).all()


def test_constant_columns_are_drawn_as_they_are(random_seed):
    X = np.column_stack([bent_sheet(60, random_seed), np.full(60, -4.0)])
    draws = quick_auto_encoder(max_iter=5).fit(X).sample(30, random_state=0)
    assert_array_equal(draws[:, 5], -4.0)


def test_draws_change_nothing_and_are_the_same_after_pickle(fitted):
    before = copy.deepcopy(state_of(fitted))
    draws = fitted.sample(20, random_state=1)
    assert_equal(state_of(fitted), before)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).sample(20, random_state=1), draws)


def test_draws_of_the_normal_density_are_those_of_its_normal(X):
    """Decoded by hand from codes of mean and deviations, of a linear auto-encoder."""
    model = member("linear", code_density="normal").fit(X)
    draws = model.sample(20_000, random_state=0)
    z = (draws - model.location_) / model.scale_
    codes = model.transform(X)
    covariance = model.components_.T @ np.diag(codes.var(axis=0)) @ model.components_
    covariance += np.diag(model.noise_variance_ / model.scale_**2)
    assert_allclose(np.cov(z.T), covariance, atol=8.0 / np.sqrt(20_000))


# --- densities of others --------------------------------------------------------------------------

OBJECTS = {
    "kernels": KernelDensity(bandwidth=0.2),
    "tied": GaussianMixture(2, covariance_type="tied"),
    "score": quick_estimator(max_iter=1, random_state=None),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_copied_fitted_and_drawn_from(name, X):
    given = OBJECTS[name]
    models = [quick_auto_encoder(max_iter=5, code_density=given).fit(X) for _ in range(2)]
    draws = [model.sample(50, random_state=0) for model in models]
    assert_array_equal(*draws)
    assert models[0].code_density is given
    assert models[0].code_density_ is not given
    assert type(models[0].code_density_) is type(given)
    assert not hasattr(given, "n_features_in_")
    assert_array_equal(pickle.loads(pickle.dumps(models[0])).sample(50, random_state=0), draws[0])


def test_a_copy_has_a_copy_of_the_object(X):
    given = GaussianMixture(3)
    copied = clone(quick_auto_encoder(code_density=given))
    assert copied.code_density is not given
    assert copied.code_density.get_params() == given.get_params()
    assert copied.set_params(code_density__n_components=2).code_density.n_components == 2
    assert copied.set_params(max_iter=3).fit(X).code_density_.n_components == 2
    assert given.n_components == 3


def test_a_density_is_found_by_a_search(X):
    """By the likelihood of codes that were held out."""

    def log_density(model, rows, y=None):
        return model.code_density_.score(model.transform(rows)) / len(rows)

    kernels = KernelDensity()
    model = quick_auto_encoder(max_iter=5, code_density=kernels, scaling="standardize")
    grid = {"code_density__bandwidth": [0.3, 100.0]}
    search = GridSearchCV(model, grid, scoring=log_density, cv=2).fit(X)
    assert search.best_params_ == {"code_density__bandwidth": 0.3}
    grid = {"code_density": ["normal", "mixture", None, kernels]}
    search = GridSearchCV(model, grid, cv=2).fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 1


@pytest.mark.parametrize("density", ["mixture", "normal", None, KernelDensity()])
def test_the_density_changes_no_code(density, X):
    expected = quick_auto_encoder(max_iter=20).fit(X)
    model = quick_auto_encoder(max_iter=20, code_density=density).fit(X)
    assert_array_equal(model.transform(X), expected.transform(X))
    assert_array_equal(model.reconstruct(X), expected.reconstruct(X))


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None])
def test_a_number_of_draws_that_is_none_is_refused(n_samples, plain):
    with pytest.raises((ValueError, TypeError), match=r"Got n_samples=.*, expected"):
        plain.sample(n_samples)


@pytest.mark.parametrize("random_state", ["seed", 0.5, -1])
def test_a_bad_random_state_is_refused(random_state, plain):
    with pytest.raises(ValueError, match=r"[Ss]eed"):
        plain.sample(3, random_state=random_state)


def test_an_unfitted_model_draws_nothing():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        AutoEncoder().sample(3)


def test_a_fit_without_a_density_says_how_to_have_one(X):
    model = quick_auto_encoder(max_iter=3, code_density=None).fit(X)
    assert model.code_density_ is None
    assert model.noise_variance_ is None
    with pytest.raises(ValueError, match=r"without a density .* fit with code_density='mixture'"):
        model.set_params(code_density="mixture").sample(3)
    assert model.fit(X).sample(3).shape == (3, 5)


def test_draws_of_another_shape_are_refused_before_anything_is_fitted(X):
    model = quick_auto_encoder(max_iter=3, code_density=Fixed(np.zeros((4, 3))))
    with pytest.raises(ValueError, match=r"Got draws of shape \(4, 3\), .* code_density Fixed"):
        model.fit(X)
    assert not hasattr(model, "coefs_")


def test_a_state_from_before_draws_answers_and_says_what_it_lacks(plain, X):
    """Of format 1 too: without the options and the attributes that came with them."""
    later = {"code_density", "code_density_", "noise_variance_", "entropy_weight"}
    state = {k: v for k, v in vars(plain).items() if k not in later | {"information_weight"}}
    architecture = dict(state["_fitted_as"]["architecture"])
    del architecture["decodes"]
    state["_fitted_as"] = {**state["_fitted_as"], "architecture": architecture}
    model = object.__new__(AutoEncoder)
    model.__setstate__(sealed(state))
    assert model.get_params() == plain.get_params()
    assert_array_equal(model.transform(X), plain.transform(X))
    with pytest.raises(ValueError, match=r"Got a fit without a density .*, expected"):
        model.sample(3)
    again = model.set_params(warm_start=True, max_iter=3).fit(X)
    assert again.sample(3).shape == (3, 5)


def test_draws_are_a_frame_where_the_rows_were_one(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    draws = quick_auto_encoder(max_iter=3).fit(frame).sample(4, random_state=0)
    assert list(draws.columns) == list(frame.columns)
    plain = quick_auto_encoder(max_iter=3).fit(X).sample(4, random_state=0)
    np.testing.assert_array_equal(draws.to_numpy(), plain)
