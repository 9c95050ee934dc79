"""The criterion of the score estimator at one noise level, and the held-out gain that validates it.

Denoising, contraction and noise-contrastive calibration: see `skrae.autoencoders.objectives`.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.objectives import (
    EXACT_CONTRACTION_FEATURES,
    calibration_loss,
    contraction_estimate,
    contraction_penalty,
    corrupt,
    denoising_loss,
)
from skrae.autoencoders.training import Criterion, Validation
from skrae.density.score_field import ScoreField
from skrae.mixtures.components import indices_at
from skrae.mixtures.noise import PartOfRows, normal, uniform
from skrae.preprocessing.blocks import (
    block_rows,
    by_blocks,
    is_wide,
    matrices_of_rows,
    shared_by_blocks,
)
from skrae.preprocessing.contract.processes import current

COMPONENT_DRAWS = 4
# Shrinkage of the head offered to the held-out rows at every check, against overfitting.
HEAD_FACTORS = (1.0, 0.85, 0.7, 0.5, 0.3)
MIN_EFFECTIVE_DRAWS = 100
# Products of a step by the base density alone, below which processes do not share it out.
MIN_SHARED = 2**23
# Of many columns: the steps whose rows are corrupted at once, as products with few rows of each
# component are slow, and the numbers of these rows for their components.
STEPS_AHEAD, NUMBERS_AHEAD = 10, 2**22


class TermWeights(NamedTuple):
    """The weights of the terms of the criterion."""

    contraction: float
    calibration: float


class Batch(NamedTuple):
    """Rows z (n, d) of a step, and all that is known of them whatever the parameters are.

    Of corrupted rows there are m = 2 n, by the noise and by its opposite, or n without noise.
    """

    z: torch.Tensor
    components: torch.Tensor  # (n,), those that the noise comes from
    corrupted: torch.Tensor  # (m, d)
    whitened: torch.Tensor  # (m, d), the noise
    log_q: torch.Tensor  # (m,), of the corrupted rows, as what follows
    base_gradient: torch.Tensor  # (m, d)
    drawn: torch.Tensor  # (m,), components of the metric, and their weights
    weights: torch.Tensor  # (m,)
    draws: torch.Tensor | None  # (n, d), of q, where there is calibration


class Corruption:
    """Batches of rows with noise, of one step after the other.

    Parameters
    ----------
    rows : Rows
    base : MixtureDensity
    metric : NoiseMetric
    noise_level : float, sigma
    draws : bool, whether as many draws of q are wanted
    own : slice, of the rows of a batch those of this process, or None where they are not shared
    likely : Likely, of local noise the components of rows that are asked for alone; None for all
    """

    def __init__(self, rows, base, metric, noise_level, draws, own=None, likely=None):
        self.rows, self.base, self.metric = rows, base, metric
        self.noise_level, self.draws, self.own, self.likely = noise_level, draws, own, likely
        self.factors = metric.factors.float()
        self.inverse_transposes = metric.inverse_transposes.float()
        shape = len(rows.z), COMPONENT_DRAWS
        heights = uniform(shape, rows.generator, rows.z.new_empty(0, dtype=torch.float64))
        self.components = self._drawn_components(heights)
        self._ready = iter(())

    def _drawn_components(self, heights):
        """Several for each row, that its noise may come from."""
        if self.likely is not None:
            components, shares = self.likely
            return components.gather(1, indices_at(heights, shares.double()))
        size = block_rows(len(self.metric.factors))
        return shared_by_blocks(self._components_at, self.rows.z, heights, size=size)

    def _components_at(self, z, heights):
        return indices_at(heights, self.metric.responsibilities(z)).int()

    @property
    def _n_ahead(self):
        """The batches that are made at once; completions of a row are shared out now and then."""
        n_components, d = len(self.base.means), self.base.n_numeric
        if not is_wide(d) or self.rows.n_copies > 1:
            return 1
        n_likely = 0 if self.likely is None else self.likely.components.shape[1]
        n_each = d * n_likely if n_likely else max(n_components, d)
        numbers = 2 * self.rows.batch_size * n_each
        return max(1, min(STEPS_AHEAD, NUMBERS_AHEAD // numbers))

    def batch(self):
        """The `Batch` of the next step."""
        found = next(self._ready, None)
        if found is None:
            self._ready = self._batches(self._n_ahead)
            found = next(self._ready)
        return found

    def _batches(self, n):
        rows, size, own = self.rows, self.rows.batch_size, self.own or slice(None)
        to = {"generator": rows.generator, "device": rows.z.device}
        index = rows.draw_index(n * size)
        which = torch.randint(COMPONENT_DRAWS, (n * size,), **to)
        index, which = (part.view(n, size)[:, own].flatten() for part in (index, which))
        z, k = rows.z[index], self.components[index, which].long()
        generator = rows.generator if self.own is None else PartOfRows(rows.generator, size, own)
        corrupted, whitened = self._corrupt(z, k, generator)
        of_corrupted = corrupted, whitened, *self._evaluated(corrupted, index, generator)
        draws = n * [None]
        if self.draws:
            draws = self.base.sample(n * size, rows.generator).unflatten(0, (n, size))[:, own]
        apart = [part.unflatten(0, (n, -1)) for part in (z, k)]
        copies = [part.unflatten(0, (-1, n, len(z) // n)) for part in of_corrupted]
        for b in range(n):
            noisy = (part[:, b].flatten(0, 1) for part in copies)
            yield Batch(*(part[b] for part in apart), *noisy, draws[b])

    def _evaluated(self, corrupted, index, generator):
        """log q, its gradient, drawn components and weights at what rows `index` have become."""
        if self.likely is None:
            log_q, gradient, shares = self.base.evaluate(corrupted)
            shares = self.metric.responsibilities(corrupted, shares)
            return log_q, gradient, *self.metric.draw(shares, generator)
        n_copies = len(corrupted) // len(index)
        likely = self.likely.components[index].long().repeat(n_copies, 1)
        log_q, gradient, shares = self.base.evaluate_few(corrupted, likely)
        return log_q, gradient, *self.metric.draw(shares, generator, likely)

    def _corrupt(self, z, k, generator):
        if self.noise_level == 0.0:
            return z, torch.zeros_like(z)
        parts = self.factors, self.inverse_transposes
        covariance = (matrices_of_rows(part, k) for part in parts)
        return corrupt(z, *covariance, self.noise_level, normal(z.shape, generator, z))


class ScoreCriterion(Criterion):
    """Denoising at one noise level, contraction and calibration, for one decoder.

    Parameters
    ----------
    rows : Rows
    base : MixtureDensity
    metric : NoiseMetric
    decoder : Decoder
    weights : TermWeights
    noise_level : float, sigma
    likely : Likely, of the rows, or None
    """

    def __init__(self, rows, base, metric, decoder, weights, noise_level, likely=None):
        self.rows, self.base, self.metric, self.decoder = rows, base, metric, decoder
        self.weights, self.noise_level, self.tau = weights, noise_level, decoder.tau
        self.rate, self.ignores_validation = decoder.rate, weights.calibration == 0.0
        self.is_shared = current().size > 1 and self._may_share
        own = current().share(rows.batch_size) if self.is_shared else None
        calibrates = weights.calibration > 0.0
        about = rows, base, metric, noise_level
        self.corruption = Corruption(*about, calibrates, own, likely)

    @property
    def _may_share(self):
        """Whether processes share out the rows of a batch.

        Where all that is random of one is drawn before it is known who computes with it, and a step
        takes longer than their exchange.
        """
        size, (n_components, d) = self.rows.batch_size, self.base.means.shape
        return (
            self.decoder.may_be_averaged
            and self.weights.contraction == 0.0
            and size >= current().size
            and size * n_components * d**2 >= MIN_SHARED
        )

    def confine(self, parameters):
        """As the decoder asks."""
        self.decoder.confine(parameters)

    def loss(self, parameters):
        """The criterion of one batch, or what the rows of this process add to it."""
        batch = self.corruption.batch()
        loss = self.of_batch(parameters, batch)
        return loss * (len(batch.z) / self.rows.batch_size) if self.is_shared else loss

    def of_batch(self, parameters, batch):
        """The criterion of the rows of a `Batch`."""
        decoder, sigma, tau = self.decoder, self.noise_level, self.tau
        shared = sigma == 0.0 and decoder.score_and_contraction(batch.z, parameters)
        if shared:
            f, (psi, penalty) = None, shared
        else:
            base_gradient = batch.base_gradient.float()
            f, psi = decoder.training_score(batch.corrupted, parameters, base_gradient)
        factors = matrices_of_rows(self.corruption.factors, batch.drawn)
        loss = denoising_loss(psi, batch.whitened, factors, batch.weights.float(), sigma, tau)
        if self.weights.contraction > 0.0:
            penalty = (
                penalty if shared else self._contraction(parameters, batch.z, batch.components)
            )
            loss = loss + self.weights.contraction / tau * penalty
        if self.weights.calibration > 0.0:
            tilts = self._tilts(parameters, f, batch)
            loss = loss + self.weights.calibration * calibration_loss(*tilts)
        return loss

    def _tilts(self, parameters, f, batch):
        """f at the corrupted rows and at draws of q."""
        rows = batch.corrupted.float(), lambda: batch.log_q
        others = batch.draws.float(), lambda: self.base.log_density(batch.draws)
        return self.decoder.training_tilts(f, rows, others, parameters, self.rows.generator)

    def _contraction(self, parameters, z, k):
        closed = self.decoder.contraction(z, parameters)
        if closed is not None:
            return closed
        field = ScoreField(self.base, self.decoder, parameters, self.metric)
        factors = matrices_of_rows(self.metric.factors, k)
        inverses = matrices_of_rows(self.metric.inverse_transposes, k).mT
        where = z.double(), factors, inverses, self.tau
        if z.shape[1] <= EXACT_CONTRACTION_FEATURES:
            twice = partial(field.vector_field, create_graph=True)
            return contraction_penalty(twice, *where).float()
        return contraction_estimate(field.vector_field, *where, self.rows.generator).float()


class HeldOutGain:
    """Held-out gain over the base, in nats: mean f over held-out rows - log E_q exp f.

    The expectation is over fixed draws of q (common random numbers), so that two parameter
    vectors are compared without Monte-Carlo noise between them.

    Parameters
    ----------
    rows : WeightedRows
    base : MixtureDensity
    n_draws : int
    generator : torch.Generator
    n_copies : int
        How many of `rows` in turn are full rows drawn by q for one that tells less: exp f of it is
        their mean.
    """

    def __init__(self, rows, base, n_draws, generator, n_copies=1):
        self._n_copies = n_copies
        weights = rows.weights.reshape(-1, n_copies)[:, 0]
        self.weights = weights / weights.sum()
        parts = rows.z.double(), base.sample(n_draws, generator)
        self._log_q = [shared_by_blocks(base.log_density, part) for part in parts]
        self.z, self.draws = (part.float() for part in parts)

    def __call__(self, parameters, decoder):
        """Weighted mean of f - log Z over the held-out rows, and its standard error.

        Minus infinity where too few draws of q carry the normaliser's weight.
        """
        held_out, drawn = self.head_inputs(parameters, decoder)
        return self.of_tilts(decoder.bound(held_out), decoder.bound(drawn))

    def validation(self, parameters, decoder, factors=HEAD_FACTORS):
        """The `Validation` of the parameters, their head scaled by the best of the factors.

        The decoder may renew the offset of the parameters, in place.
        """
        held_out, drawn = decoder.recentre(parameters, self.head_inputs(parameters, decoder))
        gain, error, factor = max(
            (*self.of_tilts(decoder.bound(held_out * c), decoder.bound(drawn * c)), c)
            for c in factors
        )
        kept = scale_head([p.clone() for p in parameters], factor)
        return Validation(gain, error, kept)

    def on_base(self, base, parameters, decoder):
        """What `__call__` would be if this base density stood in place of that of the draws."""
        tilts = map(decoder.bound, self.head_inputs(parameters, decoder))
        parts = zip((self.z, self.draws), tilts, self._log_q, strict=True)
        return self.of_tilts(*(base.log_density(z) - log_q + f for z, f, log_q in parts))

    def head_inputs(self, parameters, decoder):
        """u of the held-out rows and of the draws of q."""

        def inputs(z, log_q):
            return decoder.head_input(z, parameters, lambda: log_q).double()

        with torch.no_grad():
            parts = zip((self.z, self.draws), self._log_q, strict=True)
            return [by_blocks(inputs, *part) for part in parts]

    def of_tilts(self, held_out, drawn):
        """The gain and its standard error from f at held-out rows and at draws of q."""
        if self._n_copies > 1:
            held_out = held_out.view(-1, self._n_copies) - np.log(self._n_copies)
            held_out = torch.logsumexp(held_out, 1)
        log_sum = torch.logsumexp(drawn, 0)
        effective = torch.exp(2.0 * log_sum - torch.logsumexp(2.0 * drawn, 0))
        rows = held_out - log_sum + np.log(len(drawn))
        mean = float(self.weights @ rows)
        if effective < min(MIN_EFFECTIVE_DRAWS, len(drawn) / 10) or not np.isfinite(mean):
            return -np.inf, 0.0
        return mean, float((self.weights.square() @ (rows - mean).square()).sqrt())
