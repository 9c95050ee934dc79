"""scikit-learn's contract: all of its checks, of each method and of what stands on a density."""

import inspect

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrae import (
    DensityClassifier,
    DensityImputer,
    DensityOutlierDetector,
    DensityRegressor,
    MaximumEntropyDensity,
    RegularizedAutoEncoderScore,
)

# Older versions have no such parameter: there, the strictness is that of pyproject.toml.
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
    else {}
)
# A quick density: the checks are some fifty fits.
SMALL = {"max_iter": 3, "hidden_layer_sizes": (4,), "base_density": "gaussian", "select": None}


def expected_failures(estimator):
    """Of the classifier over a density that has no covariance of one row."""
    if "MaximumEntropyDensity" in repr(getattr(estimator, "density", None)):
        reason = "the check makes classes of one row, of which no moments are taken"
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    return {}


@parametrize_with_checks(
    [
        MaximumEntropyDensity(),
        DensityClassifier(MaximumEntropyDensity()),
        DensityClassifier(KernelDensity()),
        DensityRegressor(RegularizedAutoEncoderScore(**SMALL)),
        DensityImputer(RegularizedAutoEncoderScore(**SMALL)),
        DensityOutlierDetector(),
        DensityOutlierDetector("clean"),
    ],
    expected_failed_checks=expected_failures,
    **STRICT,
)
# The checks hand over constant and collinear columns; the warning of them has tests of its own.
@pytest.mark.filterwarnings("ignore:Got (constant|collinear) columns:UserWarning")
@pytest.mark.filterwarnings("ignore:Got .* expected more rows than columns:UserWarning")
# scikit-learn warns of a check that it skips itself, such as the one of array API input.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_weights_act_as_repetitions_within_classes(random_seed):
    """Stands in for the check that makes classes of one row."""
    rng = np.random.default_rng(random_seed)
    X, y = rng.standard_normal((60, 2)), np.repeat([0, 1], 30)
    weights = rng.integers(0, 4, 60)
    model = DensityClassifier(MaximumEntropyDensity())
    weighted = model.fit(X, y, sample_weight=weights).decision_function(X)
    repeated = model.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights)).decision_function(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9, atol=1e-11)
