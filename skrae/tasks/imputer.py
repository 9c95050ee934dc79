"""DensityImputer: what is missing from rows, by the mean or by draws given what is observed."""

import sys

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skrae.density.incomplete.rows import checked
from skrae.preprocessing.contract.caller import in_own_state
from skrae.preprocessing.contract.options import COUNT, check_flag, check_number
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.rows import frame_of
from skrae.preprocessing.table.reading import TEXT, read_source
from skrae.sampling.reports import warn_of_few_draws
from skrae.tasks.densities import new_density

INDICATOR = "missingindicator_"


class DensityImputer(TransformerMixin, BaseEstimator):
    r"""Fill what is missing from rows by their density given what is observed.

    A density p is fitted to rows with holes as they are. The missing entries m of a row are filled
    with their mean given the observed ones o,

    .. math::

        E[x_m | x_o] = \int x_m \, p(x_m | x_o) \, dx_m,

    by draws of the base density's conditional, which is known in closed form, with weights p / q:
    so all missing entries of a row are filled at once and fit together. A category gets its
    likeliest level, a column on a grid a value of the grid, one with atoms the mean of both parts.
    What is filled depends on the row alone. `sample` gives draws instead, for multiple imputation
    (Rubin 1987).

    Parameters
    ----------
    density : RegularizedAutoEncoderScore or None, default=None
        What is cloned and fitted. None is one with default options.
    n_samples : int >= 1, default=64
        Draws of each mean, 64 or more.
    add_indicator : bool, default=False
        Whether columns of 0 and 1 follow, for each column with holes in the rows of the fit: where
        an entry was missing.
    random_state : int, RandomState instance or None, default=None
        That of the draws, and of the density where it is not None.

    Attributes
    ----------
    density_ : RegularizedAutoEncoderScore
        The fitted density, with all that it answers.
    indicator_features_ : int array
        Columns that had holes in the rows of the fit.
    limits_ : array of shape (2, n_features_in_)
        The least and the largest number that was observed of each column, between which draws are
        put before their mean is taken: tails of a density may be heavier than any rows. NaN where
        it has no numbers.
    seed_ : int
        That of the draws.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    RAESampler.sample_conditional : Draws given what is observed, of a density that is there.
    sklearn.impute.IterativeImputer : Chained regressions, one column at a time.
    sklearn.impute.KNNImputer : Means of nearest rows.

    Notes
    -----
    Entries must be missing at random: that one is missing may depend on the observed entries of
    its row, but not on its own value (Little & Rubin 2002, section 1.3).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skrae import DensityImputer
    >>> X, y = load_iris(return_X_y=True)
    >>> holed = X.copy()
    >>> holed[::3, 2] = np.nan  # petal lengths
    >>> filled = DensityImputer(random_state=0).fit_transform(holed)
    >>> bool(np.abs(filled - X).max() < 1.5), float(np.nanstd(holed[:, 2]).round(1))
    (True, 1.8)
    """

    def __init__(self, density=None, *, n_samples=64, add_indicator=False, random_state=None):
        self.density = density
        self.n_samples = n_samples
        self.add_indicator = add_indicator
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def fit(self, X, y=None, sample_weight=None):
        """Fit the density to rows with holes.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            As `RegularizedAutoEncoderScore.fit` takes them: NaN, None, NA or null where an entry is
            missing.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For options, and for what the density refuses, such as a column without any observed
            value. Nothing fitted before is lost.
        """
        del y
        density = self._new_density()
        twin = twin_of(self)
        checked(twin, X, reset=True, ensure_min_samples=2)
        twin.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        if self.random_state is not None:
            density.set_params(random_state=twin.seed_)
        columns = read_source(X).columns
        weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
        twin.density_ = density.fit(X, **weighted)
        twin.indicator_features_ = np.flatnonzero([c.missing.any() for c in columns])
        twin.limits_ = np.array([_limits(column) for column in columns]).T
        take_over(self, twin)
        return self

    def _new_density(self):
        check_number("n_samples", self.n_samples, 1, **COUNT)
        check_flag("add_indicator", self.add_indicator)
        return new_density(self.density, "_completions")

    def transform(self, X):
        """Fill what is missing from rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features_out)
            In the container of X, all that was observed as it is. Columns of integers become floats
            where a mean has to be held and the column is on no grid.

        Warns
        -----
        ConvergenceWarning
            Where few of the draws of a row have a weight.
        """
        check_is_fitted(self)
        filled = self._completed(X, self.n_samples, "mean", limits=self.limits_)
        return self._with_indicator(X, filled)

    def sample(self, X, n_samples=5):
        """Rows completed several times by draws: multiple imputation.

        What is fitted to each of them differs by what is unknown; Rubin's rules put it together.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        n_samples : int >= 1, default=5

        Returns
        -------
        tables : list of n_samples of what `transform` returns
        """
        check_number("n_samples", n_samples, 1, **COUNT)
        return [
            self._with_indicator(X, table) for table in self._completed(X, int(n_samples), "tables")
        ]

    @in_own_state
    def _completed(self, X, n_draws, of, **options):
        check_is_fitted(self)
        checked(self, X, reset=False)
        found, effective = self.density_._completions(X, n_draws, self.seed_, of=of, **options)
        warn_of_few_draws(effective)
        return found

    def _with_indicator(self, X, filled):
        if not self.add_indicator:
            return filled
        was_missing = missing_entries(X)[:, self.indicator_features_].astype(np.float64)
        frame = frame_of(X)
        if frame is None:
            return np.hstack([filled, was_missing])
        names = self.get_feature_names_out()[self.n_features_in_ :]
        columns = dict(zip(names, was_missing.T, strict=True))
        if frame["kind"] == "pandas":
            return filled.assign(**columns)
        polars = sys.modules["polars"]
        return filled.with_columns(*(polars.Series(name, v) for name, v in columns.items()))

    def get_feature_names_out(self, input_features=None):
        """Names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None
            Those of the fit, or names where it had none.

        Returns
        -------
        names : object array of shape (n_features_out,)
            The columns', and "missingindicator_" before those with holes at the fit.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        if not self.add_indicator:
            return names
        indicators = [f"{INDICATOR}{names[j]}" for j in self.indicator_features_]
        return np.concatenate([names, np.array(indicators, dtype=object)])


def _limits(column):
    """The least and the largest number of a column, NaN where it has none."""
    if column.type.sort == TEXT or column.missing.all():
        return np.nan, np.nan
    return np.nanmin(column.values), np.nanmax(column.values)


def missing_entries(X):
    """Where nothing was observed, bool (n, n_features)."""
    return np.stack([column.missing for column in read_source(X).columns], axis=1)
