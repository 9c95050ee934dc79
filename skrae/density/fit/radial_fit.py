"""The energy of radial units on top of the blurred base density, chosen by score matching.

Width of the units and strength of the penalty are those of the lowest cross-validated Hyvarinen
score, of a grid: the criterion of each is a quadratic, whose terms the folds share.
"""

from typing import NamedTuple

import torch

from skrae.autoencoders.radial import RadialUnits, score_matching_terms
from skrae.preprocessing.blocks import by_blocks
from skrae.preprocessing.rows import WeightedRows

# Of the covariances of the base density: four times as wide they have no ripples left.
BLUR = 3.0
MAX_CENTRES = 200
# In working space, where the rows have unit spread.
WIDTHS = tuple(0.4 * 2.0 ** (k / 2) for k in range(9))
STRENGTHS = tuple(10.0**-k for k in range(9))
N_FOLDS = 8
# Rows that choose width and strength; the weights are then fitted to all.
MAX_ROWS = 10_000


class RadialFit(NamedTuple):
    """Units and strength of the penalty that score matching likes best, and their weights."""

    units: RadialUnits
    strength: float
    coefficients: torch.Tensor

    def fitted_to(self, rows, smooth):
        """The weights for other rows and another q_0, `smooth`."""
        terms = radial_terms(self.units, rows, smooth)
        return terms.solved(self.units.penalty(), self.strength)


def radial_terms(units, rows, density):
    """`Terms` of weighted rows, the gradient of `density` as that of q_0."""
    pull = by_blocks(lambda z: density.evaluate(z)[1], rows.z)
    return score_matching_terms(units, rows.z, rows.weights, pull)


def fit_radial(rows, smooth, generator):
    """The `RadialFit` of weighted rows; None where no system can be solved.

    Parameters
    ----------
    rows : WeightedRows
    smooth : MixtureDensity, q_0
    generator : torch.Generator
    """
    order = torch.randperm(len(rows.z), generator=generator)
    few = [WeightedRows(*(part[index] for part in rows)) for index in _folds(order)]
    centres = _centres(rows.z[order[:MAX_ROWS]])
    tried = [
        found for width in WIDTHS for found in _tried(RadialUnits(centres, width), few, smooth)
    ]
    if not tried:
        return None
    _, strength, units = min(tried, key=lambda found: found[0])
    coefficients = radial_terms(units, rows, smooth).solved(units.penalty(), strength)
    return RadialFit(units, strength, coefficients)


def _centres(z):
    """Half the centres by the order of the rows, half each the farthest from all before it."""
    n = min(MAX_CENTRES, len(z))
    chosen = list(range(n - n // 2))
    nearest = torch.cdist(z, z[chosen]).amin(1)
    for _ in range(n // 2):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (z - z[chosen[-1]]).norm(dim=1))
    return z[chosen]


def _folds(order):
    return order[:MAX_ROWS].tensor_split(N_FOLDS)


def _tried(units, folds, smooth):
    """(mean held-out criterion, strength, units) at each strength."""
    parts = [radial_terms(units, fold, smooth) for fold in folds]
    whole, penalty = sum(parts[1:], parts[0]), units.penalty()
    for strength in STRENGTHS:
        try:
            found = [(whole - part).solved(penalty, strength) for part in parts]
        except torch.linalg.LinAlgError:
            return
        values = [part.mean(a) * part.weight for part, a in zip(parts, found, strict=True)]
        yield sum(values) / whole.weight, strength, units
