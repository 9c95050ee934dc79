"""Bayes' rule over densities beside discriminant analysis and closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_iris, load_wine
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity

from skrae import DensityClassifier, MaximumEntropyDensity, RegularizedAutoEncoderScore


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_second_moments_are_quadratic_discriminant_analysis(load):
    """With covariances divided by n; what divides QDA's, n or n - 1, hangs on its version."""
    X, y = load(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    qda = QuadraticDiscriminantAnalysis().fit(X, y)
    for k, label in enumerate(qda.classes_):
        qda.scalings_[k] *= X[y == label].var(axis=0).sum() / qda.scalings_[k].sum()
    model = DensityClassifier(MaximumEntropyDensity()).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), qda.predict_proba(X), rtol=0.0, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), qda.predict(X))
    np.testing.assert_allclose(model.priors_, qda.priors_, rtol=1e-15)


def test_variances_alone_are_naive_bayes():
    X, y = load_iris(return_X_y=True)
    bayes = GaussianNB(var_smoothing=0.0).fit(X, y)
    model = DensityClassifier(MaximumEntropyDensity(("mean", "variance"))).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), bayes.predict_proba(X), atol=1e-10)


def test_probabilities_by_hand(random_seed):
    rng = np.random.default_rng(random_seed)
    X, y = rng.standard_normal((40, 1)), np.array(["no", "yes"])[rng.integers(0, 2, 40)]
    model = DensityClassifier(MaximumEntropyDensity(), priors=[0.2, 0.8]).fit(X, y)
    parts = [
        prior * stats.norm(X[y == k].mean(), X[y == k].std()).pdf(X[:, 0])
        for prior, k in ((0.2, "no"), (0.8, "yes"))
    ]
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], parts[1] / sum(parts), rtol=1e-9)
    odds = np.log(parts[1] / parts[0])
    np.testing.assert_allclose(model.decision_function(X), odds, rtol=1e-9, atol=1e-12)
    assert set(model.predict(X)) <= {"no", "yes"}


@pytest.mark.filterwarnings("ignore:Got (constant|collinear) columns:UserWarning")
@pytest.mark.parametrize(
    "density",
    [
        GaussianMixture(2, random_state=0),
        KernelDensity(bandwidth=0.3),
        RegularizedAutoEncoderScore(max_mixtures=1, max_iter=30, random_state=0),
    ],
    ids=lambda density: type(density).__name__,
)
def test_any_density_will_do(density):
    X, y = load_iris(return_X_y=True)
    model = DensityClassifier(density).fit(X, y)
    assert model.score(X, y) > 0.95
    assert model.densities_[0] is not density
    joint = np.stack([own.score_samples(X) for own in model.densities_], axis=1) + np.log(1 / 3)
    np.testing.assert_allclose(model.decision_function(X), joint, rtol=1e-6)


def test_rows_where_all_densities_are_zero_get_the_priors():
    X, y = np.array([[0.1], [0.2], [0.3], [0.6], [0.9]]), [0, 0, 1, 1, 1]
    density = MaximumEntropyDensity(("mean", "variance"), support=(0.0, 1.0))
    model = DensityClassifier(density).fit(X, y)
    np.testing.assert_allclose(model.predict_proba([[7.0]]), [[0.4, 0.6]], rtol=1e-12)


# --- bad input ------------------------------------------------------------------------------------

X, Y = np.arange(12.0).reshape(6, 2) ** 2, np.array([0, 0, 0, 1, 1, 1])
BAD = {
    "no density": (DensityClassifier("normal"), {}, TypeError, "density='normal' without fit"),
    "priors of another length": (
        DensityClassifier(MaximumEntropyDensity(), priors=[1.0]),
        {},
        ValueError,
        r"priors of shape \(1,\), expected \(2,\)",
    ),
    "priors of another sum": (
        DensityClassifier(MaximumEntropyDensity(), priors=[0.5, 0.6]),
        {},
        ValueError,
        "non-negative numbers with the sum 1",
    ),
    "weights that nobody takes": (
        DensityClassifier(GaussianMixture()),
        {"sample_weight": np.ones(6)},
        TypeError,
        "GaussianMixture, whose fit takes none",
    ),
    "a class of one row": (
        DensityClassifier(MaximumEntropyDensity()),
        {"y": [0, 0, 0, 0, 0, 1]},
        ValueError,
        r"class 1 with 1 row\(s\) that MaximumEntropyDensity refuses",
    ),
    "labels of another length": (
        DensityClassifier(MaximumEntropyDensity()),
        {"y": [0, 1]},
        ValueError,
        "y of 2 labels, expected 6",
    ),
}


@pytest.mark.filterwarnings("ignore:Got (constant|collinear) columns:UserWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_nothing_is_set(name):
    model, options, error, message = BAD[name]
    with pytest.raises(error, match=message):
        model.fit(X, **{"y": Y, **options})
    assert [name for name in vars(model) if name.endswith("_")] == []
