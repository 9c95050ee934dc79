"""InfoNCE against a slow oracle and the true information; views, and what their codes lack."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skrae.autoencoders.transformers.terms.information import (
    VIEWS,
    Views,
    cosine_scores,
    info_nce,
)
from tests.autoencoders.transformers.random_parts import assert_close, normal
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator


def slow_info_nce(scores):
    """Entry by entry, from both sides."""
    n = len(scores)
    rows = [scores[i][i] - math.log(sum(math.exp(s) for s in scores[i])) for i in range(n)]
    columns = [
        scores[i][i] - math.log(sum(math.exp(scores[j][i]) for j in range(n))) for i in range(n)
    ]
    return math.log(n) + 0.5 * (sum(rows) + sum(columns)) / n


# --- the bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 9])
def test_info_nce_is_the_slow_formula(n, random_seed):
    scores = 3.0 * normal(n, n, seed=random_seed)
    expected = slow_info_nce(scores.tolist())
    assert float(info_nce(scores)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("rho", "expected", "tolerance"), [(0.5, 0.144, 0.003), (0.9, 0.820, 0.01), (0.999, 3.02, 0.02)]
)
def test_info_nce_by_the_true_log_ratio_of_normal_pairs(rho, expected, tolerance, random_seed):
    """Of 256 pairs: the truth is -log(1 - rho^2) / 2, .144, .830 and 3.11 nats."""
    rest, found = 1.0 - rho**2, []
    for i in range(40):
        a, e = normal(2, 256, seed=100 * random_seed + i)
        b = rho * a + math.sqrt(rest) * e
        u, v = a[:, None], b[None]
        own = 0.5 * (v**2 - (v - rho * u) ** 2 / rest) - 0.5 * math.log(rest)
        found.append(float(info_nce(own)))
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - expected) < tolerance + 4.0 * error
    assert np.mean(found) < -0.5 * math.log(rest) + 4.0 * error


@settings(max_examples=50)
@given(
    st.integers(1, 8).flatmap(lambda n: arrays(float, (n, n), elements=st.floats(-1e3, 1e3))),
)
def test_info_nce_is_never_above_its_ceiling(scores):
    found = float(info_nce(torch.from_numpy(scores)))
    assert found <= math.log(len(scores)) + 1e-12
    assert found == pytest.approx(float(info_nce(torch.from_numpy(scores.T))), abs=1e-9)


def test_equal_scores_tell_nothing_and_sure_ones_all():
    assert float(info_nce(torch.full((16, 16), 7.0))) == pytest.approx(0.0, abs=1e-6)
    assert float(info_nce(100.0 * torch.eye(16))) == pytest.approx(math.log(16))


def test_a_constant_added_to_all_scores_changes_nothing(random_seed):
    scores = normal(9, 9, seed=random_seed)
    assert_close(info_nce(scores + 5.0), info_nce(scores), 1e-10)


def test_cosine_scores_are_cosines_over_the_temperature(random_seed):
    u, v = normal(5, 3, seed=random_seed), normal(5, 3, seed=random_seed + 1)
    found = cosine_scores(u, 10.0 * v, 0.5)
    for i in range(5):
        for j in range(5):
            lengths = math.dist(u[i], [0.0] * 3) * math.dist(v[j], [0.0] * 3)
            assert float(found[i, j]) == pytest.approx(2.0 * float(u[i] @ v[j]) / lengths)


# --- views ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", VIEWS)
def test_views_keep_the_share_that_they_say(kind, keep, random_seed):
    x = normal(400, 50, seed=random_seed) + 5.0
    spread = 5.0 * math.sqrt(keep * (1.0 - keep) / x.numel())
    for view in Views(kind, keep).pair(x, generator(random_seed)):
        kept = view == x
        # An entry that is swapped comes from its own row once in 400 times.
        own = (1.0 - keep) / 400 if kind == "swapped" else 0.0
        assert abs(float(kept.double().mean()) - keep - own) < spread
        others = view[~kept]
        if kind == "masked":
            assert not others.any()
        else:
            assert all(
                np.isin(view[:, j].numpy(), x[:, j].numpy()).all() for j in range(x.shape[1])
            )


@pytest.mark.parametrize("kind", VIEWS)
def test_two_views_keep_entries_independently(kind, random_seed):
    x = normal(400, 50, seed=random_seed) + 5.0
    first, second = (
        (view == x).double() - 0.3 for view in Views(kind, 0.3).pair(x, generator(random_seed))
    )
    spread = 5.0 * 0.3 * 0.7 / math.sqrt(x.numel())
    assert abs(float((first * second).mean())) < spread + 1e-4


@pytest.mark.parametrize("kind", VIEWS)
def test_views_are_those_of_the_generator(kind, random_seed):
    x = normal(20, 4, seed=random_seed)
    views = Views(kind)
    first, again, other = (views.pair(x, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


# --- the term -------------------------------------------------------------------------------------


def missing(x, encode, seed, **options):
    """The term, its views drawn anew from the seed."""
    return Views(**options).missing_information(encode, x, generator(seed))


@settings(max_examples=20)
@given(
    log_scales=st.lists(st.floats(-4.0, 8.0), min_size=3, max_size=3),
    kind=st.sampled_from(sorted(VIEWS)),
    temperature=st.floats(0.05, 2.0),
    seed=st.integers(0, 1000),
)
def test_missing_information_is_free_of_the_units_of_the_code(log_scales, kind, temperature, seed):
    x, weight = normal(30, 6, seed=seed), normal(6, 3, seed=seed + 1)
    scales = torch.tensor(log_scales, dtype=torch.float64).exp()
    find = partial(missing, x, seed=seed, kind=kind, temperature=temperature)
    found = find(lambda rows: rows @ weight)
    assert_close(find(lambda rows: scales * (rows @ weight + 3.0)), found, 1e-6)
    assert 0.0 <= float(found) <= math.log(30) + 2.0 / temperature


def test_missing_information_is_the_slow_formula(random_seed):
    x, weight = normal(8, 5, seed=random_seed), normal(5, 3, seed=random_seed + 1)
    pair = [view.numpy() @ weight.numpy() for view in Views().pair(x, generator(random_seed))]
    codes = np.concatenate(pair)
    u, v = ((h - codes.mean(axis=0)) / codes.std(axis=0) for h in pair)
    lengths = np.linalg.norm(u, axis=1)[:, None] * np.linalg.norm(v, axis=1)
    expected = math.log(8) - slow_info_nce((2.0 * (u @ v.T) / lengths).tolist())
    found = missing(x, lambda rows: rows @ weight, random_seed, temperature=0.5)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_codes_that_say_nothing_miss_everything(random_seed):
    x = normal(30, 6, seed=random_seed)
    found = missing(x, lambda rows: torch.ones_like(rows[:, :3]), random_seed)
    assert float(found) == pytest.approx(math.log(30))
    assert float(missing(x[:1], lambda rows: rows, random_seed)) == pytest.approx(0.0, abs=1e-12)


def test_columns_that_repeat_each_other_miss_less_than_independent_ones(random_seed):
    source, own = normal(200, 2, seed=random_seed), normal(200, 20, seed=random_seed + 1)
    shared = source @ normal(2, 20, seed=random_seed + 2)
    weight = torch.linalg.svd(shared, full_matrices=False).Vh[:2].T
    lacking = [float(missing(x, lambda rows: rows @ weight, random_seed)) for x in (shared, own)]
    assert lacking[0] < 0.9 * lacking[1]


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("k", [2, 3])
def test_gradient_is_that_of_differences(kind, k, random_seed):
    x = normal(9, 4, seed=random_seed)
    weight = normal(4, k, seed=random_seed + 1).requires_grad_()

    def term(flat):
        return missing(x, lambda rows: rows @ flat.reshape(4, k), random_seed, kind=kind)

    (gradient,) = torch.autograd.grad(term(weight), weight)
    slow = finite_differences(lambda w: term(w)[None], weight.detach().reshape(1, -1), 1e-6)
    assert_close(gradient.flatten(), slow.flatten(), 1e-6)
    assert float(gradient.abs().max()) > 1e-4


def test_single_units_have_no_gradient(random_seed):
    """Their cosines are signs: why a code is to have two units at least."""
    x, weight = normal(9, 4, seed=random_seed), normal(4, 1, seed=random_seed + 1).requires_grad_()
    (gradient,) = torch.autograd.grad(missing(x, lambda rows: rows @ weight, random_seed), weight)
    assert float(gradient.abs().max()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_codes_have_a_finite_gradient(dtype, random_seed):
    """A constant unit beside others, codes all the same, and a single row."""
    x = normal(12, 3, seed=random_seed).to(dtype)
    for rows, mask in ((x, [1.0, 1.0, 0.0]), (x, [0.0, 0.0, 0.0]), (x[:1], [1.0, 1.0, 1.0])):
        factor = torch.tensor(mask, dtype=dtype).requires_grad_()
        found = missing(rows, lambda r, f=factor: r * f, random_seed)
        (gradient,) = torch.autograd.grad(found, factor)
        assert gradient.isfinite().all()
        assert 0.0 <= float(found.detach()) <= math.log(12) + 4.0
