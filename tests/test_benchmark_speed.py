"""What the speed benchmark concludes from its records."""

import numpy as np
import pytest
import torch

from tests.benchmarks.contraction_deep import twice
from tests.benchmarks.speed import fit_table, growth
from tests.benchmarks.speed_throughput import Network


def fits(n=1000):
    shorter = [
        {"max_iter": 1, "mean": -6.0, "fit_cpu": 1.0},
        {"max_iter": 30, "mean": -5.5, "fit_cpu": 2.0},
    ]
    own = {"fit_cpu": 4.0, "mean": -5.0, "truth": -4.9, "shorter": shorter}
    flow = {"fit_cpu": 8.0, "mean": -5.6, "truth": -4.9}
    case = {"table": "fit", "n": n, "seed": 0}
    return [{**case, "model": "skrae", **own}, {**case, "model": "flow", **flow}]


def test_time_to_the_flow_is_of_the_cheapest_fit_that_is_as_likely():
    ours, flow = fit_table(fits()).splitlines()[2:]
    assert ours.endswith("| 2.0 (0.25) |")
    assert "| 0.5 |" in ours, "the whole fit in units of the flow's"
    assert flow.endswith("| - |")


def test_a_likelihood_never_reached_has_no_time():
    records = fits()
    records[1]["mean"] = -4.0
    assert fit_table(records).splitlines()[2].endswith("| - |")


def test_growth_is_the_slope_in_logarithms():
    records = [{"model": "gmm", "n": n, "fit_cpu": 3.0 * n**0.7} for n in (10, 100, 1000)]
    assert growth(records) == "Exponent of the fit time in n: gmm 0.70."
    assert growth(records[:1]) == ""


@pytest.mark.parametrize("n", [5, 2000])
def test_the_floor_is_a_network_and_its_gradient(n):
    network, rng = Network(3, torch.float64), np.random.default_rng(0)
    X, step = rng.standard_normal((n, 3)), 1e-5
    gradient = network.log_density_gradient(X)
    for j, shift in enumerate(step * np.eye(3)):
        slope = (network.score_samples(X + shift) - network.score_samples(X - shift)) / (2 * step)
        np.testing.assert_allclose(gradient[:, j], slope, atol=1e-8)


def test_the_estimate_differentiated_twice_is_unbiased(random_seed):
    """For r = z + tau z A^T with K = I: E |(I + tau A)^T v|^2 = |I + tau A|_F^2."""
    generator, tau, n = torch.Generator().manual_seed(random_seed), 0.3, 4000
    slopes = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    where = torch.zeros(n, 3, dtype=torch.float64), eye.expand(n, -1, -1), eye.expand(n, -1, -1)
    values = [float(twice(lambda z: z @ slopes.T, *where, tau, generator)) for _ in range(10)]
    exact = float((eye + tau * slopes).square().sum())
    # |M v|^2 has a standard deviation of at most sqrt 2 |M|_F^2.
    assert abs(np.mean(values) - exact) < 5 * 2**0.5 * exact / (10 * n) ** 0.5
