"""What only a fresh process can tell: peak memory of a task, and the time of an import."""

import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

MEMORY_NOTE = (
    "Peak resident memory (VmHWM of Linux) of a fresh process above what it held before the task,"
    " with the rows loaded, in float64, and one small question answered. The answers count: 8 MB"
    " of log densities and 80 MB of gradients for a million rows."
)
IMPORT_NOTE = "Medians over fresh processes that have imported scikit-learn and torch before."

TASK = """
import json, pickle, sys, warnings
import numpy as np, torch
torch.set_num_threads(1)
from skrae import RegularizedAutoEncoderScore
from tests.benchmarks.process_memory import memory
warnings.simplefilter("ignore")
folder, task = sys.argv[1:]
with open(f"{folder}/model.pickle", "rb") as file:
    model = pickle.load(file)
X = np.load(f"{folder}/rows.npy")
if task == "fit":
    RegularizedAutoEncoderScore(max_iter=2, random_state=0).fit(X[:500])
    work = RegularizedAutoEncoderScore(random_state=0).fit
else:
    work = getattr(model, task)
    work(X[:2000])
before = memory("VmRSS")
answer = work(X)
print(json.dumps({"data_mb": X.nbytes / 1e6, "peak_mb": memory("VmHWM") - before}))
"""

IMPORT = """
import json, time
import sklearn, torch
cpu, wall = time.process_time(), time.perf_counter()
{statement}
print(json.dumps({{"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}}))
"""
# Of an interpreter whose scikit-learn has its callbacks loaded the rest is skrae's own.
IMPORTS = {"skrae": "import skrae", "of it sklearn.callback": "import sklearn.callback"}


def peak_memory(model, task, X):
    """Megabytes of the rows X and of the peak above them of one task.

    Parameters
    ----------
    model : fitted estimator
    task : {"fit", "score_samples", "log_density_gradient"}
        A fit is one of a new estimator with its defaults; the questions are put to `model`.
    X : array of shape (n, d)
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.pickle").write_bytes(pickle.dumps(model))
        np.save(Path(folder, "rows.npy"), X)
        return _run(TASK, folder, task)


def import_seconds(repeats):
    """Median processor and wall seconds of `import skrae`, and of what it imports from others."""
    return {"imports": [{"of": name, **_median_import(s, repeats)} for name, s in IMPORTS.items()]}


def _median_import(statement, repeats):
    found = [_run(IMPORT.format(statement=statement)) for _ in range(repeats)]
    return {key: median(record[key] for record in found) for key in found[0]}


def _run(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the measuring process failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
