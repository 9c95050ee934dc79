"""Questions about raw rows by an estimator: marginals, zeros, containers, plain tables as ever."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from skrae.density.incomplete import evaluator
from tests.density.estimators import ROW_QUESTIONS
from tests.density.incomplete.tables import (
    fitted,
    mixed_frame,
    mixed_model,
    plain_model,
    plain_rows,
    rows_of,
    with_network,
)

QUESTIONS = [question for question in ROW_QUESTIONS if question != "local_moments"]
BOTH = pytest.mark.parametrize("has_network", [False, True], ids=["base", "network"])


@pytest.fixture(params=["pandas", "polars", "array"])
def kind(request):
    if request.param != "array":
        pytest.importorskip(request.param)
    return request.param


def test_containers_of_the_same_rows_have_the_same_answers(kind):
    models = mixed_model("array"), mixed_model(kind)
    rows = rows_of("array"), rows_of(kind)
    for question in ("score_samples", "log_density_gradient", "log_density_hessian", "transform"):
        expected, found = (
            getattr(model, question)(own) for model, own in zip(models, rows, strict=True)
        )
        assert_array_equal(found, expected, question)


@BOTH
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_depend_on_their_row_alone(question, has_network):
    model, rows = mixed_model("array", has_network), rows_of("array")
    answer = getattr(model, question)
    together = answer(rows)
    order = np.random.default_rng(0).permutation(60)
    assert answer(rows[order]).tolist() == together[order].tolist()
    for i in (0, 7, 31, 59):
        assert answer(rows[[i]]).tolist() == together[[i]].tolist()


@BOTH
def test_there_is_no_derivative_where_there_is_no_number(has_network):
    pandas = pytest.importorskip("pandas")
    model = mixed_model("pandas", has_network)
    rows = pandas.DataFrame(
        {
            "c": pandas.Categorical(["a", "b", None, "a"], categories=["a", "b", "c"]),
            "x": [1.0, np.nan, 0.5, 2.0],
            "k": [1, 2, 3, 4],
            "z": [0.0, 0.5, np.nan, 1.5],
        }
    )
    gradient, hessian = model.log_density_gradient(rows), model.log_density_hessian(rows)
    has = np.array([[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0], [0, 1, 1, 1]], bool)
    assert gradient.shape == (4, 4)
    assert hessian.shape == (4, 4, 4)
    assert_array_equal(gradient != 0.0, has)
    assert_array_equal(hessian != 0.0, has[:, :, None] & has[:, None, :])
    assert_array_equal(hessian, hessian.swapaxes(1, 2))


@BOTH
def test_derivatives_of_numbers_beside_cells_are_those_of_the_log_density(has_network):
    """Of rows without holes: their points and the sums over them are the same nearby."""
    pandas = pytest.importorskip("pandas")
    model = mixed_model("pandas", has_network)
    row = pandas.DataFrame({"c": ["a"], "x": [1.0], "k": [2], "z": [0.8]})
    row["c"] = row["c"].astype(pandas.CategoricalDtype(["a", "b", "c"]))
    gradient, hessian = model.log_density_gradient(row)[0], model.log_density_hessian(row)[0]
    for j, name in ((1, "x"), (3, "z")):
        above, below = row.copy(), row.copy()
        above[name] += 1e-4
        below[name] -= 1e-4
        pairs = [(model.score_samples(own)[0]) for own in (above, below)]
        assert_allclose(gradient[j], (pairs[0] - pairs[1]) / 2e-4, rtol=0, atol=1e-5)
        pairs = [(model.log_density_gradient(own)[0]) for own in (above, below)]
        assert_allclose(hessian[j], (pairs[0] - pairs[1]) / 2e-4, rtol=0, atol=1e-4)


@BOTH
def test_derivatives_of_complete_rows_without_cells_are_those_of_the_log_density(has_network):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    c = rng.choice(["a", "b"], 120)
    frame = pandas.DataFrame({"c": c, "x": rng.standard_normal(120), "y": rng.exponential(2, 120)})
    frame["y"] += 3.0 * (c == "a")
    model = fitted(frame)
    if has_network:
        model = with_network(model)
    rows = frame.head(5)
    gradient, hessian = model.log_density_gradient(rows), model.log_density_hessian(rows)
    assert not gradient[:, 0].any()
    for j, name in ((1, "x"), (2, "y")):
        above, below = rows.copy(), rows.copy()
        above[name] += 1e-4
        below[name] -= 1e-4
        slope = (model.score_samples(above) - model.score_samples(below)) / 2e-4
        assert_allclose(gradient[:, j], slope, rtol=0, atol=1e-5)
        bend = (model.log_density_gradient(above) - model.log_density_gradient(below)) / 2e-4
        assert_allclose(hessian[:, :, j], bend, rtol=0, atol=1e-4)


@BOTH
def test_a_missing_category_or_count_is_the_sum_over_its_values(has_network, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr(evaluator, "N_POINTS", 512)
    model = mixed_model("pandas", has_network)
    row = mixed_frame(pandas, 1, seed=9, holes=0.0)

    def total(name, values):
        every = pandas.concat([row] * len(values), ignore_index=True)
        every[name] = pandas.Series(values, dtype=row[name].dtype)
        return logsumexp(model.score_samples(every))

    holes = row.copy()
    holes["c"] = pandas.Categorical([None], categories=["a", "b", "c"])
    # A level is known with a probability of n / (n + 1).
    observed = int((~mixed_frame(pandas)["c"].isna()).sum())
    expected = total("c", ["a", "b", "c"]) + np.log1p(1.0 / observed)
    assert model.score_samples(holes)[0] == pytest.approx(
        expected, abs=0.05 if has_network else 1e-9
    )
    holes = row.astype({"k": float})
    holes["k"] = np.nan
    expected = total("k", np.arange(-20, 40))
    tolerance = 0.05 if has_network else 1e-3
    assert model.score_samples(holes)[0] == pytest.approx(expected, abs=tolerance)


@BOTH
def test_a_row_of_only_holes_has_a_log_density_of_zero(has_network, monkeypatch):
    pandas = pytest.importorskip("pandas")
    row = pandas.DataFrame({"c": [None], "x": [np.nan], "k": [np.nan], "z": [None]})
    model = mixed_model("pandas", has_network)
    assert not model.log_density_gradient(row).any()
    assert not model.log_density_hessian(row).any()
    monkeypatch.setattr(evaluator, "N_POINTS", 4096)
    assert abs(model.score_samples(row)[0]) < (0.05 if has_network else 1e-12)


# Plain numbers


def test_plain_numbers_are_fitted_and_answered_as_ever():
    X = plain_rows()
    asked = [
        fitted(X, select=None),
        fitted(X, select=None, column_kinds="continuous"),
        fitted(X, select=None, categorical_features=None),
    ]
    assert all(model.table_ is None for model in asked)
    for name, value in vars(asked[0]).items():
        if name.endswith("_") and not name.startswith("_"):
            for other in asked[1:]:
                np.testing.assert_equal(vars(other)[name], value)
    for question in ROW_QUESTIONS:
        expected = getattr(asked[0], question)(X)
        for other in asked[1:]:
            np.testing.assert_equal(getattr(other, question)(X), expected)
    assert_array_equal(*(model.sample(20, random_state=0) for model in asked[:2]))


@BOTH
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_plain_numbers_may_miss_entries_where_they_are_asked(has_network, dtype, monkeypatch):
    monkeypatch.setattr(evaluator, "N_POINTS", 2048)
    model, rows = plain_model(has_network), plain_rows(6, seed=1).astype(dtype)
    holed = rows.copy()
    holed[::2, 1] = np.nan
    found = model.score_samples(holed)
    assert found.dtype == dtype
    assert_array_equal(found[1::2], model.score_samples(rows[1::2]))
    u = np.linspace(-8.0, 8.0, 1501)
    for i in (0, 2, 4):
        x = 10.0 * np.sinh(u)
        every = np.stack([np.full(len(x), rows[i, 0], np.float64), x], axis=1)
        weights = np.log(10.0 * np.cosh(u) * (u[1] - u[0]))
        expected = logsumexp(model.score_samples(every) + weights)
        assert found[i] == pytest.approx(expected, abs=0.03 if has_network else 1e-3)


@BOTH
@pytest.mark.parametrize("question", QUESTIONS)
def test_complete_rows_beside_holes_are_answered_as_ever(question, has_network):
    model, rows = plain_model(has_network), plain_rows(30, seed=2)
    rows[::3, 0] = np.nan
    rows[1, :] = np.nan
    complete = ~np.isnan(rows).any(axis=1)
    found = getattr(model, question)(rows)
    assert_array_equal(found[complete], getattr(model, question)(rows[complete]))
    assert np.isfinite(found).all()
    for i in (0, 1, 3):
        assert_array_equal(getattr(model, question)(rows[i : i + 1])[0], found[i])


def test_local_moments_are_those_of_complete_numbers():
    pandas = pytest.importorskip("pandas")
    rows = plain_rows(4)
    holed = np.where([[True, False]], np.nan, rows)
    model = plain_model()
    with pytest.raises(ValueError, match="expected complete rows of plain numbers"):
        model.local_moments(holed)
    with pytest.raises(ValueError, match="Got rows with holes, categories, cells or atoms"):
        mixed_model("pandas").local_moments(mixed_frame(pandas, 4))


def test_reconstructions_are_rows_of_the_table():
    """Near the data: of noise as large as the fit's nothing leaves the spread of the columns."""
    pandas = pytest.importorskip("pandas")
    rows = mixed_frame(pandas, 40, seed=3)
    found = mixed_model("pandas").reconstruct(rows)
    assert list(found.columns) == list(rows.columns)
    assert found.dtypes.equals(rows.dtypes)
    assert not found.isna().any(axis=None)
    seen = ~rows["c"].isna()
    assert (found["c"][seen] == rows["c"][seen]).all()
    at_zero = rows["z"] == 0.0
    assert (found["z"][at_zero] == 0.0).all()
    own = ~rows["x"].isna()
    assert np.corrcoef(found["x"][own], rows["x"][own])[0, 1] > 0.9


def test_reconstructions_of_counts_are_numbers_between_them():
    k = np.random.default_rng(0).poisson(3.0, 200)[:, None].astype(float)
    model = fitted(k)
    found = model.reconstruct(k)
    assert isinstance(found, np.ndarray)
    assert (found != np.rint(found)).any()
    assert np.abs(found - k).mean() < 1.0
