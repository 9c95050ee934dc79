"""Answers about tables that are read block by block: those about rows in memory."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skrae import DensityImputer, DensityOutlierDetector
from skrae.preprocessing.sources import pieces
from tests.density.estimators import ROW_QUESTIONS, quick_estimator
from tests.preprocessing.sources.containers import ON_DISK, Blocks, memory_mapped

ROWS = np.random.default_rng(0).standard_normal((9000, 3))


@pytest.fixture(scope="module")
def model():
    return quick_estimator(max_iter=6).fit(ROWS[:300])


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    # As of the blocks in memory, in whose sums rows round by their place.
    monkeypatch.setattr(pieces, "BLOCK_ROWS", 4096)


@pytest.mark.parametrize("question", ROW_QUESTIONS)
def test_answers_are_those_in_memory(question, model, tmp_path):
    found, expected = (getattr(model, question)(X) for X in (memory_mapped(ROWS, tmp_path), ROWS))
    np.testing.assert_equal(found, expected)


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("make", ON_DISK.values(), ids=ON_DISK)
def test_every_container_is_answered(make, model, tmp_path):
    weights = np.random.default_rng(1).random(len(ROWS))
    expected = model.score_samples(ROWS)
    assert_array_equal(model.score_samples(make(ROWS, tmp_path)), expected)
    assert model.score(make(ROWS, tmp_path), sample_weight=weights) == model.score(
        ROWS, sample_weight=weights
    )


def test_an_iterator_is_enough_for_any_question(model):
    for question in ROW_QUESTIONS:
        found = getattr(model, question)(iter(np.array_split(ROWS[:500], 3)))
        np.testing.assert_equal(found, getattr(model, question)(ROWS[:500]))


def test_float32_stays(model, tmp_path):
    X = ROWS.astype(np.float32)
    found = model.score_samples(memory_mapped(X, tmp_path))
    assert found.dtype == np.float32
    assert_array_equal(found, model.score_samples(X))


def test_reconstructed_frames_are_joined():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.choice(["u", "v"], 5000), "b": rng.standard_normal(5000)})
    model = quick_estimator(max_iter=6).fit(frame[:300])
    found = model.reconstruct(Blocks([frame[:100], frame[100:]]))
    pandas.testing.assert_frame_equal(found, model.reconstruct(frame))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (Blocks([]), "Got a table of 0 rows"),
        (Blocks([ROWS, ROWS[:, :2]]), "an array of 2 columns after one of an array of 3"),
        (Blocks([ROWS[:, :2]]), "X has 2 features"),
        (Blocks([ROWS, np.full((1, 3), np.inf)]), "infinity"),
    ],
)
def test_other_tables_are_refused(X, message, model):
    with pytest.raises(ValueError, match=message):
        model.score_samples(X)


@pytest.mark.parametrize("estimator", [DensityImputer(), DensityOutlierDetector()])
def test_who_takes_rows_in_memory_alone_says_so(estimator):
    with pytest.raises(TypeError, match="Got a Blocks, expected rows in memory"):
        estimator.fit(Blocks([ROWS]))


def test_a_warning_is_told_once_at_the_line_that_asked(model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=["a", "b", "c"])
    with pytest.warns(UserWarning, match="X has feature names") as caught:
        model.score_samples(Blocks([frame]))
    assert [warning.filename for warning in caught] == [__file__]


def test_an_error_tells_the_place_of_its_block(model):
    X = ROWS.copy()
    X[8200] = 1e200
    with pytest.raises(ValueError, match="Got row 8 at") as error:
        model.score_samples(Blocks([X]))
    assert error.value.__notes__ == ["Rows are counted from row 8192 of the table on."]
