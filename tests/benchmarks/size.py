"""Tables larger than memory: peak memory of a fit, rate of scores from a file, and what rows bring.

``python -m tests.benchmarks.size`` fits a file of 10 000 000 x 10 float32 in a process of its own,
scores as many rows from a Parquet file and from memory, and tells how far the log density of 20 000
fresh rows of a mixture in ten dimensions is from the truth as rows are added, in processor seconds
and in passes of expectation-maximisation by scikit-learn's GaussianMixture of as many components;
the same of a stream of blocks, beside a fit to all rows, and of one whose law is another from the
middle on, where nothing is forgotten and where each block leaves nine tenths of what was before;
the wall time of a fit to the flights out of New York by one process and by two, and of fits to few
rows by one thread and by two; and held-out log densities as rows are added beside those of a spline
flow that is given as many processor seconds as the fit took, and three times as many.
``--rows`` makes the files smaller; ``--quick`` runs one small case of each. Needs pyarrow.
"""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import RotatedMixture
from tests.benchmarks.records import argument_parser, choose, run, timed
from tests.benchmarks.sections import section_tables
from tests.benchmarks.size_flows import TABLES, flows
from tests.benchmarks.size_processes import processes, threads

SEEDS, MODELS = (0,), ("skrae",)
ROWS, QUICK_ROWS = 10_000_000, 300_000
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (2000,)
N_FEATURES, N_FRESH, N_TRAINING = 10, 20_000, 20_000
# Rows that are drawn, or written, at a time; numbers that a pass of scikit-learn's EM may hold.
CHUNK, MOST_NUMBERS = 500_000, 5e7

STREAM_ROWS, QUICK_STREAM_ROWS, STREAM_BLOCK = 100_000, 4000, 1000
FLIGHTS, QUICK_FLIGHTS = 327_346, 1000
FEW_ROWS, QUICK_FEW_ROWS = (100, 1000, 10_000), (100,)
FORGETTING = 0.9

SECTIONS = "memory", "scoring", "gap", "stream", "processes", "threads", "flows"
COLUMNS = {
    "memory": {"file_mb": 0, "peak_mb": 0, "fit_cpu": 1, "components": 0},
    "scoring": {"in_memory": 0, "from_file": 0, "rate": 3},
    "gap": {"gap": 4, "fit_cpu": 1, "components": 0, "pass_cpu": 2, "passes": 1},
    "stream": {
        "stream": 4,
        "all_rows": 4,
        "changed": 3,
        "forgotten": 3,
        "stream_cpu": 1,
        "fit_cpu": 1,
        "call_cpu": 3,
    },
    "processes": {"one_wall": 1, "two_wall": 1, "speedup": 2, "apart": 8},
    "threads": {"one_wall": 2, "two_wall": 2, "speedup": 2},
    "flows": {
        "n": 0,
        "ours": 3,
        "flow_1": 3,
        "flow_3": 3,
        "ahead_1": 3,
        "ahead_3": 3,
        "fit_cpu": 1,
        "components": 0,
    },
}
TITLES = {
    "file_mb": "file, MB",
    "peak_mb": "peak above the process, MB",
    "fit_cpu": "fit, CPU s",
    "in_memory": "rows / s in memory",
    "from_file": "rows / s from Parquet",
    "rate": "of the rate in memory",
    "gap": "nats below the truth",
    "stream": "a stream, nats below the truth",
    "all_rows": "a fit to all",
    "changed": "a law that changed",
    "forgotten": f"with forgetting={FORGETTING}",
    "stream_cpu": "stream, CPU s",
    "call_cpu": "median call, CPU s",
    "pass_cpu": "one pass of EM, CPU s",
    "passes": "fit / pass",
    "one_wall": "one, s",
    "two_wall": "two, s",
    "speedup": "times as fast",
    "apart": "largest difference of log p",
    "n": "that there are",
    "ours": "test log p",
    "flow_1": "a flow's, as many CPU s",
    "flow_3": "three times",
    "ahead_1": "ahead by",
    "ahead_3": "of three times",
}
TASK = """
import json, sys, time, warnings
import numpy as np, torch
torch.set_num_threads(1)
warnings.simplefilter("ignore")
from skrae import RegularizedAutoEncoderScore
from tests.benchmarks.process_memory import forget_peak, memory
path, seed = sys.argv[1:]
X = np.load(path, mmap_mode="r")
RegularizedAutoEncoderScore(max_iter=2, random_state=0).fit(np.array(X[:500]))
forget_peak()
start, cpu = memory("VmRSS"), time.process_time()
model = RegularizedAutoEncoderScore(random_state=int(seed)).fit(X)
found = {"fit_cpu": time.process_time() - cpu, "peak_mb": memory("VmHWM") - start}
print(json.dumps({**found, "file_mb": X.nbytes / 1e6, "components": len(model.base_weights_)}))
"""


def law(seed=0):
    """Five Gaussians in ten dimensions."""
    return RotatedMixture(n_features=N_FEATURES, random_state=seed)


def chunks(n_rows, seed):
    """Rows of the law in float32, `CHUNK` at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_rows, CHUNK):
        yield law().sample(min(CHUNK, n_rows - start), rng).astype(np.float32)


# --- files ----------------------------------------------------------------------------------------


def write_array(path, n_rows, seed):
    """A file of NumPy's format."""
    shape = (n_rows, N_FEATURES)
    X = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    start = 0
    for rows in chunks(n_rows, seed):
        X[start : start + len(rows)] = rows
        start += len(rows)
    X.flush()


def write_parquet(path, X):
    """A file of Parquet, of columns x0, x1, ..."""
    import pyarrow
    from pyarrow import parquet

    columns = {f"x{j}": column for j, column in enumerate(X.T)}
    parquet.write_table(pyarrow.table(columns), path)


# --- what is measured -----------------------------------------------------------------------------


def measure(case):
    """The figures of a case, by its section."""
    own = {"memory": memory, "scoring": scoring, "gap": gap, "stream": stream}
    own |= {"processes": processes, "threads": partial(threads, law=law()), "flows": flows}
    return own[case["section"]](case)


def memory(case):
    """What a process of its own tells of a fit to a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.npy")
        write_array(path, case["rows"], case["seed"])
        command = [sys.executable, "-c", TASK, str(path), str(case["seed"])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def scoring(case):
    """Rows a second of `score_samples`, in wall time, in memory and from a file."""
    from pyarrow import dataset

    X = np.concatenate(list(chunks(case["rows"], case["seed"])))
    model = RegularizedAutoEncoderScore(random_state=case["seed"]).fit(X[:N_TRAINING])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.parquet")
        write_parquet(path, X)
        file = dataset.dataset(path)
        for rows in (X[:1000], file.head(1000)):  # what is made once, and imported
            model.score_samples(rows)
        n, (expected, in_memory) = len(X), timed(model.score_samples, X)
        del X, rows
        found, from_file = timed(model.score_samples, file)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    rates = {"in_memory": n / in_memory.wall, "from_file": n / from_file.wall}
    return {**rates, "rate": in_memory.wall / from_file.wall}


def gap(case):
    """How far the mean log density of fresh rows is below the truth, and what the fit costs."""
    rng = np.random.default_rng(case["seed"])
    X, fresh = law().sample(case["rows"], rng), law().sample(N_FRESH, rng)
    model, seconds = timed(RegularizedAutoEncoderScore(random_state=case["seed"]).fit, X)
    n_components = len(model.base_weights_) - 1  # without the tail
    one = pass_seconds(X, n_components, case["seed"])
    found = {"gap": lost(model, law(), fresh), "fit_cpu": seconds.cpu, "pass_cpu": one}
    return {**found, "passes": seconds.cpu / one, "components": n_components}


def pass_seconds(X, n_components, seed):
    """Processor seconds of one step of EM on all rows, from one on as many as memory has room for.

    Half of what a fit of three steps takes beyond one of one.
    """
    rows = X[: int(MOST_NUMBERS / n_components)]
    options = {"init_params": "random_from_data", "random_state": seed, "tol": 0.0}
    took = []
    for n_steps in (1, 3):
        mixture = GaussianMixture(n_components, max_iter=n_steps, **options)
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows)
        took.append(time.process_time() - start)
    return max(took[1] - took[0], 1e-9) / 2.0 * len(X) / len(rows)


def stream(case):
    """How far a stream, a fit to its rows, and streams whose law changes are below the truth."""
    seed, n = case["seed"], case["rows"]
    rng = np.random.default_rng(seed)
    X, fresh, other = law().sample(n, rng), law().sample(N_FRESH, rng), law(1)
    model, calls = streamed(X, seed)
    whole, seconds = timed(RegularizedAutoEncoderScore(random_state=seed).fit, X)
    found = {"stream": lost(model, law(), fresh), "all_rows": lost(whole, law(), fresh)}
    half, others = X[: n // 2], other.sample(N_FRESH, rng)
    changing = np.concatenate([half, other.sample(n - len(half), rng)])
    for name, forgetting in (("changed", 1.0), ("forgotten", FORGETTING)):
        found[name] = lost(streamed(changing, seed, forgetting)[0], other, others)
    took = {"stream_cpu": sum(calls), "call_cpu": float(np.median(calls)), "fit_cpu": seconds.cpu}
    return {**found, **took}


def streamed(X, seed, forgetting=1.0):
    """A model of the rows, block by block, and the processor seconds of its calls."""
    model, took = RegularizedAutoEncoderScore(random_state=seed), []
    for start in range(0, len(X), STREAM_BLOCK):
        block = X[start : start + STREAM_BLOCK]
        took.append(timed(partial(model.partial_fit, forgetting=forgetting), block)[1].cpu)
    return model, took


def lost(model, truth, fresh):
    """Nats that the mean log density of fresh rows is below the truth."""
    return float((truth.log_density(fresh) - model.score_samples(fresh)).mean())


def cases(options):
    """One for each section, of the gap for each size."""
    seeds = choose(options.seeds, SEEDS, SEEDS[:1], options.quick)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    stream_rows = QUICK_STREAM_ROWS if options.quick else STREAM_ROWS
    few_rows = QUICK_FEW_ROWS if options.quick else FEW_ROWS
    n_flights = QUICK_FLIGHTS if options.quick else FLIGHTS
    sizes = choose(options.sizes, SIZES, QUICK_SIZES, options.quick)
    sets = [{"set": name} for name in choose(options.sets, TABLES, ["mixture"], options.quick)]
    for section in options.sections or SECTIONS:
        own = {"gap": sizes, "stream": [stream_rows], "processes": [n_flights]}
        own |= {"threads": few_rows, "flows": sizes}
        tables = sets if section == "flows" else [{}]
        for table, n, seed in product(tables, own.get(section, [rows]), seeds):
            yield {"section": section, **table, "rows": n, "model": MODELS[0], "seed": seed}


def report(found):
    """A table for each section."""
    return section_tables(found, COLUMNS, ("set", "rows"), TITLES)


def main(arguments=None):
    """Print the tables."""
    parser = argument_parser("size", __doc__, MODELS, SEEDS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    parser.add_argument("--rows", type=int, help=f"of the files; default {ROWS}")
    parser.add_argument("--sizes", nargs="+", type=int, help=f"of gap, flows; default {SIZES}")
    parser.add_argument("--sets", nargs="+", choices=TABLES, help="of flows; default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
