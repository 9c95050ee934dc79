"""Distortion of decoders with known Jacobians, sparseness of known rows, bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae.metrics import codes, decoder_distortion, hoyer_sparseness

SMALL = st.integers(0, 2**32 - 1)


class Decoder:
    """A function of codes as a fitted object, which counts the codes it is given at a time."""

    def __init__(self, function):
        self.function, self.asked = function, []

    def inverse_transform(self, Z):
        self.asked.append(len(Z))
        return self.function(Z)


def linear(singular_values, d, seed):
    """A decoder z -> A z + 7 whose A has these singular values."""
    rng, k = np.random.default_rng(seed), len(singular_values)
    left = np.linalg.qr(rng.standard_normal((d, k)))[0]
    right = np.linalg.qr(rng.standard_normal((k, k)))[0]
    return Decoder(lambda Z: Z @ (left * singular_values @ right).T + 7.0)


def normal_codes(n, k, seed):
    return np.random.default_rng(seed).standard_normal((n, k))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_pca_has_none(k):
    X = load_iris().data
    pca = PCA(k).fit(X)
    assert decoder_distortion(pca, pca.transform(X)) < 1e-6


@settings(max_examples=20)
@given(
    seed=SMALL, s=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=5), extra=st.integers(0, 3)
)
def test_linear_decoder_has_that_of_its_singular_values(seed, s, extra):
    s, Z = np.array(s), normal_codes(20, len(s), seed)
    expected = len(s) * sum(s**4) / sum(s**2) ** 2 - 1
    found = decoder_distortion(linear(s, len(s) + extra, seed), Z)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_pipeline_is_judged_in_the_units_of_its_rows():
    X = load_iris().data
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    jacobian = pipeline[-1].components_ * pipeline[0].scale_
    s = np.linalg.svd(jacobian, compute_uv=False)
    expected = 2 * sum(s**4) / sum(s**2) ** 2 - 1
    assert expected > 0.01
    assert decoder_distortion(pipeline, pipeline.transform(X)) == pytest.approx(expected, rel=1e-8)


def swirl(Z):
    """A bent surface in three dimensions, with its Jacobian below."""
    return np.column_stack([Z[:, 0] + 0.3 * Z[:, 1] ** 2, np.sin(Z[:, 1]), Z[:, 0] * Z[:, 1]])


def swirl_jacobian(z):
    return np.array([[1.0, 0.6 * z[1]], [0.0, np.cos(z[1])], [z[1], z[0]]])


def test_bent_decoder_has_the_spread_of_its_squared_stretches(random_seed):
    Z = normal_codes(50, 2, random_seed)
    stretches = [np.linalg.svd(swirl_jacobian(z), compute_uv=False) ** 2 for z in Z]
    expected = np.var(stretches) / np.mean(stretches) ** 2
    assert decoder_distortion(Decoder(swirl), Z) == pytest.approx(expected, rel=1e-5)
    finer = decoder_distortion(Decoder(swirl), Z, step=1e-5)
    assert finer == pytest.approx(expected, rel=1e-8)


def test_isometric_curve_has_none_and_another_speed_has_its_variance(random_seed):
    Z = normal_codes(50, 1, random_seed)
    circle = Decoder(lambda Z: 5.0 * np.column_stack([np.cos(Z), np.sin(Z)]))
    assert decoder_distortion(circle, Z) < 1e-10
    speed = np.exp(2 * Z)
    expected = np.var(speed) / np.mean(speed) ** 2
    assert decoder_distortion(Decoder(np.exp), Z, step=1e-5) == pytest.approx(expected, rel=1e-7)


@settings(max_examples=20)
@given(seed=SMALL, factor=st.floats(1e-3, 1e3), shift=st.floats(-10.0, 10.0))
def test_unit_turn_and_place_of_codes_change_nothing(seed, factor, shift):
    Z = normal_codes(20, 2, seed)
    turn = np.linalg.qr(normal_codes(2, 2, seed + 1))[0]
    other = Decoder(lambda codes: 3.0 * swirl((codes - shift) @ turn.T / factor))
    before = decoder_distortion(Decoder(swirl), Z, step=1e-5)
    found = decoder_distortion(other, factor * Z @ turn + shift, step=1e-5)
    assert found == pytest.approx(before, rel=1e-4)


def test_blocks_of_codes_give_the_same(monkeypatch, random_seed):
    Z = normal_codes(50, 2, random_seed)
    whole, parts = Decoder(swirl), Decoder(swirl)
    expected = decoder_distortion(whole, Z)
    assert whole.asked == [1, 200]
    # 2 ends x 2 directions x 3 numbers for each code: 7 codes at a time.
    monkeypatch.setattr(codes, "BLOCK_NUMBERS", 2 * 2 * 3 * 7 + 5)
    assert decoder_distortion(parts, Z) == pytest.approx(expected, rel=1e-12)
    assert parts.asked == [1] + [28] * 7 + [4]


def test_constant_component_is_stepped_as_far_as_the_others(random_seed):
    Z = normal_codes(30, 2, random_seed)
    # 0.1 is no binary fraction: the variance of thirty such does not round to 0.
    Z[:, 1] = 0.1
    expected = 2 * (1 + 3.0**4) / (1 + 3.0**2) ** 2 - 1
    assert decoder_distortion(Decoder(lambda Z: Z * [1.0, 3.0]), Z) == pytest.approx(expected)


@pytest.mark.parametrize("given_as", [np.float32, torch.tensor, np.ndarray.tolist])
def test_containers_of_codes_and_of_rows(given_as, random_seed):
    pandas = pytest.importorskip("pandas")
    Z = normal_codes(30, 2, random_seed)
    expected = decoder_distortion(Decoder(swirl), Z)
    for answer in (pandas.DataFrame, torch.tensor, np.float32):
        decoder = Decoder(lambda Z, answer=answer: answer(swirl(Z)))
        found = decoder_distortion(decoder, given_as(Z))
        assert type(found) is float
        assert found == pytest.approx(expected, rel=1e-2)


def test_bad_decoders_and_codes_are_refused():
    Z, identity = normal_codes(10, 2, 0), Decoder(lambda Z: Z)
    with pytest.raises(TypeError, match="Got StandardScaler without inverse_transform, expected"):
        decoder_distortion(type("StandardScaler", (), {})(), Z)
    with pytest.raises(ValueError, match=r"Got Z of 10 equal row\(s\), expected at least two"):
        decoder_distortion(identity, np.full((10, 2), 0.1))
    with pytest.raises(ValueError, match=r"Got Z of 1 equal row\(s\)"):
        decoder_distortion(identity, Z[:1])
    with pytest.raises(ValueError, match="Input Z contains NaN"):
        decoder_distortion(identity, np.where(Z > 1.0, np.nan, Z))
    with pytest.raises(ValueError, match="Input decoded rows contains infinity"):
        decoder_distortion(Decoder(lambda Z: np.where(Z > 0.5, np.inf, Z)), Z)
    with pytest.raises(ValueError, match="Got Decoder that decodes all codes to one row"):
        decoder_distortion(Decoder(np.ones_like), Z)
    for step, error in ((0.0, ValueError), (-1, ValueError), ("a", TypeError)):
        with pytest.raises(error, match=f"Got step={step!r}, expected a finite number > 0"):
            decoder_distortion(identity, Z, step=step)


def slow_hoyer(z):
    k = len(z)
    return (k**0.5 - sum(abs(z)) / sum(z**2) ** 0.5) / (k**0.5 - 1) if any(z) else 1.0


def test_sparseness_is_that_of_the_slow_sum(random_seed):
    rng = np.random.default_rng(random_seed)
    Z = rng.standard_normal((40, 6)) * (rng.random((40, 6)) < 0.4)
    Z[3] = 0.0
    expected = np.mean([slow_hoyer(z) for z in Z])
    assert hoyer_sparseness(Z) == pytest.approx(expected, rel=1e-13)
    assert hoyer_sparseness(torch.tensor(Z)) == hoyer_sparseness(Z.tolist()) == hoyer_sparseness(Z)


@pytest.mark.parametrize("k", [2, 3, 100])
@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_sparseness_at_its_ends(k, size):
    assert hoyer_sparseness(np.full((4, k), -size)) == pytest.approx(0.0, abs=1e-14)
    assert hoyer_sparseness(size * np.eye(k)) == 1.0
    assert hoyer_sparseness(np.zeros((4, k))) == 1.0


@given(seed=SMALL, k=st.integers(2, 8))
def test_sparseness_of_scaled_and_permuted_rows(seed, k):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((10, k))
    found = hoyer_sparseness(Z)
    assert 0.0 <= found <= 1.0
    assert hoyer_sparseness(Z * rng.lognormal(size=(10, 1))) == pytest.approx(found, rel=1e-12)
    assert hoyer_sparseness(rng.permuted(Z, axis=1)) == pytest.approx(found, rel=1e-12)
    assert hoyer_sparseness(np.hstack([Z, np.zeros_like(Z)])) > found


def test_bad_codes_have_no_sparseness():
    with pytest.raises(ValueError, match="Got Z of 1 component, expected at least 2"):
        hoyer_sparseness(np.ones((5, 1)))
    with pytest.raises(ValueError, match="Input Z contains NaN"):
        hoyer_sparseness([[1.0, np.nan]])
