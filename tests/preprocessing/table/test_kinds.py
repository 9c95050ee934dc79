"""The rules by which a column is found to be of a kind, each on both sides of its threshold."""

import numpy as np
import pytest

from skrae.preprocessing.table import kinds
from skrae.preprocessing.table.kinds import MAX_LEVELS
from skrae.preprocessing.table.table import describe


def kind_of(values, **options):
    return describe(np.asarray(values)[:, None], **options).kinds[0]


def feature_of(values, **options):
    return describe(np.asarray(values)[:, None], **options).features[0]


def normal(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


def test_one_value_is_constant():
    assert kind_of([2.5] * 3) == "constant"
    assert kind_of([2.5, np.nan, 2.5]) == "constant"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.0] * 18 + [3.7] * 2, "categorical"),
        ([0.0] * 17 + [3.7] * 2, "continuous"),  # too few rows
        ([0.0] * 19 + [3.7], "continuous"),  # once is no level
        ([0.0] * 18 + [3.7] * 2 + [4.1] * 2, "continuous"),  # three values
    ],
)
def test_flag_has_two_values_each_at_least_twice_in_twenty_rows(values, kind):
    assert kind_of(values) == kind


def test_cells_need_thirty_rows_and_repeats():
    values = np.array([1.1, 1.4, 1.6, 2.1, 2.9])
    assert kind_of(np.repeat(values, 6)) == "cells"
    assert kind_of(np.repeat(values, 6)[1:]) == "continuous"
    assert kind_of(np.arange(40)) == "continuous"
    assert kind_of(np.r_[np.arange(40), 3]) == "cells"


@pytest.mark.parametrize(("dtype", "least"), [(float, 1.0 / 8.0), (int, 1.0 / 50.0)])
def test_step_of_cells_is_at_least_a_share_of_the_deviation(dtype, least, monkeypatch):
    """Of values +- a, of share s, and zeros the deviation is a sqrt(s); a + 1 makes the step 1.

    Such values would be preferred ones.
    """
    monkeypatch.setattr(kinds, "are_likely", lambda counts: False)
    a = round(1.1 / least)
    for factor, kind in ((0.98, "cells"), (1.02, "continuous")):
        n = round(20000 * (factor / least / a) ** 2 / 2)
        values = np.r_[np.full(n, -a), np.full(n, a), np.zeros(20000 - 2 * n), a + 1].astype(dtype)
        assert values.std() * least == pytest.approx(factor, rel=1e-3)
        assert kind_of(values) == kind


def test_a_wild_value_hides_no_cells():
    values = np.random.default_rng(0).poisson(3.0, 400)
    for wild in (-999, 10**12):
        assert kind_of(np.r_[values, wild]) == "cells"
    # Nearly all values are equal: the deviation is that of all, and 0 is preferred.
    assert kind_of(np.r_[np.zeros(1000), 0.37, 1.234]) == "heaps"


def test_whole_numbers_beside_holes_count_as_integers():
    """pandas stores integers with holes as floats."""
    values = np.round(20.0 * normal(400))
    assert kind_of(values) == "continuous"
    assert kind_of(values.astype(int)) == "cells"
    assert kind_of(np.r_[values, np.nan]) == "cells"
    assert kind_of(np.r_[values, 0.25, np.nan]) == "continuous"


def with_atoms(counts, n_others=200):
    """Values 0, 10, 20, ... that many rows share, and others that do not repeat."""
    atoms = [np.full(count, 10.0 * i) for i, count in enumerate(counts)]
    return np.concatenate([*atoms, normal(n_others)])


@pytest.mark.parametrize(
    ("counts", "n_others", "atoms"),
    [
        ([20], 200, (0.0,)),
        ([19], 200, ()),  # rows
        ([20], 400, ()),  # share
        ([22], 400, (0.0,)),
        ([100, 40], 200, (0.0, 10.0)),
        ([100, 10], 200, (0.0,)),  # the second has too small a share, and a tenth of the first
        ([49, 10], 200, ()),  # not five times as frequent
        ([50, 10], 200, (0.0,)),
        ([40, 40, 40], 200, (0.0, 10.0, 20.0)),
        ([40, 40, 40, 40], 200, ()),  # a fourth of equal rank
        ([40], 19, ()),  # others
        ([40], 20, (0.0,)),
    ],
)
def test_atoms(counts, n_others, atoms):
    feature = feature_of(with_atoms(counts, n_others))
    assert feature.points == atoms
    assert feature.kind == ("atoms" if atoms else "continuous")


def test_atoms_do_not_depend_on_the_order_of_rows(random_seed):
    values = with_atoms([100, 40, 5])
    shuffled = np.random.default_rng(random_seed).permutation(values)
    assert feature_of(values) == feature_of(shuffled)


def test_else_continuous():
    assert kind_of(normal(300)) == "continuous"
    assert kind_of(np.r_[normal(300), np.nan]) == "continuous"
    assert kind_of(np.exp(np.r_[-700.0, normal(300), 700.0])) == "continuous"


def test_rows_of_weight_zero_are_left_out():
    values = np.r_[np.repeat([1.0, 2.0], 20), 7.0, np.nan]
    weights = np.r_[np.full(40, 0.5), 0.0, 0.0]
    X = values[:, None]
    assert describe(X).kinds == ("cells",)
    assert describe(X, weights) == describe(X[:40])
    assert describe(X, weights).features[0].share_missing == 0.0


def test_what_is_asked_for_overrides_what_is_found():
    values = with_atoms([40])
    integers = np.random.default_rng(0).poisson(3.0, 100).astype(float)
    assert kind_of(values, column_kinds="continuous") == "continuous"
    assert kind_of(integers, column_kinds="continuous") == "continuous"
    assert feature_of(integers, column_kinds="categorical").points == tuple(np.unique(integers))
    assert feature_of(integers, column_kinds={"x0": "atoms"}).points == (
        float(np.argmax(np.bincount(integers.astype(int)))),
    )
    assert feature_of([1.5, 4.5, 9.0], column_kinds="cells").step == 1.5
    assert kind_of([2.0, 2.0], column_kinds="continuous") == "constant"
    X = np.c_[values, values]
    assert describe(X, column_kinds={1: "continuous"}).kinds == ("atoms", "continuous")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("cells", "whose values lie on no common grid"),
        ("atoms", "whose values do not repeat"),
        ("constant", "of 50 distinct values"),
    ],
)
def test_what_a_column_cannot_be_raises(kind, what):
    with pytest.raises(ValueError, match=f"Got column_kinds '{kind}' for column 'x0', {what}"):
        describe(normal(50)[:, None], column_kinds=kind)


def test_no_value_observed_raises_by_name():
    X = np.c_[normal(5), np.full(5, np.nan)]
    with pytest.raises(ValueError, match="column 'x1' without any observed value"):
        describe(X)
    with pytest.raises(ValueError, match="column 'x0' without any observed value"):
        describe(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="column 'x1' without any observed value"):
        describe(np.array([["a", None], ["b", None]], dtype=object))


def texts(n_levels, n):
    return np.array([f"level {i % n_levels}" for i in range(n)], dtype=object)


def test_identifiers_and_hundreds_of_levels_raise_by_name():
    assert len(feature_of(texts(20, 20)).points) == 20
    assert len(feature_of(texts(MAX_LEVELS, 510)).points) == MAX_LEVELS
    with pytest.raises(ValueError, match=r"Got 21 levels in 40 rows .* 'x0'.*Drop the column"):
        describe(texts(21, 40)[:, None], categorical_features=[0])
    assert len(feature_of(texts(21, 42)).points) == 21
    with pytest.raises(ValueError, match=r"Got 256 levels in 600 rows .* 'x0', expected at most"):
        describe(texts(256, 600)[:, None])
    with pytest.raises(ValueError, match=r"Got 60 levels in 60 rows .*identifier"):
        describe(np.arange(60)[:, None], column_kinds="categorical")
