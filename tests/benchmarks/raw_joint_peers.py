"""Peers that know how columns hang together: normal mixtures by category, and a vine copula.

Both are densities of numbers that are no categories: they are fitted to values with uniform noise
of one step, and the mean over a cell is taken over 16 points of it. None takes holes.
"""

import numpy as np
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from tests.benchmarks.raw_data import N_POINTS, Rows, cell_points
from tests.benchmarks.raw_peers import PRIOR_ROWS, frequencies, stacked

SIZES = 1, 2, 4, 8, 16
RIDGES = 1e-6, 1e-4, 1e-2
MIN_ROWS = 3  # a column and component, below which a category has the mixture of all rows
ZERO_SHARE = 0.05
MAX_VALUES = 100  # of the range of a column in steps, up to which a vine's margin is discrete
TREES = 20  # the default of the library's own estimator of densities
FAMILIES = "indep", "gaussian", "frank", "clayton", "gumbel", "joe", "tll"


def with_noise(rows, widths, rng):
    """Rows whose numbers are anywhere in their cells."""
    return rows._replace(numbers=rows.numbers + widths * (rng.random(rows.numbers.shape) - 0.5))


def mean_over_cells(log_density, rows, widths):
    """log of the mean of a density over 16 points of each row's cell, (n,)."""
    points = cell_points(rows.numbers.shape[1])
    parts = [log_density(rows._replace(numbers=rows.numbers + widths * p)) for p in points]
    return logsumexp(parts, axis=0) - np.log(N_POINTS)


# --- a normal mixture for each level of one category ----------------------------------------------


class MixtureByCategory:
    """p(u_1) p(x | u_1) prod_j p(u_j | u_1), u_1 the category of most levels.

    x given a level is a normal mixture with full covariances, whose size BIC chooses; levels of too
    few rows have that of all rows. Other categories are independent given the first.
    """

    def __init__(self, schema, seed, ridge):
        self.schema, self.seed, self.ridge = schema, seed, ridge
        self.first = int(np.argmax(schema.sizes))

    def fit(self, rows):
        rng = np.random.default_rng(self.seed)
        rows = with_noise(rows, self.schema.widths, rng)
        self.location, self.scale = rows.numbers.mean(axis=0), rows.numbers.std(axis=0)
        z, codes = self._scaled(rows), rows.codes[:, self.first]
        self.overall, few = self._mixture(z), MIN_ROWS * z.shape[1]
        self.mixtures, self.levels = {}, []
        for level in range(self.schema.sizes[self.first]):
            own = z[codes == level]
            self.mixtures[level] = self._mixture(own) if len(own) > few else self.overall
        for j, size in enumerate(self.schema.sizes):
            shares, known = frequencies(rows.codes[:, j], size), range(len(self.mixtures))
            tables = [np.bincount(rows.codes[codes == u, j], minlength=size) for u in known]
            own = np.array(tables) + PRIOR_ROWS * shares
            one = self.first == j
            self.levels.append(shares if one else own / own.sum(axis=1, keepdims=True))
        return self

    def _scaled(self, rows):
        return (rows.numbers - self.location) / self.scale

    def _mixture(self, z):
        most = max(1, len(z) // (MIN_ROWS * z.shape[1]))
        fits = [
            GaussianMixture(size, reg_covar=self.ridge, random_state=self.seed).fit(z)
            for size in SIZES
            if size <= most
        ]
        return min(fits, key=lambda fit: fit.bic(z))

    def log_density(self, rows):
        codes = rows.codes[:, self.first]
        total = np.log(self.levels[self.first])[codes]
        for j, levels in enumerate(self.levels):
            if j != self.first:
                total = total + np.log(levels)[codes, rows.codes[:, j]]
        return total + mean_over_cells(self._of_numbers, rows, self.schema.widths)

    def _of_numbers(self, rows):
        z, codes = self._scaled(rows), rows.codes[:, self.first]
        found = np.empty(len(z))
        for level in np.unique(codes):
            own = codes == level
            found[own] = self.mixtures[level].score_samples(z[own])
        return found - np.log(self.scale).sum()

    def sample(self, n, rng):
        """Rows, their numbers on the grid."""
        first = rng.choice(len(self.mixtures), n, p=self.levels[self.first])
        z = np.empty((n, len(self.scale)))
        for level in np.unique(first):
            own = first == level
            mixture = self.mixtures[level].set_params(random_state=int(rng.integers(2**31)))
            z[own] = mixture.sample(int(own.sum()))[0]
        codes = [
            first
            if j == self.first
            else (rng.random((n, 1)) > levels[first].cumsum(axis=1)[:, :-1]).sum(axis=1)
            for j, levels in enumerate(self.levels)
        ]
        return Rows(self.schema.snapped(self.location + self.scale * z), stacked(codes, n))


# --- a vine copula with every margin typed by hand ------------------------------------------------


class Vine:
    """pyvinecopulib's vine copula of kernel margins, truncated after 20 trees.

    Categories are discrete margins, their levels in the order of the table; so are numbers of at
    most 100 steps from the least to the largest, counted in steps. Others are continuous, in
    standard deviations, and zero-inflated where no value is below zero and one in twenty is zero.
    Without the end of its support a kernel margin of many equal counts gives them almost no mass.
    """

    def __init__(self, schema, seed):
        self.schema, self.seed = schema, seed

    def fit(self, rows):
        from pyvinecopulib import FitControlsVinecop, core, families

        numbers = rows.numbers
        self.low, steps = numbers.min(axis=0), np.ptp(numbers, axis=0) / self.schema.widths
        self.is_counted = steps <= MAX_VALUES
        inflated = (self.low == 0.0) & ((numbers == 0.0).mean(axis=0) >= ZERO_SHARE)
        self.is_inflated = inflated & ~self.is_counted
        self.units = np.where(self.is_counted, self.schema.widths, numbers.std(axis=0))
        noisy = with_noise(rows, self._widths(rows), np.random.default_rng(self.seed))
        kinds = np.where(self.is_counted, "d", np.where(self.is_inflated, "zi", "c")).tolist()
        kinds += ["d"] * len(self.schema.sizes)
        ends = [(0, size - 1) for size in self.schema.sizes]
        supports = [(0, None) if kind in ("d", "zi") else None for kind in kinds]
        supports[len(self.units) :] = ends
        controls = FitControlsVinecop(
            [getattr(families, name) for name in FAMILIES], trunc_lvl=TREES, num_threads=1
        )
        self.model = core.Vinedist.from_data(
            self._columns(noisy), controls, var_types=kinds, supports=supports
        )
        return self

    def _widths(self, rows):
        """Of the cells that a density is averaged over, (n, d): none of a probability."""
        return np.where(self._is_probable(rows), 0.0, self.schema.widths)

    def _is_probable(self, rows):
        return self.is_counted | (self.is_inflated & (rows.numbers == 0.0))

    def _columns(self, rows):
        low = np.where(self.is_inflated, 0.0, self.low)
        scaled = (rows.numbers - low) / self.units
        scaled = np.where(self.is_counted, np.round(scaled), scaled)
        return np.asfortranarray(np.hstack([scaled, rows.codes]))

    def log_density(self, rows):
        """In the units of the numbers; probabilities are divided by the step."""
        found = mean_over_cells(self._of_rows, rows, self._widths(rows))
        units = np.where(self._is_probable(rows), self.schema.widths, self.units)
        return found - np.log(units).sum(axis=1)

    def _of_rows(self, rows):
        with np.errstate(divide="ignore"):
            return np.nan_to_num(self.model.logpdf(self._columns(rows)), nan=-np.inf)
