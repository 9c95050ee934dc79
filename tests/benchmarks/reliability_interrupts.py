"""Interrupts at lines, real signals and kills: what is left of fits and draws after each."""

import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from skrae import RAESampler, RegularizedAutoEncoderScore
from tests.interruptions import ambient, count_outcomes

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "max_iter": 8,
    "max_mixtures": 2,
    "max_components": 4,
    "hidden_layer_sizes": (8,),
}
CHAINS = {"n_chains": 4, "n_warmup": 16, "random_state": 0}
# What a killed process fits; its arguments are the rows, the checkpoint and the answers.
TASK = "import sys; from tests.benchmarks.reliability_interrupts import work; work(*sys.argv[1:])"


def rows(n, seed=0):
    """A bent table of two columns."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    return np.stack([x, x**2 + 0.3 * rng.standard_normal(n)], axis=1)


def _stored_fit(n=60, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RegularizedAutoEncoderScore(random_state=0, **{**SMALL, **options})
        return pickle.dumps(model.fit(rows(n)))


class FitScenario:
    """A fitted model is fitted again: it is the old one, or wholly another."""

    def __init__(self, **options):
        self.stored = _stored_fit(**options)
        self.old = pickle.loads(self.stored)
        self.answers = self.old.score_samples(rows(60))

    def __call__(self):
        model = pickle.loads(self.stored)
        return lambda: model.fit(3.0 * rows(50, 1) + 1.0), lambda *_: self._wrong(model)

    def _wrong(self, model):
        found = model.score_samples(rows(60))
        if np.array_equal(found, self.answers):
            return ""
        whole = model.base_score_ != self.old.base_score_
        usable = np.isfinite(found).all() and np.isfinite(model.log_density_hessian(rows(60))).all()
        return "" if whole and usable else "neither the old model nor a whole one"


class DrawScenario:
    """Draws of a model: finite ones, none of which is more than was asked for."""

    def __init__(self, method, *arguments, continues=False):
        self.method, self.arguments, self.continues = method, arguments, continues
        options = {"noise_level": 0.3, "base_density": "gaussian", "max_iter": 60}
        options["hidden_layer_sizes"] = 16, 16
        self.model = pickle.loads(_stored_fit(200, **options))
        if self.model._sampling_target().is_base:
            raise RuntimeError("the model is its base density: no chain would be run")

    def __call__(self):
        sampler, options = RAESampler(self.model, **CHAINS), {}
        if self.continues:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                options = {"continue_from": sampler.sample_chains(5)}
        call = getattr(sampler, self.method)
        return lambda: call(*self.arguments, **options), self._wrong

    @staticmethod
    def _wrong(result, raised):
        draws = getattr(result, "draws", result)
        is_fine = raised or (len(draws) > 0 and np.isfinite(draws).all())
        return "" if is_fine else "draws that are not finite, or none"


HOLED = np.array([[0.0, np.nan], [np.nan, 1.0], [0.5, 0.5]])
SCENARIOS = {
    "fit": FitScenario,
    "fit of a network alone": lambda: FitScenario(noise_level=0.3, base_density="gaussian"),
    "fit of a free decoder": lambda: FitScenario(decoder="free", margins="identity"),
    "sample": lambda: DrawScenario("sample", 20),
    "sample_chains": lambda: DrawScenario("sample_chains", 20),
    "chains that go on": lambda: DrawScenario("sample_chains", 20, continues=True),
    "sample_conditional": lambda: DrawScenario("sample_conditional", HOLED, 8),
    "impute": lambda: DrawScenario("impute", HOLED, 8),
}


def lines(scenario, n_places=None, seed=0):
    """Counts of KeyboardInterrupts before lines: "raised", "told", "wrong"; and what was wrong."""
    return count_outcomes(SCENARIOS[scenario](), n_places, seed)


def _interrupted_after(delay, call):
    """What call() gives or None, the seconds from a signal to its end, and whether it told."""
    fired = []

    def fire():
        fired.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer, result = threading.Timer(delay, fire), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            timer.start()
            result = call()
            timer.cancel()
        except KeyboardInterrupt:
            pass
    late = time.perf_counter() - fired[0] if fired else 0.0
    return result, late, any("interrupted" in str(w.message) for w in caught)


def signals(call, is_usable, n_signals, seed=0):
    """Counts of real signals at random moments of call(), and the longest wait after one.

    Returns
    -------
    counts : Counter of "kept", "raised", "finished" before the signal, and "wrong"
    longest : float, seconds
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.perf_counter()
        call()
    total, rng = time.perf_counter() - began, random.Random(seed)
    found, longest = Counter(), 0.0
    # A process in the background may have been started to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in range(n_signals):
        before = ambient()
        result, late, told = _interrupted_after(rng.uniform(0.0, total), call)
        longest = max(longest, late)
        if ambient() != before or (result is not None and not is_usable(result)):
            found["wrong"] += 1
        else:
            kept = "kept" if told else "finished"
            found["raised" if result is None else kept] += 1
    return found, longest


def fit_signals(n_signals, seed=0):
    """`signals` of a default fit of 400 rows."""
    X = rows(400)
    return signals(
        lambda: RegularizedAutoEncoderScore(random_state=0).fit(X),
        lambda model: np.isfinite(model.log_density_hessian(X[:50])).all(),
        n_signals,
        seed,
    )


def completion_signals(n_signals, seed=0):
    """`signals` of `sample_conditional` of 4000 rows of 10 columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 3)) @ rng.standard_normal((3, 10))
    X += 0.3 * rng.standard_normal(X.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RegularizedAutoEncoderScore(random_state=0, max_mixtures=1).fit(X)
    holed = np.where(rng.random((4000, 10)) < 0.2, np.nan, np.tile(X, (2, 1)))
    sampler = RAESampler(model, random_state=0)
    return signals(lambda: sampler.sample_conditional(holed, 20), np.any, n_signals, seed)


def work(rows_path, checkpoint, answers_path):
    """A fit with a checkpoint, in a process of its own; what it came to, in a file."""
    X = np.load(rows_path)
    warnings.simplefilter("ignore")
    options = {"random_state": 0, "max_mixtures": 3, "checkpoint": checkpoint or None}
    model = RegularizedAutoEncoderScore(**options).fit(X)
    found = {name: value for name, value in vars(model).items() if name.endswith("_")}
    Path(answers_path).write_bytes(pickle.dumps((model.score_samples(X), found)))


def kills(n_kills, seed=0):
    """Counts of fits killed by signal 9 at random moments and begun again until they end.

    Returns
    -------
    counts : Counter of "killed", and of fits that are the "same" to the last bit, or "other"
    """
    rng, found = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        np.save(path, rows(400))
        began = time.perf_counter()
        expected = _answers_of(path, "", folder, None)
        total = time.perf_counter() - began
        while found["killed"] < n_kills:
            checkpoint, answers = str(Path(folder, "checkpoint")), None
            while answers is None:
                last = found["killed"] >= n_kills
                limit = None if last else rng.uniform(0.2, 1.0) * total
                answers = _answers_of(path, checkpoint, folder, limit)
                found["killed"] += answers is None
            found["same" if answers == expected else "other"] += 1
    return found


def _answers_of(path, checkpoint, folder, limit):
    """The answers of a fit; None where it was killed after so many seconds."""
    answers = Path(folder, "answers")
    command = [sys.executable, "-c", TASK, str(path), checkpoint, str(answers)]
    try:
        subprocess.run(command, cwd=ROOT, check=True, timeout=limit)  # which kills by signal 9
    except subprocess.TimeoutExpired:
        return None
    return answers.read_bytes()
