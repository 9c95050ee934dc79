"""Densities of largest entropy: known laws, tilts, identities and classifiers.

Sections of the benchmark of information: "closed forms", the largest error of log p in the bulk,
Newton steps and the time of a fit, beside the same dual minimised by SciPy's BFGS over its adaptive
quadrature; "tilts", the relative entropy of N(mu, I) to N(0, I), |mu| = 1 or, far, 4, by particles,
beside the dual on as many draws of q with weights; "identities", other estimators that are the
same; and "classifiers", Bayes' rule over densities beside scikit-learn's on three tenths of the
rows.
"""

import time
import warnings

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn import datasets
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import DensityClassifier, MaximumEntropyDensity, RegularizedAutoEncoderScore
from tests.benchmarks.records import timed
from tests.tasks.laws import CASES, log_density

OURS, SCIPY, WEIGHTS = "skrae", "BFGS over quad", "weighted draws"
LAWS = (
    "normal",
    "exponential",
    "truncated normal",
    "gamma",
    "von Mises",
    "Laplace",
    "Student",
    "normal of the plane",
    "normal in closed form",
)
# Columns and |mu|.
TILTS = {
    "2 columns": (2, 1.0),
    "5 columns": (5, 1.0),
    "10 columns": (10, 1.0),
    "20 columns": (20, 1.0),
    "5 columns, far": (5, 4.0),
}
N_PARTICLES = 2**17
TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
}
SECOND_ORDER, AUTO_ENCODER = "skrae, mean and covariance", "skrae, auto-encoder density"
CLASSIFIERS = {
    SECOND_ORDER: lambda seed: DensityClassifier(MaximumEntropyDensity()),
    AUTO_ENCODER: lambda seed: DensityClassifier(RegularizedAutoEncoderScore(random_state=seed)),
    # In raw units, or at its default tolerance, it refuses the third table as not of full rank.
    "QDA": lambda seed: make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis(tol=1e-10)),
    "GaussianNB": lambda seed: GaussianNB(),
    "LogisticRegression": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000)
    ),
}
N_TIMES = 7


class StandardNormal:
    """N(0, I) of d columns, as a fitted density.

    Parameters
    ----------
    d : int
    """

    def __init__(self, d):
        self.n_features_in_ = d

    def score_samples(self, X):
        """Log density (n,)."""
        return -0.5 * (X**2).sum(axis=1) - 0.5 * X.shape[1] * np.log(2.0 * np.pi)

    def sample(self, n_samples=1, random_state=None):
        """Rows (n, d)."""
        rng = np.random.RandomState(random_state)
        return rng.standard_normal((n_samples, self.n_features_in_))


# --- what is measured -----------------------------------------------------------------------------


def closed_forms(case):
    """Largest error of log p in the bulk, Newton steps and milliseconds of a fit."""
    law = CASES[case["set"]]
    n_times = 1 if case.get("quick") else N_TIMES
    if case["model"] == OURS:
        model = MaximumEntropyDensity(**law.options)
        ms = 1e3 * min(_seconds(model.fit) for _ in range(n_times))
        found, steps = model.score_samples(law.rows), model.n_iter_
    else:
        ms = 1e3 * min(_seconds(_by_scipy, law) for _ in range(n_times))
        found, steps = _by_scipy(law)
    return {"error": float(np.abs(found - log_density(law)).max()), "steps": steps, "ms": ms}


def _seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _by_scipy(law):
    """log p at the rows of a law in one column, by SciPy alone; and the steps."""
    fitted = MaximumEntropyDensity(**law.options).fit()  # for the functions and targets in numbers
    problem, bounds = fitted._problem(), fitted.support_[0]
    spread = float(np.std(law.rows))
    limits = np.clip(bounds, *(law.rows.mean() + 12.0 * spread * np.array([-1.0, 1.0])))

    def tilt(x, theta):
        return theta @ problem.functions(np.array([[x]]))[0]

    def dual(theta):
        top = max(tilt(x, theta) for x in np.linspace(*limits, 64)[1:-1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            z = quad(lambda x: np.exp(tilt(x, theta) - top), *limits, epsabs=0.0, epsrel=1e-10)[0]
        return top + np.log(z)

    found = minimize(dual, np.zeros(len(problem.targets)), method="BFGS", tol=1e-8)
    values = problem.functions(law.rows) @ found.x - dual(found.x)
    return values, int(found.nit)


def tilts(case):
    """Relative entropy less |mu|^2 / 2, its own standard error, and seconds."""
    (d, length), seed = TILTS[case["set"]], case["seed"]
    mean = np.random.default_rng(seed).standard_normal(d)
    mean *= length / np.linalg.norm(mean)
    n = 2**12 if case.get("quick") else N_PARTICLES
    if case["model"] == OURS:
        model = MaximumEntropyDensity(
            "mean",
            targets=mean,
            base_density=StandardNormal(d),
            n_particles=n,
            random_state=seed,
        )
        _, seconds = timed(model.fit)
        relative_entropy, stderr = model.relative_entropy_, model.log_normalizer_stderr_
        theta = model.multipliers_
    else:
        (relative_entropy, stderr, theta), seconds = timed(_weighted, mean, 4 * n, seed)
    return {
        "kl_error": relative_entropy - 0.5 * length**2,
        "stderr": stderr,
        "theta_error": float(np.abs(theta - mean).max()),
        "fit_cpu": seconds.cpu,
    }


def _weighted(mean, n, seed):
    """The dual on n draws of q."""
    f = StandardNormal(len(mean)).sample(n, seed) - mean

    def dual(theta):
        exponents = f @ theta
        log_z = logsumexp(exponents)
        return log_z - np.log(n), np.exp(exponents - log_z) @ f

    found = minimize(dual, np.zeros(len(mean)), jac=True, method="BFGS")
    weights = np.exp(f @ found.x - found.fun)
    return -found.fun, float(weights.std() / n**0.5), found.x


def identities(case):
    """Largest difference of probabilities to the estimator that is the same."""
    X, y = TABLES["wine"](return_X_y=True)
    X = StandardScaler().fit_transform(X)
    X, _, y, _ = train_test_split(X, y, train_size=0.8, stratify=y, random_state=case["seed"])
    if case["model"] == "LogisticRegression":
        return {"difference": _conditional(X, y)}
    moments = ("mean", "variance") if case["model"] == "GaussianNB" else ("mean", "covariance")
    ours = DensityClassifier(MaximumEntropyDensity(moments)).fit(X, y).predict_proba(X)
    if case["model"] == "GaussianNB":
        same = GaussianNB(var_smoothing=0.0).fit(X, y)
    else:
        same = QuadraticDiscriminantAnalysis().fit(X, y)
        for k, label in enumerate(same.classes_):  # divided by n, whatever the version divides by
            same.scalings_[k] *= X[y == label].var(axis=0).sum() / same.scalings_[k].sum()
    return {"difference": float(np.abs(ours - same.predict_proba(X)).max())}


def _conditional(X, y, penalty=1.0):
    """Conditional maximum entropy by Newton steps on its dual, beside LogisticRegression."""
    n_classes, d = y.max() + 1, X.shape[1]
    onehot, theta = np.eye(n_classes)[y], np.zeros((n_classes, d))
    for _ in range(50):
        exponents = X @ theta.T
        p = np.exp(exponents - logsumexp(exponents, axis=1, keepdims=True))
        gradient = (p - onehot).T @ X + penalty * theta
        tensor = np.einsum("ia,ab->iab", p, np.eye(n_classes)) - np.einsum("ia,ib->iab", p, p)
        hessian = np.einsum("iab,ij,ik->ajbk", tensor, X, X).reshape(theta.size, theta.size)
        step = np.linalg.solve(hessian + penalty * np.eye(theta.size), gradient.ravel())
        theta -= step.reshape(theta.shape)
    same = LogisticRegression(C=1.0 / penalty, fit_intercept=False, tol=1e-12, max_iter=10000)
    return float(np.abs(p - same.fit(X, y).predict_proba(X)).max())


def classifiers(case):
    """Accuracy and log-loss of test rows."""
    X, y = TABLES[case["set"]](return_X_y=True)
    train, test, y, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=case["seed"]
    )
    model = CLASSIFIERS[case["model"]](case["seed"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of tables with few rows a class
        _, seconds = timed(model.fit, train, y)
    probabilities = model.predict_proba(test)
    return {
        "accuracy": float(np.mean(model.predict(test) == y_test)),
        "log_loss": float(log_loss(y_test, probabilities)),
        "fit_cpu": seconds.cpu,
    }


SECTIONS = {
    "closed forms": closed_forms,
    "tilts": tilts,
    "identities": identities,
    "classifiers": classifiers,
}
COLUMNS = {
    "closed forms": {"error": 16, "steps": 0, "ms": 1},
    "tilts": {"kl_error": 4, "stderr": 4, "theta_error": 3, "fit_cpu": 1},
    "identities": {"difference": 16},
    "classifiers": {"accuracy": 3, "log_loss": 3, "fit_cpu": 2},
}


# --- cases ----------------------------------------------------------------------------------------


def cases_of(seed):
    """The cases of a seed; of what nothing random is in, those of seed 0 alone."""
    for name in LAWS if seed == 0 else ():
        yield {"section": "closed forms", "set": name, "model": OURS}
        if CASES[name].rows.shape[1] == 1:
            yield {"section": "closed forms", "set": name, "model": SCIPY}
    for name in TILTS:
        for model in (OURS, WEIGHTS):
            yield {"section": "tilts", "set": name, "model": model}
    for model in ("LogisticRegression", "QDA", "GaussianNB"):
        yield {"section": "identities", "model": model}
    for name in TABLES:
        for model in CLASSIFIERS:
            yield {"section": "classifiers", "set": name, "model": model}
