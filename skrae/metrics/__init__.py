"""Numbers that say how good a fitted object is, of rows alone: no labels, no truth.

hyvarinen    densities, without their normalisers
embedding    maps of rows to codes: which neighbours and which distances they keep
scorers      two of those for a search over options
codes        codes by themselves: how evenly they are decoded, how sparse they are
spaces       rows before and after a map: checks, distances by blocks, neighbours, ranks
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
from skrae.metrics.scorers import stress_scorer, trustworthiness_scorer

__all__ = [
    "continuity",
    "decoder_distortion",
    "hoyer_sparseness",
    "hyvarinen_score",
    "hyvarinen_scorer",
    "neighbor_recall",
    "shepard_correlation",
    "stress",
    "stress_scorer",
    "trustworthiness",
    "trustworthiness_scorer",
]
