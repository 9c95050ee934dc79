"""Numbers that say how good a fitted object is, and what rows hold: no labels, no truth.

===============  ================================================================================
module           what is in it
===============  ================================================================================
``hyvarinen``    densities, without their normalisers
``embedding``    maps of rows to codes: which neighbours and which distances they keep
``codes``        codes by themselves: how evenly they are decoded, how sparse they are
``information``  entropy of rows, and what two tables tell of each other
``scorers``      three of codes for a search over options
``spaces``       for these: distances by blocks, neighbours, ranks, and checks of what is given
===============  ================================================================================
"""

from skrae.metrics.codes import decoder_distortion, hoyer_sparseness
from skrae.metrics.embedding import (
    continuity,
    neighbor_recall,
    shepard_correlation,
    stress,
    trustworthiness,
)
from skrae.metrics.hyvarinen import hyvarinen_score, hyvarinen_scorer
from skrae.metrics.information import knn_entropy, knn_mutual_information
from skrae.metrics.scorers import code_entropy_scorer, stress_scorer, trustworthiness_scorer

__all__ = [
    "code_entropy_scorer",
    "continuity",
    "decoder_distortion",
    "hoyer_sparseness",
    "hyvarinen_score",
    "hyvarinen_scorer",
    "knn_entropy",
    "knn_mutual_information",
    "neighbor_recall",
    "shepard_correlation",
    "stress",
    "stress_scorer",
    "trustworthiness",
    "trustworthiness_scorer",
]
