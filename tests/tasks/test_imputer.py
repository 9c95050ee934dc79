"""DensityImputer: means and draws of what is missing, tables as they are, row by row."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skrae import DensityImputer, RegularizedAutoEncoderScore

SMALL = {"max_components": 2, "max_mixtures": 1, "max_iter": 3, "hidden_layer_sizes": (4,)}
CORRELATION, N = 0.8, 800


def density(**options):
    return RegularizedAutoEncoderScore(**{**SMALL, **options})


def normal_rows(n=N, seed=0):
    """N(0, [[1, .8], [.8, 1]]): E[y | x] = .8 x, with deviation .6."""
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal([0.0, 0.0], [[1.0, CORRELATION], [CORRELATION, 1.0]], n)


def holed(X, share=0.2, seed=0):
    rng = np.random.default_rng(seed)
    missing = rng.random(X.shape) < share
    missing[missing.all(axis=1), 0] = False
    return np.where(missing, np.nan, X)


def raw_frame(n=300, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    frame = pd.DataFrame(
        {
            "group": pd.Categorical(np.where(group, "b", "a")),
            "count": pd.array(rng.poisson(2.0 + 8.0 * group), dtype="Int64"),
            "size": rng.normal(5.0 * group, 1.0),
        }
    )
    frame.loc[frame.index[::7], "count"] = pd.NA
    frame.loc[frame.index[1::7], "group"] = None
    frame.loc[frame.index[2::7], "size"] = np.nan
    return frame


@pytest.fixture(scope="module")
def imputer():
    return DensityImputer(density(max_components=1), random_state=0).fit(holed(normal_rows()))


@pytest.fixture(scope="module")
def of_frame():
    return DensityImputer(density(), add_indicator=True, random_state=0).fit(raw_frame())


def test_means_are_those_of_the_normal_law(imputer):
    X = np.linspace(-2.0, 2.0, 9)
    for rows in (np.c_[X, np.full(9, np.nan)], np.c_[np.full(9, np.nan), X]):
        filled = imputer.transform(rows)
        hole = np.isnan(rows)
        # Of 64 draws of deviation .6, and slopes of 800 rows; five standard errors.
        error = 5.0 * 0.6 * (1.0 / 64.0 + (1.0 + 4.0) / N) ** 0.5
        assert np.abs(filled[hole] - CORRELATION * X).max() < error
        np.testing.assert_array_equal(filled[~hole], rows[~hole])


def test_more_draws_come_nearer_to_the_mean():
    rows = np.array([[1.0, np.nan]] * 2)
    model = DensityImputer(density(max_components=1), n_samples=20_000, random_state=0)
    found = model.fit(normal_rows()).transform(rows)[0, 1]
    conditional = model.density_.score_samples(np.c_[np.ones(4001), np.linspace(-4, 6, 4001)])
    mass = np.exp(conditional - conditional.max())
    exact = mass @ np.linspace(-4, 6, 4001) / mass.sum()
    assert abs(found - exact) < 5.0 * 0.6 / 20_000**0.5


def test_draws_are_those_of_the_conditional_law(imputer):
    n = 400
    tables = imputer.sample(np.array([[1.0, np.nan]]), n)
    drawn = np.array([table[0, 1] for table in tables])
    uniform = norm.cdf(drawn, CORRELATION, 0.6)
    assert abs(uniform.mean() - 0.5) < 5.0 * (1.0 / 12.0 / n) ** 0.5 + 0.05
    assert abs(drawn.std() - 0.6) < 5.0 * 0.6 / (2.0 * n) ** 0.5 + 0.05
    assert all(table[0, 0] == 1.0 for table in tables)


def test_equal_rows_have_the_same_means_and_other_draws(imputer):
    rows = np.array([[0.5, np.nan]] * 3)
    assert len(set(imputer.transform(rows)[:, 1])) == 1
    assert len(set(imputer.sample(rows, 1)[0][:, 1])) == 3


def test_each_row_alone_to_the_bit(imputer, of_frame):
    rows = holed(normal_rows(40, 1), 0.5, 2)
    together = imputer.transform(rows)
    alone = np.vstack([imputer.transform(rows[i : i + 1]) for i in range(len(rows))])
    np.testing.assert_array_equal(together, alone)
    frame = raw_frame(30, 1)
    parts = [of_frame.transform(frame.iloc[i : i + 1]) for i in range(len(frame))]
    pd.testing.assert_frame_equal(pd.concat(parts), of_frame.transform(frame))


def test_fit_transform_is_both(imputer):
    X = holed(normal_rows())
    other = DensityImputer(density(max_components=1), random_state=0)
    np.testing.assert_array_equal(other.fit_transform(X), imputer.transform(X))


def test_random_state_is_of_draws_and_density():
    X = holed(normal_rows(200))
    one, same, other = (
        DensityImputer(density(), random_state=s).fit(X).transform(X) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_holes_of_a_fit_to_complete_rows():
    model = DensityImputer(density(max_components=1), random_state=0).fit(normal_rows())
    filled = model.transform(np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, 2.0]]))
    assert filled[0, 1] == pytest.approx(CORRELATION, abs=0.45)
    assert np.abs(filled[1]).max() < 0.8
    assert filled[2].tolist() == [1.0, 2.0]
    assert len(model.indicator_features_) == 0


def test_frames_come_back_with_their_types(of_frame):
    frame = raw_frame()
    filled = of_frame.transform(frame)
    assert list(filled) == list(of_frame.get_feature_names_out())
    assert not filled.isna().any().any()
    own = filled[list(frame)]
    assert own.dtypes.equals(frame.dtypes)
    was = frame.notna()
    pd.testing.assert_frame_equal(own.where(was), frame.where(was), check_dtype=False)
    for name in frame:
        indicator = filled[f"missingindicator_{name}"]
        np.testing.assert_array_equal(indicator == 1.0, frame[name].isna())
    # A group is told by the count, and nearly always right.
    hole = frame["group"].isna() & ((frame["count"] > 9) | (frame["count"] < 3))
    likely = np.where(frame.loc[hole, "count"] > 9, "b", "a")
    assert (filled.loc[hole, "group"].astype(str) == likely).mean() > 0.9
    assert [list(table) for table in of_frame.sample(frame, 2)] == [list(filled)] * 2


def test_indicator_beside_an_array():
    X = holed(normal_rows(200))
    X[:, 1] = np.nan_to_num(X[:, 1])
    model = DensityImputer(density(), add_indicator=True, random_state=0)
    filled = model.fit_transform(X)
    assert model.get_feature_names_out().tolist() == ["x0", "x1", "missingindicator_x0"]
    np.testing.assert_array_equal(filled[:, 2], np.isnan(X[:, 0]))


def test_output_of_frames_by_set_output():
    X = holed(normal_rows(200))
    model = DensityImputer(density(), add_indicator=True).set_output(transform="pandas")
    filled = model.fit_transform(X)
    assert list(filled) == list(model.get_feature_names_out())


def test_polars_frames():
    polars = pytest.importorskip("polars")
    rows = holed(normal_rows(200))
    frame = polars.DataFrame(rows, schema=["a", "b"], nan_to_null=True)
    model = DensityImputer(density(), add_indicator=True, random_state=0)
    filled = model.fit_transform(frame)
    assert isinstance(filled, polars.DataFrame)
    assert filled.columns == ["a", "b", "missingindicator_a", "missingindicator_b"]
    assert sum(filled.null_count().row(0)) == 0


def test_before_a_classifier_in_a_search():
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(
        DensityImputer(density(), random_state=0), LogisticRegression(max_iter=1000)
    )
    search = GridSearchCV(model, {"densityimputer__density__max_components": [1, 2]}, cv=2)
    assert search.fit(holed(X), y).score(holed(X), y) > 0.8


def test_weights_reach_the_density():
    X = np.vstack([normal_rows(200), normal_rows(200) + 50.0])
    weights = np.repeat([1.0, 0.0], 200)
    model = DensityImputer(density(), random_state=0).fit(X, sample_weight=weights)
    assert np.abs(model.transform([[np.nan, np.nan]])).max() < 5.0


def test_pickle(imputer):
    rows = holed(normal_rows(20, 3))
    again = pickle.loads(pickle.dumps(imputer))
    np.testing.assert_array_equal(again.transform(rows), imputer.transform(rows))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_samples": 0}, ValueError, "n_samples"),
        ({"n_samples": 1.5}, TypeError, "n_samples"),
        ({"add_indicator": "yes"}, TypeError, "add_indicator"),
        ({"density": LogisticRegression()}, TypeError, "expected a RegularizedAutoEncoderScore"),
        ({"density": density(max_iter=-1)}, ValueError, "max_iter"),
    ],
)
def test_bad_options_leave_what_was_fitted(options, error, match):
    X = holed(normal_rows(100))
    model = DensityImputer(density(), random_state=0).fit(X)
    before = model.transform(X)
    with pytest.raises(error, match=match):
        model.set_params(**options).fit(np.c_[X, X])
    model.set_params(**DensityImputer(n_samples=64).get_params(deep=False))
    np.testing.assert_array_equal(model.transform(X), before)


def test_bad_rows(imputer):
    with pytest.raises(ValueError, match="2 features"):
        imputer.transform([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="infinity"):
        imputer.transform([[np.inf, np.nan]])
    with pytest.raises(ValueError, match="without any observed value"):
        DensityImputer(density()).fit(np.c_[normal_rows(50), np.full(50, np.nan)])
    with pytest.raises(ValueError, match="n_samples"):
        imputer.sample([[1.0, np.nan]], 0)


def test_a_row_that_is_no_table(imputer, of_frame):
    with pytest.raises(ValueError, match="Reshape your data"):
        of_frame.transform(raw_frame().iloc[0])
    with pytest.raises(ValueError, match="Reshape your data"):
        imputer.transform(np.zeros(2))


def test_the_mean_of_a_column_with_an_atom_is_that_of_both_parts():
    """Zero with probability 1/4, else N(10, 1): 7.5, whatever the other column says."""
    rng = np.random.default_rng(0)
    amount = np.where(rng.random(N) < 0.25, 0.0, rng.normal(10.0, 1.0, N))
    X = np.c_[amount, rng.normal(size=N)]
    model = DensityImputer(density(max_components=1), n_samples=2000, random_state=0).fit(X)
    assert model.density_.columns_["kind"].tolist() == ["atoms", "continuous"]
    filled = model.transform([[np.nan, -0.5], [np.nan, 0.5]])[:, 0]
    # Of 2000 draws of deviation 4.4, and the share of 800 rows.
    assert np.abs(filled - amount.mean()).max() < 5.0 * 4.4 * (1.0 / 2000 + 2.0 / N) ** 0.5
    drawn = np.array([table[0, 0] for table in model.sample([[np.nan, 0.0]], 100)])
    assert 0.05 < (drawn == 0.0).mean() < 0.5


def test_means_stay_between_the_rows_of_the_fit():
    rng = np.random.default_rng(0)
    X = np.c_[rng.standard_t(1.5, 300), rng.normal(size=300)]
    model = DensityImputer(density(), random_state=0).fit(X)
    np.testing.assert_array_equal(model.limits_, [X.min(axis=0), X.max(axis=0)])
    filled = model.transform(np.c_[np.full(50, np.nan), np.linspace(-4.0, 4.0, 50)])[:, 0]
    assert ((filled >= X[:, 0].min()) & (filled <= X[:, 0].max())).all()
