"""Raw tables at the edges: what is refused and how, decoders, and tables of hardly anything."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrae import RAESampler
from tests.density.incomplete.tables import (
    fitted,
    mixed_frame,
    plain_model,
    plain_rows,
    quick,
    quietly,
)

pandas = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
N = 80


def a_frame(**columns):
    rng = np.random.default_rng(1)
    return pandas.DataFrame(
        {"x": rng.standard_normal(N), "c": rng.choice(["a", "b"], N), **columns}
    )


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"y": np.full(N, np.nan)}, ValueError, "Got column 'y' without any observed value"),
        ({"y": [None] * N}, ValueError, "Got column 'y' without any observed value"),
        ({"y": np.append(np.inf, np.ones(N - 1))}, ValueError, "infinity .* in column 'y'"),
        ({"y": [1, "a"] * (N // 2)}, TypeError, r"Got numbers and strings in column 'y' \(1 in"),
        ({"y": [(1, 2)] * N}, TypeError, "Got tuple in column 'y'"),
        ({"y": pandas.date_range("2020", periods=N)}, TypeError, "Got dtype datetime64.* 'y'"),
        ({"y": [1j] * N}, TypeError, "Got dtype complex128 in column 'y'"),
        ({"y": list(map(str, range(N)))}, ValueError, "Got 80 levels in 80 rows of .* 'y'"),
    ],
    ids=str,
)
def test_columns_that_cannot_be_fitted_are_named(columns, error, message):
    model = fitted(a_frame())
    before = model.score_samples(a_frame())
    with pytest.raises(error, match=message):
        model.fit(a_frame(**columns))
    assert_array_equal(model.score_samples(a_frame()), before)


def test_hundreds_of_levels_name_their_column():
    levels = [f"level {i % 300}" for i in range(900)]
    frame = pandas.DataFrame({"x": RNG.standard_normal(900), "id": levels})
    with pytest.raises(ValueError, match=r"Got 300 levels in 900 rows of the categorical .* 'id'"):
        quick().fit(frame)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"column_kinds": "cell"}, ValueError, "Got column_kinds='cell', expected one of"),
        ({"column_kinds": {"q": "cells"}}, ValueError, "Got 'q' in column_kinds"),
        (
            {"column_kinds": {"x": "atoms"}},
            ValueError,
            "whose values do not repeat",
        ),
        ({"column_kinds": {"c": "cells"}}, ValueError, "for column 'c', which is categorical"),
        ({"categorical_features": 3}, TypeError, "Got categorical_features=3, expected"),
        ({"categorical_features": ["q"]}, ValueError, "Got 'q' in categorical_features"),
        ({"categorical_features": [True]}, ValueError, "a mask of 1 entries, expected 2"),
        ({"categorical_features": None}, ValueError, "Got strings in column 'c', expected numbers"),
        ({"categorical_features": ["x", "c"]}, ValueError, "Got 80 levels in 80 rows"),
    ],
    ids=str,
)
def test_wrong_options_of_columns_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        quick(**options).fit(a_frame())


def test_options_of_columns_hold():
    frame = a_frame(k=np.arange(N) % 4)
    model = fitted(frame, categorical_features=["c", "k"])
    assert model.columns_["kind"].tolist() == ["continuous", "categorical", "categorical"]
    assert not model.log_density_gradient(frame)[:, 1:].any()
    rounded = fitted(frame, column_kinds={"k": "continuous"})
    assert rounded.columns_["kind"].tolist() == ["continuous", "categorical", "continuous"]
    assert rounded.sample(5, random_state=0)["k"].dtype == frame["k"].dtype


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (a_frame(c=np.arange(N)), ValueError, "Got numbers in column 'c', expected strings"),
        (a_frame(x=["a"] * N), ValueError, "Got strings in column 'x', expected numbers"),
        (a_frame(x=np.full(N, -np.inf)), ValueError, "infinity .* in column 'x'"),
        (a_frame(y=1.0), ValueError, "feature names"),
        (a_frame()[["c", "x"]], ValueError, "feature names|their order"),
        (np.zeros((3, 2)), ValueError, "Got numbers in column 'c', expected strings"),
        (np.zeros((3, 3)), ValueError, "3 features"),
        (a_frame().head(0), ValueError, "Got X with 0 row"),
    ],
    ids=["numbers", "strings", "infinite", "more", "order", "array", "wide", "empty"],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("question", ["score_samples", "log_density_hessian", "reconstruct"])
def test_other_rows_are_refused(question, rows, error, message):
    model = fitted_frame()
    with pytest.raises(error, match=message):
        getattr(model, question)(rows)


@cache
def fitted_frame():
    return fitted(a_frame())


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_an_array_of_the_same_rows_is_answered_as_the_frame():
    frame = a_frame()
    found = fitted_frame().score_samples(frame.to_numpy(object))
    assert_array_equal(found, fitted_frame().score_samples(frame))


def test_a_column_of_only_holes_may_be_asked():
    frame, model = a_frame(), fitted_frame()
    for name, hole in (("x", np.nan), ("c", None), ("c", np.nan)):
        found = model.score_samples(frame.assign(**{name: hole}))
        assert np.isfinite(found).all()
    assert_allclose(model.score_samples(frame.assign(x=np.nan, c=None)), 0.0, atol=1e-12)


def test_rows_of_only_holes_say_nothing_in_a_fit():
    frame = mixed_frame(pandas, 120)
    holes = pandas.DataFrame({name: [None] * 6 for name in frame}).astype(
        {"x": float, "z": float, "c": frame["c"].dtype}
    )
    more = pandas.concat([frame.astype({"k": "Int64"}), holes.astype({"k": "Int64"})])
    options = {"base_density": "gaussian", "noise_level": 0.3}
    found = fitted(more, **options).score(frame)
    assert found == pytest.approx(fitted(frame, **options).score(frame), abs=0.1)


def test_an_unseen_level_has_the_floor_of_one_row_more():
    model, row = fitted_frame(), a_frame().head(1)
    every = pandas.concat([row] * 4, ignore_index=True)
    every["c"] = ["a", "b", "unseen", None]
    p = np.exp(model.score_samples(every))
    assert p[:3].sum() == pytest.approx(p[3], rel=1e-9)
    assert p[2] / p[3] == pytest.approx(1.0 / (N + 1.0), rel=1e-9)
    assert not np.isnan(model.log_density_gradient(every)).any()


def test_rows_that_are_all_equal_are_refused():
    with pytest.raises(ValueError, match="all equal, expected at least two different rows"):
        quick().fit(pandas.DataFrame({"x": [1.0] * 30, "c": ["a"] * 30}))
    with pytest.raises(ValueError, match=r"1 row|at least 2"):
        quick().fit(pandas.DataFrame({"x": [1.0], "c": ["a"]}))


# Decoders


def holed_counts():
    """Numbers with holes beside counts: neither categories nor atoms."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(120)
    rows = np.stack([x, rng.poisson(np.exp(1.0 + 0.5 * x))], axis=1)
    rows[::7, 0] = np.nan
    rows[3::9, 1] = np.nan
    return rows


@pytest.mark.parametrize("decoder", ["gradient", "free", "tied", "kernel"])
def test_every_decoder_takes_holes_and_cells(decoder):
    rows = holed_counts()
    options = {"hidden_layer_sizes": (8,), "noise_level": 0.3}
    model = fitted(rows, decoder=decoder, **options)
    assert model.columns_["kind"].tolist() == ["continuous", "cells"]
    score = model.score_samples(rows)
    assert np.isfinite(score).all()
    assert score.mean() > -5.0
    assert np.isfinite(model.log_density_hessian(rows)).all()
    found = model.reconstruct(rows)
    assert np.isfinite(found).all()
    if decoder != "kernel":  # which has as many units as it takes
        assert model.transform(rows).shape == (120, 8)
    filled = quietly(RAESampler(model, random_state=0).impute, rows, 20)
    seen = ~np.isnan(rows)
    assert_array_equal(filled[seen], rows[seen])
    assert (filled[:, 1] == np.rint(filled[:, 1])).all()


@pytest.mark.parametrize("decoder", ["free", "tied", "kernel"])
@pytest.mark.parametrize("what", ["category", "atoms"])
def test_decoders_of_numbers_alone_refuse_categories(decoder, what):
    frame, kinds = a_frame(), "auto"
    if what == "atoms":
        frame, kinds = a_frame(c=RNG.random(N) * (np.arange(N) % 2)), {"c": "atoms"}
    with pytest.raises(ValueError, match=f"Got decoder='{decoder}' for a table with categories"):
        quick(decoder=decoder, hidden_layer_sizes=(8,), column_kinds=kinds).fit(frame)


@pytest.mark.parametrize("decoder", ["free", "tied", "kernel"])
def test_decoders_of_numbers_alone_have_flags_and_atoms_as_numbers(decoder):
    flags = np.arange(N) % 2
    rows = np.stack([RNG.random(N), flags, RNG.random(N) * flags], axis=1)
    model = quietly(quick(decoder=decoder, hidden_layer_sizes=(8,), noise_level=0.3).fit, rows)
    assert model.table_ is None
    assert np.isfinite(quietly(model.score_samples, rows)).all()


# Tables of hardly anything


def check_answers(model, rows):
    score = model.score_samples(rows)
    assert np.isfinite(score).all()
    assert model.log_density_gradient(rows).shape == rows.shape
    assert model.log_density_hessian(rows).shape == (len(rows), rows.shape[1], rows.shape[1])
    assert model.transform(rows).shape[0] == len(rows)
    for found in (model.reconstruct(rows), quietly(model.sample, len(rows), random_state=0)):
        assert found.shape == rows.shape
        assert isinstance(found, np.ndarray) or found.dtypes.equals(rows.dtypes)
    assert RAESampler(model, random_state=0).impute(rows, 5).notna().all(axis=None)


def test_a_table_of_categories_alone():
    rng = np.random.default_rng(3)
    a = rng.choice(["x", "y", "z"], 200)
    b = pandas.Categorical(np.where(rng.random(200) < 0.9, a == "x", a == "y").tolist())
    frame = pandas.DataFrame({"a": a, "b": b})
    frame.loc[::9, "a"] = None
    model = fitted(frame)
    check_answers(model, frame)
    assert not model.log_density_gradient(frame).any()
    levels = pandas.DataFrame({"a": ["x", "x"], "b": pandas.Categorical([True, False])})
    p = np.exp(model.score_samples(levels))
    assert p[0] > 3.0 * p[1]


def test_a_table_of_one_category():
    flags = pandas.DataFrame({"f": [True] * 30 + [False] * 10})
    model = fitted(flags)
    check_answers(model, flags)
    p = np.exp(model.score_samples(pandas.DataFrame({"f": [True, False]})))
    assert_allclose(p, [0.75, 0.25], atol=0.05)


def test_a_table_of_constants_and_a_category():
    frame = pandas.DataFrame({"one": [1.5] * 40, "same": ["s"] * 40, "c": ["a", "b"] * 20})
    model = fitted(frame)
    check_answers(model, frame)
    assert (model.sample(9, random_state=0)["one"] == 1.5).all()
    assert (model.reconstruct(frame)["same"] == "s").all()
    rows = pandas.DataFrame({"one": [1.5, 2.0], "same": ["s", "s"], "c": ["a", "a"]})
    gap = np.diff(model.score_samples(rows))[0]
    assert gap == pytest.approx(-np.log(40.0), abs=1e-9)


def test_a_table_of_one_numeric_column():
    frame = pandas.DataFrame({"k": pandas.array([1, 2, 3, 4, 2, 3] * 10, dtype="Int64")})
    frame.loc[::7, "k"] = pandas.NA
    model = fitted(frame)
    assert model.columns_["kind"].tolist() == ["cells"]
    check_answers(model, frame)
    assert np.exp(
        model.score_samples(pandas.DataFrame({"k": np.arange(-30, 40)}))
    ).sum() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame({"x": [0.5, 1.0], "c": ["a", "b"]}),
        pandas.DataFrame({"x": [0.5, np.nan], "c": ["a", "b"]}),
        pandas.DataFrame({"c": ["a", "b"]}),
        pandas.DataFrame({"x": [0.5, 1.5], "y": [np.nan, 2.0]}),
    ],
    ids=["both", "hole", "category", "numbers"],
)
def test_tables_of_two_rows(frame):
    check_answers(fitted(frame), frame)


def test_a_plain_model_goes_on_with_rows_that_have_holes():
    rows = plain_rows()
    model = fitted(rows, select=None, warm_start=True)
    holed = rows.copy()
    holed[::5, 0] = np.nan
    quietly(model.fit, holed)
    assert model.table_ is None
    assert np.isfinite(model.score_samples(holed)).all()
    assert np.isfinite(model.sample(10, random_state=0)).all()


def test_objects_that_are_numbers_are_fitted_as_numbers():
    rows, expected = plain_rows(), plain_model()
    model = fitted(rows.astype(object), select=None)
    assert model.table_ is None
    for own in (rows, rows.astype(object), rows.tolist()):
        assert_array_equal(model.score_samples(own), expected.score_samples(rows))
