"""Laws of counts, atoms and mixed rows whose log probability is known, fitted to 2000 rows.

The gap is the mean over 10 000 fresh rows of log p of the model less that of the law, in nats:
minus an estimate of the relative entropy. Where a box holds nearly all of a law, the mass that the
model has in it is summed, over counts and levels and over a fine grid of continuous columns.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tests.benchmarks.raw_categories import CLASSES, fit_peer
from tests.benchmarks.raw_data import Schema
from tests.benchmarks.raw_ours import OURS, estimator
from tests.benchmarks.records import timed

N, N_FRESH, QUICK_ROWS = 2000, 10_000, 300
ZERO_SHARE = 0.3
CLASS_SHARES = np.array([0.5, 0.3, 0.2])
CLASS_RATES = np.array([1.0, 5.0, 20.0])
CLASS_MEANS, CLASS_SPREADS = np.array([0.0, 3.0, -2.0]), np.array([1.0, 0.5, 2.0])
LEVELS = "abc"
BELOW, ABOVE = 10, 40  # counts beside those of the fit
N_LINE = 4000


class Law(NamedTuple):
    """``draw(n, rng)`` gives a frame, ``log_p(frame)`` its truth (n,), ``steps`` those of counts.

    ``cells(frame)`` gives a frame of places and their weights (n,): the sum of p times the weight
    is the mass of a box around the rows of a fit.
    """

    draw: object
    log_p: object
    cells: object
    steps: dict | None = None


def _counts(frame):
    return np.arange(frame["count"].min() - BELOW, frame["count"].max() + ABOVE)


def _line(low, high, n=N_LINE):
    """Midpoints of small intervals, and their length."""
    edges = np.linspace(low, high, n + 1)
    return 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]


def _of_counts(distribution):
    def cells(frame):
        counts = _counts(frame)
        return pd.DataFrame({"count": counts}), np.ones(len(counts))

    return Law(
        lambda n, rng: pd.DataFrame({"count": distribution.rvs(n, random_state=rng)}),
        lambda frame: distribution.logpmf(frame["count"].to_numpy()),
        cells,
        {"count": 1.0},
    )


def _inflated():
    """0 with probability .3, else exponential: one column, an atom and a density."""

    def draw(n, rng):
        return pd.DataFrame(
            {"x": np.where(rng.random(n) < ZERO_SHARE, 0.0, rng.exponential(size=n))}
        )

    def log_p(frame):
        x = frame["x"].to_numpy()
        positive = np.where(x > 0.0, np.log1p(-ZERO_SHARE) - x, -np.inf)
        return np.where(x == 0.0, np.log(ZERO_SHARE), positive)

    def cells(frame):
        line, width = _line(-2.0, 3.0 * frame["x"].max())
        line = line[line != 0.0]
        places = np.append(0.0, line)
        return pd.DataFrame({"x": places}), np.append(1.0, np.full(len(line), width))

    return Law(draw, log_p, cells)


def _by_class():
    """A count and a normal number, independent given one of three classes."""

    def draw(n, rng):
        k = rng.choice(len(CLASS_SHARES), n, p=CLASS_SHARES)
        return pd.DataFrame(
            {
                "class": pd.Categorical.from_codes(k, list(LEVELS)),
                "count": rng.poisson(CLASS_RATES[k]),
                "x": rng.normal(CLASS_MEANS[k], CLASS_SPREADS[k]),
            }
        )

    def log_p(frame):
        k = frame["class"].cat.codes.to_numpy()
        count = stats.poisson(CLASS_RATES[k]).logpmf(frame["count"].to_numpy())
        x = stats.norm(CLASS_MEANS[k], CLASS_SPREADS[k]).logpdf(frame["x"].to_numpy())
        return np.log(CLASS_SHARES[k]) + count + x

    def cells(frame):
        line, width = _line(frame["x"].min() - 3.0, frame["x"].max() + 3.0, N_LINE // 20)
        grid = np.meshgrid(np.arange(len(LEVELS)), _counts(frame), line, indexing="ij")
        k, count, x = (part.ravel() for part in grid)
        levels = pd.Categorical.from_codes(k, list(LEVELS))
        return pd.DataFrame({"class": levels, "count": count, "x": x}), np.full(len(x), width)

    return Law(draw, log_p, cells)


LAWS = {
    "Poisson(0.5)": _of_counts(stats.poisson(0.5)),
    "Poisson(3)": _of_counts(stats.poisson(3.0)),
    "Poisson(30)": _of_counts(stats.poisson(30.0)),
    "binomial(8, 0.3)": _of_counts(stats.binom(8, 0.3)),
    "geometric(0.3)": _of_counts(stats.geom(0.3)),
    "zero-inflated exponential": _inflated(),
    "count and number by class": _by_class(),
}


def counts(case):
    """The gap to the law, and the mass of a box."""
    law, rng = LAWS[case["set"]], np.random.default_rng(case["seed"])
    train = law.draw(QUICK_ROWS if case.get("quick") else N, rng)
    fresh = law.draw(N_FRESH, rng)
    log_density, seconds = timed(_fit, case, law, train)
    places, weights = law.cells(train)
    truth = law.log_p(fresh)
    return {
        "gap": float((log_density(fresh) - truth).mean()),
        "truth": float(truth.mean()),
        "mass": float(weights @ np.exp(log_density(places))),
        "fit_cpu": seconds.cpu,
    }


def _fit(case, law, train):
    """The log density of a fitted model, a function of frames."""
    if case["model"] == OURS:
        return estimator(case).fit(train).score_samples
    schema = Schema.of(train, law.steps)
    peer = fit_peer(case["model"], schema.encode(train), schema, case["seed"])
    return lambda frame: peer.log_density(schema.encode(frame))


SECTIONS = {"counts": counts}
COLUMNS = {"counts": {"gap": 4, "truth": 3, "mass": 4, "fit_cpu": 1}}


def cases_of(seed):
    """All cases of a seed; the peer where all numbers are counts."""
    del seed
    for name, law in LAWS.items():
        for model in (OURS, CLASSES) if law.steps else (OURS,):
            yield {"section": "counts", "set": name, "model": model}
