"""The entropy of a code against a slow oracle, normal draws, and the laws it obeys."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma, psi

from skrae.autoencoders.transformers.terms.entropy import (
    MIN_DISTANCE,
    entropy,
    lacking_entropy_power,
)
from skrae.metrics import knn_entropy
from tests.autoencoders.transformers.random_parts import assert_close, normal
from tests.derivatives import finite_differences

NORMAL = 0.5 * math.log(2.0 * math.pi * math.e)  # of one unit


def slow_entropy(u, k):
    """Kozachenko & Leonenko, row by row."""
    n, d = u.shape
    logs = []
    for i in range(n):
        apart = sorted(math.dist(u[i], u[j]) for j in range(n) if j != i)
        logs.append(math.log(apart[k - 1]))
    volume = math.pi ** (d / 2) / gamma(d / 2 + 1)
    return psi(n) - psi(k) + math.log(volume) + d * np.mean(logs)


def tracked(tensor):
    return tensor.clone().requires_grad_()


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 2), (7, 3), (40, 1), (60, 5)])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_entropy_is_that_of_the_slow_formula(n, d, k, random_seed):
    u = normal(n, d, seed=random_seed)
    expected = slow_entropy(u.numpy(), min(k, n - 1))
    assert float(entropy(u, k)) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("d", "expected", "tolerance"), [(5, 7.03, 0.02), (10, 14.29, 0.03)])
def test_entropy_of_normal_draws(d, expected, tolerance, random_seed):
    """Of 1000 rows each, in the mean: the truth is 7.095 and 14.189, biases that are known."""
    found = [float(entropy(normal(1000, d, seed=100 * random_seed + i))) for i in range(16)]
    error = np.std(found, ddof=1) / 4.0
    assert abs(np.mean(found) - expected) < tolerance + 4.0 * error


def test_entropy_is_that_of_the_metric(random_seed):
    u = normal(200, 3, seed=random_seed)
    assert float(entropy(u)) == pytest.approx(knn_entropy(u.numpy(), whiten=False), rel=1e-9)


@settings(max_examples=20)
@given(log_scale=st.floats(-3.0, 3.0), d=st.integers(1, 6), seed=st.integers(0, 1000))
def test_entropy_moves_with_units_and_not_with_place_or_rotation(log_scale, d, seed):
    u = normal(50, d, seed=seed)
    rotation = torch.linalg.qr(normal(d, d, seed=seed + 1)).Q
    shift = normal(d, seed=seed + 2)
    expected = entropy(u) + d * log_scale
    assert_close(entropy(math.exp(log_scale) * u + shift), expected, 1e-8)
    assert_close(entropy(u @ rotation), entropy(u), 1e-8)


def test_entropy_of_near_codes_is_the_same_in_single_precision(random_seed):
    """Groups of four, whose distances are below the rounding of products of their codes."""
    centres = normal(64, 5, seed=random_seed).repeat(4, 1)
    u = (centres + 1e-4 * normal(256, 5, seed=random_seed + 1)).float()
    assert float(entropy(u)) == pytest.approx(float(entropy(u.double())), abs=0.05)


# --- entropy power --------------------------------------------------------------------------------


def test_what_a_code_lacks_of_the_entropy_power_of_a_normal_one(random_seed):
    h = normal(80, 3, seed=random_seed).exp()
    u = (h - h.mean(0)) / h.std(0, correction=0)
    power = np.exp(2.0 * (slow_entropy(u.numpy(), 3) / 3 - NORMAL))
    assert float(lacking_entropy_power(h)) == pytest.approx(1.0 - float(power), rel=1e-9)


@settings(max_examples=20)
@given(
    log_scales=st.lists(st.floats(-4.0, 12.0), min_size=3, max_size=3),
    seed=st.integers(0, 1000),
)
def test_entropy_power_is_free_of_units_place_and_order(log_scales, seed):
    h = normal(60, 3, seed=seed)
    scales = torch.tensor(log_scales, dtype=torch.float64).exp()
    order = np.random.default_rng(seed).permutation(60)
    columns = [2, 0, 1]
    other = (scales * h + 0.5 * scales)[order][:, columns]
    assert_close(lacking_entropy_power(other), lacking_entropy_power(h), 1e-7)


def test_normal_codes_lack_little_entropy_power_and_others_more(random_seed):
    def mean_lack(make):
        draws = [make(normal(500, 2, seed=100 * random_seed + i)) for i in range(8)]
        found = [float(lacking_entropy_power(h)) for h in draws]
        return np.mean(found), np.std(found, ddof=1) / math.sqrt(8)

    (low, low_error), (high, high_error) = (
        mean_lack(make) for make in (lambda h: h, lambda h: h.sign() + 0.1 * h)
    )
    assert abs(low) < 0.04 + 4.0 * low_error
    assert high - low > 0.5 + 4.0 * (low_error + high_error)


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [entropy, lacking_entropy_power])
@pytest.mark.parametrize(("n", "d"), [(2, 2), (9, 1), (12, 3)])
def test_gradient_is_that_of_differences(function, n, d, random_seed):
    u = tracked(normal(n, d, seed=random_seed))
    (gradient,) = torch.autograd.grad(function(u), u)
    flat = u.detach().reshape(1, -1)
    slow = finite_differences(lambda v: function(v.reshape(n, d))[None], flat, 1e-6)
    assert_close(gradient.flatten(), slow.flatten(), 1e-6)


def test_the_gradient_drives_codes_apart(random_seed):
    u = tracked(normal(30, 2, seed=random_seed))
    (gradient,) = torch.autograd.grad(lacking_entropy_power(u), u)
    before, after = (lacking_entropy_power(v) for v in (u.detach(), u.detach() - 1e-3 * gradient))
    assert after < before


DEGENERATE = {
    "all codes the same": lambda h: h[:1].repeat(20, 1),
    "pairs that coincide": lambda h: h[:5].repeat(4, 1),
    "a constant unit": lambda h: torch.cat([h, torch.ones_like(h[:, :1])], dim=1),
    "two rows": lambda h: h[:2],
    "two rows that coincide": lambda h: h[:1].repeat(2, 1),
    "one row": lambda h: h[:1],
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_codes_lack_all_entropy_power_at_most(name, dtype, random_seed):
    """Their gradient is bounded: the logarithm of MIN_DISTANCE has no steeper slope."""
    h = tracked(DEGENERATE[name](normal(20, 2, seed=random_seed)).to(dtype))
    found = lacking_entropy_power(h)
    (gradient,) = torch.autograd.grad(found, h)
    assert float(found.detach()) <= 1.0
    assert float(gradient.abs().max()) < 2.0 / MIN_DISTANCE
    assert gradient.isfinite().all()


def test_one_row_lacks_nothing_and_feels_nothing():
    h = tracked(torch.tensor([[3.0, -1.0]]))
    found = lacking_entropy_power(h)
    (gradient,) = torch.autograd.grad(found, h)
    assert float(found.detach()) == 0.0
    assert not gradient.any()


def test_codes_that_coincide_feel_no_force_from_each_other():
    h = tracked(torch.zeros(20, 2, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(entropy(h), h)
    assert not gradient.any()
    expected = slow_entropy(np.arange(20.0)[:, None] * [[MIN_DISTANCE, 0.0]], 1)
    assert float(entropy(h.detach(), 1)) == pytest.approx(float(expected))
