"""Which energy is the model: the base density's, the network's, or an average with radial units'.

All are judged by rows that the mixtures and the weights of the units have not seen: by the mean of
log p, which says where the mass is, and by Hyvarinen's score, the mean of |psi|^2 / 2 + div psi,
which sees the ripples of a mixture that the likelihood hardly sees. The larger the share of the
radial units, the smoother the average of the energies is: where held-out rows cannot tell, the
smoother is the model.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from skrae.density.fit.radial.closed_form import QuadraticCriterion, fit_radial
from skrae.density.radial_average import (
    RadialEnergy,
    RadialField,
    bounded,
    bounded_bend,
    bounded_slope,
)
from skrae.density.score_field import value_and_derivatives
from skrae.preprocessing.blocks import block_rows, shared_by_blocks
from skrae.preprocessing.rows import WeightedRows, mean_and_error, weighted_mean

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Of a mixture below radial units: its covariances are 1 + blur times as wide. The widest that costs
# held-out rows no more than so many nats for each column: where the wide components of a mixture
# say nearly what the narrow ones do, they say it without ripples.
BLURS = tuple(0.5 * 2.0 ** (k / 2) for k in range(11))
MAX_BLUR_LOSS = 0.3
# Kernels say nothing of many columns, nor of few rows.
MAX_FEATURES, MIN_ROWS = 6, 100
MAX_JUDGED_ROWS, N_DRAWS = 4000, 4096
# Rows times components of the base density at which it is evaluated: with second derivatives of
# held-out rows, and to fit the weights of the units.
MAX_JUDGED, MAX_FITTED = 4_000_000, 20_000_000
# Rows that have chosen the size of a mixture flatter it: m of them by 1 to 6 nats / m a row, on
# known densities of 1000 and of 4000 rows (`python -m tests.benchmarks.optimism`), which took from
# about so many components on; one alone, which nothing has chosen, is not flattered.
OPTIMISM, MANY_COMPONENTS = 2.5, 6
# Standard errors, and nats a row, by which the likeliest may be missed.
TOLERANCE, MAX_LOSS = 2.0, 0.003


MEASURED = "share", "log_density", "log_density_stderr", "hyvarinen", "hyvarinen_stderr"


class Members(NamedTuple):
    """Both held-out scores of the average at each share, (S,), and what was chosen."""

    share: np.ndarray
    log_density: np.ndarray
    log_density_stderr: np.ndarray  # of the differences from the highest
    hyvarinen: np.ndarray
    hyvarinen_stderr: np.ndarray  # of the differences from the lowest
    place: int  # of the chosen share
    energy: RadialEnergy | None = None  # of the radial units, where their share is not 0

    def table(self):
        """A dict of columns, one row for each share."""
        columns = {name: getattr(self, name) for name in MEASURED}
        return {**columns, "chosen": np.arange(len(self.share)) == self.place}


class Judgement(NamedTuple):
    """Of held-out rows, at each share: log densities and Hyvarinen's scores, (S, n)."""

    log_density: torch.Tensor
    hyvarinen: torch.Tensor


def choose_member(choice, rows, network, select, generator):
    """The `Members` that may be the model; None where there are too many columns or too few rows.

    Parameters
    ----------
    choice : Choice of the base density
    rows : WeightedRows, all of them, in working space
    network : callable from a base density to a `ScoreField` on it, or None where the base won
    select : {"likelihood", "score"}
    generator : torch.Generator
    """
    if rows.z.shape[1] > MAX_FEATURES or len(rows.z) < MIN_ROWS or not choice.parts:
        return None
    blur = _blur(_judged_part(choice.parts[0], 1, generator))
    smooth = choice.parts[0].density.blurred(blur, local=True)
    few = _first(rows, MAX_FITTED // len(smooth.weights), generator)
    fit = fit_radial(few, QuadraticCriterion(smooth), generator)
    if fit is None:
        return None
    parts = choice.parts if network is None else choice.parts[:1]
    n_choosers = [len(part.held_out.z) for part in parts]
    parts = [_judged_part(part, len(parts), generator) for part in parts]
    found = [_judgement(part, network, fit, blur, generator) for part in parts]
    found = Judgement(*(torch.cat(values, 1) for values in zip(*found, strict=True)))
    found = _of_average(parts, n_choosers, found)
    members = _chosen(found, torch.cat([part.held_out.weights for part in parts]), select)
    if members.place == 0:
        return members
    energy = _energy(choice.density, smooth, few, fit, SHARES[members.place])
    return members._replace(energy=energy)


def _blur(part):
    """The largest of `BLURS` that the held-out rows of a `Judged` mixture allow."""
    density, (z, weights) = part.density, part.held_out
    log_q, most = density.log_density(z), MAX_BLUR_LOSS * z.shape[1]
    for blur in reversed(BLURS):
        loss = log_q - density.blurred(blur, local=True).log_density(z)
        if weighted_mean(loss, weights) <= most:
            return blur
    return BLURS[0]


def _first(rows, limit, generator):
    """So many of the rows, at random."""
    if len(rows.z) <= limit:
        return rows
    index = torch.randperm(len(rows.z), generator=generator)[:limit]
    return WeightedRows(*(part[index] for part in rows))


def _judged_part(part, n_parts, generator):
    """The part with as many rows as it takes."""
    size = len(part.density.weights)
    return part._replace(
        rows=_first(part.rows, MAX_FITTED // size, generator),
        held_out=_first(
            part.held_out, min(MAX_JUDGED_ROWS // n_parts, MAX_JUDGED // size), generator
        ),
    )


def _energy(base, smooth, rows, fit, share):
    return RadialEnergy(
        share=share,
        offset=_offset(RadialField(smooth, fit.units, fit.coefficients), base, rows),
        smooth=smooth.arrays(),
        centres=fit.units.centres.numpy(),
        width=fit.units.width,
        coefficients=fit.coefficients.numpy(),
    )


def _offset(field, base, rows):
    """The weighted median of log p_k - log q."""
    ratios = shared_by_blocks(lambda z: field.ratio(z, base.log_density(z)), rows.z)
    ratios, order = ratios.sort()
    passed = rows.weights[order].cumsum(0)
    return float(ratios[torch.searchsorted(passed, 0.5 * passed[-1])])


def _judgement(part, network, fit, blur, generator):
    """`Judgement` of held-out rows by mixtures and weights of the units that have not seen them."""
    base, z = part.density, part.held_out.z
    smooth = base.blurred(blur, local=True)
    coefficients = fit.fitted_to(part.rows, QuadraticCriterion(smooth))
    radial = RadialField(smooth, fit.units, coefficients)
    offset = _offset(radial, base, part.rows)
    draws = base.sample(N_DRAWS, generator)
    drawn = radial.ratio(draws, base.log_density(draws)) - offset
    log_q = base.log_density(z)
    u = radial.ratio(z, log_q) - offset
    size = block_rows(len(base.weights))
    score, divergence = _derivatives(lambda rows: base.evaluate(rows)[1], z, size)
    slope, bend = _derivatives(lambda rows: _ratio_gradient(radial, base, rows), z, size)
    own, own_drawn, own_slope, own_bend = _network_terms(network, base, z, draws, size)
    values, scores = [], []
    for share in SHARES:
        w, rest = share * u, 1.0 - share
        log_z = torch.logsumexp(bounded(share * drawn) + rest * own_drawn, 0) - math.log(N_DRAWS)
        values.append(log_q + bounded(w) + rest * own - log_z)
        psi = score + rest * own_slope + share * bounded_slope(w)[:, None] * slope
        curved = share * bounded_slope(w) * bend
        curved = curved + share**2 * bounded_bend(w) * slope.square().sum(1)
        scores.append(0.5 * psi.square().sum(1) + divergence + rest * own_bend + curved)
    return Judgement(torch.stack(values), torch.stack(scores))


def _ratio_gradient(radial, base, z):
    log_q, gradient, _ = base.evaluate(z)
    return radial.ratio_and_gradient(z, log_q, gradient)[1]


def _network_terms(network, base, z, draws, size):
    """f at the rows and at the draws, its gradient at the rows and its Laplacian."""
    if network is None:
        return 0.0, z.new_zeros(len(draws)), torch.zeros_like(z), 0.0
    field = network(base)
    with torch.no_grad():
        values = field.log_tilt(z), field.log_tilt(draws)

    def gradient(rows):
        log_q, base_gradient, _ = base.evaluate(rows)
        return field.tilt_and_gradient(rows, log_q, base_gradient)[1].double()

    return *values, *_derivatives(gradient, z, size)


def _derivatives(function, z, size):
    """function(z), (n, d), and its divergence (n,), of so many rows at a time."""

    def both(rows):
        values, slopes = value_and_derivatives(function, rows)
        return torch.cat([values, slopes.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)], 1)

    found = shared_by_blocks(both, z, size=size)
    return found[:, :-1], found[:, -1]


def _of_average(parts, n_choosers, found):
    """What `found` of single mixtures would be of their average, less what flatters them.

    Each of them was chosen by so many rows, those that it is judged by among them.

    The mean of the mixtures' errors is that of their average and their disagreement (Krogh &
    Vedelsby 1995): log(mean q) - mean(log q) of the log densities, and half the variance of the
    scores. Both vanish with the share of the mixtures in the average of energies.
    """
    rest = 1.0 - torch.tensor(SHARES, dtype=torch.float64)[:, None]
    optimism = torch.tensor(
        [_optimism(part) / n for part, n in zip(parts, n_choosers, strict=True)],
        dtype=torch.float64,
    )
    sizes = torch.tensor([len(part.held_out.z) for part in parts])
    gain = -optimism.repeat_interleave(sizes)
    if len(parts) == 1:
        return found._replace(log_density=found.log_density + rest * gain)
    z = torch.cat([part.held_out.z for part in parts])
    each = [part.density.evaluate(z) for part in parts]
    log_q, scores = (torch.stack([values[i] for values in each]) for i in (0, 1))
    gain = gain + torch.logsumexp(log_q, 0) - math.log(len(parts)) - log_q.mean(0)
    variance = (scores - scores.mean(0)).square().sum(2).mean(0)
    return Judgement(
        found.log_density + rest * gain, found.hyvarinen - 0.5 * rest.square() * variance
    )


def _optimism(part):
    """Nats that the rows which chose the mixture make too much of it, in all."""
    n_gaussians = int(torch.isinf(part.density.dofs).sum())
    return OPTIMISM * min(1.0, (n_gaussians - 1) / (MANY_COMPONENTS - 1))


def _chosen(found, weights, select):
    """`Members` with the largest share that is as good as the best, as far as the rows tell."""
    log_density = _compared(found.log_density, weights)
    hyvarinen = _compared(-found.hyvarinen, weights)
    _, losses, errors = log_density
    good = losses <= TOLERANCE * errors
    if select == "likelihood":
        good &= losses <= MAX_LOSS
    else:
        above = hyvarinen[1] - hyvarinen[1][good].min()
        good &= above <= hyvarinen[2]
    place = int(np.flatnonzero(good)[-1])
    return Members(
        share=np.array(SHARES),
        log_density=log_density[0],
        log_density_stderr=log_density[2],
        hyvarinen=-hyvarinen[0],
        hyvarinen_stderr=hyvarinen[2],
        place=place,
    )


def _compared(values, weights):
    """Means of the rows of `values`, what they are below the best, and the errors of that."""
    means = [mean_and_error(row, weights)[0] for row in values]
    best = values[int(np.argmax(means))]
    losses = [mean_and_error(best - row, weights) for row in values]
    return np.array(means), *np.array(losses).T
