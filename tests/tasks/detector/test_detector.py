"""The detector as a whole: ranks, thresholds, raw tables, explanations, what a fit promises."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from skrae import DensityOutlierDetector, RegularizedAutoEncoderScore
from tests.round_trips import through_joblib, through_pickle, through_skops

STATES = "mixed", "clean"


def rows_and_cluster(seed, n=600, n_far=30):
    """Round rows, a narrow cluster far from them, and which rows belong to it."""
    rng = np.random.default_rng(seed)
    cluster = rng.normal([5.0, -4.0, 0.0], 0.05, size=(n_far, 3))
    rows = np.concatenate([rng.normal(size=(n, 3)), cluster])
    order = rng.permutation(len(rows))
    return rows[order], order >= n


@pytest.fixture(scope="module")
def table(random_seed):
    return rows_and_cluster(random_seed)


@pytest.fixture(scope="module", params=STATES)
def fitted(request, table):
    return DensityOutlierDetector(request.param, contamination=0.05, random_state=0).fit(table[0])


@pytest.fixture(scope="module")
def mixed_frame(random_seed):
    """A number with holes, a species, a flag; the last two go together but in the last row."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(random_seed)
    species = rng.choice(["a", "b"], 400)
    numbers = rng.normal(size=400) + 3.0 * (species == "a")
    numbers[::11] = np.nan
    flag = species == "a"
    flag[-1] = ~flag[-1]
    return pandas.DataFrame({"size": numbers, "species": species, "flag": flag})


def test_cluster_among_the_training_rows_is_found_among_mixed_rows(table):
    X, is_far = table
    scores = {
        state: DensityOutlierDetector(state, random_state=0).fit(X).score_samples(X)
        for state in STATES
    }
    assert roc_auc_score(is_far, -scores["mixed"]) > 0.99
    # All rows at once hold the cluster: there it is no outlier.
    assert roc_auc_score(is_far, -scores["clean"]) < 0.9


def test_clean_rows_rank_what_lies_between_their_clusters_better(random_seed):
    rng = np.random.default_rng(random_seed)
    angle = rng.uniform(0.0, 2.0 * np.pi, 500)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(500, 2))
    inside = rng.uniform(-0.5, 0.5, (50, 2))
    X, is_far = np.concatenate([ring[400:], inside]), np.arange(150) >= 100
    areas = [
        roc_auc_score(
            is_far, -DensityOutlierDetector(state, random_state=0).fit(ring[:400]).score_samples(X)
        )
        for state in STATES
    ]
    assert areas[1] > 0.99
    assert areas[1] >= areas[0]


@pytest.mark.parametrize("contamination", [0.01, 0.05, 0.1])
def test_share_of_fresh_rows_called_outliers_is_what_was_asked(random_seed, contamination):
    """Within four standard errors, of the offset by 1000 rows and of the share by 20 000."""
    rng = np.random.default_rng(random_seed)
    train, fresh = rng.normal(size=(1000, 4)), rng.normal(size=(20_000, 4))
    model = DensityOutlierDetector(contamination=contamination, random_state=0).fit(train)
    assert np.mean(model.predict(train) < 0) == pytest.approx(contamination, abs=1e-3)
    error = 4.0 * np.sqrt(contamination * (1.0 - contamination) / 1000)
    assert abs(np.mean(model.predict(fresh) < 0) - contamination) < error


@pytest.mark.parametrize("n", [150, 4000])
def test_p_values_of_fresh_rows_are_below_alpha_as_often_as_alpha(random_seed, n):
    """For rows left undrawn exactly, for rows without themselves nearly; four standard errors."""
    rng, alpha, found = np.random.default_rng(random_seed), 0.1, []
    for seed in range(4):
        model = DensityOutlierDetector(random_state=seed).fit(rng.normal(size=(n, 3)))
        found.append(np.mean(model.p_values(rng.normal(size=(5000, 3))) <= alpha))
    n_calibration = len(model.calibration_scores_)
    assert (n_calibration < n) == (n == 4000)
    error = 4.0 * np.sqrt(alpha * (1.0 - alpha) / n_calibration / len(found))
    assert abs(np.mean(found) - alpha) < error + 1.0 / n_calibration


def test_auto_calls_what_is_beyond_the_fence_outliers(table):
    model = DensityOutlierDetector(random_state=0).fit(table[0])
    scores = model.score_samples(table[0])
    first, third = np.quantile(scores, [0.25, 0.75])
    assert_allclose(model.offset_, first - 1.5 * (third - first), rtol=1e-12)
    assert (model.predict(table[0])[table[1]] == -1).all()


def test_contributions_lead_from_the_baseline_to_the_score(fitted, table):
    X = table[0][:40].copy()
    X[0, 1] = np.nan
    contributions = fitted.explain(X)
    expected = fitted.baseline_ - fitted.score_samples(X)
    assert_allclose(contributions.sum(axis=1), expected, rtol=1e-10, atol=1e-10)
    assert contributions[0, 1] == 0.0


def test_column_that_makes_a_row_odd_is_named(fitted):
    rows = np.array([[0.0, 0.0, 9.0], [-7.0, 0.0, 0.0]])
    contributions = fitted.explain(rows)
    assert contributions.argmax(axis=1).tolist() == [2, 0]
    others = contributions.copy()
    others[[0, 1], [2, 0]] = 0.0
    assert (contributions.max(axis=1) > 3.0 * others.sum(axis=1)).all()


def test_row_is_answered_the_same_alone(fitted, table):
    X = table[0][:70].copy()
    X[3, 0] = X[40, 2] = np.nan
    scores, contributions = fitted.score_samples(X), fitted.explain(X)
    for i in (0, 3, 41, 69):
        assert_array_equal(fitted.score_samples(X[i : i + 1]), scores[i : i + 1])
        assert_array_equal(fitted.explain(X[i : i + 1]), contributions[i : i + 1])


@pytest.mark.parametrize("state", STATES)
def test_order_of_rows_and_copies_for_weights_change_nothing(random_seed, state):
    rng = np.random.default_rng(random_seed)
    X, weights = rng.normal(size=(80, 2)), rng.integers(0, 4, 80)
    fresh = rng.normal(size=(20, 2))
    model = DensityOutlierDetector(state, contamination=0.1, random_state=0)
    repeated = np.repeat(X, weights, axis=0)
    expected = model.fit(repeated).decision_function(fresh)
    p = model.p_values(fresh)
    shuffled = clone(model).fit(rng.permutation(repeated))
    assert_allclose(shuffled.decision_function(fresh), expected, rtol=1e-10)
    weighted = clone(model).fit(X, sample_weight=weights)
    assert_allclose(weighted.decision_function(fresh), expected, rtol=1e-10)
    assert_allclose(weighted.p_values(fresh), p, rtol=1e-10)
    tenths = clone(model).fit(X, sample_weight=weights / 10.0)
    assert_allclose(tenths.decision_function(fresh), expected, rtol=1e-10)


@pytest.mark.parametrize("state", STATES)
def test_units_of_columns_do_not_matter(table, state):
    X = table[0]
    model = DensityOutlierDetector(state, random_state=0)
    scores = model.fit(X).score_samples(X)
    # Powers of two keep the order of the draws and every digit.
    units, origin = np.array([2.0**20, 2.0**-10, 1.0]), 0.0
    other = clone(model).fit(units * X + origin).score_samples(units * X + origin)
    assert_allclose(np.corrcoef(scores, other)[0, 1], 1.0, atol=0.02)


def test_values_that_many_rows_share_are_no_outliers(random_seed):
    """A row is no evidence for itself, but its copies are."""
    rng = np.random.default_rng(random_seed)
    X = rng.choice([0.0, 1.0, 2.0], (500, 2), p=[0.49, 0.49, 0.02])
    scores = DensityOutlierDetector(random_state=0).fit(X).score_samples(X)
    assert scores[(X == 2.0).any(axis=1)].max() < scores[(X < 2.0).all(axis=1)].min()


@pytest.mark.parametrize("state", STATES)
def test_raw_tables_are_taken_as_they_are(mixed_frame, state):
    model = DensityOutlierDetector(state, random_state=0).fit(mixed_frame)
    scores = model.score_samples(mixed_frame)
    assert np.argmin(scores) == len(mixed_frame) - 1
    assert model.explain(mixed_frame.tail(1))[0, 1:].sum() > 3.0
    assert list(model.feature_names_in_) == list(mixed_frame.columns)
    new = mixed_frame.head(3).copy()
    new["species"] = ["a", "c", None]
    answers = model.score_samples(new)
    assert answers[1] < answers[0]  # a level never seen
    assert model.explain(new)[2, 1] == 0.0  # a hole


def test_frames_of_both_libraries_are_one_table(mixed_frame):
    polars = pytest.importorskip("polars")
    other = polars.DataFrame(
        {name: mixed_frame[name].tolist() for name in mixed_frame}, nan_to_null=True
    )
    model = DensityOutlierDetector(random_state=0)
    expected = model.fit(mixed_frame).score_samples(mixed_frame)
    assert_allclose(clone(model).fit(other).score_samples(other), expected, rtol=1e-10)


def test_codes_named_as_categories_have_no_order():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.choice([0, 1, 9], 300), rng.normal(size=300)])
    model = DensityOutlierDetector(categorical_features=[0], random_state=0).fit(X)
    low, high, never = model.score_samples([[0, 0.0], [9, 0.0], [5, 0.0]])
    assert abs(low - high) < 1.0
    assert never < min(low, high) - 0.5


def test_holes_everywhere_count_as_a_row_at_random(fitted):
    assert_allclose(fitted.score_samples(np.full((1, 3), np.nan)), fitted.baseline_)


@pytest.mark.parametrize("trip", [through_pickle, through_joblib, through_skops])
def test_stored_detector_answers_the_same(fitted, table, trip):
    loaded = trip(fitted)
    for ask in ("score_samples", "predict", "p_values", "explain"):
        assert_array_equal(getattr(loaded, ask)(table[0][:9]), getattr(fitted, ask)(table[0][:9]))


def test_stored_detector_of_a_raw_table_answers_the_same(mixed_frame):
    model = DensityOutlierDetector(random_state=0).fit(mixed_frame)
    loaded = through_pickle(model)
    assert_array_equal(loaded.score_samples(mixed_frame), model.score_samples(mixed_frame))


def test_failed_fit_leaves_what_was_fitted(table):
    model = DensityOutlierDetector(random_state=0).fit(table[0])
    expected = model.score_samples(table[0])
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(table[0][:, :2], sample_weight=[-1.0] * len(table[0]))
    assert_array_equal(model.score_samples(table[0]), expected)


@pytest.mark.parametrize("state", [*STATES, "auto"])
def test_odd_tables_are_scored_and_explained(random_seed, state):
    """Constant, empty and wild columns, two rows, equal rows, strings alone."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(random_seed)
    rows = rng.normal(size=(40, 2))
    empty = np.column_stack([rows, np.full(40, np.nan)])
    constant = np.column_stack([rows, np.ones(40)])
    strings = pandas.DataFrame({"a": list("xyxxzyxyxx") * 4, "b": list("uuvvuvuuvw") * 4})
    tables = [
        *((rows[:2], rows), (rows, 1e160 * rows), (1e200 * rows, 1e200 * rows)),
        *((empty, empty), (constant, 7.0 * constant), (np.ones((9, 2)), rows), (strings, strings)),
    ]
    for train, asked in tables:
        model = DensityOutlierDetector(state, random_state=0).fit(train)
        scores, contributions = model.score_samples(asked), model.explain(asked)
        assert np.isfinite(scores).all()
        expected = model.baseline_ - scores
        assert_allclose(contributions.sum(axis=1), expected, rtol=1e-9, atol=1e-9)
        p = model.p_values(asked)
        assert p.min() > 0.0
        assert p.max() <= 1.0


def test_densities_of_clean_rows_are_calibrated_on_rows_held_out(random_seed):
    rng = np.random.default_rng(random_seed)
    train, fresh = rng.normal(size=(1000, 2)), rng.normal(size=(5000, 2))
    density = GaussianMixture(1, random_state=0)
    model = DensityOutlierDetector("clean", density=density, contamination=0.1, random_state=0)
    model.fit(train)
    assert not hasattr(density, "means_")
    assert_array_equal(model.score_samples(fresh), model.density_.score_samples(fresh))
    assert len(model.calibration_scores_) == 200
    error = 4.0 * np.sqrt(0.1 * 0.9 / 200)
    assert abs(np.mean(model.p_values(fresh) <= 0.1) - 0.1) < error
    assert abs(np.mean(model.predict(fresh) < 0) - 0.1) < error
    loaded = through_pickle(model)
    assert_array_equal(loaded.p_values(fresh), model.p_values(fresh))
    with pytest.raises(TypeError, match="expected one of kernels, density=None"):
        model.explain(fresh)


def test_density_takes_the_raw_tables_that_it_takes(mixed_frame):
    density = RegularizedAutoEncoderScore(max_iter=3, max_mixtures=1, max_components=4)
    model = DensityOutlierDetector("clean", density=density, random_state=0)
    p = model.fit(mixed_frame, sample_weight=np.ones(len(mixed_frame))).p_values(mixed_frame)
    assert p[-1] == p.min()


X = np.random.default_rng(0).normal(size=(30, 2))
# name: (options, rows, error, message)
BAD = {
    "training_rows": ({"training_rows": "dirty"}, X, ValueError, "training_rows='dirty', expected"),
    "n_subsamples": ({"n_subsamples": 0}, X, ValueError, "n_subsamples=0, expected an integer"),
    "no share": ({"contamination": 0.6}, X, ValueError, "contamination=0.6, expected 'auto' or"),
    "zero": ({"contamination": 0.0}, X, ValueError, "contamination=0.0, expected 'auto' or"),
    "a word": ({"contamination": "few"}, X, ValueError, "contamination='few', expected 'auto'"),
    "no number": ({"contamination": None}, X, TypeError, "contamination=None, expected 'auto'"),
    "no density": ({"density": "normal"}, X, TypeError, "density='normal' without fit, expected"),
    "a density of mixed rows": (
        {"density": GaussianMixture()},
        X,
        ValueError,
        "Got a density with training_rows='mixed', expected 'clean'",
    ),
    "infinite rows": ({}, [[1.0, np.inf], [0.0, 1.0]], ValueError, "infinity"),
    "one row": ({}, X[:1], ValueError, "minimum of 2 is required"),
    "no such column": ({"categorical_features": [5]}, X, ValueError, "categorical_features"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_words(name):
    options, rows, error, message = BAD[name]
    with pytest.raises(error, match=message):
        DensityOutlierDetector(**options).fit(rows)


def test_strings_asked_of_a_fit_to_numbers_are_refused():
    model = DensityOutlierDetector(random_state=0).fit(X)
    with pytest.raises(ValueError, match="strings"):
        model.score_samples(np.array([["a", "b"]], dtype=object))


@pytest.mark.parametrize("training_rows", ["mixed", "clean", "auto"])
def test_another_value_in_a_constant_column_is_odd(training_rows):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=300), "state": "ok", "number": 7.0})
    detector = DensityOutlierDetector(training_rows, random_state=0).fit(X)
    own = detector.p_values(X.head(5))
    for other in ({"state": "broken"}, {"number": 8.0}):
        rows = X.head(5).assign(**other)
        assert (detector.p_values(rows) < np.minimum(own, 0.02)).all()
        contributions = detector.explain(rows)
        assert (np.abs(contributions).argmax(axis=1) == list(X).index(*other)).all()
