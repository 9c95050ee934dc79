"""Neighbours and distances before and after a map: identities, slow oracles, bad input."""

import re
import tracemalloc
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr, spearmanr
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.metrics import pairwise_distances

from skrae.metrics import (
    continuity,
    embedding,
    neighbor_recall,
    shepard_correlation,
    spaces,
    stress,
    trustworthiness,
)

NEIGHBOURS = trustworthiness, continuity, neighbor_recall
ALL = *NEIGHBOURS, stress, shepard_correlation
SMALL = st.integers(0, 2**32 - 1)


def tables(n, seed, d=4, k=2):
    """Rows and codes that are partly theirs."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X[:, :k] + 0.5 * rng.standard_normal((n, k))


def rotation(d, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def options(function, n_neighbors=3):
    return {"n_neighbors": n_neighbors} if function in NEIGHBOURS else {}


def candidates(i, n, in_sample):
    return [j for j in range(n) if not (in_sample and j == i)]


def slow_ranks(distances, in_sample):
    """For each row, from the number of another to its rank."""
    for i, row in enumerate(distances):
        order = sorted(candidates(i, len(row), in_sample), key=lambda j, row=row: row[j])
        yield {j: rank for rank, j in enumerate(order, start=1)}


def slow_trustworthiness(d_X, d_Z, k, in_sample):
    """1 - the penalty over the penalty of neighbours that are the farthest."""
    penalty, worst = 0, 0
    for before, after in zip(slow_ranks(d_X, in_sample), slow_ranks(d_Z, in_sample), strict=True):
        penalty += sum(max(0, before[j] - k) for j, rank in after.items() if rank <= k)
        worst += sum(rank - k for rank in sorted(before.values())[-k:])
    return 1 - penalty / worst


def slow_recall(d_X, d_Z, k, in_sample):
    both = zip(slow_ranks(d_X, in_sample), slow_ranks(d_Z, in_sample), strict=True)
    return np.mean([(before[j] <= k) for before, after in both for j in after if after[j] <= k])


def slow_pairs(d_X, d_Z, in_sample):
    m, n = d_X.shape
    pairs = list(combinations(range(n), 2) if in_sample else product(range(m), range(n)))
    return np.array([(d_X[pair], d_Z[pair]) for pair in pairs]).T


def slow_stress(d_X, d_Z, in_sample):
    before, after = slow_pairs(d_X, d_Z, in_sample)
    return np.sqrt(sum((before - after) ** 2) / sum(before**2))


# A reference of fewer rows than are asked about, and of more.
@pytest.fixture(params=[None, 17, 60], ids="reference={}".format)
def case(request, random_seed, monkeypatch):
    """X, Z, reference and the distances in both, with blocks of a few rows."""
    monkeypatch.setattr(spaces, "BLOCK_NUMBERS", 512)
    X, Z = tables(40, random_seed)
    reference = request.param and tables(request.param, random_seed + 1)
    X_fit, Z_fit = reference or (X, Z)
    return X, Z, reference, cdist(X, X_fit), cdist(Z, Z_fit)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_neighbours_are_those_of_the_slow_count(case, k):
    X, Z, reference, d_X, d_Z = case
    asked, in_sample = {"n_neighbors": k, "reference": reference}, reference is None
    expected = slow_trustworthiness(d_X, d_Z, k, in_sample)
    assert trustworthiness(X, Z, **asked) == pytest.approx(expected, rel=1e-13)
    expected = slow_trustworthiness(d_Z, d_X, k, in_sample)
    assert continuity(X, Z, **asked) == pytest.approx(expected, rel=1e-13)
    expected = slow_recall(d_X, d_Z, k, in_sample)
    assert neighbor_recall(X, Z, **asked) == pytest.approx(expected, rel=1e-13)


def test_distances_are_those_of_the_slow_sums(case):
    X, Z, reference, d_X, d_Z = case
    in_sample = reference is None
    assert stress(X, Z, reference=reference) == pytest.approx(slow_stress(d_X, d_Z, in_sample))
    before, after = slow_pairs(d_X, d_Z, in_sample)
    pearson = shepard_correlation(X, Z, reference=reference)
    assert pearson == pytest.approx(pearsonr(before, after)[0], rel=1e-10)
    spearman = shepard_correlation(X, Z, method="spearman", reference=reference)
    assert spearman == pytest.approx(spearmanr(before, after)[0], rel=1e-10)


def test_best_factor_is_the_best_of_many(case):
    X, Z, reference, _, _ = case
    factors = np.geomspace(0.1, 10.0, 2001)

    def scaled(factor):
        return stress(X, factor * Z, reference=reference and (reference[0], factor * reference[1]))

    least = min(map(scaled, factors[::20]))
    best = stress(X, Z, scale=True, reference=reference)
    assert best <= least + 1e-12
    assert best == pytest.approx(least, rel=1e-2)


@pytest.mark.parametrize("function", ALL)
def test_known_distances_give_what_their_rows_give(case, function):
    X, Z, reference, d_X, _ = case
    expected = function(X, Z, reference=reference, **options(function))
    known = reference and (None, reference[1])
    found = function(d_X, Z, metric="precomputed", reference=known, **options(function))
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("function", ALL)
def test_known_distances_stay_as_they_are(function, random_seed):
    X, Z = tables(30, random_seed)
    distances = cdist(X, X)
    distances.flags.writeable = False
    function(distances, Z, metric="precomputed", **options(function))
    np.testing.assert_array_equal(np.diag(distances), 0.0)


def first_column(x, y):
    return abs(x[0] - y[0])


@pytest.mark.parametrize("metric", ["manhattan", "cosine", "mahalanobis", first_column])
@pytest.mark.parametrize("function", ALL)
def test_metric_is_that_of_x_alone(function, metric, random_seed):
    X, Z = tables(30, random_seed)
    distances = pairwise_distances(X, metric=metric)
    known = function(distances, Z, metric="precomputed", **options(function))
    assert function(X, Z, metric=metric, **options(function)) == pytest.approx(known, rel=1e-10)


@pytest.mark.parametrize("n", [2, 7, 8, 41])
@pytest.mark.parametrize("d", [4, 30])
def test_without_a_reference_it_is_the_value_of_scikit_learn(n, d, random_seed):
    X, Z = tables(n, random_seed, d)
    for k in range(1, (n + 1) // 2):
        assert trustworthiness(X, Z, n_neighbors=k) == sklearn_trustworthiness(X, Z, n_neighbors=k)
        assert continuity(X, Z, n_neighbors=k) == sklearn_trustworthiness(Z, X, n_neighbors=k)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "precomputed"])
@pytest.mark.parametrize("n_distinct", [1, 5, 25])
def test_copies_of_rows_are_ranked_as_by_scikit_learn(n_distinct, metric, random_seed):
    for seed in range(random_seed, random_seed + 10):
        X, Z = tables(n_distinct, seed)
        rows = np.random.default_rng(seed).integers(n_distinct, size=60)
        X, Z = X[rows], Z[rows]
        X = pairwise_distances(X) if metric == "precomputed" else X
        for k in (1, 4, 29):
            asked = {"n_neighbors": k, "metric": metric}
            assert trustworthiness(X, Z, **asked) == sklearn_trustworthiness(X, Z, **asked)


@pytest.mark.parametrize("function", NEIGHBOURS)
def test_rows_one_by_one_by_reference_have_the_value_of_the_table(function, random_seed):
    X, Z = tables(30, random_seed)
    single = [
        function(
            X[[i]],
            Z[[i]],
            n_neighbors=5,
            reference=(np.delete(X, i, axis=0), np.delete(Z, i, axis=0)),
        )
        for i in range(30)
    ]
    assert np.mean(single) == pytest.approx(function(X, Z, n_neighbors=5), rel=1e-13)


@settings(max_examples=20)
@given(seed=SMALL, n=st.integers(3, 40), d=st.integers(1, 20), by_reference=st.booleans())
def test_map_that_keeps_all_distances_is_perfect(seed, n, d, by_reference):
    rows, turn = tables(2 * n, seed, d, 1)[0], rotation(d, seed)
    X, reference = rows[:n], (rows[n:], rows[n:] @ turn) if by_reference else None
    for function in NEIGHBOURS:
        assert function(X, X @ turn, reference=reference, **options(function, 1)) == 1.0
    assert stress(X, X @ turn, reference=reference) < 1e-7
    for method in ("pearson", "spearman"):
        found = shepard_correlation(X, X @ turn, method=method, reference=reference)
        assert found == pytest.approx(1.0, abs=1e-6 if method == "pearson" else 1e-2)


@settings(max_examples=20)
@given(seed=SMALL, factor=st.floats(1e-3, 1e3), by_reference=st.booleans())
def test_turned_moved_and_scaled_codes_have_the_same_values(seed, factor, by_reference):
    (X, Z), reference = tables(30, seed), tables(20, seed + 1) if by_reference else None

    def moved(codes):
        return factor * (codes @ rotation(2, seed) + [3.0, -7.0])

    changed = reference and (reference[0], moved(reference[1]))
    for function in NEIGHBOURS:
        before = function(X, Z, reference=reference, **options(function))
        assert function(X, moved(Z), reference=changed, **options(function)) == before
    for function, asked in ((shepard_correlation, {}), (stress, {"scale": True})):
        before = function(X, Z, reference=reference, **asked)
        found = function(X, moved(Z), reference=changed, **asked)
        assert found == pytest.approx(before, rel=1e-8)


@settings(max_examples=20)
@given(seed=SMALL)
def test_order_of_rows_and_of_the_two_tables(seed):
    X, Z = tables(30, seed)
    order = np.random.default_rng(seed).permutation(30)
    for function in ALL:
        before = function(X, Z, **options(function))
        assert function(X[order], Z[order], **options(function)) == pytest.approx(before)
    assert continuity(X, Z, n_neighbors=4) == trustworthiness(Z, X, n_neighbors=4)
    for function, asked in (
        (neighbor_recall, {"n_neighbors": 4}),
        (shepard_correlation, {}),
        (stress, {"scale": True}),
    ):
        assert function(X, Z, **asked) == pytest.approx(function(Z, X, **asked))


@pytest.mark.parametrize("n_others", [8, 9, 30])
def test_farthest_neighbours_have_trustworthiness_zero(n_others):
    """Of rows on a ray from the one that is asked about, put in the reverse order."""
    X_fit = np.arange(1.0, n_others + 1)[:, None]
    reference = X_fit, X_fit[::-1]
    for k in range(1, n_others // 2 + 1):
        for function in (trustworthiness, continuity):
            found = function([[0.0]], [[0.0]], n_neighbors=k, reference=reference)
            assert found == pytest.approx(0.0, abs=1e-15)


def test_codes_that_know_nothing_have_the_recall_of_chance(random_seed):
    X, Z = tables(400, random_seed)[0], tables(400, random_seed + 1)[1]
    k, n = 10, 399
    # Each row's count of shared neighbours is hypergeometric; rows are nearly independent.
    deviation = np.sqrt(k * (k / n) * (1 - k / n)) / k / np.sqrt(400)
    assert abs(neighbor_recall(X, Z, n_neighbors=k) - k / n) < 5 * deviation


def test_all_others_are_always_recalled(random_seed):
    X, Z = tables(12, random_seed)
    assert neighbor_recall(X, Z, n_neighbors=11) == 1.0
    assert neighbor_recall(X[:3], Z[:3], n_neighbors=12, reference=(X, Z)) == 1.0


def test_stress_of_scaled_distances_is_the_error_of_the_factor(random_seed):
    X, _ = tables(30, random_seed)
    assert stress(X, 1.5 * X) == pytest.approx(0.5, rel=1e-12)
    for scale in (False, True):
        assert stress(X, 0.0 * X, scale=scale) == pytest.approx(1.0, rel=1e-12)


def test_scaled_stress_is_the_sine_of_the_angle_between_distances(random_seed):
    X, Z = tables(30, random_seed)
    before, after = slow_pairs(cdist(X, X), cdist(Z, Z), in_sample=True)
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    assert stress(X, Z, scale=True) == pytest.approx(np.sqrt(1 - cosine**2), rel=1e-10)


def test_monotone_distances_have_rank_correlation_one():
    Z = np.array([[0.0], [1.0], [3.0], [7.0], [20.0]])
    squared = cdist(Z, Z) ** 2
    asked = {"metric": "precomputed"}
    assert shepard_correlation(squared, Z, method="spearman", **asked) == pytest.approx(1.0)
    assert shepard_correlation(squared, Z, **asked) < 0.99
    assert shepard_correlation(cdist(Z, Z) + 5.0, Z, **asked) == pytest.approx(1.0)
    assert shepard_correlation(50.0 - cdist(Z, Z), Z, **asked) == pytest.approx(-1.0)


def test_distances_keep_their_digits_far_from_the_origin(random_seed):
    X, Z = tables(40, random_seed)
    far = X + 1e7
    assert stress(far, Z + 1e7) == pytest.approx(stress(X, Z), rel=1e-7)
    assert shepard_correlation(far, Z) == pytest.approx(shepard_correlation(X, Z), rel=1e-7)
    reference = far[:20], Z[:20]
    expected = stress(X[20:], Z[20:], reference=(X[:20], Z[:20]))
    assert stress(far[20:], Z[20:], reference=reference) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("function", ALL)
def test_containers_give_the_values_of_arrays(function, random_seed):
    pandas = pytest.importorskip("pandas")
    X, Z = tables(30, random_seed)
    expected = function(X, Z, **options(function))
    assert type(expected) is float
    for change in (pandas.DataFrame, np.ndarray.tolist, torch.tensor, np.ma.asarray):
        found = function(change(X), change(Z), **options(function))
        assert found == pytest.approx(expected, rel=1e-12)
    asked = {"reference": (pandas.DataFrame(X[:20]), torch.tensor(Z[:20])), **options(function)}
    plain = {"reference": [X[:20], Z[:20]], **options(function)}
    expected = function(X[20:], Z[20:], **plain)
    assert function(X[20:], Z[20:], **asked) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("function", ALL)
def test_float32_rows_have_nearly_the_values_of_float64(function, random_seed):
    X, Z = tables(50, random_seed)
    found = function(X.astype(np.float32), Z.astype(np.float32), **options(function))
    assert found == pytest.approx(function(X, Z, **options(function)), abs=1e-3)


@pytest.mark.parametrize("function", ALL)
def test_memory_is_that_of_blocks(function, monkeypatch, random_seed):
    """All distances of 2000 rows in two spaces would be 64 MB."""
    monkeypatch.setattr(spaces, "BLOCK_NUMBERS", 2**17)
    X, Z = tables(2000, random_seed)
    tracemalloc.start()
    try:
        function(X, Z, **options(function))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * 2**20


X, Z = tables(24, 0)
BAD = {
    "rows": ((X, Z[1:]), {}, "Got 24 rows of X and 23 of Z, expected as many of both."),
    "nan": ((np.where(X > 1.5, np.nan, X), Z), {}, "Input X contains NaN"),
    "inf": ((X, np.where(Z > 1.5, np.inf, Z)), {}, "Input Z contains infinity"),
    "one row": ((X[:1], Z[:1]), {}, "minimum of 2 is required"),
    "flat": ((X, Z[:, 0]), {}, "Expected 2D array, got 1D array"),
    "overflow": ((1e200 * X, Z), {}, "Got X with a number of size .* expected other units"),
    "metric": ((X, Z), {"metric": "nearness"}, "Got metric='nearness', expected 'euclidean'"),
    "not square": ((X, Z), {"metric": "precomputed"}, r"Got X of shape \(24, 4\) .* \(24, 24\)"),
    "negative": (
        (-cdist(X, X), Z),
        {"metric": "precomputed"},
        "Got X with a distance of -.*, expected none below 0",
    ),
    "no pair": ((X, Z), {"reference": X}, r"Got reference of type ndarray, expected a pair"),
    "three": ((X, Z), {"reference": (X, Z, Z)}, r"Got reference of type tuple, expected a pair"),
    "lengths": ((X, Z), {"reference": (X, Z[1:])}, "Got 24 rows of X_fit and 23 of Z_fit"),
    "X width": ((X, Z), {"reference": (X[:, 1:], Z)}, "Got X of 4 columns and X_fit of 3"),
    "Z width": ((X, Z), {"reference": (X, Z[:, 1:])}, "Got Z of 2 columns and Z_fit of 1"),
    "no rows": ((X, Z), {"reference": (None, Z)}, "Got reference with X_fit of type NoneType"),
    "known rows": (
        (cdist(X, X), Z),
        {"reference": (X, Z), "metric": "precomputed"},
        "Got reference with X_fit of type ndarray, expected None for metric='precomputed'",
    ),
    "known width": (
        (cdist(X, X), Z),
        {"reference": (None, Z[1:]), "metric": "precomputed"},
        r"Got X of shape \(24, 24\) .* expected distances of shape \(24, 23\)",
    ),
}


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused(function, name):
    rows, asked, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        function(*rows, **asked, **options(function))


@pytest.mark.parametrize("function", NEIGHBOURS)
@pytest.mark.parametrize(
    ("n_neighbors", "error"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("a", TypeError)],
)
def test_bad_numbers_of_neighbours_are_refused(function, n_neighbors, error):
    message = re.escape(f"Got n_neighbors={n_neighbors!r}, expected an integer >= 1.")
    with pytest.raises(error, match=message):
        function(X, Z, n_neighbors=n_neighbors)


@pytest.mark.parametrize(
    ("function", "reference", "most"),
    [
        (trustworthiness, None, 11),
        (continuity, None, 11),
        (neighbor_recall, None, 23),
        (trustworthiness, (X[:21], Z[:21]), 10),
        (continuity, (X[:21], Z[:21]), 10),
        (neighbor_recall, (X[:21], Z[:21]), 21),
    ],
)
def test_more_neighbours_than_the_formula_holds_for_are_refused(function, reference, most):
    assert 0.0 < function(X, Z, n_neighbors=most, reference=reference) <= 1.0
    n_others = 21 if reference else 23
    message = f"Got n_neighbors={most + 1} of {n_others} rows .* expected at most {most}."
    with pytest.raises(ValueError, match=message):
        function(X, Z, n_neighbors=most + 1, reference=reference)


def test_stress_of_equal_rows_is_refused():
    for reference in (None, (np.ones((3, 4)), Z[:3])):
        with pytest.raises(ValueError, match="Got X of rows whose distances are all 0, expected"):
            stress(np.ones((24, 4)), Z, reference=reference)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("equal", [np.eye(24), 1e-3 * np.eye(24), np.ones((24, 3))])
def test_correlation_of_equal_distances_is_refused(method, equal):
    for tables, name in (((equal, Z), "X"), ((X, equal), "Z")):
        with pytest.raises(ValueError, match=f"Got {name} of rows whose distances are all equal"):
            shepard_correlation(*tables, method=method)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="Got method='kendall', expected 'pearson' or 'spearman'"):
        shepard_correlation(X, Z, method="kendall")


def test_more_pairs_than_are_ranked_are_refused(monkeypatch):
    monkeypatch.setattr(embedding, "MAX_RANKED_PAIRS", 24 * 23 // 2)
    assert shepard_correlation(X, Z, method="spearman") > 0.0
    with pytest.raises(ValueError, match=r"Got 576 pairs for method='spearman', .* at most 276"):
        shepard_correlation(X, Z, method="spearman", reference=(X, Z))
    assert shepard_correlation(X, Z, reference=(X, Z)) > 0.0
