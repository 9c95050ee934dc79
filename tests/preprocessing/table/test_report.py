"""A report is a dict of arrays, and reads as a table."""

import pickle

import numpy as np
import pytest

from skrae.preprocessing.table.report import ColumnReport
from skrae.preprocessing.table.table import describe

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def report():
    n = 200
    X = np.empty((n, 4), dtype=object)
    X[:, 0] = np.where(RNG.random(n) < 0.3, 0.0, RNG.standard_normal(n)).tolist()
    X[:, 1] = (RNG.poisson(3.0, n) / 2.0).tolist()
    X[:, 2] = RNG.choice(["a", "b"], n).tolist()
    X[:, 3] = 1.0
    X[:50, 2] = None
    return describe(X).report({"extra": np.arange(4)})


def test_what_is_reported(report):
    assert report["name"].tolist() == ["x0", "x1", "x2", "x3"]
    assert report["kind"].tolist() == ["atoms", "cells", "categorical", "constant"]
    assert report["dtype"].tolist() == ["object"] * 4
    assert report["missing"].tolist() == [0.0, 0.0, 0.25, 0.0]
    assert report["n_levels"].tolist() == [0, 0, 2, 0]
    assert report["step"].tolist() == [0.0, 0.5, 0.0, 0.0]
    assert report["atoms"].tolist() == [(0.0,), (), (), ()]
    assert report["extra"].tolist() == [0, 1, 2, 3]


def test_it_is_a_dict(report):
    assert isinstance(report, dict)
    assert list(report) == list(report.keys()) == list(dict(report))
    assert len(report) == 9
    loaded = pickle.loads(pickle.dumps(report))
    assert type(loaded) is ColumnReport
    assert repr(loaded) == repr(report)


def test_data_frames_come_of_it(report):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(report)
    assert frame.shape == (4, 9)
    assert frame["kind"].tolist() == report["kind"].tolist()
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(report).shape == (4, 9)


def test_it_reads_as_an_aligned_table(report):
    lines = repr(report).splitlines()
    assert lines[0].split() == list(report)
    assert [line.split()[0] for line in lines[1:]] == report["name"].tolist()
    ends = lines[0].index("missing") + len("missing")
    assert [line[:ends].split()[-1] for line in lines[1:]] == ["0", "0", "0.25", "0"]


def test_it_is_a_table_in_notebooks():
    html = ColumnReport({"name": ["<b>", "x"], "step": [0.5, np.nan]})._repr_html_()
    assert html.startswith("<table><thead><tr><th>name</th><th>step</th></tr></thead>")
    assert "<tr><td>&lt;b&gt;</td><td>0.5</td></tr><tr><td>x</td><td></td></tr>" in html


def test_flags_and_unknown_numbers_are_short():
    text = repr(ColumnReport({"is_constant": [True, False], "lower_end": [np.nan, 1.0 / 3.0]}))
    assert text.splitlines() == [
        "is_constant  lower_end",
        "yes",
        "                0.3333",
    ]


def test_columns_of_other_lengths_raise():
    with pytest.raises(ValueError, match=r"Got columns of lengths \{'a': 1, 'b': 2\}"):
        ColumnReport({"a": [1], "b": [1, 2]})
    assert repr(ColumnReport()) == ""
