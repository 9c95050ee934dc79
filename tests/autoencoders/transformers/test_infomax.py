"""InfoMaxEncoder: its codes, its score, its options; early ends and stored states."""

import copy
import itertools
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import InfoMaxEncoder
from skrae.autoencoders.training import Training
from skrae.autoencoders.transformers.fit.fitting import check_every
from skrae.autoencoders.transformers.maps.soundness import check_sound
from skrae.autoencoders.transformers.options import INFO_MAX_CHOICES, INFO_MAX_INTERVALS
from skrae.autoencoders.transformers.terms.information import info_nce
from tests.autoencoders.transformers.estimators import BAD_SHARED_VALUES, bent_sheet, state_of
from tests.callbacks import Recorder, needs_callbacks
from tests.density.estimators import interrupt_after
from tests.interruptions import count_outcomes
from tests.round_trips import through_joblib, through_pickle, through_skops


def quick_encoder(**options):
    """A small network and few steps; options override."""
    small = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0}
    return InfoMaxEncoder(**{**small, **options})


# One of each kind, by options.
KINDS = {
    "plain": {},
    "linear": {"hidden_layer_sizes": ()},
    "swapped": {"views": "swapped", "keep": 0.7},
    "entropy": {"entropy_weight": 1.0, "n_components": 3},
}
each_kind = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows near a curved sheet."""
    return bent_sheet(150, random_seed)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request, X):
    """One of each kind."""
    return quick_encoder(**KINDS[request.param]).fit(X)


@pytest.fixture(scope="module")
def plain(X):
    """A network on a linear path, for tests that leave it as it is."""
    return quick_encoder(max_iter=5).fit(X)


def sharing(n, n_shared, seed):
    """Eight columns, so many of which are one source with noise of a tenth, the others alone."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 8))
    X[:, :n_shared] = rng.standard_normal((n, 1)) + 0.1 * X[:, :n_shared]
    return X


# --- codes ----------------------------------------------------------------------------------------


def test_codes_of_a_row_do_not_depend_on_the_others(fitted, X):
    codes = fitted.transform(X)
    assert codes.shape == (150, fitted.n_components)
    assert_array_equal(fitted.transform(np.tile(X, (4, 1))), np.tile(codes, (4, 1)))
    for i in (0, 7, 149):
        assert_array_equal(fitted.transform(X[i : i + 1])[0], codes[i])


def test_codes_have_mean_zero_and_deviation_one(fitted, X):
    codes = fitted.transform(X)
    assert_allclose(codes.mean(axis=0), 0.0, atol=1e-9)
    assert_allclose(codes.std(axis=0), 1.0, rtol=1e-9)


@each_kind
def test_the_seed_is_all_that_is_random_and_the_order_of_rows_nothing(name, X):
    options = {**KINDS[name], "max_iter": 20}
    model = quick_encoder(**options, random_state=5).fit(X)
    for rows, seed in ((X, 5), (X[::-1], 5), (X, np.random.RandomState(5))):
        again = quick_encoder(**options, random_state=seed).fit(rows)
        assert_array_equal(again.transform(X), model.transform(X))
        assert again.validation_curve_ == model.validation_curve_
    other = quick_encoder(**options, random_state=6).fit(X)
    assert not np.array_equal(other.transform(X), model.transform(X))


def test_weights_are_repetitions(X, random_seed):
    rng = np.random.default_rng(random_seed)
    weights = rng.integers(0, 3, len(X))
    weights[0] = 2
    model = quick_encoder(max_iter=20).fit(X, sample_weight=weights)
    repeated = quick_encoder(max_iter=20).fit(rng.permutation(np.repeat(X, weights, axis=0)))
    assert_array_equal(repeated.transform(X), model.transform(X))
    codes = np.repeat(model.transform(X), weights, axis=0)
    assert_allclose(codes.mean(axis=0), 0.0, atol=1e-9)


def test_one_unit_of_all_columns_changes_no_code(X):
    small, large = (
        quick_encoder(scaling="standardize", max_iter=20).fit(rows) for rows in (X, 2.0**20 * X)
    )
    assert_array_equal(large.transform(2.0**20 * X), small.transform(X))
    assert large.score(2.0**20 * X) == small.score(X)


@pytest.mark.parametrize("n", [2, 3, 9, 10, 30])
@each_kind
def test_few_rows_are_enough(n, name, random_seed):
    X = bent_sheet(n, random_seed)
    model = quick_encoder(**{**KINDS[name], "max_iter": 5}).fit(X)
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(list(model.terms_.values())).all()
    assert model.score(X) <= math.log(n) + 1e-12


def test_a_default_fit_of_few_rows_works(random_seed):
    X = bent_sheet(30, random_seed)
    assert InfoMaxEncoder().fit(X).transform(X).shape == (30, 16)


def test_constant_columns_say_nothing(X):
    wide = np.column_stack([X, np.full(len(X), 7.0)])
    model = quick_encoder(max_iter=10).fit(wide)
    moved = wide + 1e6 * (np.arange(6) == 5)
    assert_array_equal(model.transform(moved), model.transform(wide))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_kind
def test_codes_have_the_dtype_of_the_rows(name, dtype, X):
    model = quick_encoder(**{**KINDS[name], "max_iter": 5}).fit(X.astype(dtype))
    codes = model.transform(X.astype(dtype))
    assert codes.dtype == dtype
    wide = model.transform(X.astype(dtype).astype(float))
    assert_allclose(codes, wide, rtol=1e-5, atol=1e-5)


def test_codes_are_named_by_the_class(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcde"), index=range(7, 157))
    model = quick_encoder(max_iter=5).set_output(transform="pandas")
    codes = model.fit_transform(frame)
    assert list(codes.columns) == ["infomaxencoder0", "infomaxencoder1"]
    assert codes.index.tolist() == frame.index.tolist()
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[list("bacde")])


def test_there_is_nothing_that_needs_a_decoder(plain):
    for name in ("inverse_transform", "reconstruct", "impute", "sample", "components_"):
        assert not hasattr(plain, name)


# --- what is learned ------------------------------------------------------------------------------


def test_the_code_finds_what_columns_share(random_seed):
    X = sharing(600, 4, random_seed)
    model = quick_encoder(hidden_layer_sizes=(), max_iter=200).fit(X)
    fresh = sharing(400, 4, random_seed + 1)
    source = fresh[:, :4].mean(axis=1)
    codes = model.transform(fresh)
    assert LinearRegression().fit(codes, source).score(codes, source) > 0.9


def test_training_adds_information(random_seed):
    X, fresh = sharing(600, 8, random_seed), sharing(256, 8, random_seed + 1)
    X[:, 4:] = np.sign(X[:, 4:]) * X[:, 4:] ** 2
    fresh[:, 4:] = np.sign(fresh[:, 4:]) * fresh[:, 4:] ** 2
    start = quick_encoder(max_iter=1, learning_rate=1e-30).fit(X)
    model = quick_encoder(max_iter=400, hidden_layer_sizes=(32,)).fit(X)
    assert min(model.validation_curve_) < model.validation_curve_[0]
    assert model.score(fresh) > start.score(fresh)


def test_more_that_is_shared_is_more_information(random_seed):
    scores = [
        quick_encoder(max_iter=100)
        .fit(sharing(600, n, random_seed))
        .score(sharing(256, n, random_seed + 1))
        for n in (0, 4, 6)
    ]
    assert scores[0] < scores[1] < scores[2]
    assert scores[2] - scores[0] > 0.2


def test_independent_columns_have_about_no_information(random_seed):
    """Views keep a column both in a quarter of the cases, which tells little beside a source."""
    X, fresh = (np.random.default_rng(random_seed + i).standard_normal((600, 8)) for i in (0, 99))
    found = quick_encoder(max_iter=200).fit(X).score(fresh)
    shared = quick_encoder(max_iter=200).fit(sharing(600, 6, random_seed))
    assert abs(found) < 0.4 * shared.score(sharing(600, 6, random_seed + 99))


def test_entropy_spreads_the_code(random_seed):
    X = sharing(400, 8, random_seed)
    terms = [
        quick_encoder(entropy_weight=weight, max_iter=200).fit(X).terms_["entropy"]
        for weight in (1e-9, 3.0)
    ]
    assert terms[1] < terms[0]


def test_curves_and_terms_are_records_of_the_fit(fitted):
    terms = fitted.terms_
    assert set(terms) == {"information"} | ({"entropy"} if fitted.entropy_weight else set())
    objective = terms["information"] + 0.1 * fitted.entropy_weight * terms.get("entropy", 0.0)
    if np.argmin(fitted.validation_curve_) > 0:  # else the start is taken from all rows
        assert objective == pytest.approx(min(fitted.validation_curve_), rel=1e-4)
    assert len(fitted.validation_curve_) == len(fitted.loss_curve_) + 1
    assert 0.0 <= terms["information"] <= math.log(30) + 2.0 / fitted.temperature


# --- score ----------------------------------------------------------------------------------------


def test_score_is_below_its_ceilings_and_the_same_at_each_call(fitted, X):
    found = fitted.score(X)
    assert isinstance(found, float)
    assert fitted.score(X) == found
    for n, batch_size in ((150, 256), (150, 12), (5, 256), (1, 256)):
        model = copy.copy(fitted).set_params(batch_size=batch_size)
        assert model.score(X[:n]) <= math.log(min(n, batch_size)) + 1e-12
    assert fitted.set_params(temperature=100.0).score(X) <= 0.02
    fitted.set_params(temperature=0.5)


def test_score_is_the_bound_of_masked_views_of_each_block(plain, X):
    """Views drawn as the score draws them, cosines by hand; 150 rows in two blocks."""
    model = copy.copy(plain).set_params(batch_size=80)
    z = torch.from_numpy((X - model.location_) / model.scale_)
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for rows in (z[:75], z[75:]):
        codes = []
        for _ in range(2):
            kept = torch.rand(rows.shape, generator=generator, dtype=rows.dtype) >= 0.5
            view = (rows * kept).numpy() * model.scale_ + model.location_
            codes.append(model.transform(view))
        u = StandardScaler().fit_transform(np.concatenate(codes))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        total += float(info_nce(torch.from_numpy(u[:75] @ u[75:].T / 0.5)))
    assert model.score(X) == pytest.approx(total / 2.0, abs=1e-6)


def test_score_does_not_change_the_model_or_the_process(plain, X):
    before, ambient = copy.deepcopy(state_of(plain)), torch.get_rng_state()
    plain.score(X)
    assert_equal(state_of(plain), before)
    assert torch.equal(torch.get_rng_state(), ambient)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": "cropped"}, "Got views='cropped', expected one of"),
        ({"batch_size": 0}, r"Got batch_size=0, expected"),
        ({"keep": 1.0}, r"Got keep=1.0, expected"),
        ({"temperature": 0.0}, r"Got temperature=0.0, expected"),
    ],
)
def test_score_by_options_that_are_bad_is_refused(options, message, plain, X):
    with pytest.raises(ValueError, match=message):
        copy.copy(plain).set_params(**options).score(X)


def test_codes_feed_a_classifier_in_a_search(random_seed):
    X = sharing(120, 4, random_seed)
    y = X[:, :4].mean(axis=1) > 0.0
    steps = make_pipeline(quick_encoder(max_iter=10), LogisticRegression())
    grid = {"infomaxencoder__keep": [0.5, 0.8], "infomaxencoder__views": ["masked", "swapped"]}
    assert GridSearchCV(steps, grid, cv=2).fit(X, y).best_score_ > 0.8


# --- bad input ------------------------------------------------------------------------------------


def refused(model, X, message, error=ValueError):
    """A fit that raises and sets nothing."""
    with pytest.raises(error, match=message):
        model.fit(X)
    assert [name for name in vars(model) if name.endswith("_")] == []


BAD_VALUES = {
    **BAD_SHARED_VALUES,
    "keep": [0.0, 1.0, -0.1, np.nan, None],
    "temperature": [0.0, -0.1, np.nan, np.inf, None],
}


def test_every_option_has_bad_values():
    assert set(InfoMaxEncoder().get_params()) == set(BAD_VALUES) | set(INFO_MAX_CHOICES)
    assert set(INFO_MAX_INTERVALS) <= set(BAD_VALUES)


@pytest.mark.parametrize("name", BAD_VALUES)
def test_an_option_outside_its_range_is_refused(name, X):
    words = "[Ss]eed" if name == "random_state" else f"Got {name}=.*, expected"
    for value in BAD_VALUES[name]:
        refused(quick_encoder(**{name: value}), X, words, (ValueError, TypeError))


@pytest.mark.parametrize("name", INFO_MAX_CHOICES)
@pytest.mark.parametrize("value", ["nonsense", "", 3])
def test_an_unknown_option_is_told_the_valid_ones(name, value, X):
    with pytest.raises(ValueError, match=f"Got {name}={value!r}, expected one of ") as caught:
        quick_encoder(**{name: value}).fit(X)
    assert all(repr(choice) in str(caught.value) for choice in INFO_MAX_CHOICES[name])


def test_a_batch_of_few_rows_is_refused(X):
    message = "Got batch_size=11 for n_components=3, expected at least 12"
    refused(quick_encoder(n_components=3, batch_size=11), X, message)
    quick_encoder(n_components=3, batch_size=12, max_iter=3).fit(X)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X: np.where(np.arange(5) == 1, np.nan, X), "Got X with NaN in 150 of 150 rows"),
        (lambda X: np.where(np.arange(5) == 1, np.inf, X), "contains infinity"),
        (lambda X: X[0], "Expected 2D array, got 1D array"),
        (lambda X: X[:0], r"0 sample\(s\)"),
    ],
)
def test_bad_rows_are_refused(spoil, message, plain, X):
    before = copy.deepcopy(state_of(plain))
    for ask in (plain.fit, plain.transform, plain.score):
        with pytest.raises(ValueError, match=message) as caught:
            ask(spoil(X))
        assert "impute(X)" not in str(caught.value)  # which it does not have
    assert_equal(state_of(plain), before)
    refused(quick_encoder(), spoil(X), message)


def test_wrong_number_of_features_is_refused(plain, X):
    for ask in (plain.transform, plain.score):
        with pytest.raises(ValueError, match="X has 2 features, but InfoMaxEncoder is expecting 5"):
            ask(X[:, :2])


def test_an_unfitted_encoder_says_so(X):
    for ask in (InfoMaxEncoder().transform, InfoMaxEncoder().score):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            ask(X)


# --- fits under way -------------------------------------------------------------------------------


@needs_callbacks
def test_callback_is_told_of_every_check_and_may_stop(X):
    recorder = Recorder(stop_at=2)
    model = quick_encoder(max_iter=300).set_callbacks(recorder).fit(X)
    assert recorder.events.count("end check") == 2
    assert model.n_iter_ == 2 * check_every(len(X))


def test_verbose_prints_a_line_at_each_check_and_changes_nothing(X, capsys):
    quiet = quick_encoder().fit(X)
    assert capsys.readouterr().out == ""
    told = quick_encoder(verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(told.loss_curve_)
    assert all(line.startswith("[InfoMaxEncoder] step ") for line in lines)
    assert_array_equal(told.transform(X), quiet.transform(X))


@each_kind
def test_a_fit_interrupted_at_once_leaves_the_codes_of_pca(name, X, monkeypatch):
    interrupt_after(0, monkeypatch)
    model = quick_encoder(**KINDS[name], scaling="standardize")
    with pytest.warns(ConvergenceWarning, match="The fit was interrupted; the best") as caught:
        model.fit(X)
    assert caught[0].filename == __file__
    assert (model.n_iter_, len(model.validation_curve_)) == (0, 1)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    axes = np.linalg.svd(z, full_matrices=False)[2]
    codes = z @ axes[: model.n_components].T
    codes /= codes.std(axis=0)
    found = model.transform(X)
    assert_allclose(np.abs(found), np.abs(codes), atol=1e-6)


def test_a_fit_out_of_time_says_so_and_is_usable(X):
    model = quick_encoder(max_iter=10**6, n_iter_no_change=10**6, time_limit=1e-9)
    with pytest.warns(ConvergenceWarning, match="reached its time_limit of 1e-09 sec"):
        model.fit(X)
    assert model.n_iter_ == 0
    assert np.isfinite(model.score(X))


def test_a_second_fit_that_fails_loses_nothing(X, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    model = quick_encoder(max_iter=5).fit(X)
    before = copy.deepcopy(state_of(model))
    monkeypatch.setattr(Training, "step", fail)
    with pytest.raises(MemoryError):
        model.fit(X[:, :3])
    assert_equal(state_of(model), before)


def test_interrupts_at_any_line_leave_the_old_model_or_a_new_one(X, random_seed):
    rows = X[:40]
    stored = pickle.dumps(quick_encoder(max_iter=3).fit(rows))
    answers = pickle.loads(stored).transform(rows)

    def make():
        model = pickle.loads(stored)

        def is_whole(result, raised):
            found = model.transform(rows)
            if np.array_equal(found, answers):
                return ""
            whole = np.isfinite(found).all() and model.location_[0] > 0.5
            return "" if whole else "neither the old model nor a whole one"

        return lambda: model.fit(3.0 * rows + 1.0), is_whole

    found, wrong = count_outcomes(make, 30, random_seed)
    assert wrong == []
    assert found["raised"] + found["told"] == 30


def test_a_warm_start_goes_on(X):
    model = quick_encoder(warm_start=True).fit(X)
    n_iter, curve, location = model.n_iter_, model.validation_curve_, model.location_
    model.fit(X + 0.1)
    assert model.n_iter_ > n_iter
    assert model.validation_curve_[: len(curve)] == curve
    assert_array_equal(model.location_, location)
    for options, message in (
        ({"n_components": 3}, "Got n_components=3, expected 2, that of the networks which"),
        ({"hidden_layer_sizes": (9,)}, r"Got hidden_layer_sizes=\(9,\), expected \(8,\)"),
        ({"activation": "tanh"}, "Got activation='tanh', expected 'silu'"),
    ):
        with pytest.raises(ValueError, match=message):
            copy.copy(model).set_params(**options).fit(X)


# --- storage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_round_trip_answers_the_same(through, fitted, X):
    again = through(fitted)
    assert_array_equal(again.transform(X), fitted.transform(X))
    assert again.score(X) == fitted.score(X)
    assert_equal(state_of(again), state_of(fitted))
    unfitted = quick_encoder(hidden_layer_sizes=[4, 2])
    assert vars(through(unfitted)) == vars(unfitted)


def test_fitted_attributes_are_documented(plain):
    """Every public attribute that fit sets is in the docstring, and nothing else is."""
    section = InfoMaxEncoder.__doc__.split("Attributes\n")[1].split("See Also\n")[0]
    heads = [line for line in section.splitlines() if line.startswith("    ") and " : " in line]
    heads = [line.split(" : ")[0] for line in heads if not line.startswith("     ")]
    documented = {name.strip() for head in heads for name in head.split(",")}
    found = {name for name in vars(plain) if name.endswith("_") and not name.startswith("_")}
    assert found | {"feature_names_in_"} == documented


def test_parameters_set_after_fit_change_no_code(plain, X):
    model = through_pickle(plain).set_params(
        activation="tanh", n_components=3, hidden_layer_sizes=(3,), scaling=None, keep=0.1
    )
    assert_array_equal(model.transform(X), plain.transform(X))


@pytest.mark.parametrize("name", ["coefs_", "n_components", "_fitted_as", "terms_"])
def test_an_edited_state_is_refused(name, plain):
    stored = {**plain.__getstate__(), name: "another"}
    with pytest.raises(ValueError, match="stored InfoMaxEncoder whose checksum is not that"):
        InfoMaxEncoder().__setstate__(stored)
    with pytest.raises(ValueError, match="InfoMaxEncoder without a format, expected format 1"):
        InfoMaxEncoder().__setstate__(vars(plain))


EDITS = {
    "scale": (lambda f: {"scale": -f.scale}, "scale_ not above 0, expected positive"),
    "code scale": (lambda f: {"code_scale": 0.0 * f.code_scale}, "code_scale_ not above 0"),
    "fewer coefs": (lambda f: {"coefs": f.coefs[:1]}, "1 coefs_ and 2 intercepts_, expected 2 of"),
    "a decoder": (
        lambda f: {"architecture": f.architecture._replace(decodes=True)},
        "2 coefs_ and 2 intercepts_, expected 4 of each",
    ),
    "coef": (
        lambda f: {"coefs": [f.coefs[0], np.ones((8, 3))]},
        r"coefs_\[1\] of shape \(8, 3\), expected shape \(8, 2\)",
    ),
    "no path": (lambda f: {"path": None}, "no linear path, expected one"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_part_is_named(name, plain):
    edit, message = EDITS[name]
    parts = plain._fitted()
    check_sound(parts, 5)
    with pytest.raises(ValueError, match=f"Got a fitted state with .*{message}"):
        check_sound(replace(parts, **edit(parts)), 5)


def test_what_a_fit_gives_is_numpy_or_builtin(fitted):
    allowed = {np.ndarray, np.float64, float, int, bool, str, type(None)}

    def leaves(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            return set(itertools.chain.from_iterable(leaves(item) for item in value))
        return {type(value)}

    assert all(leaves(value) <= allowed for value in state_of(fitted).values())
