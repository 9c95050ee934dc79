"""Draws of raw tables, and rows completed by them: containers, values and frequencies."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrae import RAESampler
from tests.density.incomplete.tables import (
    CLASSES,
    fitted,
    mixed_array,
    mixed_frame,
    mixed_model,
    plain_model,
    plain_rows,
    quietly,
    rows_of,
)

BOTH = pytest.mark.parametrize("has_network", [False, True], ids=["base", "network"])
pandas = pytest.importorskip("pandas")


@pytest.fixture(params=["pandas", "polars", "array"])
def kind(request):
    if request.param != "array":
        pytest.importorskip(request.param)
    return request.param


def columns_of(rows):
    """The columns of an array or a frame, lists of Python's own, None where missing."""
    if isinstance(rows, np.ndarray):
        lists = rows.T.tolist()
    elif hasattr(rows, "iloc"):
        lists = [rows[name].astype(object).tolist() for name in rows.columns]
    else:
        lists = [rows[name].to_list() for name in rows.columns]
    return [[None if v is None or v != v else v for v in values] for values in lists]


def sampler(model, **options):
    return RAESampler(model, **{"random_state": 0, "n_chains": 16, "n_warmup": 32, **options})


# New rows


@BOTH
def test_draws_are_rows_like_those_of_the_fit(kind, has_network):
    model, like = mixed_model(kind, has_network), rows_of(kind, 150, seed=0)
    rows = quietly(sampler(model).sample, 300)
    assert type(rows) is type(like)
    assert rows.shape == (300, 4)
    if kind == "pandas":
        assert rows.dtypes.equals(like.dtypes)
        assert list(rows.columns) == list(like.columns)
    elif kind == "polars":
        assert rows.schema == like.schema
    c, x, k, z = columns_of(rows)
    assert set(c) == set(CLASSES)
    assert None not in x + k + z
    assert all(isinstance(value, int) for value in k)
    assert 0.1 < np.mean(np.array(z) == 0.0) < 0.7
    assert len(set(z)) > 100
    assert quietly(model.score_samples, rows).shape == (300,)


@BOTH
def test_frequencies_of_categories_are_those_of_the_density(has_network):
    """And so are the mean and the spread of a number, beside the truth of a base."""
    model = mixed_model("pandas", has_network)
    n = 8000
    rows = quietly(RAESampler(model, random_state=1).sample, n)
    levels = pandas.DataFrame({"c": list(CLASSES), "x": np.nan, "k": np.nan, "z": np.nan})
    p = np.exp(model.score_samples(levels))
    assert_allclose(p.sum(), 1.0, atol=0.02 if not has_network else 0.15)
    found = rows["c"].value_counts(normalize=True)[list(CLASSES)].to_numpy()
    # Of a network each probability is a mean of 64 draws.
    assert 0.5 * np.abs(found - p / p.sum()).sum() < (0.08 if has_network else 0.03)
    if not has_network:
        atom = pandas.DataFrame({"c": [None], "x": np.nan, "k": np.nan, "z": [0.0]})
        assert abs((rows["z"] == 0.0).mean() - np.exp(model.score_samples(atom)[0])) < 0.03
        counts = pandas.DataFrame({"c": None, "x": np.nan, "k": np.arange(8), "z": np.nan})
        expected = np.exp(model.score_samples(counts))
        own = rows["k"].value_counts(normalize=True).reindex(np.arange(8), fill_value=0.0)
        assert 0.5 * np.abs(own.to_numpy() - expected).sum() < 0.03


def test_the_same_seed_gives_the_same_rows():
    model = mixed_model("pandas")
    first, second = (model.sample(20, random_state=3) for _ in range(2))
    assert first.equals(second)
    assert not first.equals(model.sample(20, random_state=4))


@BOTH
def test_chains_are_of_full_rows(has_network):
    model = mixed_model("pandas", has_network)
    chains = quietly(sampler(model).sample_chains, 30)
    assert chains.draws.shape == (16, 30, 8)  # x, k, z, and one for each level of c and z
    own = chains.draws[..., 3:]
    assert np.isin(own, [0.0, 1.0]).all()
    assert_array_equal(own[..., :3].sum(-1), 1.0)
    assert_array_equal(own[..., 3:].sum(-1), 1.0)
    assert (own[..., :3].mean((0, 1)) > 0.0).all()
    again = quietly(sampler(model).sample_chains, 10, continue_from=chains)
    assert again.draws.shape == (16, 10, 8)
    starts = chains.draws[:, -1]
    started = quietly(sampler(model, n_warmup=0).sample_chains, 5, X_init=starts)
    assert started.draws.shape == (16, 5, 8)
    with pytest.raises(ValueError, match=r"expected \(16, 8\), a start for each"):
        sampler(model).sample_chains(5, X_init=starts[:, :4])
    starts[0, 3:6] = 0.5
    with pytest.raises(ValueError, match=r"Got starts that are no full rows.* of \[3, 2\] levels"):
        sampler(model).sample_chains(5, X_init=starts)


def test_one_run_is_two_in_a_row():
    model = mixed_model("pandas", has_network=True)
    whole = quietly(sampler(model).sample_chains, 12)
    first = quietly(sampler(model).sample_chains, 8)
    rest = quietly(sampler(model).sample_chains, 4, continue_from=first)
    assert_array_equal(np.concatenate([first.draws, rest.draws], axis=1), whole.draws)


def test_grids_and_dtypes_are_kept():
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "tenths": np.round(rng.normal(0.0, 0.5, 150), 1).astype("float32"),
            "count": pandas.array(rng.poisson(4.0, 150), dtype="Int16"),
            "flag": rng.random(150) < 0.3,
            "text": rng.choice(["low", "high"], 150),
            "rank": pandas.Categorical(
                rng.choice(["s", "m"], 150), categories=["s", "m", "l"], ordered=True
            ),
        }
    )
    frame.loc[3, "count"] = pandas.NA
    rows = fitted(frame).sample(200, random_state=0)
    assert rows.dtypes.equals(frame.dtypes)
    assert (rows["tenths"] == np.round(rows["tenths"], 1)).all()
    assert rows["tenths"].nunique() > 10
    assert 0.1 < rows["flag"].mean() < 0.5
    assert set(rows["text"]) == {"low", "high"}
    assert rows["rank"].cat.ordered
    assert (rows["rank"] == "l").mean() < 0.05


# Completed rows


@BOTH
def test_completed_rows_keep_what_is_observed(kind, has_network):
    model, rows = mixed_model(kind, has_network), rows_of(kind, 12, holes=0.4)
    if kind == "pandas":
        rows.index = [f"row {i}" for i in range(12)]
    before = columns_of(rows)
    found = quietly(sampler(model).impute, rows, 40)
    assert type(found) is type(rows)
    assert found is not rows
    if kind == "pandas":
        assert found.index.equals(rows.index)
        assert found.dtypes.equals(rows.dtypes)
    elif kind == "polars":
        assert found.schema == rows.schema
    assert columns_of(rows) == before
    n_filled = 0
    for own, new in zip(before, columns_of(found), strict=True):
        assert None not in new
        assert all(a is None or a == b for a, b in zip(own, new, strict=True))
        n_filled += own.count(None)
    assert n_filled > 5
    draws = quietly(sampler(model).sample_conditional, rows, 7)
    assert draws.shape == (12, 7, 4)
    for j, own in enumerate(before):
        for i, value in enumerate(own):
            each = draws[i, :, j].tolist()
            assert None not in each
            assert value is None or each == [value] * 7
            if value is None and j == 0:
                assert set(each) <= set(CLASSES)
            if value is None and j == 1:
                assert len(set(each)) > 4


@BOTH
def test_draws_of_a_category_have_its_probabilities(has_network):
    model, n = mixed_model("pandas", has_network), 1000
    hole = mixed_frame(pandas, 2, seed=11, holes=0.0)
    holes = hole.assign(c=pandas.Categorical([None] * 2, categories=CLASSES))
    draws = quietly(sampler(model).sample_conditional, holes, n)[:, :, 0]
    for i in range(2):
        every = pandas.concat([hole.iloc[[i]]] * 3, ignore_index=True)
        every["c"] = pandas.Categorical(CLASSES, categories=CLASSES)
        log_p = model.score_samples(every)
        p = np.exp(log_p - np.logaddexp.reduce(log_p))
        found = np.array([(draws[i] == level).mean() for level in CLASSES])
        # Draws of at most 1024 draws: the variances of both add up, and f is a little apart
        # between the points of a cell and draws of one.
        assert (np.abs(found - p) < 5.0 * np.sqrt(2.0 * p * (1.0 - p) / n) + 0.02).all()


def test_imputed_values_are_means_of_draws_and_likeliest_levels():
    model = mixed_model("pandas")
    rows = mixed_frame(pandas, 8, seed=12, holes=0.0)
    rows.loc[:3, "x"] = np.nan
    rows.loc[4:, "c"] = None
    found = sampler(model).impute(rows, 400)
    draws = sampler(model, random_state=1).sample_conditional(rows, 400)
    x = draws[:4, :, 1].astype(float)
    assert (np.abs(found["x"][:4] - x.mean(1)) < 5.0 * x.std(1) * np.sqrt(2.0 / 400)).all()
    for i in range(4, 8):
        levels, counts = np.unique(draws[i, :, 0].astype(str), return_counts=True)
        shares = dict(zip(levels, counts / 400, strict=True))
        assert shares[found["c"][i]] > max(shares.values()) - 0.2


@BOTH
@pytest.mark.parametrize("question", ["impute", "sample_conditional"])
def test_completions_depend_on_their_row_alone(question, has_network):
    model, rows = mixed_model("array", has_network), mixed_array(20, seed=13, holes=0.4)
    answer = getattr(sampler(model), question)
    together = quietly(answer, rows, 9)
    order = np.random.default_rng(0).permutation(20)
    assert quietly(answer, rows[order], 9).tolist() == together[order].tolist()
    for i in (0, 9, 19):
        assert quietly(answer, rows[[i]], 9).tolist() == together[[i]].tolist()


def test_equal_rows_get_their_own_draws_and_one_mean():
    model = mixed_model("array")
    rows = np.array([["a", None, 2, 0.0]] * 2, dtype=object)
    first, second = sampler(model).sample_conditional(rows, 5)[:, :, 1].tolist()
    assert first != second
    filled = sampler(model).impute(rows, 5)
    assert filled[0].tolist() == filled[1].tolist()


def test_holes_of_a_table_that_was_complete_are_filled_too():
    """A dtype that holds no such value gives way: counts are filled by whole numbers."""
    model = mixed_model("pandas")
    rows = mixed_frame(pandas, 6, seed=14, holes=0.0).astype({"k": float})
    rows.loc[:2, "k"] = np.nan
    rows.loc[3:, "z"] = np.nan
    found = quietly(sampler(model).impute, rows, 50)
    assert (found["k"] == np.rint(found["k"])).all()
    assert not found.isna().any(axis=None)


def test_a_row_of_only_holes_is_drawn_as_by_sample():
    model = mixed_model("pandas")
    row = pandas.DataFrame({"c": [None], "x": [np.nan], "k": [np.nan], "z": [np.nan]})
    draws = sampler(model).sample_conditional(row, 400)[0]
    rows = model.sample(4000, random_state=0)
    for level in CLASSES:
        assert abs((draws[:, 0] == level).mean() - (rows["c"] == level).mean()) < 0.12
    assert abs((draws[:, 3] == 0.0).mean() - (rows["z"] == 0.0).mean()) < 0.12


def test_rows_without_holes_come_back_as_they_are(kind):
    model, rows = mixed_model(kind), rows_of(kind, 5, holes=0.0)
    assert columns_of(sampler(model).impute(rows)) == columns_of(rows)


@BOTH
def test_holes_of_plain_numbers_are_completed_as_ever(has_network):
    model = plain_model(has_network)
    rows = plain_rows(6, seed=3)
    rows[::2, 1] = np.nan
    found = quietly(sampler(model).impute, rows)
    seen = ~np.isnan(rows)
    assert_array_equal(found[seen], rows[seen])
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proposal": "langevin"}, "Got proposal='langevin' for a table with categories or atoms"),
        ({"base_density": None}, "Got base_density=None for a table with holes, categories"),
        ({"temperature": 1.5}, "Got temperature=1.5 for a table with holes, categories, cells"),
    ],
)
def test_what_a_raw_table_has_no_meaning_for_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sampler(mixed_model("pandas"), **options).impute(mixed_frame(pandas, 3))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ({"c": ["a"], "x": [1.0], "k": [2]}, ValueError, "3 features|feature names|missing"),
        ({"c": [3.0], "x": [1.0], "k": [2], "z": [1.0]}, ValueError, "changed kind"),
        ({"c": ["a"], "x": [np.inf], "k": [2], "z": [1.0]}, ValueError, "infinity"),
    ],
)
@pytest.mark.parametrize("question", ["impute", "sample_conditional"])
def test_other_rows_are_refused(question, rows, error, message):
    with pytest.raises(error, match=message):
        getattr(sampler(mixed_model("pandas")), question)(pandas.DataFrame(rows))
