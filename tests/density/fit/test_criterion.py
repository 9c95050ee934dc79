"""The criterion at one noise level, the held-out gain, and where training them leads."""

import math

import numpy as np
import pytest
import torch

from skrae.autoencoders.batches import Rows
from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.autoencoders.layers import initial_parameters, scale_head, value
from skrae.autoencoders.objectives import EXACT_CONTRACTION_FEATURES, contraction_penalty
from skrae.autoencoders.training import Training, TrainingOptions, Validation
from skrae.density.fit.annealing import LevelTrainer, Schedule, anneal
from skrae.density.fit.criterion import (
    HEAD_FACTORS,
    STEPS_AHEAD,
    Corruption,
    HeldOutGain,
    TermWeights,
)
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.growth import nearest
from skrae.mixtures.growth.nearest import MIN_COMPONENTS, Likely, likely_components
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import WIDE
from skrae.preprocessing.rows import WeightedRows
from tests.autoencoders.random_networks import random_parameters
from tests.density.random_fields import twice_differentiable
from tests.mixtures.random_mixtures import generator, random_mixture, with_levels

OPTIONS = TrainingOptions(learning_rate=3e-3, averaging=0.98, check_every=10, patience=1000)
SILU = GradientDecoder("silu", 1.0, None)


def weighted(z, weights=None):
    weights = torch.ones(len(z), dtype=torch.float64) if weights is None else weights
    return WeightedRows(z, weights)


def make_trainer(
    d,
    seed,
    kind="local",
    n=300,
    gain=None,
    contraction=0.0,
    calibration=1.0,
    batch_size=128,
    parameters=None,
    rows=None,
    **changes,
):
    """A trainer on rows that its base, a mixture of another seed, does not fit."""
    rule, base = generator(seed), random_mixture(d, 3, seed)
    z, held_out = (random_mixture(d, 2, seed + 1).sample(m, rule) for m in (n, 200))
    gain = gain or HeldOutGain(weighted(held_out), base, 1000, rule)
    initial = initial_parameters(d, (8, 8), rule)
    return LevelTrainer(
        training=Training(parameters or initial, OPTIONS._replace(**changes)),
        rows=Rows(rows or weighted(z), batch_size, rule),
        base=base,
        metric=NoiseMetric(base, kind),
        held_out_gain=gain,
        weights=TermWeights(contraction, calibration),
        decoder_name="gradient",
        activation="silu",
    )


class ScriptedGain:
    """Gains from a list, one a validation, and the parameters that were validated."""

    def __init__(self, gains):
        self.gains, self.seen = list(gains), []

    def validation(self, parameters, decoder, factors=HEAD_FACTORS):
        self.seen.append([p.clone() for p in parameters])
        factor = 0.5 if len(factors) > 1 else 1.0
        kept = scale_head(self.seen[-1], factor)
        return Validation(self.gains[len(self.seen) - 1], 0.25, kept)


# The held-out gain


def brute_force_gain(z, weights, draws, parameters):
    f = value(z.float(), parameters, "silu").double().numpy()
    over_draws = value(draws, parameters, "silu").double().numpy()
    rows = f - math.log(np.mean(np.exp(over_draws)))
    share = weights / weights.sum()
    mean = np.sum(share * rows)
    return mean, math.sqrt(np.sum(share**2 * (rows - mean) ** 2))


def test_gain_is_mean_log_tilt_less_log_mean_exp_over_draws(random_seed):
    base, rule = random_mixture(2, 2, random_seed), generator(random_seed)
    z = base.sample(80, rule)
    weights = torch.rand(80, generator=rule, dtype=torch.float64)
    held_out = HeldOutGain(weighted(z, weights), base, 2000, rule)
    parameters = random_parameters(2, (6,), random_seed, dtype=torch.float32)
    expected = brute_force_gain(z, weights.numpy(), held_out.draws, parameters)
    assert held_out(parameters, SILU) == pytest.approx(expected, rel=1e-4)  # a float32 network
    assert abs(expected[0]) > 1e-3


def test_weights_of_held_out_rows_are_repetitions(random_seed):
    base, rule = random_mixture(2, 2, random_seed), generator(random_seed)
    z, counts = base.sample(20, rule), torch.arange(20) % 3 + 1
    parameters = random_parameters(2, (6,), random_seed, dtype=torch.float32)
    repeated = z.repeat_interleave(counts, dim=0)
    both = weighted(z, counts.double()), weighted(repeated)
    gains = [HeldOutGain(r, base, 500, generator(1))(parameters, SILU)[0] for r in both]
    assert gains[0] == pytest.approx(gains[1], abs=1e-6)  # the network is in float32


def test_shrinking_takes_the_best_factor(random_seed):
    base, rule = random_mixture(2, 2, random_seed), generator(random_seed)
    held_out = HeldOutGain(weighted(base.sample(80, rule)), base, 2000, rule)
    parameters = random_parameters(2, (6,), random_seed, dtype=torch.float32)
    each = [(*held_out(scale_head(parameters, c), SILU), c) for c in HEAD_FACTORS]
    gain, error, factor = max(each)
    found = held_out.validation(parameters, SILU)
    assert (found.value, found.standard_error) == pytest.approx((gain, error), rel=1e-5)
    for own, expected in zip(found.parameters, scale_head(parameters, factor), strict=True):
        assert torch.equal(own, expected)
    assert len({gain for gain, _, _ in each}) == len(HEAD_FACTORS)


def test_gain_of_the_zero_head_is_zero(random_seed):
    base, rule = random_mixture(2, 2, random_seed), generator(random_seed)
    for n_draws in (1000, 1024, 3001):
        held_out = HeldOutGain(weighted(base.sample(30, rule)), base, n_draws, rule)
        gain, error = held_out(initial_parameters(2, (6,), rule), SILU)
        assert (gain, error) == pytest.approx((0.0, 0.0), abs=1e-14)


def test_gain_does_not_depend_on_the_constant_of_the_head(random_seed):
    base, rule = random_mixture(1, 2, random_seed), generator(random_seed)
    held_out = HeldOutGain(weighted(base.sample(30, rule)), base, 1000, rule)
    parameters = initial_parameters(1, (6,), rule)
    parameters[-1] = parameters[-1] + 2.0
    assert held_out(parameters, SILU)[0] == pytest.approx(0.0, abs=1e-6)


def test_gain_on_few_effective_draws_is_minus_infinity(random_seed):
    """A head that lives on a thousandth of the draws cannot be normalised by them."""
    base, rule = random_mixture(1, 1, random_seed), generator(random_seed)
    held_out = HeldOutGain(weighted(base.sample(30, rule)), base, 4000, rule)
    edge = float(held_out.draws.quantile(0.999))
    parameters = [torch.full((1, 1), 200.0), torch.full((1,), -200.0 * edge)]
    parameters = [*parameters, torch.full((1, 1), 20.0), torch.zeros(1)]
    assert held_out(parameters, GradientDecoder("tanh", 1.0, None)) == (-np.inf, 0.0)
    parameters[1] = torch.full((1,), -200.0 * float(held_out.draws.median()))
    assert np.isfinite(held_out(parameters, GradientDecoder("tanh", 1.0, None))[0])


# Levels


def trained(seed, levels=(0.4, 0.2), steps=30, kind="local", **changes):
    trainer = make_trainer(2, seed, kind, **changes)
    for level in levels:
        trainer.start_level(level)
        trainer.run(steps)
    return trainer.training


@pytest.mark.parametrize("lam", [0.0, 0.05])
def test_training_follows_its_generator(lam):
    first, second, other = (trained(seed, contraction=lam) for seed in (3, 3, 4))
    assert first.loss_curve == second.loss_curve
    assert first.validation_curve == second.validation_curve
    for a, b in zip(first.average, second.average, strict=True):
        assert torch.equal(a, b)
    assert first.loss_curve != other.loss_curve


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    trained(3, contraction=0.05)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_leaves_the_parameters_it_was_given_alone(random_seed):
    given = random_parameters(2, (4,), random_seed, dtype=torch.float32)
    before = [p.clone() for p in given]
    training = trained(random_seed, levels=(0.3,), steps=10, parameters=given)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(training.average, before, strict=True))


def test_a_new_level_forgets_the_best_of_the_last(random_seed):
    gain = ScriptedGain([0.4, 0.1])
    best = trained(random_seed, levels=(0.3, 0.2), steps=10, gain=gain).best
    assert best.value == 0.1
    assert torch.equal(best.parameters[0], gain.seen[1][0])


def test_the_criterion_of_the_paper_is_minimised_to_the_end(random_seed):
    """Without calibration neither patience nor the best held-out gain decides: the last average."""
    gain = ScriptedGain([0.4, 0.3, 0.2, 0.1])
    changes = {"patience": 1, "calibration": 0.0}
    training = trained(random_seed, levels=(0.3,), steps=40, gain=gain, **changes)
    assert training.n_steps == 40
    assert training.best.value == 0.1
    for own, last in zip(training.best.parameters, training.average, strict=True):
        assert torch.equal(own, last)


def test_interruption_keeps_the_best(random_seed):
    """A KeyboardInterrupt in the third check: the outcome is the best of the first three."""

    def interrupt(trainer):
        if len(trainer.training.validation_curve) == 3:
            raise KeyboardInterrupt

    def outcome_of(gain):
        trainer = make_trainer(2, random_seed, gain=gain)
        return anneal(trainer, Schedule([0.4, 0.2], 2), 100, interrupt)

    gain = ScriptedGain([0.1, 0.4, 0.3])
    outcome = outcome_of(gain)
    assert outcome.interrupted
    # The scripted standard error, 0.25, exceeds the gain: the base stays, with this encoder.
    assert outcome.gains == (0.4,)
    for own, expected in zip(outcome.parameters[:-2], gain.seen[1][:-2], strict=True):
        assert torch.equal(own, expected)
    gain = ScriptedGain([1.1, 1.4, 1.3])
    outcome = outcome_of(gain)
    assert outcome.gain == 1.4
    for own, expected in zip(outcome.parameters, scale_head(gain.seen[1], 0.5), strict=True):
        assert torch.equal(own, expected)


def test_batches_draw_rows_by_their_weights(random_seed):
    """Frequencies within 5 standard errors; a row of weight zero never."""
    weights = torch.tensor([1.0, 0.0, 2.0, 5.0], dtype=torch.float64)
    z = torch.tensor([[0.1], [0.2], [0.3], [0.4]], dtype=torch.float64)
    rows = Rows(weighted(z, weights), 20_000, generator(random_seed))
    counts = (rows.draw(20_000) == rows.z.T).sum(0).double()
    share = weights / weights.sum()
    error = (share * (1 - share) / 20_000).sqrt()
    assert ((counts / 20_000 - share).abs() <= 5 * error).all()


def test_components_are_drawn_by_the_responsibilities(random_seed):
    """Over many equal rows, within 5 standard errors."""
    rows = weighted(torch.full((5000, 1), 0.3, dtype=torch.float64))
    trainer = make_trainer(1, random_seed, rows=rows)
    trainer.start_level(0.3)
    components = trainer.criterion.corruption.components
    share = trainer.base.responsibilities(trainer.rows.z[:1])[0]
    n = components.numel()
    found = torch.bincount(components.flatten(), minlength=3) / n
    assert ((found - share).abs() <= 5 * (share * (1 - share) / n).sqrt()).all()


# Batches


@pytest.mark.parametrize("kind", ["local", "isotropic"])
@pytest.mark.parametrize("d", [2, WIDE + 1])
def test_batches_are_rows_with_noise_of_their_components(d, kind, random_seed):
    """Opposite noise sigma K eps whose whitened K^-T eps is kept; many columns are made ahead."""
    sigma = 0.3
    trainer = make_trainer(d, random_seed, kind, batch_size=8)
    trainer.start_level(sigma)
    corruption, base, metric = trainer.criterion.corruption, trainer.base, trainer.metric
    batches = [corruption.batch() for _ in range(STEPS_AHEAD + 1)]
    assert len({float(batch.z[0, 0]) for batch in batches}) > STEPS_AHEAD // 2
    for batch in batches:
        up, down = (batch.corrupted - batch.z.repeat(2, 1)).chunk(2)
        torch.testing.assert_close(up, -down, atol=1e-5, rtol=1e-3)
        covariances = metric.covariances[batch.components].float()
        noise = sigma * torch.einsum("nij,nj->ni", covariances, batch.whitened.chunk(2)[0])
        torch.testing.assert_close(noise, up, atol=1e-4, rtol=1e-3)
        log_q, gradient, _ = base.evaluate(batch.corrupted)
        torch.testing.assert_close(batch.log_q, log_q)
        torch.testing.assert_close(batch.base_gradient, gradient)
        assert batch.drawn.shape == batch.weights.shape == (16,)
        assert batch.draws.shape == (8, d)


@pytest.mark.parametrize("d", [2, WIDE + 1])
def test_processes_have_the_parts_of_one_batch(d, random_seed):
    """The rows, noise and draws of a slice of each batch, whoever makes them."""
    parts = []
    for own in (None, slice(2, 5)):
        trainer = make_trainer(d, random_seed, batch_size=8)
        about = trainer.rows, trainer.base, trainer.metric
        corruption = Corruption(*about, 0.3, draws=True, own=own)
        parts.append([corruption.batch() for _ in range(STEPS_AHEAD + 1)])
    for whole, part in zip(*parts, strict=True):
        for name in ("z", "components", "draws"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[2:5])
        for name in ("corrupted", "log_q", "drawn", "weights"):
            expected = torch.cat([half[2:5] for half in getattr(whole, name).chunk(2)])
            torch.testing.assert_close(getattr(part, name), expected)


def test_batches_are_of_the_likely_components_of_each_row(random_seed):
    """Noise, gradients and the metric are of its components; each row has others."""
    rule, base = generator(random_seed), random_mixture(WIDE + 1, 5, random_seed)
    rows = weighted(base.sample(100, rule))
    components = torch.rand(100, 5, generator=rule).argsort(1)[:, :3]
    shares = base.responsibilities(rows.z).gather(1, components)
    likely = Likely(components.int(), shares.float())
    about = Rows(rows, 8, rule), base, NoiseMetric(base, "local"), 0.3
    corruption = Corruption(*about, draws=True, likely=likely)
    places = {tuple(z.tolist()): i for i, z in enumerate(rows.z.float())}
    for _ in range(STEPS_AHEAD + 1):
        batch = corruption.batch()
        own = components[[places[tuple(z.tolist())] for z in batch.z]]
        assert (own == batch.components[:, None]).any(1).all()
        assert (own.repeat(2, 1) == batch.drawn[:, None]).any(1).all()
        log_q, gradient, _ = base.evaluate_few(batch.corrupted, own.repeat(2, 1))
        torch.testing.assert_close(batch.log_q, log_q)
        torch.testing.assert_close(batch.base_gradient, gradient)


def test_few_numbers_beside_many_categories_ask_all_components(monkeypatch, random_seed):
    """Rows of 62 entries of which two are numbers: the products are those of few columns."""
    monkeypatch.setattr(nearest, "MIN_ROWS_OF_FEW", 50)
    base = with_levels(random_mixture(2, MIN_COMPONENTS, random_seed), (30, 30), random_seed)
    rows = base.sample(50, generator(random_seed))
    assert rows.shape[1] > WIDE
    assert likely_components(base, rows) is None
    own = Rows(weighted(rows), 8, generator(random_seed))
    batch = Corruption(own, base, NoiseMetric(base, "local"), 0.3, draws=True).batch()
    assert torch.isfinite(batch.base_gradient).all()


# The criterion


@pytest.mark.parametrize("kind", ["local", "isotropic"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_contraction_is_exact_for_few_features_and_estimated_beyond(beyond, kind, random_seed):
    d = EXACT_CONTRACTION_FEATURES + beyond
    trainer = make_trainer(d, random_seed, kind, contraction=0.1)
    trainer.start_level(0.3)
    criterion, parameters = trainer.criterion, trainer.training.parameters
    z, k = criterion.corruption.batch()[:2]
    z, k = z[:1].expand(200, -1), k[:1].expand(200)
    values = torch.stack([criterion._contraction(parameters, z, k).detach() for _ in range(30)])
    field = ScoreField(trainer.base, trainer.decoder, parameters, trainer.metric)
    exact = contraction_penalty(
        twice_differentiable(field),
        z[:1].double(),
        trainer.metric.factors[k[:1]],
        torch.linalg.inv(trainer.metric.factors[k[:1]]),
        field.tau,
    ).detach()
    if beyond:
        error = values.std() / math.sqrt(30)
        assert error > 0
        assert abs(values.mean() - exact) < 5 * error
    else:
        torch.testing.assert_close(values, exact.float().expand(30), rtol=1e-5, atol=0)


def test_no_noise_trains_on_the_rows_themselves(random_seed):
    """sigma = 0: the loss is lambda E|K^T psi|^2 w + E|K^-1 J K|^2, plus calibration."""
    trainer = make_trainer(1, random_seed, "isotropic", contraction=0.2, calibration=0.0)
    trainer.start_level(0.0)
    batch = trainer.criterion.corruption.batch()
    loss = trainer.criterion.of_batch(trainer.training.parameters, batch).item()
    z, (_, psi, _) = batch.z, trainer.base.evaluate(batch.z)  # the head is zero
    wide = z.double().requires_grad_()
    slope = torch.autograd.grad(trainer.base.evaluate(wide)[1].sum(), wide)[0]
    expected = 0.2 * psi.square().mean() + (1 + 0.2 * slope).square().mean()
    assert loss == pytest.approx(expected.item(), rel=1e-5)


class BaseWithoutDraws:
    """A base density that refuses to be sampled."""

    def __init__(self, base):
        self.evaluate, self.mean, self.means = base.evaluate, base.mean, base.means
        self.n_numeric = base.n_numeric
        self.log_density = base.log_density

    def sample(self, n, generator):
        raise AssertionError("the base was sampled")


def test_calibration_of_weight_zero_leaves_the_criterion_of_the_paper(random_seed):
    """The same rows and noise: the losses differ by the weight times E softplus at f = 0."""
    losses = []
    for weight in (0.0, 2.5):
        trainer = make_trainer(2, random_seed, "isotropic", calibration=weight)
        if weight == 0.0:
            trainer.base = BaseWithoutDraws(trainer.base)
        trainer.start_level(0.5)
        losses.append(trainer.criterion.loss(trainer.training.parameters).item())
    assert losses[1] - losses[0] == pytest.approx(2.5 * 2 * math.log(2), rel=1e-4)


@pytest.mark.parametrize("kind", ["local", "isotropic"])
def test_loss_of_the_base_equals_quadrature(kind, random_seed):
    """E C(z~) (sigma t + tau psi)^2 / tau over rows, their components and the noise (1-D).

    Within 5 standard errors of the batches.
    """
    sigma, tau = 0.4, 0.4**2
    points = torch.tensor([-1.5, -0.2, 0.4, 1.1], dtype=torch.float64)[:, None]
    rows = weighted(points.repeat(1000, 1))
    trainer = make_trainer(1, random_seed, kind, batch_size=2000, calibration=0.0, rows=rows)
    trainer.start_level(sigma)
    parameters = trainer.training.parameters
    losses = [trainer.criterion.loss(parameters).detach() for _ in range(60)]
    losses = torch.stack(losses).double()
    eps = torch.linspace(-8, 8, 1601, dtype=torch.float64)[:, None]
    share = torch.softmax(-0.5 * eps[:, 0] ** 2, 0)
    expected, metric = 0.0, trainer.metric
    for z in points:
        for r, width in zip(
            metric.responsibilities(z[None])[0], metric.factors.flatten(), strict=True
        ):
            corrupted = z + sigma * width * eps
            error = sigma * eps / width + tau * trainer.base.evaluate(corrupted)[1]
            covariance = metric.covariance(metric.responsibilities(corrupted))[:, :, 0]
            expected += r / len(points) * (share @ (covariance * error**2)).sum() / tau
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(60)
    assert losses.std() / math.sqrt(60) < 0.05 * expected


def relative_fisher_divergence(field, smoothed, z):
    """E_{p_sigma} |psi - grad log p_sigma|^2 / E_{p_sigma} |grad log p_sigma|^2 by quadrature."""
    log_p, score, _ = smoothed.evaluate(z)
    psi = field.evaluate(z)[1]
    share = log_p.exp()
    return float((share @ (psi - score) ** 2).sum() / (share @ score**2).sum())


def test_training_approaches_the_score_of_a_known_mixture():
    """Isotropic noise on N(-1, 0.3^2)/3 + 2 N(1, 0.5^2)/3: p_sigma has variances plus sigma^2.

    The base is one Gaussian. With n rows the best any method can do is about (parameters) / n.
    """
    sigma, widths, n = 0.3, np.array([0.3, 0.5]), 20_000
    weights, means = [1 / 3, 2 / 3], np.array([[-1.0], [1.0]])
    density = MixtureDensity(weights, means, widths[:, None, None], [np.inf] * 2)
    inflated = np.sqrt(widths**2 + sigma**2)[:, None, None]
    smoothed = MixtureDensity(weights, means, inflated, [np.inf] * 2)
    base = MixtureDensity([1.0], [[0.3]], [[[1.2]]], [np.inf])
    rule = generator(0)
    z, held_out = density.sample(n, rule), density.sample(1000, rule)
    gain = HeldOutGain(weighted(held_out), base, 4000, rule)
    initial = initial_parameters(1, (32, 32), rule)
    trainer = LevelTrainer(
        training=Training(initial, OPTIONS._replace(check_every=50)),
        rows=Rows(weighted(z), 512, rule),
        base=base,
        metric=NoiseMetric(base, "isotropic"),
        held_out_gain=gain,
        weights=TermWeights(0.0, 1.0),
        decoder_name="gradient",
        activation="silu",
    )
    grid = torch.linspace(-5, 5, 2001, dtype=torch.float64)[:, None]

    def divergence(parameters):
        field = ScoreField(
            base, GradientDecoder("silu", sigma**2, None), parameters, trainer.metric
        )
        with torch.no_grad():
            return relative_fisher_divergence(field, smoothed, grid)

    before = divergence(trainer.training.average)
    trainer.start_level(sigma)
    trainer.run(400)
    after = divergence(trainer.training.average)
    assert before > 0.5
    assert after < 0.02
    assert trainer.training.best.value > 0.1
    # Calibration gives the constant too: log p_sigma itself, on average over p_sigma.
    f = value(grid.float(), trainer.training.average, "silu").double().detach()
    error = base.log_density(grid) + f - smoothed.log_density(grid)
    share = torch.softmax(smoothed.log_density(grid), 0)
    assert abs(float(share @ error)) < 0.05
    assert float(share @ error**2) < 0.01
