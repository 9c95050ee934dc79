"""The score benchmark and its two peers: losses against finite differences, minima, tables."""

import doctest

import numpy as np
import pytest

from tests.benchmarks import kernel_family, score, score_peers
from tests.benchmarks.models import Fit
from tests.benchmarks.peers import standardising, whitening
from tests.benchmarks.records import Seconds

WEIGHTS = np.array([1.0, 2.0, 0.5])
STEP = 1e-5


@pytest.fixture
def rows(random_seed):
    return np.random.default_rng(random_seed).standard_normal((60, 3)) * [1.0, 0.5, 2.0]


@pytest.fixture
def family(rows):
    return score_peers._family(rows, 1.3, 20, seed=0)


def score_matching_loss(gradient, Z):
    """J by central differences of the score."""
    total = 0.5 * gradient(Z) ** 2 @ WEIGHTS
    for j, weight in enumerate(WEIGHTS):
        shift = STEP * (np.arange(3) == j)
        total += weight * (gradient(Z + shift) - gradient(Z - shift))[:, j] / (2 * STEP)
    return total.mean()


@pytest.mark.parametrize("module", [score, score_peers])
def test_examples_in_docstrings(module, monkeypatch):
    monkeypatch.setattr(score_peers, "BANDWIDTHS", (1.0, 2.0))
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("base", kernel_family.BASES)
def test_loss_of_a_kernel_family_is_that_of_its_gradient(rows, family, base):
    alpha = np.random.default_rng(1).standard_normal(20)
    expected = score_matching_loss(family.with_coefficients(alpha, base).gradient, rows)
    assert family.statistics(rows, WEIGHTS).loss(alpha, base) == pytest.approx(expected, rel=1e-6)


def test_solution_minimises_the_penalised_loss(rows, family):
    statistics, penalty = family.statistics(rows, WEIGHTS), 0.01
    size = np.trace(statistics.gram) / 20
    ridge = penalty * size * family.kernel(family.centres) + kernel_family.JITTER * size * np.eye(
        20
    )

    def criterion(alpha, base):
        return statistics.loss(alpha, base) + 0.5 * alpha @ ridge @ alpha

    directions = np.random.default_rng(1).standard_normal((10, 20))
    for base, alpha in family.solved(statistics, penalty).items():
        least = criterion(alpha, base)
        step = 0.01 * np.linalg.norm(alpha)
        assert all(criterion(alpha + step * d, base) > least for d in directions)


def test_statistics_of_folds_are_those_of_their_union(rows, family):
    folds = np.split(rows, kernel_family.FOLDS)
    parts = [family.statistics(fold, WEIGHTS) for fold in folds]
    whole = kernel_family.mean_statistics(parts)
    rest = kernel_family.without(whole, parts[0])
    for found, expected in ((whole, rows), (rest, np.vstack(folds[1:]))):
        direct = family.statistics(expected, WEIGHTS)
        np.testing.assert_allclose(found.gram, direct.gram, atol=1e-10)
        for base in kernel_family.BASES:
            np.testing.assert_allclose(found.linear[base], direct.linear[base], atol=1e-10)
    assert whole.constant == pytest.approx(family.statistics(rows, WEIGHTS).constant)


def test_loss_of_the_network_is_that_of_its_gradient(rows):
    # In float64, as a difference of float32 scores has few digits.
    network = score_peers.DenoisingNetwork(3)
    network.average.double()

    def gradient(Z):
        return network.average(score_peers.torch.as_tensor(Z)).detach().numpy()

    expected = score_matching_loss(gradient, rows)
    network.average.float()
    assert network.loss(rows, WEIGHTS) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_network_denoises_a_gaussian(monkeypatch, random_seed):
    monkeypatch.setattr(score_peers, "STEPS", 600)
    monkeypatch.setattr(score_peers, "HIDDEN", (32,))
    torch, sigma = score_peers.torch, 0.5
    rows = torch.randn(5000, 2, generator=torch.Generator().manual_seed(random_seed))
    network = score_peers.DenoisingNetwork(2)
    network.train(rows, sigma, torch.Generator().manual_seed(random_seed + 1))
    Z = rows[:1000].double().numpy()
    # N(0, I) blurred by the noise has the score -z / (1 + sigma^2).
    assert score.relative_divergence(network.gradient(Z), -Z / (1 + sigma**2)) < 0.02


@pytest.mark.parametrize("scaling_of", [standardising, whitening])
def test_units_weigh_the_coordinates_of_the_score(rows, scaling_of):
    scaling = scaling_of(rows @ np.array([[1.0, 0.3, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]))
    slope = np.arange(3.0) - 0.7
    squared = ((slope @ scaling.matrix.T) ** 2).sum()
    assert squared == pytest.approx(slope**2 @ score_peers.unit_weights(scaling))


class Truth:
    """The density itself, with a constant off by 0.1 nat."""

    def __init__(self, density):
        self.log_density_gradient = density.gradient
        self.score_samples = lambda X: density.log_density(X) - 0.1


@pytest.mark.parametrize("name", score.DENSITIES)
def test_truth_has_no_divergence_and_its_own_gap(monkeypatch, name):
    monkeypatch.setattr(score, "TEST_ROWS", 50)
    truth = Truth(score.density_of(name))
    seconds = Seconds(0.0, 0.0)
    monkeypatch.setattr(score, "fit_model", lambda *args: Fit(truth, seconds, seconds))
    record = score.measure({"set": name, "n": 20, "seed": 0, "model": "skrae"})
    assert record["fisher"] == 0.0
    assert record["gap"] == pytest.approx(0.1)


def test_flow_is_fitted_to_the_first_seed_only():
    options = score.argument_parser("score", "", score.MODELS).parse_args(["--seeds", "0", "1"])
    options.sets, options.sizes = ["ring"], None
    seeds = {case["model"]: set() for case in score.cases(options)}
    for case in score.cases(options):
        seeds[case["model"]].add(case["seed"])
    assert seeds.pop("flow") == {0}
    assert set(seeds) == set(score.MODELS) - {"flow"}
    assert all(found == {0, 1} for found in seeds.values())


def test_table_shows_means_over_seeds_and_the_lowest_in_bold():
    records = [
        {"set": "ring", "n": 9, "seed": seed, "model": model, "fisher": value}
        for model, values in {"skrae": (0.1, 0.3), "kde": (0.1, 0.1)}.items()
        for seed, value in enumerate(values)
    ]
    lines = score.model_table(records, "fisher", 2).splitlines()
    assert lines[0] == "| density | n | skrae | kde |"
    assert lines[2] == "| ring | 9 | 0.20 | **0.10** |"


def test_bandwidth_that_reaches_no_other_row_is_never_chosen(monkeypatch, random_seed):
    monkeypatch.setattr(score_peers, "BANDWIDTHS", (1e-3, 1.0))
    X = np.random.default_rng(random_seed).standard_normal((100, 4))
    fit = score_peers.fit_score_peer("kef", X[:90], X[90:], seed=0)
    assert fit.details["bandwidth"] == 1.0
