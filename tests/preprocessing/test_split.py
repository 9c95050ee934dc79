"""The held-out split: a partition of the rows, near-duplicates on one side."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from skrae.preprocessing import split
from skrae.preprocessing.split import (
    ATOM_SHARE,
    MAX_GROUP,
    near_duplicate_groups,
    nearest_neighbours,
    split_folds,
    split_rows,
)


def rows(n, d, seed):
    return np.random.default_rng(seed).standard_normal((n, d))


def rng(seed):
    return np.random.RandomState(seed)


def with_near_duplicates(n, d, seed, n_doubled, jitter=1e-6):
    """Rows, some of them a second time with a jitter; also the pairs, and all in random order."""
    z = rows(n, d, seed)
    noise = jitter * np.random.default_rng(seed + 1).standard_normal((n_doubled, d))
    doubled = np.concatenate([z, z[:n_doubled] + noise])
    order = np.random.default_rng(seed + 2).permutation(n + n_doubled)
    place = np.argsort(order)
    return doubled[order], place[:n_doubled], place[n:]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("n", [10, 29, 31, 200, 1000])
def test_parts_partition_the_rows(n, fraction, random_seed):
    train, held_out = split_rows(rows(n, 2, random_seed), fraction, rng(random_seed))
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(n))
    expected = max(round(fraction * n), min(30, n // 4))
    # A group of chance neighbours at the edge is held out whole.
    assert expected <= len(held_out) < expected + max(MAX_GROUP, ATOM_SHARE * n)


def test_two_thirds_at_most_are_held_out(random_seed):
    train, held_out = split_rows(rows(90, 2, random_seed), 0.95, rng(random_seed))
    assert len(train) + len(held_out) == 90
    assert 60 <= len(held_out) < 60 + MAX_GROUP


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_rows_are_all_trained_and_all_held_out(n, random_seed):
    for part in split_rows(rows(n, 2, random_seed), 0.1, rng(random_seed)):
        assert np.array_equal(part, np.arange(n))


def test_split_follows_its_random_state(random_seed):
    z = rows(200, 3, random_seed)
    first, second, other = (split_rows(z, 0.1, rng(seed))[1] for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_every_row_is_held_out_as_often_as_any_other():
    """Twenty rows, ten of them near-duplicates: held out in a third of the splits, to 5 errors."""
    z, *_ = with_near_duplicates(15, 2, 0, 5)
    n = 1500
    counts = np.zeros(20)
    draws = rng(0)
    for _ in range(n):
        counts[split_rows(z, 0.3, draws)[1]] += 1
    share = counts.sum() / n / 20
    assert np.abs(counts / n - share).max() < 5 * np.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("jitter", [0.0, 1e-6])
def test_near_duplicates_share_a_group_and_strangers_do_not(jitter, random_seed):
    z, first, second = with_near_duplicates(400, 2, random_seed, 60, jitter)
    group = near_duplicate_groups(z)
    assert np.array_equal(group[first], group[second])
    assert np.array_equal(np.unique(group), np.arange(group.max() + 1))
    # Rows of a Gaussian that happen to lie near one another are a few per cent.
    assert group.max() + 1 > 0.85 * 400


def test_near_duplicates_of_near_duplicates_share_a_group(random_seed):
    """A chain of rows, each nearer to the next than to the one before."""
    z = 10 * rows(600, 2, random_seed)
    chain = z[0] + np.array([0.02, 0.03, 0.035])[:, None]
    group = near_duplicate_groups(np.concatenate([z, chain]))
    assert len(set(group[[0, 600, 601, 602]])) == 1


def test_groups_are_those_of_a_slow_oracle(random_seed):
    """Connected components of the links to a nearest neighbour within the limit, by hand."""
    z = np.concatenate([rows(150, 2, random_seed), rows(150, 2, random_seed)[:40] + 1e-4])
    distance, index = (part[:, 1] for part in cKDTree(z).query(z, k=2))
    limit = 0.25 * np.median(distance[distance > 1e-3])
    label = np.arange(len(z))
    for _ in range(len(z)):
        for i in np.flatnonzero(distance <= limit):
            label[[i, index[i]]] = label[[i, index[i]]].min()
    group = near_duplicate_groups(z)
    sizes = np.bincount(label)[label]
    assert (sizes > 1).sum() > 40
    small = sizes <= max(MAX_GROUP, ATOM_SHARE * len(z))
    same = label[:, None] == label
    found = group[:, None] == group
    assert np.array_equal(found[small], same[small])
    assert np.array_equal(found[~small].sum(1), np.ones((~small).sum()))


def test_an_atom_is_split_like_any_rows(random_seed):
    """Many equal rows are a feature of the distribution, not repeated measurements."""
    z = rows(300, 2, random_seed)
    z[:100] = 0.0
    group = near_duplicate_groups(z)
    assert len(np.unique(group[:100])) == 100
    train, held_out = split_rows(z, 0.3, rng(random_seed))
    assert np.isin(np.arange(100), train).any()
    assert np.isin(np.arange(100), held_out).any()


@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("block", [64, 1024])
def test_nearest_neighbours_equal_a_tree(d, block, monkeypatch, random_seed):
    monkeypatch.setattr(split, "NETWORK_ROWS", block)
    z = rows(300, d, random_seed).astype(np.float32)
    distances, indices = nearest_neighbours(torch.as_tensor(z))
    expected, neighbours = (part[:, 1] for part in cKDTree(z).query(z, k=2))
    # |a|^2 + |b|^2 - 2 a.b in float32 errs by 1e-7 of the squares.
    limit = 4e-7 * (z**2).sum(1).max()
    assert np.abs(distances**2 - expected**2).max() < limit
    own = np.linalg.norm(z - z[indices], axis=1)
    assert np.abs(own**2 - expected**2).max() < 2 * limit
    assert (indices != np.arange(300)).all()
    assert (indices == neighbours).mean() > 0.9


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_no_pair_of_near_duplicates_is_cut(fraction, random_seed):
    for seed in range(10):
        z, first, second = with_near_duplicates(200, 3, random_seed + seed, 150)
        _, held_out = split_rows(z, fraction, rng(seed))
        assert np.array_equal(np.isin(first, held_out), np.isin(second, held_out))


def test_repeated_measurements_in_a_small_table_stay_together(random_seed):
    z = np.repeat(np.random.default_rng(random_seed).standard_normal((50, 3)), 3, axis=0)
    assert len(np.unique(near_duplicate_groups(z))) <= 50


def test_near_duplicates_are_found_far_from_the_origin(random_seed):
    z = np.random.default_rng(random_seed).standard_normal((300, 2))
    z[200:] = z[:100] + 1e-4
    groups = near_duplicate_groups(z + 1000.0)
    assert np.mean(groups[:100] == groups[200:]) > 0.95


@pytest.mark.parametrize(("n", "n_folds", "expected"), [(1000, 8, 8), (100, 8, 4), (9, 4, 1)])
def test_folds_are_apart_and_the_first_is_what_is_held_out(n, n_folds, expected, random_seed):
    z = rows(n, 2, random_seed)
    train, folds = split_folds(z, 0.1, rng(random_seed), n_folds)
    alone, held_out = split_rows(z, 0.1, rng(random_seed))
    assert np.array_equal(train, alone)
    assert np.array_equal(folds[0], held_out)
    assert len(folds) == expected
    every = np.concatenate(folds)
    assert len(np.unique(every)) == len(every)


def test_folds_keep_near_duplicates_together(random_seed):
    z, first, second = with_near_duplicates(300, 3, random_seed, 100)
    _, folds = split_folds(z, 0.1, rng(random_seed), 8)
    number = np.full(len(z), -1)
    for k, fold in enumerate(folds):
        number[fold] = k
    assert np.array_equal(number[first], number[second])
