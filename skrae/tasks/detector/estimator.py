"""DensityOutlierDetector: rows of low density, whether or not training rows hold outliers."""

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skrae.density.incomplete.rows import checked
from skrae.preprocessing.contract.caller import in_own_state
from skrae.preprocessing.contract.seal import restored, sealed
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.rows import check_weights, plain_array, taken_rows
from skrae.tasks.detector.axes import read_to_ask, read_to_fit
from skrae.tasks.detector.drawn import LEAST_LEFT, Line, line_of, some_of
from skrae.tasks.detector.ensemble import Ensemble, draw_ensemble, kernels_of, taken
from skrae.tasks.detector.options import check_options
from skrae.tasks.detector.thresholds import fence, p_values, quantile

# Of what is fitted, besides what ends in an underscore.
PRIVATE = "_ensemble", "_calibration_weights"
# So many rows tell where scores lie, at random where there are more.
MAX_SCORED = 10_000
# Share of the rows that a density is not fitted to, and the least number that bears it.
HELD_OUT, MIN_TO_HOLD = 0.2, 5


class DensityOutlierDetector(OutlierMixin, BaseEstimator):
    r"""Outliers by a low density that no cluster of outliers among the training rows can raise.

    The density is a geometric mean of kernel densities, each on a small subsample:

    .. math::

        \log g(x) = \frac{1}{B} \sum_b \log \frac{1}{m} \sum_i K\bigl(d^2(x, c_{bi})\bigr).

    Most subsamples of a few rows hold no outlier, and those that hold one are outvoted. Two such
    means are averaged. One is of 16 rows with Gaussian kernels of bandwidth 1/2 in columns scaled
    to deviation 1, their ends drawn in: it ranks rows far from all others. The other is of 64 rows
    with Cauchy kernels in columns of normal scores u, which have no skew; beside it stand the
    margins alone, -u^2/10 for each column. A row that was drawn itself is no evidence for itself:
    training rows are scored as new ones are.

    Tables are taken as they are: arrays, or data frames of pandas or polars, of numbers, strings,
    categories and booleans, with holes. A kernel leaves out what is missing, which then counts as
    it does for a row at random.

    Parameters
    ----------
    training_rows : {"mixed", "clean", "auto"}, default="mixed"
        "mixed": there may be outliers among them. "clean": there are none; then kernels of
        bandwidths 0.3 and 1 stand on all rows (of more than 2048, on as many) at once, in scaled
        columns, which follow the rows more closely and rank new outliers better. "auto": nobody
        knows; three quarters of the one log density and one of the other.
    density : estimator with fit and score_samples, or None, default=None
        A density to take for clean rows instead of the kernels, such as
        `RegularizedAutoEncoderScore`: it is fitted to four fifths of the rows, and the scores of
        the others give offset and p-values. It takes the tables that it takes; `explain` is for
        kernels alone.
    n_subsamples : int >= 1, default=30
        Subsamples of 16 rows; of 64 rows there are half as many. Without meaning for clean rows.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training rows that `predict` calls outliers, and about that of new rows like
        them. "auto" calls rows outliers that are far out as Tukey has it, whose score is under the
        first quartile of those of the training rows by 1.5 times the distance between quartiles.
    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns are categories: those of category, string and boolean dtypes and of objects
        that are strings or booleans; none; or a boolean mask, indices or names. At most 255 levels.
    random_state : int, RandomState instance or None, default=None
        Of the rows that are drawn.

    Attributes
    ----------
    offset_ : float
        Score under which `predict` calls a row an outlier.
    calibration_scores_ : array of shape (n_calibration,), sorted
        Scores that `p_values` compares with: of training rows that no subsample has drawn, where
        there are at least 100, else of all, each without itself; of at most 10 000. With a density
        of the rows that were held out.
    density_ : fitted density or None
    baseline_ : float
        Score of a row each of whose columns adds what it adds on average, from which `explain`
        tells the way.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    RegularizedAutoEncoderScore : A normalised density, whose low values rank rows too.
    skrae.plotting.OutlierDisplay : The most outlying rows, and what each column adds.

    References
    ----------
    Aumann & Shapley (1974), "Values of non-atomic games". Vovk, Gammerman & Shafer (2005),
    "Algorithmic learning in a random world", for p-values. Tukey (1977), "Exploratory data
    analysis".

    Examples
    --------
    >>> import numpy as np
    >>> from skrae import DensityOutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> cluster = rng.normal([6.0, 0.0], 0.1, size=(20, 2))
    >>> X = np.concatenate([rng.normal(size=(380, 2)), cluster])
    >>> detector = DensityOutlierDetector(contamination=0.05, random_state=0).fit(X)
    >>> float(np.mean(detector.predict(cluster) == -1))
    0.85
    >>> detector.p_values([[0.0, 0.0], [0.0, 9.0]]).round(3).tolist()
    [1.0, 0.002]
    """

    def __init__(
        self,
        training_rows="mixed",
        *,
        density=None,
        n_subsamples=30,
        contamination="auto",
        categorical_features="from_dtype",
        random_state=None,
    ):
        self.training_rows = training_rows
        self.density = density
        self.n_subsamples = n_subsamples
        self.contamination = contamination
        self.categorical_features = categorical_features
        self.random_state = random_state

    def __getstate__(self):
        return sealed(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(restored(type(self), state))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @in_own_state
    def fit(self, X, y=None, sample_weight=None):
        """Draw the subsamples, and take thresholds of the scores of the training rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Missing entries are NaN, None, pandas' NA or null.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            How many copies there are of each row; weights below one are taken in units of the least
            positive one.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For options, rows or weights outside what is expected. Nothing fitted before is lost.
        """
        check_options(self)
        random_state = check_random_state(self.random_state)
        twin = twin_of(self)
        fit = twin._fit_ensemble if self.density is None else twin._fit_density
        fit(X, sample_weight, random_state)
        take_over(self, twin, PRIVATE)
        return self

    def _fit_ensemble(self, X, sample_weight, random_state):
        entries, weights, table = read_to_fit(self, X, _copies(sample_weight))
        line = line_of(entries.joined(), weights)
        kernels = kernels_of(self.training_rows, self.n_subsamples, line.weights.sum())
        d = self.n_features_in_
        ensemble, left = draw_ensemble(kernels, entries, line, d, table, random_state)
        self.table_ = None if table is None else table.state()
        self._ensemble, self.density_ = ensemble.state(), None
        self.baseline_ = float(ensemble.typical.sum())
        places = some_of(Line(np.arange(len(left)), left), MAX_SCORED, random_state).index
        scores = ensemble.log_density(taken(entries, line.index[places]))
        self._set_thresholds(scores, line.weights[places], left[places])

    def _fit_density(self, X, sample_weight, random_state):
        numbers = checked(self, X, True, ensure_min_samples=MIN_TO_HOLD)
        weights = _copies(sample_weight)(X if numbers is None else numbers)
        order = random_state.permutation(np.flatnonzero(weights > 0.0))
        own, held = np.split(order, [int(np.ceil((1.0 - HELD_OUT) * len(order)))])
        weighted = {} if sample_weight is None else {"sample_weight": weights[own]}
        density = clone(self.density).fit(taken_rows(X, own), **weighted)
        scores = _scores_of(density, taken_rows(X, held))
        self.table_, self._ensemble, self.density_ = None, None, density
        self.baseline_ = float(np.average(scores, weights=weights[held]))
        self._set_thresholds(scores, weights[held], weights[held])

    def _set_thresholds(self, scores, weights, left):
        """Take the offset of all rows, and calibrate on those left undrawn, if they are enough."""
        if self.contamination == "auto":
            self.offset_ = fence(scores, weights)
        else:
            self.offset_ = quantile(scores, weights, self.contamination)
        left = left if left.sum() >= LEAST_LEFT else weights
        order = np.argsort(scores, kind="stable")
        order = order[left[order] > 0.0]
        self.calibration_scores_, self._calibration_weights = scores[order], left[order]

    @in_own_state
    def score_samples(self, X):
        """log g of each row, at most 0, or the log density: the lower, the more outlying.

        log g is a log density in scaled columns but for a constant, and depends on its row alone,
        to the last bit.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        scores : array of shape (n_samples,)
        """
        check_is_fitted(self)
        if self.density_ is not None:
            checked(self, X, reset=False)
            return _scores_of(self.density_, X)
        return Ensemble.from_state(self._ensemble).log_density(read_to_ask(self, X))

    def decision_function(self, X):
        """`score_samples` minus `offset_`, negative for outliers.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        decision : array of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """-1 for outliers, 1 for others.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        labels : int array of shape (n_samples,)
        """
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def p_values(self, X):
        r"""Conformal p-values of new rows, against the hypothesis that they are like training rows.

        .. math::

            p(x) = \frac{1 + \#\{i : s_i \le s(x)\}}{1 + n},

        s_i the n `calibration_scores_`. Where these are of rows that no subsample has drawn, and a
        new row and the training rows are exchangeable, as independent rows of one law are,
        P(p <= alpha) <= alpha for every alpha (Vovk et al. 2005); so it is with rows held out of a
        density. Where all training rows calibrate, each scored without itself, and where rows have
        copies, this holds approximately. Outliers among the training rows make p larger.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        p : array of shape (n_samples,)
            At least 1 / (n + 1).
        """
        scores = self.score_samples(X)
        return p_values(scores, self.calibration_scores_, self._calibration_weights)

    @in_own_state
    def explain(self, X):
        r"""What each column adds to how outlying a row is.

        The contributions of a row sum to `baseline_` - `score_samples(X)`. With shares t_j of the
        squared distances along the columns j, what column j adds to the score is

        .. math::

            \int_0^1 \frac{\partial}{\partial t_j} \log g(x; t, ..., t) \, dt

        (Aumann & Shapley 1974); of that the mean over training rows is taken off, so that 0 is what
        the column adds to a row at random, as it is where the entry is missing. The integral is a
        sum of 16 terms, whose error, a thousandth but of rows hundreds of deviations away, is
        spread in proportion.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        contributions : array of shape (n_samples, n_features)
            Positive where the column makes the row more outlying.

        Raises
        ------
        TypeError
            Where a density was fitted instead of kernels.
        """
        check_is_fitted(self)
        if self.density_ is not None:
            raise TypeError(
                f"Got a fit of density={self.density!r}, expected one of kernels, density=None:"
                " only these tell columns apart."
            )
        ensemble = Ensemble.from_state(self._ensemble)
        return ensemble.typical - ensemble.contributions(read_to_ask(self, X))


def _scores_of(density, X):
    return np.asarray(density.score_samples(X), dtype=np.float64)


def _copies(sample_weight):
    """From rows to how many copies of each there are: weights as they are, none below one."""

    def weights_of(X):
        if sample_weight is None:
            return np.ones(len(X))
        checked = check_weights(sample_weight, X)
        weights = np.asarray(plain_array(sample_weight), np.float64)
        least = weights[checked > 0.0].min()
        return weights / least if least < 1.0 else weights

    return weights_of
