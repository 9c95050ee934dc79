"""scikit-learn's contract: all of its checks, of members of the family that differ in what they do.

Left out is the geodesic distance: the checks hand over blobs, whose graph of neighbours falls into
parts, and those are refused.
"""

import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrae import AutoEncoder, InfoMaxEncoder
from tests.autoencoders.transformers.estimators import MEMBERS

# Older versions have no such parameter: there, the strictness is that of pyproject.toml.
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in inspect.signature(parametrize_with_checks).parameters
    else {}
)
SMALL = {"max_iter": 3, "hidden_layer_sizes": (4,)}
CHECKED = "linear", "masking", "kl", "distance", "entropy", "information"


def expected_failures(estimator):
    """Of the auto-encoder that takes no steps, since PCA is its exact minimum."""
    if estimator.hidden_layer_sizes == ():
        return {"check_transformer_n_iter": "n_iter_ counts steps, of which a solved fit has none"}
    return {}


@parametrize_with_checks(
    [
        AutoEncoder(max_iter=3),
        *(AutoEncoder(**{**SMALL, **MEMBERS[name]}) for name in CHECKED),
        InfoMaxEncoder(max_iter=3),
    ],
    expected_failed_checks=expected_failures,
    **STRICT,
)
# scikit-learn warns of a check that it skips itself, such as the one of array API input.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_check(estimator, check):
    check(estimator)
