"""Shortest paths along the rows: on curves of known length, over landmarks, between parts."""

import numpy as np
import pytest

from skrae.autoencoders.transformers.fit import fitting
from skrae.autoencoders.transformers.terms.geodesics import geodesic_distances
from tests.autoencoders.transformers.estimators import quick_auto_encoder


def spiral(n, seed):
    """Rows of the spiral (t cos t, t sin t), and their arc lengths."""
    place = (np.arange(n) + np.random.default_rng(seed).random(n)) / n
    t = np.sqrt(4.0 + 140.0 * place)
    length = 0.5 * (t * np.sqrt(1.0 + t**2) + np.arcsinh(t))
    return np.column_stack([t * np.cos(t), t * np.sin(t)]), length


def swiss_roll(n, seed):
    """Rows of a sheet rolled up by the spiral, and their places on the flat sheet."""
    curve, length = spiral(n, seed)
    width = np.random.default_rng(seed + 1).uniform(0.0, 15.0, n)
    return np.column_stack([curve, width]), np.column_stack([length, width])


def all_pairs(Z):
    return np.linalg.norm(Z[:, None] - Z, axis=2)


def correlation(first, second):
    upper = np.triu_indices(len(first), 1)
    return np.corrcoef(first[upper], second[upper])[0, 1]


def test_distances_on_a_curve_are_arc_lengths(random_seed):
    X, length = spiral(400, random_seed)
    found = geodesic_distances(X, 5, np.arange(400))
    assert correlation(found, all_pairs(length[:, None])) > 0.9999
    assert found[0, -1] == pytest.approx(length[-1] - length[0], rel=0.01)
    assert correlation(all_pairs(X), all_pairs(length[:, None])) < 0.9


def test_distances_on_a_rolled_sheet_are_those_of_the_flat_one(random_seed):
    X, flat = swiss_roll(1000, random_seed)
    found = geodesic_distances(X, 10, np.arange(1000))
    assert correlation(found, all_pairs(flat)) > 0.999


def test_distances_are_a_metric_that_is_no_less_than_the_straight_line(random_seed):
    X, _ = swiss_roll(150, random_seed)
    found = geodesic_distances(X, 12, np.arange(150)).astype(np.float64)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0.0)
    assert (found >= all_pairs(X) * (1.0 - 1e-6)).all()
    through = (found[:, :, None] + found[None]).min(axis=1)
    assert (found <= through * (1.0 + 1e-6)).all()


def test_landmarks_have_the_paths_over_all_rows(random_seed):
    X, _ = swiss_roll(200, random_seed)
    landmarks = np.array([3, 60, 61, 150])
    some, all_of_them = (geodesic_distances(X, 10, i) for i in (landmarks, np.arange(200)))
    np.testing.assert_array_equal(some, all_of_them[landmarks][:, landmarks])
    assert some.dtype == np.float32


def test_neighbours_are_mutual_where_either_is_one():
    """The far row has a neighbour; it is nobody's."""
    X = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert geodesic_distances(X, 1, np.arange(4))[3].tolist() == [10.0, 9.0, 8.0, 0.0]


@pytest.mark.parametrize("n_parts", [2, 6])
def test_parts_of_a_graph_are_counted(n_parts, random_seed):
    rng = np.random.default_rng(random_seed)
    X = np.concatenate([rng.standard_normal((20 + i, 2)) + 100.0 * i for i in range(n_parts)])
    sizes = ", ".join(str(20 + i) for i in range(n_parts)[::-1][:4])
    parts = rf"{n_parts} parts \(of {sizes}{' ...' * (n_parts > 4)} rows\), expected one"
    with pytest.raises(ValueError, match=rf"Got .*n_neighbors=4 that falls into {parts}.* larger"):
        geodesic_distances(X, 4, np.arange(len(X)))


def test_a_fit_of_more_rows_takes_landmarks(random_seed, monkeypatch):
    monkeypatch.setattr(fitting, "MAX_LANDMARKS", 60)
    monkeypatch.setattr(fitting, "MAX_HELD_OUT_LANDMARKS", 7)
    X, flat = swiss_roll(400, random_seed)
    found, geodesics = [], fitting._geodesics
    monkeypatch.setattr(
        fitting, "_geodesics", lambda *arguments: found.append(geodesics(*arguments)) or found[0]
    )
    quick_auto_encoder(n_components=2, distance_weight=1.0, distance="geodesic", max_iter=10).fit(X)
    train, held_out = found[0]
    assert 40 < len(train.rows) < 60
    assert len(held_out.rows) <= 7
    for part in found[0]:
        assert part.distances.shape == (len(part.rows),) * 2
        assert float(part.distances.max()) < 2.0 * np.ptp(flat)
