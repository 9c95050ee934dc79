"""The linear path: PCA without noise, and with it the best linear map of its rank."""

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from skrae.autoencoders.transformers.maps.linear import linear_path
from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from tests.mixtures.random_mixtures import generator

each_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


def centred(n, d, seed):
    """n rows of mean 0 whose principal axes have variances of their own."""
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * np.geomspace(3.0, 0.3, d)) @ rng.standard_normal((d, d))
    return X - X.mean(axis=0)


def covariance_of(X):
    return X.T @ X / len(X)


def expected_error(covariance, corruption, level, matrix):
    """E |x - x~ M|^2 over rows and corruptions, from the moments of both."""
    kept, added = corruption.kept(level), corruption.added(level, np.diag(covariance))
    corrupted = kept**2 * covariance + np.diag(np.broadcast_to(added, len(covariance)))
    cross = kept * np.trace(covariance @ matrix)
    return np.trace(covariance) - 2.0 * cross + np.trace(matrix.T @ corrupted @ matrix)


def path_of(covariance, name, level, k):
    corruption = CORRUPTIONS[name]
    added = corruption.added(level, np.diag(covariance))
    return linear_path(covariance, k, corruption.kept(level), added)


def best_by_descent(covariance, corruption, level, k, seed):
    """The least expected error of rank k, by turns of least squares in either factor."""
    kept, added = corruption.kept(level), corruption.added(level, np.diag(covariance))
    corrupted = kept**2 * covariance + np.diag(np.broadcast_to(added, len(covariance)))
    cross = kept * covariance
    decoder = np.random.default_rng(seed).standard_normal((k, len(covariance)))
    for _ in range(3000):
        encoder = np.linalg.solve(corrupted, cross) @ np.linalg.pinv(decoder)
        codes = encoder.T @ corrupted @ encoder
        decoder = np.linalg.solve(codes, encoder.T @ cross)
    return expected_error(covariance, corruption, level, encoder @ decoder)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_without_noise_it_is_pca(k, random_seed):
    X = centred(60, 6, random_seed)
    path, pca = linear_path(covariance_of(X), k), PCA(k).fit(X)
    assert subspace_angles(path.decoder.T, pca.components_.T).max() < 1e-10
    np.testing.assert_allclose(
        X @ path.encoder @ path.decoder, pca.inverse_transform(pca.transform(X)), atol=1e-10
    )
    np.testing.assert_allclose(np.abs(X @ path.encoder), np.abs(pca.transform(X)), atol=1e-9)
    np.testing.assert_allclose(path.deviations, (X @ path.encoder).std(axis=0))


def test_the_largest_entry_of_an_axis_is_positive(random_seed):
    decoder = linear_path(covariance_of(centred(60, 6, random_seed)), 4).decoder
    assert (decoder[np.arange(4), np.abs(decoder).argmax(axis=1)] > 0.0).all()


@each_corruption
@pytest.mark.parametrize("level", [0.2, 0.7])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_it_has_the_least_expected_error_of_its_rank(name, level, k, random_seed):
    covariance, corruption = covariance_of(centred(80, 4, random_seed)), CORRUPTIONS[name]
    path = path_of(covariance, name, level, k)
    found = expected_error(covariance, corruption, level, path.encoder @ path.decoder)
    slow = best_by_descent(covariance, corruption, level, k, random_seed)
    assert found == pytest.approx(slow, rel=1e-6)


@each_corruption
def test_it_is_the_regression_of_rows_on_corrupted_ones(name, random_seed):
    """Full rank, by least squares on a hundred corruptions of each row; within 5 errors."""
    X = centred(400, 3, random_seed)
    path = path_of(covariance_of(X), name, 0.4, 3)
    draws = generator(random_seed)
    corrupt, rows = CORRUPTIONS[name].corrupt, torch.from_numpy(X)
    found = []
    for _ in range(100):
        noisy = corrupt(rows, 0.4, draws).numpy()
        found.append((noisy.T @ noisy, noisy.T @ X))
    gram, cross = (np.array(part) for part in zip(*found, strict=True))
    slope = path.encoder @ path.decoder
    residuals = cross - gram @ slope
    error = residuals.std(axis=0, ddof=1) / np.sqrt(len(residuals))
    # A swap takes a row's own entry once in 400 times: cross moments are larger by that share.
    own = 0.4 / 400 * np.abs(cross).mean(axis=0) * (name == "swap")
    assert (np.abs(residuals.mean(axis=0)) < 5.0 * error + 2.0 * own).all()


@each_corruption
def test_a_noisy_code_is_shrunk(name, random_seed):
    covariance = covariance_of(centred(60, 4, random_seed))
    path = path_of(covariance, name, 0.5, 4)
    gain = np.trace(path.encoder @ path.decoder)
    errors = [
        expected_error(covariance, CORRUPTIONS[name], 0.5, matrix)
        for matrix in (path.encoder @ path.decoder, np.eye(4), np.zeros((4, 4)))
    ]
    assert gain < 4.0
    assert errors[0] < min(errors[1:])


@each_corruption
def test_deviations_are_those_of_the_code_of_corrupted_rows(name, random_seed):
    X = centred(2000, 3, random_seed)
    path = path_of(covariance_of(X), name, 0.3, 2)
    draws = generator(random_seed)
    noisy = CORRUPTIONS[name].corrupt(torch.from_numpy(X), 0.3, draws).numpy()
    # Second moments of 2000 rows err by some sqrt(2 / 2000), half of it of a deviation.
    np.testing.assert_allclose((noisy @ path.encoder).std(axis=0), path.deviations, rtol=0.1)


@pytest.mark.parametrize("noise", [{}, {"added": 0.5}, {"kept": 0.7, "added": 0.1}])
@pytest.mark.parametrize("k", [2, 5, 8])
def test_rank_deficient_rows_and_more_units_than_columns(noise, k, random_seed):
    """Rank two in five columns: two units reconstruct as many do, and those beyond d are zero."""
    rng = np.random.default_rng(random_seed)
    X = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 5))
    covariance = covariance_of(X - X.mean(axis=0))
    path, least = linear_path(covariance, k, **noise), linear_path(covariance, 2, **noise)
    assert path.encoder.shape == (5, k)
    np.testing.assert_allclose(
        X @ path.encoder @ path.decoder, X @ least.encoder @ least.decoder, atol=1e-10
    )
    if not noise:
        np.testing.assert_allclose(X @ path.encoder @ path.decoder, X, atol=1e-10)
    assert not path.encoder[:, 5:].any()
    assert not path.decoder[5:].any()
    assert not path.deviations[5:].any()
    known = path.decoder[:5]
    np.testing.assert_allclose(known @ known.T, np.eye(len(known)), atol=1e-12)


def test_a_path_among_more_columns_knows_its_own_alone(random_seed):
    X = centred(50, 3, random_seed)
    path, own = linear_path(covariance_of(X), 4), np.array([True, False, True, True, False])
    wide = np.zeros((50, 5))
    wide[:, own] = X
    found = path.among(own)
    assert found.encoder.shape == found.decoder.T.shape == (5, 4)
    code = (wide + 7.0 * ~own) @ found.encoder
    np.testing.assert_allclose(code, X @ path.encoder)
    np.testing.assert_allclose((code @ found.decoder)[:, own], X, atol=1e-10)
    assert not (code @ found.decoder)[:, ~own].any()


@pytest.mark.parametrize("noise", [{}, {"added": np.array([0.5, 0.5, 0.0])}, {"kept": 0.7}])
def test_a_constant_column_is_neither_read_nor_written_to(noise, random_seed):
    X = np.column_stack([centred(50, 2, random_seed), np.zeros(50)])
    path = linear_path(covariance_of(X), 2, **noise)
    np.testing.assert_allclose(path.encoder[2], 0.0, atol=1e-12)
    np.testing.assert_allclose(path.decoder[:, 2], 0.0, atol=1e-12)
