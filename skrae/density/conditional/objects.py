"""`Marginal` and `Conditional`: laws of some of the columns of a fitted density."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skrae.density.conditional.columns import chosen_columns
from skrae.density.conditional.kinds import Levels, Within, column_of, is_of_levels
from skrae.density.incomplete.rows import AskedRows, asked_rows, table_evaluator
from skrae.preprocessing.contract.caller import in_own_state
from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.rows import frame_of

# Farther out nothing is left; squares still are numbers.
FARTHEST = 1e100

FLOAT = np.dtype(np.float64)
# Draws of q behind each row, of which `effective_share` tells how many count.
N_JUDGED = 64


class _Law:
    """What both have: the columns, the evaluator, and rows of which they are missing."""

    def __init__(self, model, columns, X):
        self._chosen = chosen_columns(model, columns)
        self._evaluator = table_evaluator(model._evaluator(FLOAT), model._table())
        self._rows = self._chosen.without(X)
        places = self._chosen.places(self._rows.shape[1])
        self._columns = [
            column_of(self._evaluator, feature, place)
            for feature, place in zip(self._chosen.features, places, strict=True)
        ]

    @property
    def columns(self):
        """The names of the columns, a list."""
        return self._chosen.labels

    @property
    def levels(self):
        """The levels of a categorical column, an array of shape (n_levels,)."""
        column = self._one(Levels, "levels")
        return self._chosen.levels_of(column.feature)

    def __len__(self):
        """The number of rows."""
        return len(self._rows)

    def _one(self, kind, question):
        """The only column; of numbers where `kind` is None, of levels where it is `Levels`."""
        if len(self._columns) > 1:
            raise ValueError(
                f"Got {len(self._columns)} columns {self.columns}, expected one: {question} is of a"
                " single column."
            )
        (column,) = self._columns
        self._check_kind(column, 0, kind, question)
        return column

    def _check_kind(self, column, place, kind, question):
        if is_of_levels(column) == (kind is Levels):
            return
        name = self.columns[place]
        if kind is Levels:
            raise ValueError(f"Got column {name!r} of numbers, expected a category: {question}.")
        raise ValueError(
            f"Got the categorical column {name!r}, expected one of numbers: it has no {question},"
            " but probabilities."
        )

    def _joint(self, view, X):
        """log p of full rows with these values, (n,)."""
        full = self._chosen.with_values(X, view)
        return self._log_p(full) + view.log_floor

    def _log_p(self, full):
        found = np.zeros(len(full))
        known = ~np.isnan(full).all(axis=1)
        if known.any():
            found[known] = self._evaluator.ask("log_density", AskedRows(full[known], FLOAT))
        return found

    def _values_of(self, view):
        """Values (n,) of the only column, NaN where missing; at atoms those, of levels codes."""
        feature = self._chosen.features[0]
        if feature is None:
            return view.numeric[:, 0]
        if isinstance(self._columns[0], Levels):
            return np.where(view.codes[:, 0] < 0, np.nan, view.codes[:, 0])
        numbers = view.numeric[:, 0] if feature.has_numbers else None
        if feature.n_codes:
            atoms = np.append(np.nan, feature.points)
            codes = view.codes[:, 0]
            numbers = np.where(codes > 0, atoms[np.maximum(codes, 0)], numbers)
        return np.zeros(len(view.log_floor)) if numbers is None else numbers

    def _means(self):
        """The mean of each column, (n, k)."""
        for place, column in enumerate(self._columns):
            self._check_kind(column, place, None, "mean")
        return np.stack([column.mean(self._rows) for column in self._columns], axis=1)

    def _draws(self, n_draws, random_state):
        """Values (n, n_draws, k) drawn for each row."""
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        shape = len(self._rows), n_draws
        if len(self._columns) == 1:
            found = self._columns[0].draws(self._rows, n_draws, seed)
            return self._chosen.values(found)[:, :, None]
        full = np.empty((*shape, self._rows.shape[1]))
        self._evaluator.incomplete.draws(self._rows, n_draws, seed, full.__setitem__, repeats=False)
        values = np.asarray(self._chosen.decoded(full.reshape(-1, full.shape[2])))
        return values.reshape(*shape, -1)

    def _effective(self):
        if len(self._columns) == 1:
            return self._columns[0].effective(self._rows)
        nothing = lambda index, draws: None  # noqa: E731
        return self._evaluator.incomplete.draws(self._rows, N_JUDGED, 0, nothing, repeats=True)


class Conditional(_Law):
    """The law of columns given the rest of each row, p(columns | given).

    What `RegularizedAutoEncoderScore.conditional` returns. Of one column of numbers everything is
    that of one law: exact in the base density, whose conditional is a mixture in closed form; a
    network tilts it at 128 nodes, and only its values between them are interpolated. What a row
    does not tell is integrated out of the base density exactly, and of a network by 32 draws at
    each of 64 nodes, smoothed along them. Of several columns the density is
    log p(all) - log p(given), and draws of the base density are resampled by their weights p / q
    (Rubin 1987).

    Answers depend on their row alone. The object goes on to answer for the fit that it was made of.
    """

    def __init__(self, model, columns, given):
        check_is_fitted(model)
        super().__init__(model, columns, asked_rows(model, model._table(), given).X)

    def _drawn_in(self, limits):
        """The same, of one column of numbers, with the law drawn in between two limits."""
        self._columns = [Within(column, limits) for column in self._columns]
        return self

    def __repr__(self):
        return f"Conditional(columns={self.columns}, n_rows={len(self._rows)})"

    @in_own_state
    def score_samples(self, Y):
        """log p(y | given) of values of the columns for each row, in nats and the units of X.

        Parameters
        ----------
        Y : array-like or data frame of shape (n, k), (n,) of one column
            NaN, None, NA or null where a value is missing, which is integrated out. Of one column
            also an array of shape (n, m), several values for each row.

        Returns
        -------
        log_density : array of shape (n,), or (n, m)
            Of cells log probabilities divided by their length, of levels and atoms log
            probabilities.

        Raises
        ------
        ValueError
            For another number of rows or columns than the law has.
        """
        n, m = len(self._rows), 1
        if len(self._columns) == 1 and isinstance(Y, np.ndarray) and Y.ndim == 2 and len(Y) == n:
            m, Y = Y.shape[1], Y.reshape(-1)
        view = self._chosen.read(Y)
        if len(view.log_floor) != n * m:
            raise ValueError(f"Got {len(view.log_floor)} rows, expected {n}, one for each given.")
        if len(self._columns) > 1:
            return self._joint(view, self._rows) - self._log_p(self._rows)
        values = self._values_of(view).reshape(n, m)
        found = self._columns[0].log_density(self._rows, np.nan_to_num(values))
        found = np.where(np.isnan(values), 0.0, found) + view.log_floor.reshape(n, m)
        return found if m > 1 else found[:, 0]

    @in_own_state
    def sample(self, n_samples=1, random_state=None):
        """Independent draws for each row.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None
            The same integer gives a row the same draws, whatever rows are beside it.

        Returns
        -------
        values : array of shape (n, n_samples, k), (n, n_samples) of a column asked for by itself
            Of objects where the columns are no numbers.
        """
        check_number("n_samples", n_samples, 1, kind=Integral)
        return self._chosen.as_asked(self._draws(n_samples, random_state))

    @in_own_state
    def mean(self):
        """E(columns | given), each by its own law.

        Returns
        -------
        mean : array of shape (n, k), (n,) of a column asked for by itself

        Raises
        ------
        ValueError
            For a categorical column.
        """
        return self._chosen.as_asked(self._means())

    @in_own_state
    def quantile(self, q):
        """The smallest value y with P(Y <= y | given) >= q.

        Parameters
        ----------
        q : float in [0, 1], or array-like of shape (m,)

        Returns
        -------
        values : array of shape (n,), or (n, m)
            Of cells values of their grid; infinite at 0 and 1 otherwise.

        Raises
        ------
        ValueError
            For several columns or a category, and for q outside of [0, 1].
        """
        column, levels = self._one(None, "quantile"), check_levels(q)
        each = np.tile(levels.reshape(1, -1), (len(self._rows), 1))
        found = column.quantile(self._rows, each)
        return found if np.ndim(q) else found[:, 0]

    @in_own_state
    def cdf(self, y):
        """P(Y <= y | given) of one value for each row: the probability integral transform.

        Parameters
        ----------
        y : array-like of shape (n,), or (n, m) for several values a row; or a float for all

        Returns
        -------
        probability : array of shape (n,), or (n, m)
        """
        column = self._one(None, "cdf")
        values = numbers_of(y if np.ndim(y) else np.full(len(self._rows), y))
        if values.ndim > 2 or len(values) != len(self._rows):
            raise ValueError(
                f"Got y of shape {values.shape}, expected ({len(self._rows)},) or"
                f" ({len(self._rows)}, m), a row for each given."
            )
        found = _cdf_of(column, self._rows, values.reshape(len(values), -1))
        return found.reshape(values.shape)

    @in_own_state
    def probabilities(self):
        """P(level | given) of a categorical column, in the order of `levels`.

        Returns
        -------
        probabilities : array of shape (n, n_levels)
        """
        return np.exp(self._one(Levels, "probabilities").log_probabilities(self._rows))

    @in_own_state
    def effective_share(self):
        """The effective number of the draws behind each row's answers, as a share of all.

        1 where an answer takes none: in the base density, and of one number given a complete row.
        A share s of M draws stands for a standard error of sqrt((1 / s - 1) / M) of log p: of
        several columns M = 64, of one number some 256, those of the nodes nearby together.

        Returns
        -------
        share : array of shape (n,)
        """
        return self._effective()


class Marginal(_Law):
    """The law of columns whatever the others are, p(columns).

    What `RegularizedAutoEncoderScore.marginal` returns. Exact in the base density; of a network
    the mean over draws of the other columns is taken: 512 at each node of the law of one number, 64
    behind each row of several columns, seeded by the row.
    """

    def __init__(self, model, columns):
        check_is_fitted(model)
        width = model.base_means_.shape[1]
        super().__init__(model, columns, np.full((1, width), np.nan))
        self._model = model

    def __repr__(self):
        return f"Marginal(columns={self.columns})"

    @in_own_state
    def score_samples(self, X):
        """log p of rows of these columns, in nats and the units of X.

        Parameters
        ----------
        X : array-like or data frame of shape (n, k), (n,) of one column

        Returns
        -------
        log_density : array of shape (n,)
        """
        view = self._chosen.read(X)
        if len(self._columns) > 1:
            return self._joint(view, np.repeat(self._rows, len(view.log_floor), axis=0))
        values = self._values_of(view)
        found = self._columns[0].log_density(self._rows, np.nan_to_num(values)[None])[0]
        return np.where(np.isnan(values), 0.0, found) + view.log_floor

    def sample(self, n_samples=1, random_state=None):
        """Draws of these columns: those of `RegularizedAutoEncoderScore.sample`.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : array or data frame of shape (n_samples, k), (n_samples,) of a column asked for by
            itself
        """
        check_number("n_samples", n_samples, 1, kind=Integral)
        rows = self._model.sample(n_samples, random_state)
        if frame_of(rows) is not None:
            return rows[self.columns[0] if self._chosen.is_one else self.columns]
        return self._chosen.as_asked(rows[:, list(self._chosen.index)])

    @in_own_state
    def mean(self):
        """E of the columns, (k,); a float of a column asked for by itself."""
        found = self._means()[0]
        return float(found[0]) if self._chosen.is_one else found

    @in_own_state
    def quantile(self, q):
        """The smallest value x with P(X <= x) >= q.

        Parameters
        ----------
        q : float in [0, 1], or array-like of shape (m,)

        Returns
        -------
        values : float, or array of shape (m,)
        """
        column, levels = self._one(None, "quantile"), check_levels(q)
        found = column.quantile(self._rows, levels.reshape(1, -1))[0]
        return found if np.ndim(q) else float(found[0])

    @in_own_state
    def cdf(self, x):
        """P(X <= x).

        Parameters
        ----------
        x : float, or array-like of shape (n,)

        Returns
        -------
        probability : float, or array of shape (n,)
        """
        column, values = self._one(None, "cdf"), numbers_of(x)
        found = _cdf_of(column, self._rows, values.reshape(1, -1)).reshape(values.shape)
        return found if np.ndim(x) else float(found[0])

    @in_own_state
    def probabilities(self):
        """P(level) of a categorical column, (n_levels,), in the order of `levels`."""
        return np.exp(self._one(Levels, "probabilities").log_probabilities(self._rows))[0]

    @in_own_state
    def effective_share(self):
        """The effective number of the draws behind the law, as a share of all; 1 of the base."""
        return float(self._effective()[0])


def numbers_of(values):
    """Values as float64, without NaN; infinite ones are let through."""
    found = np.atleast_1d(np.asarray(values, np.float64))
    if np.isnan(found).any():
        raise ValueError("Got NaN among the values, expected numbers.")
    return found


def _cdf_of(column, rows, values):
    """The distribution function at values (n, m), 0 and 1 at the infinite ones."""
    found = column.cdf(rows, np.clip(values, -FARTHEST, FARTHEST))
    return np.where(np.isinf(values), values > 0.0, found)


def check_levels(q):
    """Levels of quantiles as an array; ValueError outside of [0, 1]."""
    levels = check_array(np.atleast_1d(q), ensure_2d=False, dtype=np.float64, input_name="q")
    if levels.ndim > 1 or (levels < 0.0).any() or (levels > 1.0).any():
        raise ValueError(f"Got q={q!r}, expected a number in [0, 1], or a sequence of them.")
    return levels
