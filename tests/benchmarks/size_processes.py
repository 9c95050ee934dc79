"""One fit by one process and by two, and by one thread and by two, in wall time.

``python -m tests.benchmarks.size --sections processes`` has the flights of ``large``, and how far
the two models are from each other. Each run is one of torchrun's, in which every process has one
thread and an equal share of the rows. ``--sections threads`` has few rows of a mixture in ten
dimensions, the best of five fits each.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from skrae import RegularizedAutoEncoderScore
from tests.benchmarks.large import flights
from tests.benchmarks.records import timed

N_PROCESSES, N_ASKED, N_FITS = 2, 10_000, 5
SCRIPT = "import sys; from tests.benchmarks.size_processes import fit; fit(*sys.argv[1:])"


def processes(case):
    """Wall seconds of either, their ratio, and the largest difference of log densities."""
    rows = flights(case["rows"], np.random.default_rng(case["seed"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        np.save(path, rows)
        one, two = (_fitted(path, n, case["seed"]) for n in (1, N_PROCESSES))
        values = [np.load(f"{path}.{n}.npy") for n in (1, N_PROCESSES)]
    apart = float(np.abs(values[0] - values[1]).max())
    return {
        "one_wall": one,
        "two_wall": two,
        "speedup": one / two,
        "apart": apart,
        "mean": float(values[0].mean()),
    }


def threads(case, law):
    """Wall seconds of fits to rows of a law by one thread and by two, and their ratio."""
    X = law.sample(case["rows"], np.random.default_rng(case["seed"]))
    before, took = torch.get_num_threads(), {1: [], 2: []}
    try:
        for _ in range(N_FITS):
            for n, seconds in took.items():
                torch.set_num_threads(n)
                model = RegularizedAutoEncoderScore(random_state=case["seed"])
                seconds.append(timed(model.fit, X)[1].wall)
    finally:
        torch.set_num_threads(before)
    one, two = (min(seconds) for seconds in took.values())
    return {"one_wall": one, "two_wall": two, "speedup": one / two}


def _fitted(path, n_processes, seed):
    """Wall seconds of a fit by so many processes."""
    script = path.with_name("fit.py")
    script.write_text(SCRIPT, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    task = ["--nproc-per-node", str(n_processes), str(script), str(path), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*launch, *task], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def fit(path, seed):
    """Fit to the share of this process; the first one tells how long it took."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, size = distributed.get_rank(), distributed.get_world_size()
    rows = np.load(path)
    own = rows[len(rows) * rank // size : len(rows) * (rank + 1) // size]
    model = RegularizedAutoEncoderScore(random_state=int(seed), distributed=size > 1)
    distributed.barrier()
    start = time.perf_counter()
    model.fit(own)
    seconds = time.perf_counter() - start
    if rank == 0:
        np.save(f"{path}.{size}.npy", model.score_samples(rows[:N_ASKED]))
        print(json.dumps(seconds))
    distributed.destroy_process_group()
