"""The benchmark of words: its texts, its rankings and what is measured of them."""

import pytest

from tests.benchmarks import information_words as words
from tests.test_text import slow_figures

QUICK = {"section": "words", "set": "scikit-learn", "seed": 0, "quick": True}
TEXTS = ["thecatsatonthemat", "acatonamat", "thematonthecat"] * 5


def test_parts_are_words_alone():
    text = "Fit the model,\nthen ask it for rows: a `code`\n\n\tA Mean of  all Columns. See [1]."
    expected = [("then", "ask", "it", "for", "rows"), ("a", "mean", "of", "all", "columns")]
    assert words.parts_of_sentences(text) == expected


def test_texts_are_lines_of_letters_each_once():
    texts, true = words.corpus("scikit-learn", 500)
    assert len(texts) == len(set(texts)) == 500
    assert set("".join(texts)) <= set("abcdefghijklmnopqrstuvwxyz")
    assert {"the", "of"} <= true
    assert all(2 <= len(word) <= 6 for word in true)
    assert sum(text.count("the") for text in texts) >= 10


def test_docstrings_are_those_of_all_but_tests(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.py").write_text('"""Not this."""')
    (tmp_path / "b.py").write_text('"""Of a module."""\nasync def f():\n    """And this."""\nx = 1')
    assert list(words.docstrings(tmp_path)) == ["Of a module.", "And this."]


@pytest.mark.parametrize("model", words.MODELS)
def test_rankings_are_of_the_same_candidates_by_their_own_figure(model):
    expected = slow_figures(TEXTS, words.MAX_LENGTH, words.MIN_COUNT, 0.5)
    figure = {
        "skrae": lambda row: row[4],
        "branching entropy": lambda row: min(row[1:3]),
        "PMI": lambda row: row[3],
        "frequency": lambda row: row[0],
    }[model]
    found = words.MODELS[model](TEXTS)
    assert found == pytest.approx({s: figure(row) for s, row in expected.items()}, abs=1e-12)


@pytest.mark.parametrize("model", words.MODELS)
def test_measured_figures_have_a_column(model):
    found = words.SECTIONS["words"]({**QUICK, "model": model})
    assert set(found) == set(words.COLUMNS["words"])
    assert all(isinstance(value, float | int) for value in found.values())
    assert found["n_words"] / found["n_candidates"] < found["average_precision"] < 1.0


def test_the_sum_is_ahead_of_its_parts():
    found = {m: words.words({**QUICK, "model": m})["average_precision"] for m in words.MODELS}
    assert found["skrae"] > found["branching entropy"] > max(found["PMI"], found["frequency"])


def test_seeds_are_one():
    assert [case["model"] for case in words.cases_of(0)] == list(words.MODELS)
    assert list(words.cases_of(1)) == []
