"""A chain of gradient-boosted classifiers: each column given those before it.

    p(x_1, ..., x_d) = prod_j p(x_j | x_1, ..., x_j-1)

Numbers are cut into at most 32 bins of about equal counts, 25 rows or more, whose ends lie between
values of the column's grid; a bin's probability is shared equally by the grid values in it, and
1 / (n + 1) of the whole has the column's own distribution with its wide tail. So it is a
distribution on the grid.
"""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.benchmarks.raw_data import Rows
from tests.benchmarks.raw_peers import HELD_OUT, NumberColumn, frequencies, stacked

N_BINS, ROWS_A_BIN = 32, 25
MAX_ITER = 60
BOOSTING = {"learning_rate": 0.1, "max_leaf_nodes": 15, "early_stopping": False}


class Bins:
    """Bins of a column's grid values: code of a value, and values of a code."""

    def __init__(self, x, step):
        self.step, self.origin = step, x.min()
        k = np.round((x - self.origin) / step).astype(np.int64)
        most = min(N_BINS, max(1, len(x) // ROWS_A_BIN))
        lasts = np.quantile(k, np.arange(1, most + 1) / most, method="inverted_cdf")
        values, counts = np.unique(k, return_counts=True)
        # A value that fills a bin by itself does not share it with those below.
        alone = values[counts >= len(k) / most]
        self.ends = np.unique(np.concatenate([[-1], lasts, alone, alone - 1]).astype(np.int64))
        self.sizes = np.diff(self.ends)

    def __len__(self):
        return len(self.sizes)

    def codes(self, x):
        """(n,), -1 outside of what the fit has seen."""
        k = np.round((x - self.origin) / self.step)
        code = np.searchsorted(self.ends, k, side="left") - 1
        return np.where((code >= 0) & (code < len(self)), code, -1)

    def draw(self, codes, rng):
        """A value of each bin."""
        k = self.ends[codes] + 1 + (rng.random(len(codes)) * self.sizes[codes]).astype(np.int64)
        return self.origin + self.step * k


class Step:
    """P(code | columns before): boosted, or frequencies where no column is before.

    Held-out rows choose the number of boosting steps, of which there may be none; then all rows are
    fitted.
    """

    def __init__(self, size, seed):
        self.size, self.seed = size, seed

    def fit(self, X, codes, is_category):
        self._count(codes)
        if not X.shape[1]:
            return self
        held = np.random.default_rng(self.seed).random(len(X)) < HELD_OUT
        self._count(codes[~held])._boost(X[~held], codes[~held], is_category, MAX_ITER)
        n_iter = self._best(X[held], codes[held])
        return self._count(codes)._boost(X, codes, is_category, n_iter)

    def _count(self, codes):
        self.shares, self.model = frequencies(codes, self.size), None
        self.smoothing = self.size / (len(codes) + self.size)
        return self

    def _boost(self, X, codes, is_category, n_iter):
        if n_iter and len(np.unique(codes)) > 1:
            options = {**BOOSTING, "max_iter": n_iter, "random_state": self.seed}
            model = HistGradientBoostingClassifier(categorical_features=is_category, **options)
            self.model = model.fit(X, codes)
        return self

    def _best(self, X, codes):
        """The number of steps after which held-out codes are likeliest."""
        stages = [] if self.model is None else self.model.staged_predict_proba(X)
        found = [np.tile(self.shares, (len(X), 1)), *map(self._smoothed, stages)]
        return int(np.argmax([np.log(p[np.arange(len(X)), codes]).sum() for p in found]))

    def _smoothed(self, boosted):
        found = np.tile(self.smoothing * self.shares, (len(boosted), 1))
        found[:, self.model.classes_] += (1.0 - self.smoothing) * boosted
        return found

    def probabilities(self, X):
        """(n, size), a little of the frequencies in them."""
        if self.model is None:
            return np.tile(self.shares, (len(X), 1))
        return self._smoothed(self.model.predict_proba(X))


class Chain:
    """The chain, categories first."""

    def __init__(self, schema, seed):
        self.schema, self.seed = schema, seed

    def fit(self, rows):
        names, n = list(self.schema.steps), len(rows.numbers)
        columns = zip(names, rows.numbers.T, strict=True)
        self.bins = [Bins(x, self.schema.steps[name]) for name, x in columns]
        columns = zip(names, rows.numbers.T, strict=True)
        self.wide = [
            NumberColumn(name, self.schema, self.seed, False).fit(x) for name, x in columns
        ]
        self.share = 1.0 / (n + 1)
        X, targets = self._features(rows), self._targets(rows)
        is_category = np.arange(X.shape[1]) < len(self.schema.sizes)
        sizes = *self.schema.sizes, *map(len, self.bins)
        self.steps = [
            Step(size, self.seed).fit(X[:, :j], targets[:, j], is_category[:j])
            for j, size in enumerate(sizes)
        ]
        return self

    @staticmethod
    def _features(rows):
        return np.hstack([rows.codes, rows.numbers]).astype(float)

    def _targets(self, rows):
        binned = [bins.codes(x) for bins, x in zip(self.bins, rows.numbers.T, strict=True)]
        return np.column_stack([rows.codes, *binned])

    def log_density(self, rows):
        X, targets, n_categories = self._features(rows), self._targets(rows), len(rows.codes.T)
        total = np.zeros(len(X))
        for j, step in enumerate(self.steps):
            code = targets[:, j]
            own = step.probabilities(X[:, :j])[np.arange(len(X)), code.clip(0)]
            if j < n_categories:
                total += np.log(own)
                continue
            bins, wide = self.bins[j - n_categories], self.wide[j - n_categories]
            own = np.where(code >= 0, own / (bins.sizes[code.clip(0)] * bins.step), 0.0)
            tail = np.exp(wide.log_density(rows.numbers[:, j - n_categories]))
            total += np.log((1.0 - self.share) * own + self.share * tail)
        return total

    def sample(self, n, rng):
        """Rows, none of them from the tails."""
        X, n_categories = np.empty((n, len(self.steps))), len(self.schema.sizes)
        for j, step in enumerate(self.steps):
            steps = step.probabilities(X[:, :j]).cumsum(axis=1)[:, :-1]
            codes = (rng.random((n, 1)) > steps).sum(axis=1)
            X[:, j] = codes if j < n_categories else self.bins[j - n_categories].draw(codes, rng)
        codes = list(X[:, :n_categories].astype(int).T)
        return Rows(X[:, n_categories:], stacked(codes, n))
