"""What can be asked of one column given the rest of rows, by what the column is.

continuous   a density; everything from its laws
cells        whole and rounded numbers: each has the probability of its interval
heaps        the same, where many rows prefer some values
atoms        a probability for each atom, and the law of a number elsewhere
levels       a probability for each level of a category
constant     one value

Rows are full rows X (n, d) without the column, values (n, m) several of each, answers float64.
"""

import numpy as np
from scipy.special import logsumexp

from skrae.density.conditional.laws import ColumnLaws, uniforms
from skrae.density.incomplete.rows import AskedRows
from skrae.preprocessing.table.options import ATOMS, CATEGORICAL, CELLS, CONSTANT, HEAPS
from skrae.preprocessing.table.reading import TEXT


def column_of(evaluator, feature, place):
    """The answers about a column.

    Parameters
    ----------
    evaluator : TableEvaluator
    feature : Feature, or None for a plain number
    place : Place
    """
    kind = None if feature is None else feature.kind
    if kind == CONSTANT:
        return Constant(feature)
    if kind == CATEGORICAL:
        return Levels(evaluator, place.one_hot, feature)
    number = Continuous(evaluator, place.number)
    if kind == CELLS:
        return Cells(number, feature.lattice)
    if kind == HEAPS:
        return Heaps(number, feature)
    if kind == ATOMS:
        return Atoms(number, Levels(evaluator, place.one_hot, feature), feature.points)
    return number


def is_of_levels(column):
    """Whether a column has levels, and no order."""
    return isinstance(column, Levels) or (
        isinstance(column, Constant) and column.feature.type.sort == TEXT
    )


class Continuous:
    """A number with a density."""

    def __init__(self, evaluator, column):
        self._laws = ColumnLaws(evaluator.incomplete, column)
        self._incomplete = evaluator.incomplete

    def _each(self, X, answer, *values):
        """answer(laws, *values) of each block, joined."""
        found = None
        for laws in self._laws.each(X):
            own = answer(laws, *(part[laws.index] for part in values))
            if found is None:
                found = np.empty((len(X), *own.shape[1:]))
            found[laws.index] = own
        return found

    def log_density(self, X, values):
        """(n, m)"""
        return self._each(X, lambda laws, x: laws.log_density(x), values)

    def cdf(self, X, values):
        """P(value <= x), (n, m)."""
        return self._each(X, lambda laws, x: laws.cdf(x), values)

    def quantile(self, X, q):
        """(n, m) of q (n, m)."""
        return self._each(X, lambda laws, q: laws.quantile(q), q)

    def mean(self, X, limits=None):
        """(n,), of the law drawn in between two limits."""
        return self._each(X, lambda laws: laws.mean(limits))

    def effective(self, X):
        """(n,)"""
        return self._each(X, lambda laws: laws.effective)

    def draws(self, X, n_draws, seed):
        """(n, n_draws)"""
        return self.quantile(X, uniforms(self._incomplete, X, n_draws, seed))


def _cdf_at_ends(number, X, low, high):
    """P(X <= x) at the ends of intervals, (n, m) each."""
    return np.split(number.cdf(X, np.concatenate([low, high], axis=1)), 2, axis=1)


def _log_mean_density(number, X, middles, lengths):
    """log of the mean density of a number over intervals (n, m)."""
    low, high = _cdf_at_ends(number, X, middles - 0.5 * lengths, middles + 0.5 * lengths)
    # Farther out than float64 resolves a probability the density stands for its mean.
    mass = high - low
    with np.errstate(divide="ignore"):
        found = np.log(mass / lengths)
    far = mass < 1e-9
    return np.where(far, number.log_density(X, middles), found) if far.any() else found


def _snapped(lattice, values):
    """The values of a grid that are nearest; infinite ones as they are."""
    inside = np.isfinite(values)
    return np.where(inside, lattice.snap(np.where(inside, values, 0.0)), values)


class Cells:
    """A number that stands for an interval of one step: its law is that of the interval."""

    def __init__(self, number, lattice):
        self._number, self._lattice = number, lattice
        self.effective = number.effective
        self.mean = number.mean

    def log_density(self, X, values):
        """log P(cell) / h."""
        return _log_mean_density(self._number, X, values, self._lattice.step)

    def cdf(self, X, values):
        """That of the upper end of the last cell that begins below."""
        offset, step = self._lattice.offset, self._lattice.step
        inside = np.isfinite(values)
        place = (np.where(inside, values, 0.0) - offset) / step
        last = offset + np.floor(place + 1e-9) * step
        return self._number.cdf(X, np.where(inside, last + 0.5 * step, values))

    def quantile(self, X, q):
        """The value whose cell holds that of the number."""
        return _snapped(self._lattice, self._number.quantile(X, q))

    def draws(self, X, n_draws, seed):
        """(n, n_draws)"""
        return self._lattice.snap(self._number.draws(X, n_draws, seed))


class Heaps:
    """A number of which many rows prefer some values, within intervals of its law.

    Its mean is that of the law, which is off by what is within an interval.
    """

    def __init__(self, number, feature):
        self._number, self._heaps, self._lattice = number, feature.heaps, feature.lattice
        self.effective = number.effective
        self.mean = number.mean

    def log_density(self, X, values):
        """log P(value) / h."""
        parts = self._heaps.intervals(values.ravel(), self._lattice.step)
        middles, lengths, log_weights = (part.reshape(values.shape) for part in parts)
        return _log_mean_density(self._number, X, middles, lengths) + log_weights

    def cdf(self, X, values):
        """That of the interval's lower end, and the share of it that is at most the value."""
        parts = self._heaps.below(values.ravel())
        low, high, shares = (part.reshape(values.shape) for part in parts)
        before, after = _cdf_at_ends(self._number, X, low, high)
        return before + shares * (after - before)

    def quantile(self, X, q):
        """The value by which the share of its interval is reached."""
        found = self._number.quantile(X, q)
        low, high, _ = (part.reshape(q.shape) for part in self._heaps.below(found.ravel()))
        before, after = _cdf_at_ends(self._number, X, low, high)
        inside = after > before
        share = np.where(inside, (q - before) / np.where(inside, after - before, 1.0), 0.0)
        even = np.where(inside, low + share.clip(0.0, 1.0) * (high - low), found)
        return _snapped(self._lattice, self._heaps.quantiles(even.ravel()).reshape(q.shape))

    def draws(self, X, n_draws, seed):
        """(n, n_draws)"""
        return self.quantile(X, uniforms(self._number._incomplete, X, n_draws, seed))


class Within:
    """A column whose law is drawn in between two limits: what lies beyond is put there."""

    def __init__(self, column, limits):
        self._column, self._limits = column, limits
        self.effective, self.log_density = column.effective, column.log_density

    def cdf(self, X, values):
        """0 below the limits, 1 from the upper one on."""
        low, high = self._limits
        found = self._column.cdf(X, np.clip(values, low, high))
        return np.where(values < low, 0.0, np.where(values >= high, 1.0, found))

    def quantile(self, X, q):
        """No farther out than the limits."""
        return np.clip(self._column.quantile(X, q), *self._limits)

    def mean(self, X):
        """(n,)"""
        return self._column.mean(X, self._limits)

    def draws(self, X, n_draws, seed):
        """No farther out than the limits."""
        return np.clip(self._column.draws(X, n_draws, seed), *self._limits)


class Levels:
    """A category, or where a row is of a column with atoms."""

    def __init__(self, evaluator, one_hot, feature):
        self._evaluator, self._place, self.feature = evaluator, one_hot, feature

    def log_probabilities(self, X):
        """(n, L)"""
        n, size = len(X), self._place.stop - self._place.start
        rows = np.repeat(X, size, axis=0)
        rows[:, self._place] = np.tile(np.eye(size), (n, 1))
        joint = self._evaluator.ask("log_density", AskedRows(rows, np.dtype(np.float64)))
        joint = joint.reshape(n, size)
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def log_density(self, X, codes):
        """log P(level) of codes (n, m)."""
        return np.take_along_axis(self.log_probabilities(X), codes.astype(int), axis=1)

    def draws(self, X, n_draws, seed):
        """Codes (n, n_draws)."""
        below = np.exp(self.log_probabilities(X)).cumsum(axis=1)
        heights = uniforms(self._evaluator.incomplete, X, n_draws, seed) * below[:, -1:]
        return (heights[:, :, None] >= below[:, None, :-1]).sum(axis=2)

    def effective(self, X):
        """Of the draws behind it, by those of the whole row."""
        return self._evaluator.incomplete.draws(X, 1, 0, lambda index, draws: None, repeats=True)


class Atoms:
    """A number that many rows share a few values of.

    The density is with respect to Lebesgue and a unit of mass at each atom.
    """

    def __init__(self, number, levels, points):
        self._number, self._levels, self._atoms = number, levels, np.array(points, np.float64)
        self.effective = levels.effective

    def _parts(self, X):
        """Probabilities of elsewhere and the atoms (n, L), and rows that are elsewhere."""
        elsewhere = X.copy()
        place = self._levels._place
        elsewhere[:, place] = np.eye(place.stop - place.start)[0]
        return np.exp(self._levels.log_probabilities(X)), elsewhere

    def log_density(self, X, values):
        """log P(atom), or that of elsewhere and its density."""
        shares, elsewhere = self._parts(X)
        found = np.log(shares[:, :1]) + self._number.log_density(elsewhere, values)
        for share, atom in zip(shares[:, 1:].T, self._atoms, strict=True):
            found = np.where(values == atom, np.log(share)[:, None], found)
        return found

    def cdf(self, X, values):
        """Both together."""
        shares, elsewhere = self._parts(X)
        found = shares[:, :1] * self._number.cdf(elsewhere, values)
        for share, atom in zip(shares[:, 1:].T, self._atoms, strict=True):
            found = found + share[:, None] * (values >= atom)
        return found

    def quantile(self, X, q):
        """An atom where the distribution function leaps over q, else by the law of elsewhere."""
        shares, elsewhere = self._parts(X)
        at_atoms = np.tile(self._atoms, (len(X), 1))
        rest, atom_of = q.copy(), np.full(q.shape, np.nan)
        below = shares[:, :1] * self._number.cdf(elsewhere, at_atoms)
        before = np.zeros(len(X))
        for i, share in enumerate(shares[:, 1:].T):
            low = (below[:, i] + before)[:, None]
            high = low + share[:, None]
            atom_of[(q > low) & (q <= high)] = self._atoms[i]
            rest = np.where(q > high, rest - share[:, None], rest)
            before = before + share
        own = np.clip(rest / shares[:, :1], 0.0, 1.0)
        own = np.where(np.isnan(atom_of), own, 0.5)
        return np.where(np.isnan(atom_of), self._number.quantile(elsewhere, own), atom_of)

    def mean(self, X, limits=None):
        """(n,)"""
        shares, elsewhere = self._parts(X)
        own = self._number.mean(elsewhere, limits)
        return shares[:, 0] * own + shares[:, 1:] @ self._atoms

    def draws(self, X, n_draws, seed):
        """(n, n_draws)"""
        return self.quantile(X, uniforms(self._number._incomplete, X, n_draws, seed))


class Constant:
    """One value: drawn as code 0."""

    def __init__(self, feature):
        self.feature, (self._value,) = feature, feature.points[:1]

    def log_probabilities(self, X):
        """Zeros (n, 1)."""
        return np.zeros((len(X), 1))

    def log_density(self, X, values):
        """0: what else was ever there?"""
        return np.zeros(values.shape)

    def cdf(self, X, values):
        """A step."""
        return (values >= self._value).astype(np.float64)

    def quantile(self, X, q):
        """The value."""
        return np.full(q.shape, float(self._value))

    def mean(self, X):
        """The value."""
        return np.full(len(X), float(self._value))

    def effective(self, X):
        """1"""
        return np.ones(len(X))

    def draws(self, X, n_draws, seed):
        """Zeros (n, n_draws)."""
        return np.zeros((len(X), n_draws))
