"""Scores of fitted objects that know no truth but rows.

hyvarinen    densities, without their normalisers
"""

from skrae.metrics.hyvarinen import hyvarinen_score, hyvarinen_scorer

__all__ = ["hyvarinen_score", "hyvarinen_scorer"]
