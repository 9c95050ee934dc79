"""Runs of chains: resumed exactly, thinned, interrupted, counted, and frozen after warm-up."""

import copy
import math

import numpy as np
import pytest
import torch

from skrae.datasets import Banana, LogGamma
from skrae.preprocessing.affine import AffineMap
from skrae.sampling.mcmc import runs
from skrae.sampling.mcmc.density_ratios import PathIntegral, exact, first_order, second_order
from skrae.sampling.mcmc.runs import Checkpoint, Run, concatenate
from skrae.sampling.mcmc.warmup import LOCAL_CYCLE, SamplerSettings, split_cycle, warm_up
from skrae.sampling.start import base_state, start_run
from skrae.sampling.targets import PublicTarget
from tests.mixtures.random_mixtures import generator, random_mixture
from tests.sampling.known_targets import Known, Ungraded, correlated_gaussian

PROPOSALS = ["auto", "random_walk", "langevin", "hamiltonian", "independence"]
TRANSFORM = AffineMap.diagonal(np.array([0.5, -1.0]), np.array([1.0, 5.0]))
N_CHAINS = 6


def target_of(estimator, *, base=True, temperature=1.0):
    return PublicTarget(
        estimator, TRANSFORM, random_mixture(2, 2, 0) if base else None, temperature
    )


def run_of(proposal, seed, estimator=None, **options):
    """A run after a short warm-up, always the same for the same arguments."""
    settings = {"proposal": proposal, "n_warmup": 24, "cycle": 16} | options
    target = target_of(estimator or Known(LogGamma(2)))
    rule = generator(seed)
    state = base_state(target, N_CHAINS, rule)
    return start_run(target, state, SamplerSettings(**settings), rule)


def again(run):
    """Another run from the same checkpoint."""
    return Run(run.target, run.checkpoint)


def assert_same(found, expected):
    """Draws and counts, bitwise."""
    for name, one, other in zip(expected._fields, found, expected, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


# Resumption and thinning


@pytest.mark.parametrize(
    ("proposal", "density_ratio"),
    [*((p, exact) for p in PROPOSALS), ("auto", PathIntegral(3)), ("langevin", PathIntegral(3))],
)
def test_two_runs_in_a_row_are_one_long_run(proposal, density_ratio, random_seed):
    """Cut within a cycle of 16 transitions, at its end and beyond; thinned too."""
    run = run_of(proposal, random_seed, density_ratio=density_ratio)
    for thin, cuts in [(1, (5, 11, 3)), (1, (16, 20)), (3, (2, 1, 5)), (20, (1, 1))]:
        whole, parts = again(run), again(run)
        expected = whole.draw(sum(cuts), thin)
        found = parts.draw(cuts[0], thin)
        for n in cuts[1:]:
            parts = again(parts)
            found = concatenate(found, parts.draw(n, thin))
        assert_same(found, expected)
        assert_same(parts.draw(9), whole.draw(9))


@pytest.mark.parametrize("thin", [2, 3, 16, 17])
@pytest.mark.parametrize("proposal", ["auto", "hamiltonian", "independence"])
def test_thin_keeps_every_thin_th_transition(proposal, thin, random_seed):
    run = run_of(proposal, random_seed)
    every, thinned = again(run).draw(4 * thin), again(run).draw(4, thin)
    np.testing.assert_array_equal(thinned.positions, every.positions[:, thin - 1 :: thin])
    np.testing.assert_array_equal(thinned.log_density, every.log_density[:, thin - 1 :: thin])
    for name in ("n_transitions", "n_accepted", "n_nonfinite"):
        np.testing.assert_array_equal(getattr(thinned, name), getattr(every, name))


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_draws_carry_their_log_density_in_units_of_the_data(proposal, random_seed):
    """That of the untempered density, whatever the temperature."""
    density = LogGamma(2)
    for temperature in (1.0, 4.0):
        target = target_of(Known(density), temperature=temperature)
        rule = generator(random_seed)
        state = base_state(target, N_CHAINS, rule)
        settings = SamplerSettings(proposal, n_warmup=16, cycle=8)
        draws = start_run(target, state, settings, rule).draw(20)
        assert draws.positions.shape == (N_CHAINS, 20, 2)
        flat = density.log_density(draws.positions.reshape(-1, 2))
        np.testing.assert_allclose(draws.log_density.ravel(), flat, atol=1e-12, rtol=1e-12)


def test_draws_have_the_dtype_of_the_target(random_seed):
    run = run_of("auto", random_seed)
    target = copy.copy(run.target)
    target.dtype = np.dtype(np.float32)
    narrow = Run(target, run.checkpoint).draw(20)
    wide = again(run).draw(20)
    assert narrow.positions.dtype == np.float32
    np.testing.assert_array_equal(narrow.positions, wide.positions.astype(np.float32))
    np.testing.assert_array_equal(narrow.log_density, wide.log_density)


@pytest.mark.parametrize("density_ratio", [exact, PathIntegral(3)], ids=["exact", "path"])
@pytest.mark.parametrize("proposal", PROPOSALS[:-1])
def test_state_of_a_run_is_that_of_its_position(proposal, density_ratio, random_seed):
    """Proposals of q leave no gradient of another place behind, to start local moves from."""
    run = run_of(proposal, random_seed, density_ratio=density_ratio)
    for _ in range(3):
        run.draw(16)
        for found, expected in zip(run.state, run.target(run.state.position), strict=True):
            torch.testing.assert_close(found, expected)


def test_local_moves_start_from_where_the_independence_proposals_ended(monkeypatch, random_seed):
    """With the gradient and the responsibilities of that place."""
    run, starts, inner = run_of("auto", random_seed), [], runs.local_step

    def watched(state, target, kernel, generator):
        starts.append(state)
        return inner(state, target, kernel, generator)

    monkeypatch.setattr(runs, "local_step", watched)
    run.draw(200)
    assert len(starts) >= 10
    for state in starts:
        for found, expected in zip(state, run.target(state.position), strict=True):
            torch.testing.assert_close(found, expected)


# Counts


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_acceptances_are_the_moves(proposal, random_seed):
    """A chain that accepted is somewhere else, one that did not is where it was."""
    run = run_of(proposal, random_seed)
    start = TRANSFORM.inverse(run.state.position.numpy())
    draws = run.draw(100)
    path = np.concatenate([start[:, None], draws.positions], axis=1)
    moved = (path[:, 1:] != path[:, :-1]).any(axis=2)
    np.testing.assert_array_equal(draws.n_accepted, moved.sum(axis=1))
    assert draws.n_transitions == 100
    assert 0 < draws.n_accepted.sum() < 100 * N_CHAINS


class Walled(Known):
    """No density where x_1 > 0: -inf there, or NaN beyond x_1 > 1."""

    def score_samples(self, X):
        values = super().score_samples(X)
        return np.where(X[:, 0] > 1, np.nan, np.where(X[:, 0] > 0, -np.inf, values))


@pytest.mark.parametrize("density_ratio", [exact, PathIntegral(3)], ids=["exact", "path"])
@pytest.mark.parametrize("proposal", PROPOSALS)
def test_proposals_without_density_are_counted_and_never_drawn(
    proposal, density_ratio, random_seed, monkeypatch
):
    """The count is that of the rows that the estimator was asked for and refused."""
    run = run_of(proposal, random_seed, Walled(LogGamma(2)), density_ratio=density_ratio)
    refused, inner = [], run.target.estimator.score_samples

    def watched(X):
        values = inner(X)
        refused.append((~np.isfinite(values)).sum())
        return values

    monkeypatch.setattr(run.target.estimator, "score_samples", watched)
    draws = run.draw(96)
    assert (draws.positions[..., 0] <= 0).all()
    assert np.isfinite(draws.log_density).all()
    assert draws.n_nonfinite.sum() == sum(refused)
    assert draws.n_nonfinite.sum() > 5
    assert (draws.n_accepted + draws.n_nonfinite <= 96).all()


@pytest.mark.parametrize("proposal", ["auto", "independence"])
def test_counts_of_parts_add_up(proposal, random_seed):
    run = run_of(proposal, random_seed, Walled(LogGamma(2)))
    whole = again(run).draw(70)
    first, second = run.draw(33), run.draw(37)
    added = second.count_with(first)
    assert added.n_transitions == 70
    np.testing.assert_array_equal(added.n_accepted, whole.n_accepted)
    np.testing.assert_array_equal(added.n_nonfinite, whole.n_nonfinite)
    assert whole.n_nonfinite.sum() > 0
    np.testing.assert_array_equal(added.positions, second.positions)


def test_report_is_told_the_draws_so_far_and_the_rate(random_seed):
    run, seen = run_of("auto", random_seed), []

    def report(positions, rate):
        seen.append((positions.copy(), rate))

    draws = run.draw(40, report=report)
    assert [p.shape[1] for p, _ in seen] == [16, 32, 40]
    for positions, _ in seen:
        np.testing.assert_array_equal(positions, draws.positions[:, : positions.shape[1]])
    assert seen[-1][1] == pytest.approx(draws.n_accepted.mean() / 40)


# Interrupts


class Interrupted(Known):
    """Raises KeyboardInterrupt once, at the call after `n_left` of them."""

    n_calls, n_left = 0, math.inf

    def _count(self):
        self.n_calls += 1
        self.n_left -= 1
        if self.n_left < 0:
            self.n_left = math.inf
            raise KeyboardInterrupt

    def score_samples(self, X):
        self._count()
        return super().score_samples(X)

    def log_density_gradient(self, X):
        self._count()
        return super().log_density_gradient(X)


@pytest.mark.parametrize("thin", [1, 4, 5])
@pytest.mark.parametrize("proposal", PROPOSALS)
def test_interrupt_leaves_finished_draws_and_a_run_that_goes_on(proposal, thin, random_seed):
    """Whatever call it falls on: what was drawn and what follows are the long run."""
    run = run_of(proposal, random_seed, Interrupted(LogGamma(2)))
    estimator, n_draws = run.target.estimator, 64 // thin
    n_before = estimator.n_calls
    expected = again(run).draw(n_draws, thin)
    n_calls, n_finished = estimator.n_calls - n_before, set()
    for share in (0.0, 0.2, 0.5, 0.8):
        broken = again(run)
        estimator.n_left = int(share * n_calls)
        try:
            first = broken.draw(n_draws, thin)
        except KeyboardInterrupt:
            np.testing.assert_array_equal(broken.state.position, run.state.position)
            assert_same(broken.draw(n_draws, thin), expected)
            n_finished.add(0)
            continue
        finally:
            estimator.n_left = math.inf
        n = first.positions.shape[1]
        assert n > 0, "an interrupt before the first draw is raised"
        n_finished.add(n)
        assert first.interrupted
        assert first.n_transitions == n * thin
        np.testing.assert_array_equal(first.positions, expected.positions[:, :n])
        np.testing.assert_array_equal(first.log_density, expected.log_density[:, :n])
        second = again(broken).draw(n_draws - n, thin)
        assert_same(concatenate(first, second), expected)
    assert len(n_finished) >= 3, "not interrupted at different times"


def test_interrupt_of_a_report_ends_the_run_as_well(random_seed):
    run = run_of("langevin", random_seed)
    expected = again(run).draw(64)

    def report(positions, rate):
        if positions.shape[1] == 32:
            raise KeyboardInterrupt

    first = run.draw(64, report=report)
    assert first.interrupted
    assert first.positions.shape[1] == 32
    np.testing.assert_array_equal(run.draw(32).positions, expected.positions[:, 32:])


# Warm-up


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_kernel_is_frozen_while_drawing(proposal, random_seed):
    run = run_of(proposal, random_seed)
    kernel = run.kernel._replace(factors=run.kernel.factors.clone())
    run.draw(100)
    for name, found, expected in zip(kernel._fields, run.kernel, kernel, strict=True):
        same = torch.equal(found, expected) if name == "factors" else found == expected
        assert same, name
    assert isinstance(run.kernel.step_size, float)


def test_checkpoint_is_all_that_the_future_depends_on(random_seed):
    """A checkpoint taken is not changed by the run that goes on from it."""
    run = run_of("auto", random_seed)
    run.draw(5)
    checkpoint = Checkpoint(*run.checkpoint)
    expected = run.draw(30)
    assert_same(Run(run.target, checkpoint).draw(30), expected)
    assert_same(Run(run.target, checkpoint).draw(30), expected)


@pytest.mark.parametrize(("base", "metric"), [(True, "auto"), (True, "dense"), (False, "diagonal")])
@pytest.mark.parametrize("proposal", PROPOSALS[:-1])
def test_no_warmup_works(proposal, base, metric, random_seed):
    target, rule = target_of(Known(LogGamma(2)), base=base), generator(random_seed)
    state = target(0.5 * torch.randn(N_CHAINS, 2, generator=rule, dtype=torch.float64))
    run = start_run(target, state, SamplerSettings(proposal, metric, n_warmup=0), rule)
    assert run.kernel.step_size > 0
    if proposal != "auto":
        torch.testing.assert_close(run.state.position, state.position)
    draws = run.draw(20)
    assert np.isfinite(draws.positions).all()
    assert draws.n_accepted.sum() > 0


def test_no_warmup_of_independence_proposals_works(random_seed):
    run = run_of("independence", random_seed, n_warmup=0)
    assert run.draw(70).n_accepted.sum() > 0
    assert run.kernel.n_local == 0


@pytest.mark.parametrize("n_warmup", [1, 2, 3, 8, 9, 40])
@pytest.mark.parametrize("proposal", PROPOSALS)
def test_any_length_of_warmup_works(proposal, n_warmup, random_seed):
    for base in (True, False)[: 1 if proposal == "independence" else 2]:
        target, rule = target_of(Known(LogGamma(2)), base=base), generator(random_seed)
        state = target(0.5 * torch.randn(N_CHAINS, 2, generator=rule, dtype=torch.float64))
        done = []
        settings = SamplerSettings(proposal, n_warmup=n_warmup, learns=not base)
        _, kernel, state, _ = warm_up(
            target, state, settings, rule, lambda n, trace, done=done: done.append(n)
        )
        assert done == sorted(done)
        # Proposals of q are at least two, and windows of equal length leave out a few transitions.
        assert n_warmup - 4 <= max(done, default=0) <= max(n_warmup + 2, 4)
        assert state.log_density.isfinite().all()
        length = settings.cycle if kernel.n_independent else LOCAL_CYCLE
        assert kernel.n_independent + kernel.n_local == length


@pytest.mark.parametrize("proposal", ["random_walk", "langevin", "hamiltonian", "auto"])
def test_a_step_size_that_was_given_is_kept(proposal, random_seed):
    run = run_of(proposal, random_seed, step_size=0.3)
    assert run.kernel.step_size == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize("metric", ["dense", "diagonal"])
@pytest.mark.parametrize("proposal", ["random_walk", "langevin", "hamiltonian"])
def test_warmup_learns_the_metric_of_a_gaussian(proposal, metric, random_seed):
    """Factors (1, d, d) of the covariance, within what its draws can tell."""
    density, rule = correlated_gaussian(2, condition=25.0), generator(random_seed)
    location = density.means[0]
    target = PublicTarget(Known(density), AffineMap.diagonal(location, np.ones(2)))
    state = target(torch.as_tensor(density.sample(40, random_seed) - location))
    settings = SamplerSettings(proposal, metric, n_warmup=320)
    _, kernel, _, _ = warm_up(target, state, settings, rule)
    (factor,) = kernel.factors
    covariance = density.covariances[0]
    if metric == "diagonal":
        expected = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(factor, np.diag(expected), rtol=0.25)
        return
    inverse = np.linalg.inv(np.linalg.cholesky(covariance))
    eigenvalues = np.linalg.eigvalsh(inverse @ (factor @ factor.T).numpy() @ inverse.T)
    assert 0.6 < eigenvalues[0] <= eigenvalues[1] < 1.6


def test_local_metric_is_that_of_the_base(random_seed):
    run = run_of("auto", random_seed)
    assert torch.equal(run.kernel.factors, run.target.base.factors)
    for proposal in ("random_walk", "langevin", "hamiltonian"):
        assert run_of(proposal, random_seed).kernel.factors.shape == (1, 2, 2)
        local = run_of(proposal, random_seed, metric="local")
        assert torch.equal(local.kernel.factors, local.target.base.factors)


def test_auto_takes_a_random_walk_where_there_is_no_gradient(random_seed):
    assert run_of("auto", random_seed, Ungraded(LogGamma(2))).kernel.local == "random_walk"
    assert run_of("auto", random_seed).kernel.local == "langevin"


def test_the_fewer_proposals_of_q_are_accepted_the_more_moves_are_local():
    moves = [split_cycle(rate, 64, 1)[1] for rate in (0.0, 0.001, 0.05, 0.3, 1.0)]
    assert moves == sorted(moves, reverse=True)
    assert moves[0] == 63, "one proposal of q at least"
    assert moves[-1] == 1
    assert split_cycle(1.0, 64, 8) == (56, 8)


def test_warmup_learns_a_base_where_it_may(random_seed):
    """From its own draws: proposals that are accepted, on a target that keeps density and map."""
    density = Banana(scale=1.0, bend=0.3)
    target, rule = target_of(Known(density), base=False), generator(random_seed)
    state = target(torch.as_tensor(TRANSFORM.forward(density.sample(20, random_seed))))
    settings = SamplerSettings("auto", n_warmup=160, learns=True)
    learned, kernel, _, _ = warm_up(target, state, settings, rule)
    assert target.base is None
    assert learned.base.n_features == 2
    assert (learned.estimator, learned.transform) == (target.estimator, target.transform)
    assert kernel.n_independent > kernel.n_local
    same = warm_up(target, state, settings._replace(learns=False), generator(random_seed))
    assert same[0] is target
    assert same[1].n_independent == 0


def test_base_state_starts_where_there_is_density(random_seed):
    target = target_of(Walled(LogGamma(2)))
    state = base_state(target, 50, generator(random_seed))
    assert len(state.position) == 50
    assert state.log_density.isfinite().all()


def test_base_state_without_density_is_refused(random_seed):
    class Nowhere(Known):
        def score_samples(self, X):
            return np.full(len(X), -np.inf)

    with pytest.raises(
        ValueError,
        match=r"a finite log density at 0 of 400 draws of the base density, expected at least 50",
    ):
        base_state(target_of(Nowhere(LogGamma(2))), 50, generator(random_seed))


@pytest.mark.parametrize("density_ratio", [first_order, second_order])
def test_biased_ratios_take_the_step_that_the_exact_one_tunes(density_ratio, random_seed):
    """Acceptance by an expansion does not fall with the step, so its own tuning would run away."""
    kernel = run_of("langevin", random_seed, density_ratio=density_ratio).kernel
    reference = run_of("langevin", random_seed, density_ratio=exact).kernel
    assert kernel.step_size == reference.step_size
    assert kernel.density_ratio is density_ratio
