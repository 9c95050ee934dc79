"""Two processes that fit together end with the model of one, or with an error in both."""

import os
import re
import subprocess
import sys
from contextvars import ContextVar
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from skrae import RegularizedAutoEncoderScore
from skrae.autoencoders import callbacks
from skrae.density.columns import margin_fit
from skrae.mixtures.growth import expectation
from skrae.mixtures.growth.em import single_gaussian
from skrae.mixtures.growth.expectation import moments_of, shared_moments
from skrae.mixtures.noise import PartOfRows, normal, uniform
from skrae.preprocessing import blocks
from skrae.preprocessing.contract import processes
from skrae.preprocessing.contract.work import interruptible
from skrae.preprocessing.sources import pieces
from skrae.preprocessing.sources import source as sources
from tests.density.streamed import one_of_two
from tests.density.streamed.one_of_two import (
    ARRAYS,
    GAUSSIAN,
    estimator,
    numbers,
    raw_table,
    rising_weights,
)

ROOT = Path(one_of_two.__file__).parents[3]


def both(folder, *tasks):
    """What two processes give: arrays, the text of an error, or None where one has died."""
    command = [sys.executable, "-m", one_of_two.__name__, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([*command, str(rank), *tasks], env=environment, cwd=ROOT)
        for rank in (0, 1)
    ]
    for process in running:
        process.wait(timeout=900)
    found = {task: [_found(folder / f"{task}-{rank}") for rank in (0, 1)] for task in tasks}
    return found if len(tasks) > 1 else found[tasks[0]]


def _found(path):
    text, arrays = path.with_suffix(".txt"), path.with_suffix(".npz")
    if text.exists():
        return text.read_text(encoding="utf-8")
    return dict(np.load(arrays)) if arrays.exists() else None


TASKS = "in_memory", "sample", "frame", "uneven", "weighted"
REFUSED = (
    "infinite",
    "other_seeds",
    "other_columns",
    "weights_in_one",
    "other_options",
    "other_sizes",
    "no_table",
    "stream",
)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes give for each of the tasks, one after the other."""
    return both(tmp_path_factory.mktemp("together"), *TASKS, *REFUSED)


@pytest.fixture
def small(monkeypatch):
    """The sizes of `one_of_two.share_all` in this process: sums of the same parts."""
    monkeypatch.setattr(expectation, "MIN_SHARED", 0)
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 4096)
    monkeypatch.setattr(pieces, "BLOCK_ROWS", one_of_two.N_BLOCK)
    monkeypatch.setattr(sources, "ROWS_IN_MEMORY", one_of_two.N_SAMPLE)


def assert_same(found, model):
    first, second = found
    for name in ARRAYS:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], getattr(model, name), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(first["last"], second["last"])
    np.testing.assert_allclose(first["last"], model.coefs_[-1], atol=1e-3)


def test_of_few_rows_the_base_density_is_equal_bit_for_bit(together, small):
    model = estimator(**GAUSSIAN).fit(numbers(1000))
    assert model.network_gain_ > 0.1
    found = together["in_memory"]
    for name in ARRAYS[:-1]:
        np.testing.assert_array_equal(found[0][name], found[1][name])
        np.testing.assert_array_equal(found[0][name], getattr(model, name))
    np.testing.assert_array_equal(found[0]["last"], found[1]["last"])
    np.testing.assert_allclose(found[0]["last"], model.coefs_[-1], atol=1e-3)


def test_of_many_rows_each_process_reads_its_own(together, small):
    model = estimator().fit(numbers())
    assert_same(together["sample"], model)


def test_frames_with_holes_categories_and_weights(together, small):
    frame, weights = raw_table()
    model = estimator(max_mixtures=1).fit(frame, sample_weight=weights)
    assert_same(together["frame"], model)


def test_weights_are_those_of_one_table(together, small):
    model = estimator(max_components=1).fit(numbers(1000), sample_weight=rising_weights(1000))
    for found in together["weighted"]:
        np.testing.assert_array_equal(found["base_means_"], model.base_means_)
        np.testing.assert_array_equal(found["base_score_"], model.base_score_)


def test_a_process_may_have_a_single_row(together, small):
    X = numbers(1000)
    model = estimator(max_components=1).fit(np.vstack([X[1:], X[:1]]))
    found = together["uneven"]
    np.testing.assert_array_equal(found[0]["base_means_"], model.base_means_)
    np.testing.assert_array_equal(found[1]["base_means_"], model.base_means_)


@pytest.mark.parametrize(
    ("task", "first", "second"),
    [
        ("infinite", "ValueError: In process 1 of 2: .*inf", "ValueError: .*inf"),
        ("other_seeds", "Got random_state=1 in process 1, expected random_state=0 as", "=0 in"),
        ("other_columns", r"Got the columns \['x0', 'x1'\] in process 1", "in process 1"),
        ("other_options", "Got max_components=-1", "In process 0 of 2: Got max_components"),
        ("other_sizes", "Got max_components=3 in process 1", "Got max_components=2 in process 0"),
        (
            "no_table",
            "In process 1 of 2: Got a list_iterator",
            "can be read once",
        ),
        ("stream", "Got distributed=True in partial_fit", "Got distributed=True in partial_fit"),
        ("weights_in_one", "Got sample_weight in some processes", "Got sample_weight in some"),
    ],
)
def test_what_is_wrong_in_one_ends_both(together, task, first, second):
    found = together[task]
    for pattern, text in zip((first, second), found, strict=True):
        assert isinstance(text, str), text
        assert re.search(pattern, text), text


def test_where_one_dies_the_other_says_so_and_a_checkpoint_goes_on(tmp_path, small):
    first, second = both(tmp_path, "dies")
    assert first.startswith("ConnectionError: Got no answer in process 0 from another one of 2")
    assert second is None
    assert (tmp_path / "fit.part").exists()
    found = both(tmp_path, "goes_on")
    model = estimator(noise_level="auto", max_components=1).fit(numbers(1000))
    np.testing.assert_array_equal(found[0]["base_means_"], model.base_means_)
    np.testing.assert_allclose(found[1]["last"], model.coefs_[-1], atol=1e-2)
    assert not (tmp_path / "fit.part").exists()


def test_the_script_of_the_guide_runs_by_torchrun(tmp_path):
    guide = (ROOT / "docs" / "guide" / "large.md").read_text(encoding="utf-8")
    (script,) = re.findall("```python\n(# fit.py\n.*?)```", guide, re.DOTALL)
    (tmp_path / "fit.py").write_text(script, encoding="utf-8")
    np.save(tmp_path / "rows.npy", numbers(300))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*launch, "--nproc-per-node", "2", "fit.py"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=900)
    model = joblib.load(tmp_path / "model.joblib")
    alone = RegularizedAutoEncoderScore(random_state=0).fit(numbers(300))
    assert model.distributed
    np.testing.assert_array_equal(
        model.score_samples(numbers(300)), alone.score_samples(numbers(300))
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"random_state": None}, "Got random_state=None with distributed=True"),
        ({"time_limit": 5.0}, "Got time_limit=5.0 with distributed=True"),
    ],
)
def test_options_of_one_process_are_refused(options, expected, monkeypatch):
    monkeypatch.setattr(processes, "_started", processes.Alone)
    with pytest.raises(ValueError, match=expected):
        estimator(distributed=True, **options).fit(numbers(100))


def test_without_a_group_it_is_refused():
    expected = "Got distributed=True in a process of no group, expected torch.distributed"
    with pytest.raises(ValueError, match=expected):
        estimator(distributed=True).fit(numbers(100))


@pytest.mark.parametrize("draw", [uniform, normal])
@pytest.mark.parametrize("n_copies", [1, 2])
def test_parts_of_random_numbers_are_those_of_the_whole(draw, n_copies):
    like, whole = torch.zeros(0, dtype=torch.float64), []
    expected = draw((n_copies * 10, 3), torch.Generator().manual_seed(0), like)
    for own in (slice(0, 4), slice(4, 10)):
        part = PartOfRows(torch.Generator().manual_seed(0), 10, own)
        numbers = draw((n_copies * (own.stop - own.start), 3), part, like)
        whole.append(numbers.view(n_copies, -1, 3))
    assert torch.equal(torch.cat(whole, 1).flatten(0, 1), expected)


def test_sums_do_not_depend_on_the_number_of_parts_that_are_shared(monkeypatch):
    """One process adds the same parts in the same order."""
    z = torch.from_numpy(numbers(1000))
    mixture = single_gaussian(z, torch.ones(1000, dtype=torch.float64), 1e-6)
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 40)
    weights = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shared, own = (f(mixture, z, weights) for f in (shared_moments, moments_of))
    torch.testing.assert_close(shared, own, rtol=1e-13, atol=0)


@pytest.mark.parametrize(("rank", "lines"), [(0, 1), (1, 0)])
def test_the_first_process_alone_prints(rank, lines, monkeypatch, capsys):
    monkeypatch.setattr(callbacks, "current", lambda: processes.Together(rank, 2))
    report = callbacks.FitReport(RegularizedAutoEncoderScore(verbose=1), None, 1)
    report.tell("a check")
    report.end()
    assert len(capsys.readouterr().out.splitlines()) == lines


@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_computes_some_of_the_items_by_itself(rank, monkeypatch):
    """An interrupt there passes: the other process cannot know of it."""
    monkeypatch.setattr(processes, "_CURRENT", ContextVar("_CURRENT", default=None))
    together, asked = processes.Together(rank, 2), []

    def square(item):
        asked.append(item)
        assert processes.current().size == 1
        with pytest.raises(KeyboardInterrupt), interruptible():
            raise KeyboardInterrupt
        return item**2

    _answer_for_the_other(monkeypatch, together, [[0, 4], [1]])
    assert together.each(square, [0, 1, 2]) == [0, 1, 4]
    assert asked == [0, 1, 2][rank::2]
    assert type(processes.current()) is processes.Alone


def _answer_for_the_other(monkeypatch, together, found):
    """Let both of two processes have found this, of which the other one's part is asked for."""
    rank = together.rank
    monkeypatch.setattr(
        together, "gathered", lambda own: [own if r == rank else found[r] for r in (0, 1)]
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_fits_the_maps_of_some_columns(rank, monkeypatch):
    """Of which one is constant and has none."""
    X, weights = np.column_stack([numbers(200), np.ones(200)]), np.ones(200)
    parts = X[:150], weights[:150], X[150:], weights[150:]
    location, scale, straight, bent = margin_fit.fit_columns(*parts)
    assert straight[2] is bent[2] is None
    pairs = list(zip(straight, bent, strict=True))
    together = processes.Together(rank, 2)
    _answer_for_the_other(monkeypatch, together, [pairs[0::2], pairs[1::2]])
    monkeypatch.setattr(margin_fit, "current", lambda: together)
    asked, fit = [], margin_fit._fit_column
    monkeypatch.setattr(margin_fit, "_fit_column", lambda *own: asked.append(own) or fit(*own))
    found = margin_fit.fit_columns(*parts)
    assert len(asked) == 1
    np.testing.assert_equal(found, (location, scale, straight, bent))
