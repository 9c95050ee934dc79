"""Fresh draws of raw tables beside test rows, as a multiple of how far training rows are from them.

As many draws are taken as there are test rows, and as many training rows, 20 times each. Figures
are means over columns or pairs: of numbers the Wasserstein distance in standard deviations and the
difference of rank correlations; of categories the total variation distance; of pairs of any columns
that of their tables, numbers cut at five quantiles of the training rows. Entries that are missing
in a table are left out.
"""

from itertools import combinations

import numpy as np
from scipy.stats import rankdata, wasserstein_distance

from tests.benchmarks import raw_ours
from tests.benchmarks.raw_categories import BY_CATEGORY, CLASSES, INDEPENDENT, fit_peer
from tests.benchmarks.raw_data import TABLES, problem_of
from tests.benchmarks.raw_ours import OURS
from tests.benchmarks.records import timed

PEERS = INDEPENDENT, CLASSES, BY_CATEGORY
N_REPEATS = 20
N_PARTS = 5
ON_GRID = 1e-6  # of a step
DISTANCES = "numbers", "categories", "correlations", "pairs"


class Comparison:
    """Distances of rows from test rows.

    Parameters
    ----------
    train, test : Rows
    schema : Schema
    """

    def __init__(self, train, test, schema):
        self.test, self.sizes = test, schema.sizes
        self.scale = np.nanstd(train.numbers, axis=0)
        levels = np.arange(1, N_PARTS) / N_PARTS
        self.cuts = [np.unique(np.nanquantile(x, levels)) for x in train.numbers.T]
        self.own_codes, self.own_ranks = self._codes(test), rank_correlation(test.numbers)

    def distances(self, rows):
        """Means over columns and pairs: {distance: value}, NaN where there is no such column."""
        numbers = [
            wasserstein_distance(_known(a), _known(b)) / scale
            for a, b, scale in zip(rows.numbers.T, self.test.numbers.T, self.scale, strict=True)
        ]
        columns = zip(rows.codes.T, self.test.codes.T, strict=True)
        categories = [total_variation([a], [b]) for a, b in columns]
        codes = self._codes(rows)
        pairs = [
            total_variation([codes[i], codes[j]], [self.own_codes[i], self.own_codes[j]])
            for i, j in combinations(range(len(codes)), 2)
        ]
        upper = np.triu_indices(len(self.scale), 1)
        difference = np.abs(rank_correlation(rows.numbers) - self.own_ranks)[upper]
        parts = numbers, categories, difference, pairs
        means = [float(np.mean(part)) if len(part) else np.nan for part in parts]
        return dict(zip(DISTANCES, means, strict=True))

    def _codes(self, rows):
        """All columns as codes, numbers cut at quantiles; -1 where missing."""
        cut = [
            np.where(np.isnan(x), -1, np.searchsorted(cuts, x, side="right"))
            for x, cuts in zip(rows.numbers.T, self.cuts, strict=True)
        ]
        return [*cut, *rows.codes.T]


def _known(x):
    return x[~np.isnan(x)]


def total_variation(first, second):
    """Half the sum of |p - q| over the cells of two tables of codes, rows with a -1 left out.

    >>> total_variation([np.array([0, 0, 1, 1])], [np.array([0, 0, 0, 2])])
    0.5
    """
    cells = [np.column_stack(part) for part in (first, second)]
    cells = [part[(part >= 0).all(axis=1)] for part in cells]
    _, place = np.unique(np.vstack(cells), axis=0, return_inverse=True)
    place, n = place.ravel(), len(cells[0])
    counts = [np.bincount(part, minlength=place.max() + 1) for part in (place[:n], place[n:])]
    return float(0.5 * np.abs(counts[0] / n - counts[1] / len(cells[1])).sum())


def rank_correlation(numbers):
    """Spearman's correlations of the rows that have all numbers, 0 for a column of one value."""
    known = numbers[~np.isnan(numbers).any(axis=1)]
    ranks = rankdata(known, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    norms = np.linalg.norm(ranks, axis=0)
    ranks /= np.where(norms > 0.0, norms, 1.0)
    return ranks.T @ ranks


def draws(case):
    """Each distance of draws over that of training rows, and the share of draws on the grid."""
    problem = problem_of(case)
    schema, seed = problem.schema, case["seed"]
    train, test = schema.encode(problem.train), schema.encode(problem.test)
    rng, n = np.random.default_rng(seed), len(test.numbers)
    rows, seconds = _draws(case, problem, train, N_REPEATS * n)
    comparison = Comparison(train, test, schema)
    own = [comparison.distances(rows.take(slice(i * n, (i + 1) * n))) for i in range(N_REPEATS)]
    size = min(n, len(train.numbers))
    floor = [
        comparison.distances(train.take(rng.choice(len(train.numbers), size, replace=False)))
        for _ in range(N_REPEATS)
    ]
    means = [{key: np.mean([r[key] for r in part]) for key in DISTANCES} for part in (own, floor)]
    steps = np.abs(rows.numbers - schema.snapped(rows.numbers)) / schema.widths
    return {
        **{key: float(means[0][key] / means[1][key]) for key in DISTANCES},
        **{f"{key}_distance": float(means[0][key]) for key in DISTANCES},
        "on_grid": float((steps < ON_GRID).mean()),
        "sample_cpu": seconds.cpu,
    }


def _draws(case, problem, train, n):
    """(Rows, `Seconds` without the fit)."""
    if case["model"] == OURS:
        model, _ = raw_ours.fitted(case)
        frame, seconds = timed(lambda: model.sample(n, random_state=case["seed"]))
        return problem.schema.encode(frame), seconds
    if case["model"] not in (INDEPENDENT, CLASSES):
        train = train.take(train.is_complete)
    peer = fit_peer(case["model"], train, problem.schema, case["seed"])
    return timed(peer.sample, n, np.random.default_rng(case["seed"]))


SECTIONS = {"draws": draws}
COLUMNS = {"draws": {**dict.fromkeys(DISTANCES, 2), "on_grid": 3, "sample_cpu": 1}}


def cases_of(seed):
    """All cases of a seed."""
    del seed
    for name in TABLES:
        for model in (OURS, *PEERS):
            yield {"section": "draws", "set": name, "model": model}
