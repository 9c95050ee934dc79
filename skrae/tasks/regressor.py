"""DensityRegressor: the whole law of a number given a row, from a density of both."""

import sys
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skrae.density.incomplete.rows import checked
from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.rows import check_weights, frame_of, plain_array
from skrae.preprocessing.table.options import CATEGORICAL, CELLS
from skrae.tasks.densities import new_density

LABELS = "for labels take DensityClassifier"


class DensityRegressor(RegressorMixin, BaseEstimator):
    r"""Conditional density of a number given a row: means, quantiles, draws and log densities.

    A density p is fitted to rows (x, y), and what is told of y given x is its conditional,

    .. math::

        p(y | x) = \frac{p(x, y)}{\int p(x, t)\, dt},

    of any shape: skewed, of several modes, wider here than there. It is exact in the base density,
    whose conditionals are mixtures in closed form, and with a network an integral along y, by
    quadrature. Rows are taken as the density takes them: with holes, which are integrated out,
    categories, counts.

    Parameters
    ----------
    density : RegularizedAutoEncoderScore or None, default=None
        What is cloned and fitted to rows with the target as their last column. None is one with
        default options. Its column_kinds apply to the target as to any column; two values are
        cells.
    random_state : int, RandomState instance or None, default=None
        That of the density, where it is not None.

    Attributes
    ----------
    density_ : RegularizedAutoEncoderScore
        Fitted to X with the target as last column. Its `conditional` and `marginal` tell the rest.
    target_limits_ : array of shape (2,)
        Of means, quantiles and draws: the range of the targets, as wide again on either side.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    RegularizedAutoEncoderScore.conditional : The law of any columns given the others.
    DensityClassifier : Bayes' rule for labels.
    sklearn.ensemble.HistGradientBoostingRegressor : One quantile a fit, loss="quantile".
    sklearn.gaussian_process.GaussianProcessRegressor : Normal conditionals of one width.

    Notes
    -----
    `score` is the mean log density in nats, not R^2: by it scikit-learn's searches choose the model
    whose predicted laws hold. `sklearn.metrics.r2_score` of `predict` compares means.

    The law of a row unlike all others is as wide as such a row is far, which no target tells of.
    It is drawn in between `target_limits_`; log densities are those of the law as it is.

    Examples
    --------
    Of y = x + noise of standard deviation |x| the middle 90 % are 3.3 |x| wide.

    >>> import numpy as np
    >>> from skrae import DensityRegressor
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(1.0, 3.0, 1000)
    >>> y = x + x * rng.standard_normal(1000)
    >>> model = DensityRegressor(random_state=0).fit(x[:, None], y)
    >>> low, high = model.predict_quantiles([[1.2], [2.8]], [0.05, 0.95]).T
    >>> (high - low).round()
    array([4., 9.])
    """

    def __init__(self, density=None, *, random_state=None):
        self.density = density
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        # Scores are log densities, which no threshold of R^2 is for.
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X, y, sample_weight=None):
        """Fit the density of rows with their targets.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            As `RegularizedAutoEncoderScore.fit` takes them, with NaN, None, NA or null where an
            entry is missing.
        y : array-like of shape (n_samples,)
            Finite numbers, at least two different ones.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; a weight of 2 counts as the row twice.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For what the density refuses, and for targets that are labels, missing, infinite or all
            equal. Nothing fitted before is lost.
        """
        density = self._new_density()
        twin = twin_of(self)
        numbers = checked(twin, X, reset=True, ensure_min_samples=2)
        X = _table(X, numbers)
        y = _targets(y, len(X))
        if sample_weight is not None:
            sample_weight = check_weights(sample_weight, y)
        _let_two_values_be_numbers(density, y, X.shape[1])
        twin.density_ = density.fit(_joined(X, y), sample_weight=sample_weight)
        _check_kind(twin.density_)
        counted = y if sample_weight is None else y[sample_weight > 0.0]
        low, high = counted.min(), counted.max()
        twin.target_limits_ = np.array([2.0 * low - high, 2.0 * high - low])
        take_over(self, twin)
        return self

    def _new_density(self):
        density = new_density(self.density, "conditional")
        if self.random_state is not None:
            density.set_params(random_state=self.random_state)
        return density

    def conditional(self, X):
        """The law of the target for each row, a `Conditional`: what all the other methods ask.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        law : Conditional
        """
        check_is_fitted(self)
        X = _table(X, checked(self, X, reset=False))
        law = self.density_.conditional(X.shape[1], _joined(X, np.full(len(X), np.nan)))
        return law._drawn_in(tuple(self.target_limits_.tolist()))

    def predict(self, X):
        """The mean of the target, E(y | x).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        y : array of shape (n_samples,)
        """
        return self.conditional(X).mean()

    def predict_quantiles(self, X, q=(0.05, 0.5, 0.95)):
        """Quantiles of the target: the smallest y with P(Y <= y | x) >= q.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        q : float in [0, 1], or array-like of shape (m,), default=(0.05, 0.5, 0.95)

        Returns
        -------
        y : array of shape (n_samples,), or (n_samples, m)
        """
        return self.conditional(X).quantile(q)

    def predict_cdf(self, X, y):
        """P(Y <= y | x), evenly distributed where the predicted laws hold.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or (n_samples, m) for several values a row

        Returns
        -------
        probability : array of the shape of y
        """
        return self.conditional(X).cdf(y)

    def predict_log_density(self, X, y):
        """log p(y | x), in nats and the units of y.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)

        Returns
        -------
        log_density : array of shape (n_samples,)
            Of targets that stand for cells of length h the log of their probability divided by h.
        """
        law = self.conditional(X)
        return law.score_samples(_targets(y, len(law), least=1))

    def sample(self, X, n_samples=1, random_state=None):
        """Independent draws of the target for each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        y : array of shape (n_rows, n_samples)
        """
        check_number("n_samples", n_samples, 1, kind=Integral)
        return self.conditional(X).sample(n_samples, random_state)

    def score(self, X, y, sample_weight=None):
        """Mean of `predict_log_density`, weighted if weights are given: higher is better.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        log_density = self.predict_log_density(X, y)
        if sample_weight is None:
            return float(np.mean(log_density))
        return float(np.average(log_density, weights=check_weights(sample_weight, log_density)))


def _table(X, numbers):
    """A data frame as it is, anything else as an array."""
    if frame_of(X) is not None:
        return X
    return np.asarray(plain_array(X)) if numbers is None else numbers


def _joined(X, y):
    """Rows with the target as their last column, in the container of the rows."""
    frame = frame_of(X)
    if frame is None:
        column = y[:, None].astype(X.dtype if X.dtype.kind == "O" else np.float64)
        return np.concatenate([X, column], axis=1)
    library, columns = sys.modules[frame["kind"]], frame["columns"]
    if frame["kind"] == "polars":
        return X.with_columns(library.Series(_new_name(columns), y))
    if not all(isinstance(name, str) for name in columns):
        return library.concat([X, library.DataFrame({len(columns): y}, X.index)], axis=1)
    return X.assign(**{_new_name(columns): y})


def _new_name(columns):
    """A name that no column has."""
    name = "y"
    while name in columns:
        name += "_"
    return name


def _targets(y, n, least=2):
    """The targets as float64 (n,); ValueError where they are none."""
    if y is None:
        raise ValueError(
            "Got y=None, expected numbers: a regressor requires y to be passed, but the target y is"
            " None."
        )
    y = column_or_1d(plain_array(y), warn=True)
    if y.dtype.kind not in "iufO" or (y.dtype.kind == "O" and _holds_labels(y)):
        raise ValueError(f"Got y of {y.dtype} that are no numbers, expected numbers: {LABELS}.")
    y = y.astype(np.float64)
    assert_all_finite(y, input_name="y")
    if len(y) != n:
        raise ValueError(f"Got y of {len(y)} targets, expected {n}, one for each row of X.")
    if least > 1 and (y == y[0]).all():
        raise ValueError(
            f"Got y of which all {n} targets are {y[0]:g}, expected at least two different ones."
        )
    return y


def _holds_labels(y):
    return any(isinstance(value, str | bytes | bool | np.bool_) for value in y.tolist())


def _let_two_values_be_numbers(density, y, place):
    """Ask for cells where the target has two values, which would be found to be a flag."""
    kinds = getattr(density, "column_kinds", None)
    if len(np.unique(y)) == 2 and (isinstance(kinds, dict) or kinds == "auto"):
        kinds = kinds if isinstance(kinds, dict) else {}
        density.set_params(column_kinds={place: CELLS, **kinds})


def _check_kind(density):
    table = density._table()
    if table is not None and table.kinds[-1] == CATEGORICAL:
        raise ValueError(
            f"Got a target that column_kinds={density.column_kinds!r} makes a category, expected"
            f" another kind: {LABELS}."
        )
