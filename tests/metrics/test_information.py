"""Entropy and mutual information by neighbours: slow oracles, closed forms, laws, bad input."""

import math
import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from scipy.stats import expon, gamma, norm, uniform
from sklearn.feature_selection import mutual_info_regression

from skrae.metrics import information, knn_entropy, knn_mutual_information

SMALL = st.integers(0, 2**32 - 1)
FLAGS = True, False


def normal(n, d, seed):
    return np.random.default_rng(seed).standard_normal((n, d))


def normal_entropy(d):
    return d / 2 * math.log(2 * math.pi * math.e)


def correlated(n, d, rho, seed):
    """Two tables whose columns correlate in pairs by rho."""
    X, noise = np.random.default_rng(seed).standard_normal((2, n, d))
    return X, rho * X + math.sqrt(1 - rho**2) * noise


def close_to(truth, estimates, bias=0.0):
    """Whether the mean of estimates is within four of its own standard errors, and a bias."""
    error = np.std(estimates, ddof=1) / math.sqrt(len(estimates))
    return abs(np.mean(estimates) - truth) <= 4 * error + bias


# --- slow oracles ---------------------------------------------------------------------------------


def slow_entropy(X, k):
    n, d = len(X), len(X[0])
    volume = math.pi ** (d / 2) / math.gamma(d / 2 + 1)
    total = 0.0
    for i in range(n):
        others = sorted(math.dist(X[i], X[j]) for j in range(n) if j != i)
        total += math.log(others[k - 1])
    return digamma(n) - digamma(k) + math.log(volume) + d * total / n


def slow_information(X, Y, k):
    n = len(X)
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        in_X = [max(abs(X[i] - X[j])) for j in others]
        in_Y = [max(abs(Y[i] - Y[j])) for j in others]
        radius = sorted(max(pair) for pair in zip(in_X, in_Y, strict=True))[k - 1]
        nearer = (sum(distance < radius for distance in space) for space in (in_X, in_Y))
        total += sum(digamma(count + 1) for count in nearer)
    return digamma(k) + digamma(n) - total / n


def slow_whitened(X):
    """(X - mean) C^{-1/2} of the standardised columns, and half the log determinant of cov X."""
    s = (X - X.mean(axis=0)) / X.std(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.corrcoef(X.T)))
    covariance = np.atleast_2d(np.cov(X.T, bias=True))
    return s @ vectors @ np.diag(values**-0.5) @ vectors.T, np.linalg.slogdet(covariance)[1] / 2


@pytest.mark.parametrize("d", [1, 2, 4, 12])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_entropy_is_that_of_the_slow_sum(d, k, random_seed):
    X = normal(40, d, random_seed) @ normal(d, d, random_seed + 1)
    assert knn_entropy(X, k, whiten=False) == pytest.approx(slow_entropy(X, k), rel=1e-10)
    Z, log_volume = slow_whitened(X)
    assert knn_entropy(X, k) == pytest.approx(slow_entropy(Z, k) + log_volume, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("p", "q"), [(1, 1), (2, 1), (3, 2), (8, 6)])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_information_is_that_of_the_slow_sum(p, q, k, random_seed):
    X = normal(60, p, random_seed) @ normal(p, p, random_seed + 1)
    Y = X[:, :1] + normal(60, q, random_seed + 2)
    standard = [(table - table.mean(axis=0)) / table.std(axis=0) for table in (X, Y)]
    found = knn_mutual_information(X, Y, k, whiten=False)
    assert found == pytest.approx(slow_information(*standard, k), abs=1e-12)
    white = [slow_whitened(table)[0] for table in (X, Y)]
    assert knn_mutual_information(X, Y, k) == pytest.approx(slow_information(*white, k), abs=1e-12)


@pytest.mark.parametrize("p", [2.0, np.inf])
def test_trees_and_blocks_find_the_same_distances(p, monkeypatch, random_seed):
    Z = normal(300, 4, random_seed)
    trees = information._radii(Z, 3, p)
    monkeypatch.setattr(information, "TREE_COLUMNS", 3)
    np.testing.assert_allclose(information._radii(Z, 3, p), trees, rtol=1e-12)


def test_near_rows_far_from_the_others_keep_their_digits(random_seed):
    """By |x|^2 - 2 x.y + |y|^2 distances of 1e-9 would be 0 or noise."""
    Z = np.vstack([normal(12, 12, random_seed) * 1e-9 + 1.0, normal(20, 12, random_seed + 1)])
    found = information._radii(Z, 2, 2.0)
    expected = [sorted(math.dist(z, other) for other in Z)[2] for z in Z]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "scale"), [(norm, 2.0), (uniform, 3.0), (expon, 0.5), (gamma(3.0), 1.0)]
)
def test_entropy_of_known_laws_on_the_line(law, scale, random_seed):
    rng = np.random.default_rng(random_seed)
    draws = [scale * law.rvs(size=1000, random_state=rng) for _ in range(30)]
    truth = float(law.entropy()) + math.log(scale)
    # At a jump of the density neighbours lie on one side alone: k / n of the rows.
    assert close_to(truth, [knn_entropy(x) for x in draws], bias=0.005)


@pytest.mark.parametrize(("d", "expected", "slack"), [(5, 7.03, 0.02), (10, 14.29, 0.03)])
@pytest.mark.parametrize("whiten", FLAGS)
def test_entropy_of_normal_rows_has_its_known_bias(d, expected, slack, whiten, random_seed):
    estimates = [knn_entropy(normal(1000, d, [random_seed, i]), whiten=whiten) for i in range(20)]
    assert close_to(expected, estimates, bias=slack)
    assert abs(np.mean(estimates) - normal_entropy(d)) < 0.15


def test_bias_in_twenty_dimensions_is_as_told(random_seed):
    estimates = [knn_entropy(normal(1000, 20, [random_seed, i])) for i in range(20)]
    assert close_to(normal_entropy(20) + 1.14, estimates, bias=0.05)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_information_of_a_normal_pair(rho, random_seed):
    pairs = (correlated(1000, 1, rho, [random_seed, i]) for i in range(30))
    estimates = [knn_mutual_information(X, Y) for X, Y in pairs]
    assert close_to(-math.log(1 - rho**2) / 2, estimates, bias=0.02 * rho)
    if rho == 0.0:
        assert min(estimates) < 0.0


@pytest.mark.parametrize(("k", "expected"), [(1, 5.4), (3, 4.6)])
def test_much_information_in_five_columns_is_underestimated_as_told(k, expected, random_seed):
    pairs = (correlated(1000, 5, 0.99, [random_seed, i]) for i in range(10))
    estimates = [knn_mutual_information(X, Y, k) for X, Y in pairs]
    assert close_to(expected, estimates, bias=0.05)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_information_of_one_column_agrees_with_scikit_learn(k, random_seed):
    """There columns get noise of 1e-10 of their size, against ties, and 0 is a floor."""
    for rho in (0.3, 0.8, 0.99):
        X, Y = correlated(500, 1, rho, random_seed)
        theirs = mutual_info_regression(X, Y.ravel(), n_neighbors=k, random_state=0)[0]
        assert max(0.0, knn_mutual_information(X, Y, k)) == pytest.approx(theirs, abs=1e-9)


def test_whitening_finds_information_that_correlated_columns_hide(random_seed):
    """Of equal information, that of columns which correlate by 0.95 within X and within Y."""
    X, Y = correlated(1000, 5, 0.9, random_seed)
    root = np.linalg.cholesky(0.05 * np.eye(5) + 0.95)
    plain, hidden = (X, Y), (X @ root.T, Y @ root.T)
    found = knn_mutual_information(*plain)
    assert knn_mutual_information(*hidden) == pytest.approx(found, abs=0.15)
    assert knn_mutual_information(*hidden, whiten=False) < found - 0.5


def test_difference_of_entropies_is_a_rougher_information(random_seed):
    """I = h(x) + h(y) - h(x, y), on one pair, where both estimates have little bias."""
    X, Y = correlated(2000, 1, 0.7, random_seed)
    by_entropy = knn_entropy(X) + knn_entropy(Y) - knn_entropy(np.hstack([X, Y]))
    assert by_entropy == pytest.approx(knn_mutual_information(X, Y), abs=0.15)


# --- laws -----------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(seed=SMALL, d=st.integers(1, 5), shift=st.floats(-1e3, 1e3), size=st.floats(1e-3, 1e3))
def test_entropy_of_rows_mapped_linearly(seed, d, shift, size):
    X = normal(50, d, seed)
    left, right = (np.linalg.qr(normal(d, d, seed + i))[0] for i in (1, 2))
    A = size * left @ np.diag(np.geomspace(1.0, 1000.0, d)) @ right
    expected = knn_entropy(X) + np.linalg.slogdet(A)[1]
    assert knn_entropy(X @ A.T + shift) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=25)
@given(seed=SMALL, d=st.integers(1, 5), shift=st.floats(-1e3, 1e3), size=st.floats(1e-3, 1e3))
def test_entropy_without_whitening_of_rows_turned_scaled_and_shifted(seed, d, shift, size):
    X, turn = normal(50, d, seed), np.linalg.qr(normal(d, d, seed + 1))[0]
    expected = knn_entropy(X, whiten=False) + d * math.log(size)
    found = knn_entropy(size * X @ turn + shift, whiten=False)
    assert found == pytest.approx(expected, abs=1e-6)


@settings(max_examples=25)
@given(seed=SMALL, whiten=st.booleans())
def test_order_of_rows_and_columns_changes_nothing(seed, whiten):
    rng = np.random.default_rng(seed)
    X, Y = correlated(50, 3, 0.8, seed)
    rows, columns = rng.permutation(50), rng.permutation(3)
    X_moved, Y_moved = X[rows][:, columns], Y[rows]
    found = knn_entropy(X_moved, whiten=whiten)
    assert found == pytest.approx(knn_entropy(X, whiten=whiten), abs=1e-10)
    found = knn_mutual_information(X_moved, Y_moved, whiten=whiten)
    assert found == pytest.approx(knn_mutual_information(X, Y, whiten=whiten), abs=1e-10)


@settings(max_examples=25)
@given(seed=SMALL, whiten=st.booleans(), p=st.integers(1, 4), q=st.integers(1, 4))
def test_information_is_symmetric_and_has_no_unit(seed, whiten, p, q):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((50, p))
    Y = X[:, :1] + rng.standard_normal((50, q))
    found = knn_mutual_information(X, Y, whiten=whiten)
    assert knn_mutual_information(Y, X, whiten=whiten) == pytest.approx(found, abs=1e-12)
    moved = X * np.exp(3 * rng.standard_normal(p)) * rng.choice([-1, 1], p) + rng.normal(size=p)
    assert knn_mutual_information(moved, Y, whiten=whiten) == pytest.approx(found, abs=1e-3)


def test_columns_that_add_nothing_add_nothing(random_seed):
    X, Y = correlated(200, 2, 0.8, random_seed)
    found = knn_mutual_information(X, Y)
    constant = np.hstack([X, np.full((200, 1), 0.1)])
    assert knn_mutual_information(constant, Y) == pytest.approx(found, abs=1e-12)
    # Twice the same column is one direction: shorter than one column, which the maximum norm feels.
    assert knn_mutual_information(np.hstack([X, X]), Y) == pytest.approx(found, abs=0.1)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("whiten", FLAGS)
def test_extreme_units_neither_overflow_nor_vanish(unit, whiten, random_seed):
    X, Y = correlated(100, 2, 0.8, random_seed)
    expected = knn_entropy(X, whiten=whiten) + 2 * math.log(unit)
    assert knn_entropy(unit * X, whiten=whiten) == pytest.approx(expected, rel=1e-12)
    found = knn_mutual_information(unit * X, Y, whiten=whiten)
    assert found == pytest.approx(knn_mutual_information(X, Y, whiten=whiten), abs=1e-3)


def test_small_columns_count_by_whitening_alone(random_seed):
    X = normal(1000, 2, random_seed) * [1.0, 1000.0]
    truth = normal_entropy(2) + math.log(1000.0)
    assert abs(knn_entropy(X) - truth) < 0.2
    assert knn_entropy(X, whiten=False) > truth + 0.5


# --- containers and cost --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_as", [np.ndarray.tolist, torch.tensor, np.asfortranarray, np.ma.asarray]
)
def test_containers_of_rows(given_as, random_seed):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    X, Y = correlated(60, 2, 0.8, random_seed)
    entropy, known = knn_entropy(X), knn_mutual_information(X, Y[:, 0])
    assert type(entropy) is float
    assert type(known) is float
    assert knn_entropy(given_as(X)) == entropy
    assert knn_mutual_information(given_as(X), given_as(Y[:, 0])) == known
    for library in (pandas, polars):
        frame, column = library.DataFrame(X), library.Series(Y[:, 0])
        assert knn_entropy(frame) == entropy
        assert knn_mutual_information(frame, column) == known
    assert knn_entropy(X[:, 0]) == knn_entropy(X[:, :1])


def test_float32_is_computed_with_in_float64(random_seed):
    X, Y = (table.astype(np.float32) for table in correlated(200, 3, 0.8, random_seed))
    assert knn_entropy(X) == knn_entropy(X.astype(float))
    assert knn_mutual_information(X, Y) == knn_mutual_information(X.astype(float), Y.astype(float))


def test_rows_given_are_left_as_they_were(random_seed):
    X, Y = correlated(60, 2, 0.8, random_seed)
    before = X.copy(), Y.copy()
    X.flags.writeable = Y.flags.writeable = False
    knn_entropy(X)
    knn_mutual_information(X, Y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("d", [2, 12])
def test_memory_grows_with_rows_and_not_with_their_pairs(d, random_seed):
    X, Y = correlated(3000, d, 0.8, random_seed)
    for work in (partial(knn_entropy, X), partial(knn_mutual_information, X, Y)):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 * X.nbytes + 2**20 < 3000**2 * 8 / 5


# --- bad input ------------------------------------------------------------------------------------


def both(X):
    """Each estimate of rows, the second beside others."""
    Y = normal(len(X), 1, 99)
    return partial(knn_entropy, X), partial(knn_mutual_information, X, Y)


@pytest.mark.parametrize("k", [1, 3])
def test_repeated_and_rounded_rows_are_refused_with_advice(k, random_seed):
    X = normal(100, 2, random_seed)
    repeated, rounded = np.vstack([X, X[:1].repeat(k, axis=0)]), X.round(0)
    for rows in (repeated, rounded):
        for work in both(rows):
            message = (
                rf"Got X with \d+ equal rows, expected at most n_neighbors={k}: .*uniform noise"
            )
            with pytest.raises(ValueError, match=message):
                work(n_neighbors=k)
    # One more neighbour, and rows that are repeated once less, have a distance.
    for work in both(repeated):
        work(n_neighbors=k + 1)
    jittered = X.round(1) + np.random.default_rng(random_seed).uniform(-0.05, 0.05, X.shape)
    assert knn_entropy(jittered) == pytest.approx(knn_entropy(X), abs=0.3)


def test_classes_are_referred_to_another_function(random_seed):
    X = normal(100, 2, random_seed)
    message = r"Got Y with \d+ equal rows, .*mutual_info_classif"
    for Y in (X[:, 0] > 0, np.arange(100) % 5, np.zeros(100)):
        with pytest.raises(ValueError, match=message):
            knn_mutual_information(X, Y)


def test_rows_that_rounding_makes_equal_are_refused():
    X = normal(50, 2, 0) @ [[1.0, 1.0], [0.0, 1e-3]]
    X[:5] = X[0] + 1e-300 * np.arange(5)[:, None]
    X[:5] -= X[0]
    X[:5] += 1e-30 * np.arange(5)[:, None]
    for work in both(X):
        with pytest.raises(ValueError, match="Got X with 5 equal rows"):
            work()


def test_rows_in_a_plane_have_no_entropy(random_seed):
    X = normal(50, 3, random_seed)
    constant, planar = X.copy(), X.copy()
    constant[:, 1] = 0.1
    planar[:, 2] = X[:, 0] - 2.0 * X[:, 1] + 7.0
    for whiten in FLAGS:
        with pytest.raises(ValueError, match=r"Got X with constant columns \[1\], expected"):
            knn_entropy(constant, whiten=whiten)
        for rows in (planar, planar + 1e6, planar.astype(np.float32), planar * [1e9, 1.0, 1e-9]):
            message = "Got X of 3 columns in 2 dimensions, expected .*the 2 components of a PCA"
            with pytest.raises(ValueError, match=message):
                knn_entropy(rows, whiten=whiten)
    with pytest.raises(ValueError, match="Got X of 3 rows and 3 columns, expected more rows"):
        knn_entropy(X[:3], n_neighbors=1)
    assert knn_entropy(planar + 1e-6 * normal(50, 3, 1)) < knn_entropy(X) - 5.0
    # Information is none the less for a column that is the sum of others.
    assert math.isfinite(knn_mutual_information(planar, X[:, 0]))


def test_widths_lengths_and_neighbours_that_do_not_fit():
    X = normal(10, 2, 0)
    for work in both(X):
        for k in (10, 11):
            with pytest.raises(
                ValueError, match=f"Got n_neighbors={k} of 10 rows, expected at most 9"
            ):
                work(n_neighbors=k)
        for k, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ("a", TypeError)):
            with pytest.raises(error, match=f"Got n_neighbors={k!r}, expected an integer >= 1"):
                work(n_neighbors=k)
        with pytest.raises(TypeError, match="Got whiten='no', expected"):
            work(whiten="no")
        work(n_neighbors=9)
    with pytest.raises(ValueError, match="Got 10 rows of X and 9 of Y, expected as many"):
        knn_mutual_information(X, X[:9])
    wide = normal(10, 10, 0)
    with pytest.raises(ValueError, match="Got Y of 10 rows and 10 columns, expected more rows"):
        knn_mutual_information(X, wide)
    assert math.isfinite(knn_mutual_information(X, wide, whiten=False))


def test_missing_and_infinite_numbers_are_refused_with_advice():
    X = normal(20, 2, 0)
    missing, infinite = X.copy(), X.copy()
    missing[[3, 5], 1], infinite[3, 1] = np.nan, np.inf
    message = (
        "Got {} with NaN in 2 of 20 rows, the first in row 3, expected finite .*leave those rows"
    )
    for work in both(missing):
        with pytest.raises(ValueError, match=message.format("X")):
            work()
    with pytest.raises(ValueError, match=message.format("Y")):
        knn_mutual_information(X, missing)
    for work in both(infinite):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            work()
    with pytest.raises(ValueError, match="Found array with dim 3"):
        knn_entropy(X[None])


def test_rows_that_are_mostly_repeated_are_told_of(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((100, 2))
    twice = np.concatenate([X, X])
    with pytest.warns(UserWarning, match="Got X of which 100% of the rows have an equal one"):
        knn_entropy(twice)
    with pytest.warns(UserWarning, match="of the rows have an equal one"):
        knn_mutual_information(twice[:, 0], twice[:, 1])
