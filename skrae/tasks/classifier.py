"""DensityClassifier: Bayes' rule over a density for each class."""

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, has_fit_parameter

from skrae.preprocessing.contract.caller import in_own_state
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.rows import check_rows, check_weights

FILL_TO_FIT = "fit to the complete rows, or fill the others, as sklearn.impute does"
FILL_TO_ASK = "fill them, as sklearn.impute does"


class DensityClassifier(ClassifierMixin, BaseEstimator):
    r"""Bayes' rule over class-conditional densities.

    One clone of the density is fitted to the rows of each class k, and

    .. math::

        P(k | x) = \frac{\pi_k p_k(x)}{\sum_j \pi_j p_j(x)}.

    Over `MaximumEntropyDensity` with mean and covariance this is quadratic discriminant analysis
    with covariances divided by the number n of rows, as
    `sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis` has them in recent versions (in
    older ones its default divides by n - 1); with mean and variance it is
    `sklearn.naive_bayes.GaussianNB` without smoothing.

    Parameters
    ----------
    density : estimator with fit and score_samples
        Such as `MaximumEntropyDensity`, `RegularizedAutoEncoderScore`,
        `sklearn.mixture.GaussianMixture` or `sklearn.neighbors.KernelDensity`.
    priors : array-like of shape (n_classes,) or None, default=None
        pi, in the order of the sorted classes; non-negative with the sum 1. None takes the share of
        each class in the weight of the rows.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    priors_ : array of shape (n_classes,)
    densities_ : list of n_classes fitted clones
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    MaximumEntropyDensity : A density with given moments.
    RegularizedAutoEncoderScore : A density for rows of any shape.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrae import DensityClassifier, MaximumEntropyDensity
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DensityClassifier(MaximumEntropyDensity()).fit(X, y)
    >>> round(model.score(X, y), 2)
    0.98
    """

    def __init__(self, density, priors=None):
        self.density = density
        self.priors = priors

    @in_own_state
    def fit(self, X, y, sample_weight=None):
        """Fit a density to the rows of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative, handed on to the density, which must take weights. Rows of weight 0 are
            left out.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For weights where the density takes none.
        ValueError
            For what the density refuses, such as a class of a single row, with the class; and for
            priors of another length or sum. Nothing fitted before is lost.
        """
        self._check_density(sample_weight)
        twin = twin_of(self)
        X = check_rows(twin, X, True, ensure_min_samples=2, advice=FILL_TO_FIT)
        y = _labels(y, len(X))
        weights = check_weights(sample_weight, X)
        if sample_weight is not None:
            X, y, weights = (part[weights > 0.0] for part in (X, y, weights))
        classes, own = np.unique(y, return_inverse=True)
        priors = _priors(self.priors, np.bincount(own, weights) / weights.sum())
        densities = []
        for k, label in enumerate(classes):
            rows = own == k
            fit_options = {} if sample_weight is None else {"sample_weight": weights[rows]}
            densities.append(_fitted(clone(self.density), X[rows], fit_options, label))
        twin.classes_, twin.priors_, twin.densities_ = classes, priors, densities
        take_over(self, twin)
        return self

    def _check_density(self, sample_weight):
        for method in ("fit", "score_samples"):
            if not hasattr(self.density, method):
                raise TypeError(
                    f"Got density={self.density!r} without {method}, expected an estimator with"
                    " fit and score_samples."
                )
        if sample_weight is not None and not has_fit_parameter(self.density, "sample_weight"):
            raise TypeError(
                f"Got sample_weight with a {type(self.density).__name__}, whose fit takes none,"
                " expected a density that does, or no weights."
            )

    @in_own_state
    def _joint(self, X):
        """log pi_k p_k(x), (n, n_classes)."""
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, advice=FILL_TO_ASK)
        with np.errstate(divide="ignore"):
            log_priors = np.log(self.priors_)
        columns = [np.asarray(density.score_samples(X)) for density in self.densities_]
        joint = np.stack(columns, axis=1).astype(np.float64) + log_priors
        # Where every density is zero, only the priors are left.
        nowhere = np.isneginf(joint).all(axis=1)
        joint[nowhere] = log_priors
        return joint

    def decision_function(self, X):
        """log pi_k p_k(x), or of two classes the log odds of the second.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        decision : array of shape (n_samples, n_classes), or (n_samples,) of two classes
        """
        joint = self._joint(X)
        return joint[:, 1] - joint[:, 0] if joint.shape[1] == 2 else joint

    def predict(self, X):
        """The class of largest probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : array of shape (n_samples,)
        """
        joint = self._joint(X)
        return self.classes_[joint.argmax(axis=1)]

    def predict_log_proba(self, X):
        """log P(k | x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : array of shape (n_samples, n_classes)
            A row where every density is zero gets the priors.
        """
        joint = self._joint(X)
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def predict_proba(self, X):
        """P(k | x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        probabilities : array of shape (n_samples, n_classes)
        """
        return np.exp(self.predict_log_proba(X))


def _labels(y, n):
    if y is None:
        raise ValueError(
            "Got y=None, expected labels: a classifier requires y to be passed, but the target y is"
            " None."
        )
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    if len(y) != n:
        raise ValueError(f"Got y of {len(y)} labels, expected {n}, one for each row of X.")
    return y


def _priors(priors, shares):
    if priors is None:
        return shares
    found = np.asarray(priors, np.float64)
    if found.shape != shares.shape:
        raise ValueError(f"Got priors of shape {found.shape}, expected {shares.shape}.")
    if not (found >= 0.0).all() or not np.isclose(found.sum(), 1.0):
        raise ValueError(f"Got priors={priors!r}, expected non-negative numbers with the sum 1.")
    return found


def _fitted(density, rows, fit_options, label):
    try:
        return density.fit(rows, **fit_options)
    except ValueError as error:
        raise ValueError(
            f"Got class {label!s} with {len(rows)} row(s) that {type(density).__name__} refuses,"
            f" expected rows that it can be fitted to: {error}"
        ) from error
