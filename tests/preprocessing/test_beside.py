"""A map of the first columns: that of the inner map, and nothing at all of the others."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrae.preprocessing.affine import AffineMap
from skrae.preprocessing.beside import Beside
from tests.density.incomplete.laws import curved

N_OTHERS = 3


@pytest.fixture(scope="module")
def inner():
    return curved(2, seed=0)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    return np.hstack([rng.standard_normal((5, 2)) * [1.0, 20.0], np.eye(5)[:, :N_OTHERS]])


def test_the_others_stay_as_they_are(inner, rows):
    beside = Beside(inner, N_OTHERS)
    z, log_det = beside.forward_and_log_det(rows)
    assert_array_equal(z, np.hstack([inner.forward(rows[:, :2]), rows[:, 2:]]))
    assert_array_equal(beside.forward(rows), z)
    assert_array_equal(log_det, inner.log_abs_det(rows[:, :2]))
    assert_array_equal(beside.log_abs_det(rows), log_det)
    assert_allclose(beside.inverse(z), rows, rtol=1e-12, atol=1e-12)
    chains = beside.inverse(z.reshape(5, 1, 5))
    assert_allclose(chains[:, 0], rows, rtol=1e-12, atol=1e-12)


def test_gradients_are_derivatives_along_numbers_and_zero_along_the_others(inner, rows):
    """Of log p(x) = -|z|^2 / 2 + log det dz/dx."""
    beside = Beside(inner, N_OTHERS)

    def log_density(X):
        z, log_det = beside.forward_and_log_det(X)
        return -0.5 * (z**2).sum(axis=1) + log_det

    found = beside.gradient(rows, -beside.forward(rows))
    for j, scale in enumerate([1.0, 20.0]):
        step = 1e-5 * scale * np.eye(5)[j]
        slope = (log_density(rows + step) - log_density(rows - step)) / (2e-5 * scale)
        assert_allclose(found[:, j] * scale, slope * scale, atol=1e-7)
    assert not found[:, 2:].any()
    hessian = beside.hessian(rows, lambda: -beside.forward(rows), np.tile(-np.eye(5), (5, 1, 1)))
    for j, scale in enumerate([1.0, 20.0]):
        step = 1e-5 * scale * np.eye(5)[j]
        above, below = (beside.gradient(X, -beside.forward(X)) for X in (rows + step, rows - step))
        assert_allclose(hessian[:, :, j], (above - below) / (2e-5 * scale), atol=1e-6)
    assert not hessian[:, 2:].any()
    assert not hessian[:, :, 2:].any()


def test_vectors_and_covariances_are_those_of_the_inner_map(inner, rows):
    beside, rng = Beside(inner, N_OTHERS), np.random.default_rng(2)
    vectors = rng.standard_normal((5, 5))
    pulled = beside.pull_back(rows, vectors)
    assert_array_equal(pulled[:, :2], inner.pull_back(rows[:, :2], vectors[:, :2]))
    assert not pulled[:, 2:].any()
    covariance = vectors[:, :, None] * vectors[:, None, :]
    found = beside.covariance(rows, covariance)
    assert_array_equal(found[:, :2, :2], inner.covariance(rows[:, :2], covariance[:, :2, :2]))
    assert not found[:, 2:].any()
    assert not found[:, :, 2:].any()


def test_columns_and_their_matrix(inner, rows):
    columns, matrix, inverse = Beside(inner, N_OTHERS).by_columns()
    y = columns.forward(rows)
    assert_allclose(y[:, :2] @ matrix, inner.forward(rows[:, :2]), atol=1e-12)
    assert_allclose(matrix @ inverse, np.eye(2), atol=1e-12)
    assert_array_equal(y[:, 2:], rows[:, 2:])
    scaled = columns.scaled(np.array([2.0, 4.0])).forward(rows)
    assert_allclose(scaled[:, :2], y[:, :2] / [2.0, 4.0], atol=1e-12)
    assert_array_equal(scaled[:, 2:], rows[:, 2:])


def test_it_is_what_the_inner_map_is(inner):
    affine = AffineMap.diagonal(np.zeros(2), np.ones(2))
    assert Beside(affine, 2).is_affine
    assert not Beside(inner, 2).is_affine
    for found, expected in zip(Beside(affine, 2).parts(), affine.parts(), strict=True):
        assert_array_equal(found, expected)
