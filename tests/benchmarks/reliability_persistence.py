"""Stored models with one bit flipped: each must raise, or answer as before to the last bit."""

import resource
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tests.density.stored_models import READERS, WRITERS, answers, fitted_models, rows_of

ROOT = Path(__file__).resolve().parents[2]
FORMS = [form for form in WRITERS if form != "skops" or find_spec("skops")]
KINDS = "average", "gradient"  # in turn; the first holds more of arrays, the second of the rest
OUTCOMES = "raised", "ended", "equal", "wrong"
# Of a process that reads damaged files: what is asked of the machine there may be any number.
MAX_BYTES, MAX_SECONDS = 4 * 2**30, 600
TASK = "import sys; from tests.benchmarks.reliability_persistence import work; work(*sys.argv[1:])"


def flips(n_flips, seed=0, forms=None):
    """What became of stored models, a random bit of each flipped.

    Parameters
    ----------
    n_flips : int, of each file format
    seed : int, of the bits
    forms : the formats, or None for all that are installed

    Returns
    -------
    counts : dict of dicts, of each of "pickle", "joblib" and, where it is installed, "skops"
        How many "raised" an error when they were loaded or asked, "ended" the process by a signal,
        answered "equal" to the last bit, and were silently "wrong".
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = fitted_models(KINDS)
        forms = FORMS if forms is None else forms
        for form in forms:
            for kind, model in models.items():
                WRITERS[form](model, Path(folder, f"{kind}.{form}"))
        return {form: _counts(folder, form, n_flips, seed) for form in forms}


def _counts(folder, form, n_flips, seed):
    found = []
    while len(found) < n_flips:
        first = len(found)
        command = [sys.executable, "-c", TASK, folder, form, str(seed), str(first), str(n_flips)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode > 0:
            raise RuntimeError(done.stderr)
        found += done.stdout.split()
        if done.returncode < 0:
            found.append("ended")
    return {outcome: Counter(found)[outcome] for outcome in OUTCOMES}


def work(folder, form, seed, first, last):
    """Print the outcome of each flip from the first to the last, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    warnings.simplefilter("ignore")
    paths = {kind: Path(folder, f"{kind}.{form}") for kind in KINDS}
    expected = {kind: _asked(kind, READERS[form](path)) for kind, path in paths.items()}
    for number in range(int(first), int(last)):
        kind = KINDS[number % len(KINDS)]
        damaged = Path(folder, f"damaged.{form}")
        damaged.write_bytes(_flipped(paths[kind].read_bytes(), [int(seed), number]))
        print(_outcome(kind, form, damaged, expected[kind]), flush=True)


def _flipped(content, seed):
    """The bytes with one random bit flipped."""
    flipped = bytearray(content)
    place, bit = divmod(int(np.random.default_rng(seed).integers(8 * len(content))), 8)
    flipped[place] ^= 1 << bit
    return bytes(flipped)


def _outcome(kind, form, path, expected):
    try:
        found = _asked(kind, READERS[form](path))
    except Exception:  # damage may raise anything
        return "raised"
    return "equal" if found == expected else "wrong"


def _asked(kind, model):
    """The bytes of all that a model answers, and of rows that it draws."""
    found = answers({kind: model}, {kind: rows_of(kind)[:6]})
    return [np.asarray(values).tobytes() for values in (*found.values(), model.sample(3, 0))]
