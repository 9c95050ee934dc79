"""A table larger than memory: one fit whatever holds it, and last steps that all rows decide."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skrae import RegularizedAutoEncoderScore
from skrae.density.columns.working_space import fit_space
from skrae.density.incomplete.cells import Cells
from skrae.density.incomplete.law import RawRows
from skrae.density.incomplete.rows import asked_rows, fit_rows
from skrae.density.options import resolved_options
from skrae.density.streamed import settling
from skrae.density.streamed.learning import lesson_of
from skrae.density.streamed.settling import AllRows, ColumnSums
from skrae.mixtures.growth.em import Settings, first_gaussian
from skrae.mixtures.growth.expectation import moments_of
from skrae.mixtures.growth.nearest import Nearest
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.sources import pieces, source
from tests.density.estimators import quick_estimator
from tests.preprocessing.sources.containers import IN_MEMORY, ON_DISK, Blocks

MEMORY, N_ROWS = 500, 2000


@pytest.fixture(autouse=True)
def small_memory(monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK_ROWS", 256)
    monkeypatch.setattr(source, "ROWS_IN_MEMORY", MEMORY)


def bent_rows(n=N_ROWS):
    X = np.random.default_rng(1).standard_normal((n, 3))
    X[:, 1] += X[:, 0] ** 2
    return X


ROWS = bent_rows()


def mixture_estimator(**options):
    short = {"max_iter": 8, "max_mixtures": 2, "max_components": 8, "hidden_layer_sizes": 16}
    return RegularizedAutoEncoderScore(**{**short, "random_state": 0, **options})


def fitted_parts(model):
    """All that is fitted but the names of columns."""
    parts = {k: v for k, v in vars(model).items() if k.endswith("_") and k != "feature_names_in_"}
    parts["columns_"] = {k: v for k, v in parts["columns_"].items() if k != "name"}
    return parts


def assert_same_fit(model, other):
    parts, others = fitted_parts(model), fitted_parts(other)
    assert parts.keys() == others.keys()
    for name, part in parts.items():
        np.testing.assert_equal(part, others[name], name)


def mean_of_base(model):
    """The mean of the one Gaussian of the base density, in the units of the data."""
    return model.base_means_[0] @ np.linalg.inv(model.whitening_) + model.location_


# --- one fit --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_array():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "BLOCK_ROWS", 256)
        patch.setattr(source, "ROWS_IN_MEMORY", MEMORY)
        return mixture_estimator().fit(ROWS)


@pytest.mark.parametrize("make", {**ON_DISK, **IN_MEMORY}.values(), ids={**ON_DISK, **IN_MEMORY})
def test_the_container_decides_nothing(make, of_array, tmp_path):
    assert_same_fit(mixture_estimator().fit(make(ROWS, tmp_path)), of_array)


@pytest.mark.parametrize("make", ON_DISK.values(), ids=ON_DISK)
def test_of_few_rows_all_are_in_memory(make, tmp_path):
    X = ROWS[:200]
    expected = quick_estimator(max_iter=6).fit(X)
    assert_same_fit(quick_estimator(max_iter=6).fit(make(X, tmp_path)), expected)


def test_a_random_state_goes_on():
    state = np.random.RandomState(0)
    one, two = (quick_estimator(max_iter=6, random_state=state).fit(ROWS) for _ in range(2))
    assert (one.location_ != two.location_).any()
    again = quick_estimator(max_iter=6, random_state=np.random.RandomState(0)).fit(ROWS)
    assert_same_fit(one, again)


def test_raw_tables_are_fitted_to_whatever_holds_them(tmp_path):
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rng, n = np.random.default_rng(0), 1200
    frame = pandas.DataFrame(
        {
            "city": np.where(rng.random(n) < 0.1, None, rng.choice(["n", "s", "w"], n)),
            "age": rng.poisson(4.0, n),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.standard_normal(n)),
        }
    )
    frame.loc[n - 1, "city"] = "rare"
    blocks = Blocks([frame.iloc[a : a + 170] for a in range(0, n, 170)])
    table = arrow.Table.from_pandas(frame)
    models = [
        mixture_estimator(max_mixtures=1, margins="identity").fit(X)
        for X in (frame, blocks, table.slice(0, n))
    ]
    for model in models[1:]:
        assert model.columns_["kind"].tolist() == ["categorical", "cells", "continuous"]
        for name in ("base_means_", "base_factors_", "base_weights_", "log_normalizer_"):
            assert_array_equal(getattr(model, name), getattr(models[0], name))
    assert isinstance(models[1].sample(3, random_state=0), pandas.DataFrame)


# --- all rows decide ------------------------------------------------------------------------------


def test_the_base_of_one_gaussian_has_the_mean_and_covariance_of_all_rows():
    model = quick_estimator(max_iter=6).fit(Blocks(np.array_split(ROWS, 3)))
    assert_allclose(mean_of_base(model), ROWS.mean(axis=0), atol=1e-12)
    half = model.base_factors_[0].T @ np.linalg.inv(model.whitening_)
    # Shrunk to the unit matrix of the sample by a prior of six rows, with a ridge, and inflated.
    assert_allclose(half.T @ half, np.cov(ROWS.T), rtol=0.02, atol=0.02)


def test_weights_go_with_the_rows():
    weights = np.random.default_rng(2).random(N_ROWS)
    weights[::3] = weights[:600] = 0.0
    model = quick_estimator(max_iter=6).fit(Blocks([ROWS]), sample_weight=weights)
    assert_allclose(mean_of_base(model), weights @ ROWS / weights.sum(), atol=1e-12)
    of_positive = quick_estimator(max_iter=6)
    of_positive.fit(Blocks([ROWS[weights > 0.0]]), sample_weight=7.0 * weights[weights > 0.0])
    assert_allclose(of_positive.base_means_, model.base_means_, atol=1e-12)


def test_wild_rows_are_left_out():
    X = ROWS.copy()
    X[7] = 1e6
    model = quick_estimator(max_iter=6).fit(Blocks([X]))
    assert_allclose(mean_of_base(model), np.delete(X, 7, axis=0).mean(axis=0), atol=1e-9)


def test_rows_whose_holes_the_sample_has_not_seen_count_for_the_rest():
    X = ROWS.copy()
    estimator = quick_estimator(max_iter=6)
    sample = lesson_of(estimator, X, None, True).rows.X
    unseen = np.flatnonzero(~(X[:, None, 0] == sample[:, 0]).any(axis=1))[:20]
    X[unseen, 2] = np.nan
    model = quick_estimator(max_iter=6).fit(Blocks([X]))
    assert model.table_ is None
    assert_allclose(mean_of_base(model)[:2], X.mean(axis=0)[:2], atol=1e-3)
    assert_allclose(mean_of_base(model)[2], np.nanmean(X[:, 2]), atol=1e-3)


@pytest.mark.parametrize("holes", [False, True])
def test_moments_are_those_of_all_rows_at_once(holes):
    X = ROWS.copy()
    if holes:
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    estimator = quick_estimator()
    rows = fit_rows(estimator, X, None, reset=True)
    full, every = np.where(np.isnan(X), 0.0, X), np.arange(len(X))
    weights = np.ones(len(X))
    working = fit_space(full, weights, every, resolved_options(estimator))
    found = source.source_to_fit(Blocks([X])).counted()
    read = partial(asked_rows, estimator, rows.table)
    streamed = AllRows(found, None, read, rows.table, ColumnSums()).within(working, None)
    whole = ~np.isnan(X).any(axis=1)
    mixture = first_gaussian(working.rows(full, weights, every), Settings(1e-4, 1.0))
    expected = 0.0
    for own in (whole, ~whole):
        if own.any():
            (part,) = streamed._parts(X[own], np.ones(own.sum()), 0)  # all in one block
            expected = expected + moments_of(mixture, *part)
    assert_allclose(streamed.moments(mixture), expected, rtol=1e-10, atol=1e-8)
    assert torch.isfinite(expected).all()
    assert float(expected.flatten()[0]) == pytest.approx(len(X))


@pytest.mark.parametrize("with_law", [False, True])
def test_of_many_columns_holes_are_drawn_or_left_out(with_law, monkeypatch):
    monkeypatch.setattr(settling, "is_wide", lambda d: True)
    estimator, every, weights = quick_estimator(), np.arange(N_ROWS), np.ones(N_ROWS)
    working = fit_space(ROWS, weights, every, resolved_options(estimator))
    base = MixtureDensity([1.0], np.zeros((1, 3)), np.eye(3)[None], [np.inf])
    X = ROWS[:100].copy()
    X[::4, 2] = np.nan
    law = RawRows(X, Cells(np.zeros(3)), ()).law(working.transform, base) if with_law else None
    within = AllRows(None, None, None, None, None).within(working, law)
    (part,) = within._parts(X, np.ones(100), 0)
    assert part.z.shape == ((100, 3) if with_law else (75, 3))
    whole = ~np.isnan(X).any(axis=1)
    z = part.z[whole] if with_law else part.z
    assert_allclose(z, working.transform.forward(X[whole]))


def test_values_stand_within_their_cells_at_the_same_places_in_each_step():
    estimator = mixture_estimator(max_mixtures=1, margins="identity")
    X = np.random.default_rng(0).poisson(4.0, (N_ROWS, 1)).astype(float)
    rows, every, _ = lesson_of(estimator, X, None, True)
    assert rows.table.kinds == ("cells",)
    working = fit_space(rows.X.X, rows.weights, np.arange(MEMORY), resolved_options(estimator))
    base = MixtureDensity([1.0], np.zeros((1, 1)), np.ones((1, 1, 1)), [np.inf])
    within = every.within(working, rows.X.law(working.transform, base))
    for number, (block, _) in enumerate(every.blocks()):
        full, missing = within._full(block, number)
        assert not missing.any()
        assert (np.abs(full - block) <= 0.5).all()
        assert (full != block).any()
        assert_array_equal(within._full(block, number)[0], full)


# --- what is refused ------------------------------------------------------------------------------


class Growing:
    """A file that has more rows on each pass."""

    def __init__(self):
        self.n_rows = 1000

    def __iter__(self):
        self.n_rows += 1
        return iter(np.split(ROWS[: self.n_rows], [300, 600]))


class Changing:
    """A file whose rows are others on each pass, in some columns, or the same in another order."""

    def __init__(self, columns, shuffles=False):
        self.columns, self.shuffles, self.rng = columns, shuffles, np.random.default_rng(0)

    def __iter__(self):
        X = ROWS.copy()
        X[:, self.columns] += 0.01 * self.rng.standard_normal((len(X), len(self.columns)))
        yield self.rng.permutation(X) if self.shuffles else X


def test_rows_in_another_order_are_the_same():
    """Another sample comes of it, but the last steps are of all rows."""
    moved, still = (
        mixture_estimator(max_mixtures=1).fit(Changing([], shuffles=shuffles))
        for shuffles in (True, False)
    )
    assert moved.score(ROWS) == pytest.approx(still.score(ROWS), abs=0.05)


def test_changed_columns_are_told_by_their_names():
    """Of sums that differ by more than rounding; those that overflow say nothing."""
    sums = ColumnSums(["temperature", "speed"])
    sizes = np.array([100.0, 100.0])
    sums.check(np.array([1.0, np.inf]), sizes)
    sums.check(np.array([1.0 + 1e-8, np.inf]), sizes)
    with pytest.raises(ValueError, match=r"'temperature' has the sum 1\.01, expected 1 as"):
        sums.check(np.array([1.01, np.inf]), sizes)


class AskedParts(Nearest):
    """Knows of no part, and notes the names of all."""

    def __init__(self):
        super().__init__()
        self.parts = set()

    def knows(self, part):
        self.parts.add(part)
        return False


def test_few_components_are_those_of_rows_that_stand_still():
    """What is known of the rows of a block is not taken for known of others in their places."""
    estimator, every, weights = quick_estimator(), np.arange(N_ROWS), np.ones(N_ROWS)
    working = fit_space(ROWS, weights, every, resolved_options(estimator))
    mixture = first_gaussian(working.rows(ROWS, weights, every), Settings(1e-4, 1.0))
    rows = fit_rows(estimator, ROWS, None, reset=True)
    read = partial(asked_rows, estimator, rows.table)
    for shuffles in (False, True):
        found = source.source_to_fit(Changing([], shuffles)).counted()
        streamed = AllRows(found, None, read, rows.table, ColumnSums()).within(working, None)
        asked = AskedParts()
        streamed.moments(mixture, asked)
        n_parts = len(asked.parts)
        streamed.moments(mixture, asked)
        assert len(asked.parts) == (2 * n_parts if shuffles else n_parts)


@pytest.mark.parametrize(
    ("X", "weights", "message"),
    [
        (Changing([1]), None, "whose column 1 has the sum .* must give the same rows each time"),
        (iter([ROWS]), None, "which can be read once"),
        (Blocks([]), None, "Got a table of 0 rows"),
        (Blocks([ROWS[:1]]), None, "minimum of 2 is required"),
        (Blocks([ROWS, ROWS[:, :2]]), None, "an array of 2 columns after"),
        (Blocks([ROWS, np.full((1, 3), np.inf)]), None, "infinity"),
        (Blocks([ROWS]), np.ones(3), r"Got sample_weight of shape \(3,\)"),
        (Growing(), None, "must not change while it is fitted to"),
    ],
)
def test_a_refused_table_leaves_the_model_as_it_was(X, weights, message):
    model = quick_estimator(max_iter=6).fit(ROWS[:200])
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X, sample_weight=weights)
    assert vars(model) == before


def test_a_checkpoint_of_a_sample_needs_a_seed(tmp_path):
    options = {"checkpoint": tmp_path / "fit", "max_iter": 6}
    with pytest.raises(ValueError, match="random_state=None with 2000 rows, expected an integer"):
        quick_estimator(**options, random_state=None).fit(ROWS)
    model = quick_estimator(**options).fit(ROWS)
    assert_same_fit(model, quick_estimator(max_iter=6).fit(ROWS))
