"""Numbers that say how good a fitted object is, of rows alone: no labels, no truth.

hyvarinen    densities, without their normalisers
embedding    maps of rows to codes: which neighbours and which distances they keep
spaces       rows before and after a map: checks, distances by blocks, neighbours, ranks
"""

from skrae.metrics.embedding import (
    continuity,
    neighbor_recall,
    shepard_correlation,
    stress,
    trustworthiness,
)
from skrae.metrics.hyvarinen import hyvarinen_score, hyvarinen_scorer

__all__ = [
    "continuity",
    "hyvarinen_score",
    "hyvarinen_scorer",
    "neighbor_recall",
    "shepard_correlation",
    "stress",
    "trustworthiness",
]
