"""Radial units on top of a base density, fitted by the criterion of denoising and contraction.

Width of the units and strength of the penalty are those of the lowest cross-validated criterion of
a grid: it is a quadratic for each width, whose terms the folds share.
"""

from typing import NamedTuple

import torch

from skrae.autoencoders.decoders.kernel import KernelDecoder
from skrae.autoencoders.radial import RadialUnits, contraction_terms, score_matching_terms
from skrae.density.score_field import value_and_derivatives
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import block_rows, by_blocks, shared_by_blocks
from skrae.preprocessing.rows import WeightedRows

MIN_CENTRES, MAX_CENTRES, ROWS_PER_CENTRE = 100, 200, 20
# In working space, where the rows have unit spread.
WIDTHS = tuple(0.4 * 2.0 ** (k / 2) for k in range(9))
STRENGTHS = tuple(10.0 ** (-k / 2) for k in range(18))
N_FOLDS = 8
# Standard errors by which the strongest penalty may miss the best.
TOLERANCE = 0.5
# Rows that choose width and strength; the weights are then fitted to all.
MAX_ROWS = 10_000
# What noise_level="auto" is with a decoder of radial units alone.
AUTO_LEVEL = 0.03


class QuadraticCriterion(NamedTuple):
    """Denoising at sigma and contraction of weight lambda, over a base density q_0."""

    base: MixtureDensity
    noise_level: float = 0.0
    contraction_weight: float = 0.0
    seed: int = 0  # of the noise

    @property
    def tau(self):
        """sigma^2 + lambda."""
        return self.noise_level**2 + self.contraction_weight

    def terms(self, units, rows):
        """The `Terms` of weighted rows, each corrupted twice, with noise of either sign."""
        z, weights, share = rows.z, rows.weights, 1.0
        if self.tau > 0.0:
            share = self.noise_level**2 / self.tau
        if self.noise_level > 0.0:
            generator = torch.Generator().manual_seed(self.seed)
            noise = self.noise_level * torch.randn(z.shape, generator=generator, dtype=z.dtype)
            z, weights = torch.cat([z + noise, z - noise]), weights.repeat(2) / 2.0
        pull = shared_by_blocks(self._pull, z, size=block_rows(len(self.base.weights)))
        found = score_matching_terms(units, z, weights, pull, share)
        if self.contraction_weight == 0.0:
            return found
        bends = by_blocks(lambda part: value_and_derivatives(self._pull, part)[1], rows.z)
        own = contraction_terms(units, *rows, bends, self.contraction_weight, self.tau)
        return found + own

    def _pull(self, z):
        return self.base.evaluate(z)[1]


class RadialFit(NamedTuple):
    """Units and strength of the penalty that the criterion likes best, and their weights."""

    units: RadialUnits
    strength: float
    coefficients: torch.Tensor

    def fitted_to(self, rows, criterion):
        """The weights for other rows, or by another criterion."""
        return criterion.terms(self.units, rows).solved(self.units.penalty(), self.strength)


def radial_fits(rows, criterion, generator, n_centres):
    """(cross-validated criterion, `RadialFit`) at each width that can be solved for.

    Parameters
    ----------
    rows : WeightedRows
    criterion : QuadraticCriterion
    generator : torch.Generator
    n_centres : int
    """
    order = torch.randperm(len(rows.z), generator=generator)
    few = order[:MAX_ROWS]
    if len(few) < N_FOLDS:
        return
    folds = [WeightedRows(*(part[i] for part in rows)) for i in few.tensor_split(N_FOLDS)]
    centres = _centres(rows.z[few], n_centres)
    for width in WIDTHS:
        units = RadialUnits(centres, width)
        tried = _tried(units, folds, criterion)
        if tried:
            value, strength = _strongest(tried)
            yield value, RadialFit(units, strength, None)


def fit_radial(rows, criterion, generator):
    """The `RadialFit` of the best width for weighted rows; None where no system can be solved."""
    n_centres = min(max(len(rows.z) // ROWS_PER_CENTRE, MIN_CENTRES), MAX_CENTRES)
    fits = list(radial_fits(rows, criterion, generator, n_centres))
    if not fits:
        return None
    _, fit = min(fits, key=lambda found: found[0])
    return fit._replace(coefficients=fit.fitted_to(rows, criterion))


def _centres(z, n_centres):
    """Half the centres by the order of the rows, half each the farthest from all before it."""
    n = min(n_centres, len(z))
    chosen = list(range(n - n // 2))
    nearest = torch.cdist(z, z[chosen]).amin(1)
    for _ in range(n // 2):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (z - z[chosen[-1]]).norm(dim=1))
    return z[chosen]


def _tried(units, folds, criterion):
    """(held-out criterion of each fold (N,), strength) at each strength, from the strongest on."""
    parts = [criterion.terms(units, fold) for fold in folds]
    whole, penalty, tried = sum(parts[1:], parts[0]), units.penalty(), []
    for strength in STRENGTHS:
        try:
            found = [(whole - part).solved(penalty, strength) for part in parts]
        except torch.linalg.LinAlgError:
            break
        values = [part.mean(a) * part.weight for part, a in zip(parts, found, strict=True)]
        values = torch.tensor(values, dtype=torch.float64)
        tried.append((values / (whole.weight / len(folds)), strength))
    return tried


def _strongest(tried):
    """(mean criterion, strength) of the strongest penalty that is as good as the best."""
    values = torch.stack([value for value, _ in tried])
    above = values - values[values.mean(1).argmin()]
    error = above.std(1) / len(values[0]) ** 0.5
    place = int((above.mean(1) <= TOLERANCE * error).nonzero()[0])
    return float(values[place].mean()), tried[place][1]


def fit_kernel(rows, base, options, held_out_gain, generator):
    """(parameters, noise level, gain, its standard error) of a `KernelDecoder`, or None.

    The width is that of the highest held-out gain: what the criterion is lowest for may misjudge
    the mass of places without rows, of which it learns nothing.

    Parameters
    ----------
    rows : WeightedRows
    base : MixtureDensity
    options : Options
    held_out_gain : HeldOutGain
    generator : torch.Generator
    """
    level = AUTO_LEVEL if options.noise_level == "auto" else float(options.noise_level)
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    criterion = QuadraticCriterion(base, level, options.contraction_weight, seed)
    decoder = KernelDecoder(options.activation, criterion.tau, base.mean)

    def solved(fit, given):
        coefficients = fit.fitted_to(given, criterion)
        u = by_blocks(lambda z: fit.units.value(z, coefficients), given.z)
        parameters = decoder.of_units(fit.units, coefficients, float(u.max()))
        parameters = [p.to(held_out_gain.z.device) for p in parameters]
        return parameters, level, *held_out_gain(parameters, decoder)

    some = torch.randperm(len(rows.z), generator=generator)[:MAX_ROWS]
    few = WeightedRows(*(part[some] for part in rows))
    fits = [fit for _, fit in radial_fits(few, criterion, generator, options.hidden_layer_sizes[0])]
    if not fits:
        return None
    return solved(max(fits, key=lambda fit: solved(fit, few)[2]), rows)
