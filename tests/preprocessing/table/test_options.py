"""categorical_features and column_kinds: what they choose, and what they refuse."""

import numpy as np
import pytest

from skrae.preprocessing.table.table import describe

X = np.random.default_rng(0).integers(0, 3, (40, 3)).astype(float)
TEXT = np.array([["a", 1.5], ["b", 2.0], ["a", 2.5]], dtype=object)


@pytest.mark.parametrize(
    "features",
    [
        [1],
        np.array([1]),
        [False, True, False],
        np.array([False, True, False]),
        ["x1"],
        {"x1"},
        ("x1", 1),
    ],
)
def test_a_mask_indices_and_names_choose_the_same(features):
    table = describe(X, categorical_features=features)
    assert table.kinds == ("cells", "categorical", "cells")
    assert table.features[1].points == (0.0, 1.0, 2.0)


def test_none_and_no_columns_choose_nothing():
    for features in (None, [], [False] * 3):
        assert describe(X, categorical_features=features).kinds == ("cells",) * 3


def test_dtypes_choose():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "category": pandas.Categorical([3, 1, 3]),
            "bool": [True, False, True],
            "boolean": pandas.array([True, None, True], dtype="boolean"),
            "object": np.array(["a", "b", "a"], dtype=object),
            "str": pandas.Series(["1", "2", "1"], dtype="str"),
            "string": pandas.Series(["a", "b", "a"], dtype="string"),
            "number": [0.5, 1.5, 2.5],
        }
    )
    table = describe(frame)
    assert table.kinds == ("categorical",) * 6 + ("continuous",)
    points = [feature.points for feature in table.features]
    assert points[:3] == [(1, 3), (False, True), (False, True)]
    assert points[3:6] == [("a", "b"), ("1", "2"), ("a", "b")]


def test_names_of_a_data_frame_come_before_its_indices():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[2, 0, 1])
    assert describe(frame, categorical_features=[2]).kinds[0] == "categorical"
    assert describe(frame, column_kinds={0: "continuous"}).kinds[1] == "continuous"


def test_dtypes_that_are_numbers_can_be_numbers():
    truths = X[:, :1] > 0.0
    assert describe(truths).kinds == ("categorical",)
    table = describe(truths, column_kinds={"x0": "continuous"})
    assert table.kinds == ("continuous",)
    assert table.rows([[0.7], [0.2]], np.zeros((2, 0))).ravel().tolist() == [True, False]


def test_one_kind_for_all_is_for_numbers_alone():
    assert describe(TEXT, column_kinds="continuous").kinds == ("categorical", "continuous")


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (X, {"categorical_features": "dtype"}, ValueError, "Got categorical_features='dtype'"),
        (X, {"categorical_features": 1}, TypeError, "Got categorical_features=1, expected"),
        (X, {"categorical_features": {0: True}}, TypeError, "expected 'from_dtype', None, a bool"),
        (X, {"categorical_features": [True]}, ValueError, "a mask of 1 entries, expected 3"),
        (X, {"categorical_features": [3]}, ValueError, "Got 3 in categorical_features"),
        (X, {"categorical_features": [-1]}, ValueError, "Got -1 in categorical_features"),
        (X, {"categorical_features": ["x9"]}, ValueError, "Got 'x9' in categorical_features"),
        (X, {"categorical_features": [0.0]}, TypeError, "Got 0.0 in categorical_features"),
        (X, {"categorical_features": [True, 1]}, TypeError, "Got True in categorical_features"),
        (X, {"column_kinds": "cell"}, ValueError, "Got column_kinds='cell', expected one of"),
        (X, {"column_kinds": None}, ValueError, "Got column_kinds=None, expected one of"),
        (X, {"column_kinds": {"x0": "cell"}}, ValueError, r"Got column_kinds\['x0'\]='cell'"),
        (X, {"column_kinds": {"x9": "cells"}}, ValueError, "Got 'x9' in column_kinds"),
        (
            X,
            {"column_kinds": {0: "cells"}, "categorical_features": [0]},
            ValueError,
            "Got column_kinds 'cells' for column 'x0', which is categorical",
        ),
        (TEXT, {"column_kinds": {"x0": "cells"}}, ValueError, "for column 'x0', which is categ"),
        (TEXT, {"categorical_features": None}, ValueError, "Got strings in column 'x0'"),
        (TEXT, {"categorical_features": [1]}, ValueError, "Got strings in column 'x0', expected"),
        (X, {"weights": [1.0]}, ValueError, "Got sample_weight of shape"),
    ],
)
def test_wrong_options_raise(data, options, error, message):
    with pytest.raises(error, match=message):
        describe(data, **options)
