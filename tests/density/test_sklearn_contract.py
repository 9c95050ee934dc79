"""scikit-learn's contract: all of its checks, and a stand-in for the one that noise must fail."""

import inspect

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrae import RegularizedAutoEncoderScore

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "corruption noise is drawn anew in every step: weights equal repetitions in distribution"
    ),
}
# Older versions have no such parameter: there, the strictness is that of pyproject.toml.
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
    else {}
)


# Of the decoders that reconstruct by themselves, in a moment each: the checks are some fifty fits.
SMALL = {"max_iter": 3, "hidden_layer_sizes": (4,), "base_density": "gaussian"}


@parametrize_with_checks(
    [
        RegularizedAutoEncoderScore(),
        RegularizedAutoEncoderScore(0.5, decoder="free", **SMALL),
        RegularizedAutoEncoderScore(0.5, decoder="tied", bias_correction=True, **SMALL),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
    **STRICT,
)
# The checks hand over constant and collinear columns; the warning of them has tests of its own.
@pytest.mark.filterwarnings("ignore:Got (constant|collinear) columns:UserWarning")
# scikit-learn warns of a check that it skips itself, such as the one of array API input.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_check(estimator, check):
    check(estimator)


def two_clusters(n, seed):
    """n rows of each of two round clusters, and the weights 1 and 3 of the clusters."""
    noise = np.random.default_rng(seed).standard_normal((2 * n, 2))
    return noise + np.repeat([[-3.0, 0.0], [3.0, 0.0]], n, axis=0), np.repeat([1.0, 3.0], n)


def test_weights_act_as_repetitions(random_seed):
    """Scores of fresh rows agree within 3 standard errors of the mean over several fits."""
    X, weights = two_clusters(60, random_seed)
    fresh, _ = two_clusters(300, random_seed + 1)
    repeated = np.repeat(X, weights.astype(int), axis=0)

    def scores(rows, sample_weight, n_fits=6):
        fits = (
            RegularizedAutoEncoderScore(
                0.3, hidden_layer_sizes=(16, 16), max_iter=36, random_state=random_seed + i
            ).fit(rows, sample_weight=sample_weight)
            for i in range(n_fits)
        )
        return np.array([[model.score(part) for part in np.split(fresh, 2)] for model in fits])

    weighted, repeats, plain = scores(X, weights), scores(repeated, None), scores(X, None, 2)
    variance = (weighted.var(axis=0, ddof=1) + repeats.var(axis=0, ddof=1)) / len(weighted)
    gap = np.abs(weighted.mean(axis=0) - repeats.mean(axis=0))
    assert (gap < 3.0 * np.sqrt(variance)).all(), (gap, np.sqrt(variance))
    # Weights of 1 and 3 halve the density of one cluster and raise the other's by a half.
    shift = weighted.mean(axis=0) - plain.mean(axis=0)
    np.testing.assert_allclose(shift, np.log([0.5, 1.5]), atol=0.15)
