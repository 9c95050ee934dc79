"""Densities of numbers and categories without a network: independent columns and latent classes.

Every peer is fitted to `Rows` and has ``log_density(rows)`` in the measure of `raw_data`. Numbers
of both are mixtures of normal distributions, whose mass of a cell is a difference of distribution
functions, so that nothing of it is approximate. Both take holes: what is missing is left out.
"""

import numpy as np
from scipy.special import log_ndtr, logsumexp
from sklearn.cluster import KMeans

from tests.benchmarks.raw_data import Rows, Schema

HELD_OUT = 0.1
COLUMN_SIZES = 1, 2, 4, 8, 16, 32
REPEATED = 0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97
SIZES = 1, 2, 4, 8, 16, 32, 64, 128
MAX_STEPS, TOLERANCE = 150, 2e-5
MIN_COUNT = 2.0  # rows of a class, below which it is dropped
PRIOR_ROWS = 2.0  # of the frequencies of all classes, in those of one
# Of a standard deviation in steps: then all of a value's mass is in its cell.
NARROWEST = 0.15
NARROW = 1e-3


def log_cell_mass(low, high):
    """log of the standard normal mass between two ends, low < high.

    >>> np.exp(log_cell_mass(np.array([-1.0]), np.array([1.0])))
    array([0.68268949])
    """
    middle, width = 0.5 * (low + high), high - low
    # To second order in the width: phi(m) w (1 + w^2 (m^2 - 1) / 24).
    found = (
        np.log(width) - 0.5 * (middle**2 + np.log(2.0 * np.pi)) + width**2 * (middle**2 - 1) / 24
    )
    wide = width > NARROW
    # In the lower tail neither end is so near 1 that nothing is left of the difference.
    last = 0.5 * width[wide] - np.abs(middle[wide])
    upper = log_ndtr(last)
    found[wide] = upper + np.log1p(-np.exp(log_ndtr(last - width[wide]) - upper))
    return found


def frequencies(codes, size, weights=None, prior=0.5):
    """Shares of levels, smoothed by half a row of each; -1 is left out."""
    known = codes >= 0
    counts = np.bincount(codes[known], None if weights is None else weights[known], size)
    return (counts + prior) / (counts + prior).sum()


class LatentClasses:
    """Mixture whose components have independent columns: normal numbers and categories.

        p(x, u) = sum_k w_k prod_j N(cell of x_j; mu_kj, sigma_kj) / h_j prod_j pi_kj(u_j)

    fitted by EM. Missing entries are left out of the products, which is their integral.
    """

    def __init__(self, schema, seed, size):
        self.schema, self.seed, self.size = schema, seed, size

    def fit(self, rows, weights=None):
        """EM from the clusters of k-means; a weight stands for so many equal rows."""
        weights = np.ones(len(rows.numbers)) if weights is None else weights
        self.widths = self.schema.widths
        shares = self._clusters(rows, weights)
        pairs = zip(rows.codes.T, self.schema.sizes, strict=True)
        self.overall = [frequencies(codes, size, weights) for codes, size in pairs]
        self._uniques = [np.unique(x, return_inverse=True) for x in rows.numbers.T]
        last = -np.inf
        for _ in range(MAX_STEPS):
            self._maximise(rows, weights[:, None] * shares)
            joint = self._joint(rows, self._uniques)
            total = logsumexp(joint, axis=1)
            shares = np.exp(joint - total[:, None])
            level = np.average(total, weights=weights)
            if level - last < TOLERANCE:
                break
            last = level
        del self._uniques
        return self

    def _clusters(self, rows, weights):
        """Rows' shares of the first components, (n, K)."""
        numbers = rows.numbers
        masses = np.where(np.isnan(numbers), 0.0, weights[:, None])
        self.location = np.average(np.nan_to_num(numbers), axis=0, weights=masses)
        squares = np.nan_to_num(numbers - self.location) ** 2
        self.scale = np.sqrt(np.average(squares, axis=0, weights=masses))
        self.scale = np.where(self.scale > 0.0, self.scale, 1.0)
        z = np.nan_to_num((numbers - self.location) / self.scale)
        sizes = zip(rows.codes.T, self.schema.sizes, strict=True)
        onehots = [codes[:, None] == np.arange(size) for codes, size in sizes]
        columns = np.hstack([np.clip(z, -3.0, 3.0), *onehots])
        distinct = min(self.size, len(np.unique(columns, axis=0)))
        clusters = KMeans(distinct, n_init=1, random_state=self.seed)
        return np.eye(distinct)[clusters.fit_predict(columns, sample_weight=weights)]

    def _maximise(self, rows, shares):
        shares = shares[:, shares.sum(axis=0) >= min(MIN_COUNT, shares.sum())]
        self.weights = shares.sum(axis=0) / shares.sum()
        known = ~np.isnan(rows.numbers)
        z = np.nan_to_num((rows.numbers - self.location) / self.scale)
        counts = shares.T @ known + 1e-9
        means = shares.T @ z / counts
        variances = shares.T @ z**2 / counts - means**2
        self.means = self.location + self.scale * means
        narrowest = NARROWEST * self.widths
        self.deviations = np.maximum(self.scale * np.sqrt(np.maximum(variances, 0.0)), narrowest)
        self.levels = []
        for codes, overall in zip(rows.codes.T, self.overall, strict=True):
            onehots = (codes[:, None] == np.arange(len(overall))).astype(float)
            own = shares.T @ onehots + PRIOR_ROWS * overall
            self.levels.append(own / own.sum(axis=1, keepdims=True))

    def _joint(self, rows, uniques):
        """log of weight times density of each component, (n, K)."""
        joint = np.tile(np.log(self.weights), (len(rows.numbers), 1))
        for j, (values, place) in enumerate(uniques):
            low, high = (
                (values[:, None] + side * self.widths[j] - self.means[:, j]) / self.deviations[:, j]
                for side in (-0.5, 0.5)
            )
            own = np.nan_to_num(log_cell_mass(low, high), neginf=-1e300) - np.log(self.widths[j])
            joint += np.where(np.isnan(values)[:, None], 0.0, own)[place]
        for codes, levels in zip(rows.codes.T, self.levels, strict=True):
            joint += np.where(codes[:, None] >= 0, np.log(levels)[:, codes].T, 0.0)
        return joint

    def log_density(self, rows):
        uniques = [np.unique(x, return_inverse=True) for x in rows.numbers.T]
        return logsumexp(self._joint(rows, uniques), axis=1)

    def sample(self, n, rng):
        """Rows, their numbers on the grid."""
        k = rng.choice(len(self.weights), n, p=self.weights)
        numbers = self.means[k] + self.deviations[k] * rng.standard_normal((n, len(self.widths)))
        codes = [
            (rng.random((n, 1)) > levels[k].cumsum(axis=1)[:, :-1]).sum(axis=1)
            for levels in self.levels
        ]
        return Rows(self.schema.snapped(numbers), stacked(codes, n))


def stacked(codes, n):
    """Columns (n,) beside each other, of which there may be none."""
    return np.column_stack(codes) if codes else np.empty((n, 0), int)


# --- independent columns --------------------------------------------------------------------------


class NumberColumn:
    """One column of numbers: a normal mixture, a wide tail and, if asked, the values of the fit.

    The size of the mixture is chosen by BIC, the share of the values' own frequencies by held-out
    rows, and 1 / (n + 1) has a Cauchy distribution of the column's standard deviation.
    """

    def __init__(self, name, schema, seed, repeats):
        self.step, self.seed, self.repeats = schema.steps[name], seed, repeats
        self.schema = Schema((name,), {name: self.step}, {name: schema.origins[name]}, {})

    def fit(self, x):
        known = x[~np.isnan(x)]
        if not self.repeats:
            return self._fit(known)._fit_share(0.0)
        held = np.random.default_rng(self.seed).random(len(known)) < HELD_OUT
        self._fit(known[~held])
        scores = [self._fit_share(share).log_density(known[held]).sum() for share in REPEATED]
        best = REPEATED[int(np.argmax(scores))]
        return self._fit(known)._fit_share(best)

    def _fit(self, x):
        self.values, counts = np.unique(x, return_counts=True)
        self.log_shares = np.log(counts / len(x))
        self.median, self.scale, self.tail = np.median(x), x.std() or self.step, 1.0 / (len(x) + 1)
        rows = Rows(self.values[:, None], np.empty((len(counts), 0), int))
        sizes = [size for size in COLUMN_SIZES if size <= len(self.values)]
        fits = [LatentClasses(self.schema, self.seed, size).fit(rows, counts) for size in sizes]
        self.mixture = min(fits, key=lambda fit: self._bic(fit, rows, counts))
        return self

    @staticmethod
    def _bic(fit, rows, counts):
        n_parameters = 3 * len(fit.weights) - 1
        return n_parameters * np.log(counts.sum()) - 2.0 * counts @ fit.log_density(rows)

    def _fit_share(self, share):
        self.share = share
        return self

    def log_density(self, x):
        """(n,), 0 where x is missing."""
        missing, x = np.isnan(x), np.where(np.isnan(x), self.median, x)
        place = np.searchsorted(self.values, x).clip(max=len(self.values) - 1)
        is_one = self.values[place] == x
        repeated = np.where(is_one, self.log_shares[place] - np.log(self.step), -np.inf)
        smooth = self.mixture.log_density(Rows(x[:, None], np.empty((len(x), 0), int)))
        low, high = ((x - self.median + s * self.step) / self.scale for s in (-0.5, 0.5))
        wide = np.log(np.arctan2(high - low, 1.0 + low * high) / np.pi) - np.log(self.step)
        with np.errstate(divide="ignore"):
            shares = np.log([self.share, 1.0 - self.share])
        most = np.logaddexp(shares[0] + repeated, shares[1] + smooth)
        found = np.logaddexp(np.log1p(-self.tail) + most, np.log(self.tail) + wide)
        return np.where(missing, 0.0, found)

    def sample(self, n, rng):
        """Draws but for those of the tail."""
        smooth = self.mixture.sample(n, rng).numbers[:, 0]
        repeated = rng.choice(self.values, n, p=np.exp(self.log_shares))
        return np.where(rng.random(n) < self.share, repeated, smooth)


class IndependentColumns:
    """The product of the columns' own distributions."""

    def __init__(self, schema, seed, repeats=False):
        self.schema, self.options = schema, (seed, repeats)

    def fit(self, rows):
        names = zip(self.schema.steps, rows.numbers.T, strict=True)
        self.numbers = [NumberColumn(name, self.schema, *self.options).fit(x) for name, x in names]
        pairs = zip(rows.codes.T, self.schema.sizes, strict=True)
        self.levels = [frequencies(codes, size) for codes, size in pairs]
        return self

    def log_density(self, rows):
        total = np.zeros(len(rows.numbers))
        for column, x in zip(self.numbers, rows.numbers.T, strict=True):
            total += column.log_density(x)
        for levels, codes in zip(self.levels, rows.codes.T, strict=True):
            total += np.where(codes >= 0, np.log(levels)[codes], 0.0)
        return total

    def sample(self, n, rng):
        """Rows, their numbers on the grid."""
        numbers = [column.sample(n, rng) for column in self.numbers]
        codes = [rng.choice(len(levels), n, p=levels) for levels in self.levels]
        whole = np.column_stack(numbers) if numbers else np.empty((n, 0))
        return Rows(whole, stacked(codes, n))


# --- what all peers share -------------------------------------------------------------------------


class Guarded:
    """A peer with a share 1 / (n + 1) of independent columns.

    So that a wild row, which no normal mixture expects, does not decide a mean of log densities.
    """

    def __init__(self, peer, independent, n):
        self.peer, self.independent, self.n = peer, independent, n

    def fit(self, rows):
        self.peer.fit(rows)
        return self

    def log_density(self, rows):
        share = 1.0 / (self.n + 1)
        own = np.log1p(-share) + self.peer.log_density(rows)
        return np.logaddexp(own, np.log(share) + self.independent.log_density(rows))

    def sample(self, n, rng):
        return self.peer.sample(n, rng)


def chosen(candidates, rows, seed):
    """Of ``{settings: make}`` the best on held-out rows, fitted to all: (settings, model)."""
    held = np.random.default_rng(seed).random(len(rows.numbers)) < HELD_OUT
    train, validation = rows.take(~held), rows.take(held)
    scores = {
        settings: make().fit(train).log_density(validation).mean()
        for settings, make in candidates.items()
    }
    best = max(scores, key=scores.get)
    return best, candidates[best]().fit(rows)
