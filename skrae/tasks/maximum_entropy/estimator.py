"""MaximumEntropyDensity: the density of largest entropy with given moments."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skrae.preprocessing.contract.caller import in_own_state, warn
from skrae.preprocessing.contract.options import COUNT, POSITIVE, check_number
from skrae.preprocessing.contract.seal import restored, sealed
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.rows import as_fitted, check_rows, check_weights, distinct_rows, frame_of
from skrae.tasks.maximum_entropy.fitting import fit_law, tilt_of
from skrae.tasks.maximum_entropy.integrals import particles, quadrature
from skrae.tasks.maximum_entropy.integrals.base import FittedBase
from skrae.tasks.maximum_entropy.problem import restored_problem, stated_problem, stored

PRIVATE = "_fitted_as", "_law", "_fitted_frame"
INTERVALS = {
    "alpha": (0.0, None, {}),
    "tol": (0.0, 1.0, POSITIVE),
    "max_iter": (1, None, COUNT),
    "n_particles": (100, None, COUNT),
}
# Of an integral, that cells which are as many as there may be leave open.
LARGE_REMAINDER = 1e-5
FILL_TO_FIT = "fit to the complete rows, or fill the others, as sklearn.impute does"
FILL_TO_ASK = "fill them, as sklearn.impute does"


class MaximumEntropyDensity(DensityMixin, BaseEstimator):
    r"""Density of largest entropy among those with given moments (Jaynes 1957).

    Of all densities on the support whose moment functions f have the means t, that of largest
    entropy, or of least relative entropy to a base density q, is

    .. math::

        p(x) = q(x) \exp(\theta \cdot f(x) - \log Z(\theta)),

    with the multipliers that minimise the dual :math:`\log Z(\theta) - \theta \cdot t`, whose
    gradient is E f - t and whose Hessian is the covariance of f. Mean and variance on the line give
    the normal density, the mean on a half-line the exponential, the mean of the faces of a die
    loaded dice; with a fitted density as `base_density` it is that density, but with these moments.

    Parameters
    ----------
    moments : str, callable, transformer, or sequence of them, default=("mean", "covariance")
        The functions f. Names: "mean" of each column, "variance" and "covariance" about the targets
        of the mean (which must be among the moments), "log" of each column. A callable or a
        transformer, such as `sklearn.preprocessing.PolynomialFeatures`, maps rows (n, d), an array
        whatever X is, to (n, m).
    targets : array-like of shape (m,), sequence of arrays, or None, default=None
        The means t: all in the order of `moment_names_`, or one entry for each of `moments`, of
        which that of "covariance" may be a matrix. Labels that are the names of the columns say
        which is whose. None takes the means over the rows of X.
    support : None, pair, array-like or dict, default=None
        A pair (low, high) is the interval of every column, with infinities where open; an array of
        shape (n_features, 2) the interval of each. A finite set is given as three or more numbers
        or a range, the states of one column, or as ``dict(points=...)`` with an array of shape
        (n_points, n_features). None is the whole space; but with a base density of tails heavier
        than exponential, on which no tilt has a finite integral, it is the box of the rows of X (of
        draws of q without X) with a tenth more on each side, of which a warning tells.
    base_density : fitted density or None, default=None
        q, an object with `score_samples` and, beyond one column, `sample`. None is Lebesgue measure
        on the support, or the counting measure of points. Clones, as a search makes them, lose the
        fit unless it is wrapped in `sklearn.frozen.FrozenEstimator`.
    alpha : float >= 0, default=0.0
        Of a penalty :math:`\frac{\alpha}{2} \sum_k (s_k \theta_k)^2` on the dual, with which
        moments need not be met exactly: :math:`E f_k = t_k - \alpha s_k^2 \theta_k`. s are the
        standard deviations of f over the rows of X, or 1 without rows. The closed form is left:
        beyond two columns a fit then takes seconds.
    breakpoints : sequence of float, or of one such sequence for each of two columns, default=()
        Where a moment function or q has a kink or a jump: cells of the quadrature end there. In one
        column they only save time, in two they keep the digits.
    tol : float in (0, 1), default=1e-10
        Largest error of a moment, in standard deviations of its function.
    max_iter : int >= 1, default=200
        Most Newton steps.
    n_particles : int >= 100, default=65536
        Draws that integrals are means of, where there is no quadrature. The standard error of
        `log_normalizer_` is about half the root of twice the relative entropy over n_particles.
    random_state : int, RandomState instance or None, default=None
        Of the particles; other methods have nothing random in the fit.

    Attributes
    ----------
    multipliers_ : array of shape (m,)
        theta, for the functions f in the units of X.
    log_normalizer_ : float
        log Z, for the same.
    log_normalizer_stderr_ : float
        Its standard error; 0 without particles.
    moments_ : array of shape (m,)
        The moments reached.
    targets_ : array of shape (m,)
        The moments asked for.
    moment_names_ : list of m str
    entropy_ : float
        -E log p in nats: differential, or of points Shannon's.
    relative_entropy_ : float
        E log p/q, what the moments cost; only with a base density, which of points is normalised.
    support_ : array of shape (n_features, 2), bounds, or of shape (n_points, n_features)
    base_density_ : fitted density or None
        q as it was at the fit.
    method_ : {"normal", "points", "quadrature", "particles"}
        "normal" is the closed form, of "mean" with "covariance" or "variance" on the whole space;
        "points" a sum; "quadrature" is for one column, and without base density for two, or for any
        number of them where moments are of single columns. All three are exact but for rounding.
    n_iter_ : int
        Newton steps, at least 1.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    DensityClassifier : Bayes' rule over such densities, one for each class.
    RegularizedAutoEncoderScore : A density for rows whose moments say too little.
    sklearn.linear_model.LogisticRegression : Maximum entropy of labels given rows: its multipliers
        are the coefficients, and its L2 penalty is alpha. There is no class for it here.

    References
    ----------
    Jaynes (1957), "Information theory and statistical mechanics". Csiszar (1975), "I-divergence
    geometry of probability distributions". Dudik, Phillips & Schapire (2007), "Maximum entropy
    density estimation with generalized regularization". Bennett (1976), "Efficient estimation of
    free energy differences", for log Z of particles.

    Examples
    --------
    Jaynes' die: of all dice whose mean is 4.5, that of largest entropy.

    >>> import numpy as np
    >>> from skrae import MaximumEntropyDensity
    >>> die = MaximumEntropyDensity("mean", targets=[4.5], support=range(1, 7)).fit()
    >>> np.exp(die.score_samples(np.arange(1, 7)[:, None])).round(4).tolist()
    [0.0543, 0.0788, 0.1142, 0.1654, 0.2398, 0.3475]
    >>> round(die.entropy_, 4)
    1.6136
    """

    def __init__(
        self,
        moments=("mean", "covariance"),
        *,
        targets=None,
        support=None,
        base_density=None,
        alpha=0.0,
        breakpoints=(),
        tol=1e-10,
        max_iter=200,
        n_particles=65536,
        random_state=None,
    ):
        self.moments = moments
        self.targets = targets
        self.support = support
        self.base_density = base_density
        self.alpha = alpha
        self.breakpoints = breakpoints
        self.tol = tol
        self.max_iter = max_iter
        self.n_particles = n_particles
        self.random_state = random_state

    def __getstate__(self):
        return sealed(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(restored(type(self), state))

    @in_own_state
    def fit(self, X=None, y=None, sample_weight=None):
        """Find the multipliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or None
            Rows in the support. Their moments are the targets where there are no others; beside
            `targets` they say how wide columns are, and `s` of the penalty. None where `targets`
            say all: the number of columns is then that of the support, of the base density, of the
            targets of named moments, or else one.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; a weight of 2 counts as the row twice. Only their ratios matter.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For options or rows outside what is expected; for moments with which no density on the
            support is integrable; for targets that no density has, naming the moment. Nothing
            fitted before is lost.

        Warns
        -----
        ConvergenceWarning
            Where cells of the quadrature are too few for a kink or jump.
        UserWarning
            Where rows leave the normal density no spread: columns constant or collinear, or no more
            rows than columns; and where the tails of the base density are heavier than exponential,
            so that on the whole space no tilt has a finite integral: the support then is a box.
        """
        for name, (low, high, interval) in INTERVALS.items():
            check_number(name, getattr(self, name), low, high, **interval)
        twin = twin_of(self)
        twin._fitted_frame = frame_of(X)
        rows = weights = None
        if X is not None:
            rows = check_rows(twin, X, True, ensure_min_samples=2, advice=FILL_TO_FIT)
            dtype = rows.dtype.name
            rows, weights = distinct_rows(rows.astype(np.float64), sample_weight)
        problem, remarks = stated_problem(self, twin, rows, weights)
        law = fit_law(problem, check_random_state(self.random_state))
        twin._store(problem, law, "float64" if X is None else dtype)
        take_over(self, twin, PRIVATE)
        for remark in (*remarks, *law.remarks):
            warn(remark)
        if law.remainder > LARGE_REMAINDER:
            warn(
                f"Got integrals of which {law.remainder:.1g} is open after as many cells as there"
                f" may be, expected at most {LARGE_REMAINDER:g}: name the places of kinks and jumps"
                " in breakpoints.",
                ConvergenceWarning,
            )
        return self

    def _store(self, problem, law, dtype):
        self._fitted_as = {**stored(problem), "dtype": dtype}
        self._law = {"theta": law.theta, "log_z": law.log_z, **law.state}
        self.base_density_ = problem.density
        targets, unit = problem.targets, problem.unit
        self.multipliers_ = law.theta / unit
        self.log_normalizer_ = float(law.log_z + self.multipliers_ @ targets)
        self.log_normalizer_stderr_ = law.stderr
        self.moments_, self.targets_ = targets + unit * law.mean, targets
        self.moment_names_ = list(problem.moments.names)
        relative_entropy = float(law.theta @ law.mean - law.log_z)
        self.entropy_ = -relative_entropy - law.log_base
        if problem.density is None:
            vars(self).pop("relative_entropy_", None)
        else:
            self.relative_entropy_ = relative_entropy
        support = problem.support
        self.support_ = support.bounds if support.points is None else support.points
        self.method_, self.n_iter_ = law.method, law.n_iter
        self.n_features_in_ = len(problem.location)

    def _problem(self):
        """What was fitted, of the attributes."""
        kept = {name: value for name, value in self._fitted_as.items() if name != "dtype"}
        return restored_problem(kept, self.base_density_)

    @in_own_state
    def score_samples(self, X):
        """Log density of each row, in nats and the units of X; -inf outside of the support.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_density : array of shape (n_samples,)
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, advice=FILL_TO_ASK)
        rows = X.astype(np.float64)
        problem = self._problem()
        inside = problem.support.contains(rows)
        found = np.full(len(rows), -np.inf)
        if inside.any():
            found[inside] = self._log_density(problem, rows[inside])
        return found.astype(X.dtype)

    def _log_density(self, problem, X):
        law = self._law
        if self.method_ == "normal":
            z = (X - law["mean"]) @ law["inverse"].T
            log_det = np.log(np.diag(law["lower"])).sum()
            return -0.5 * (z**2).sum(axis=1) - 0.5 * X.shape[1] * np.log(2.0 * np.pi) - log_det
        found = problem.functions(X) @ law["theta"] - law["log_z"]
        if problem.density is None:
            return found
        base = FittedBase(problem.density)
        log_q = base.log_density(X)
        if self.method_ == "points":
            log_q = log_q - np.logaddexp.reduce(base.log_density(problem.support.points))
        return found + log_q

    def score(self, X, y=None, sample_weight=None):
        """Mean of `score_samples`, weighted if weights are given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        log_density = self.score_samples(X)
        return float(np.average(log_density, weights=check_weights(sample_weight, log_density)))

    @in_own_state
    def sample(self, n_samples=1, random_state=None):
        """Draw rows of the density.

        By quadrature, of points and in closed form they are independent. Particles are draws of q
        that are resampled and moved by Metropolis steps along the path of the fit; some may be
        equal or near each other.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : array of shape (n_samples, n_features), of the dtype of the rows that were fitted
            A data frame of the same columns where they were one of pandas or polars.
        """
        check_is_fitted(self)
        check_number("n_samples", n_samples, 1, kind=Integral)
        rows = self._drawn(int(n_samples), check_random_state(random_state))
        return as_fitted(self, rows.astype(self._fitted_as["dtype"]))

    def _drawn(self, n, rng):
        law, problem = self._law, self._problem()
        if self.method_ == "points":
            p = law["probabilities"]
            return problem.support.points[rng.choice(len(p), n, p=p / p.sum())]
        if self.method_ == "normal":
            return law["mean"] + rng.standard_normal((n, len(law["mean"]))) @ law["lower"].T
        if self.method_ == "particles":
            return particles.draw(tilt_of(problem), law["path"], n, problem.alpha, rng)
        return np.column_stack([_of_cells(own, n, rng) for own in law.get("columns", [law])])


def _of_cells(law, n, rng):
    """Draws in one or two columns, or in one of several independent ones."""
    z = quadrature.draw(law["low"], law["high"], law["density"], n, rng)
    return law["origin"] + law["scale"] * z
