"""A decoder more takes one class and one line of the registry; all else works with it as it is."""

import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.model_selection import GridSearchCV

from skrae.autoencoders import layers
from skrae.autoencoders.decoders.decoder import Decoder
from skrae.autoencoders.decoders.registry import DECODERS
from skrae.datasets import MixtureOfGaussians
from tests.density.estimators import quick_estimator

BOUND = 3.0


class ShallowDecoder(layers.Layers, Decoder):
    """f = B(sum_k s_k h_k + o) with h = tanh(z W + b), its gradient written out."""

    activations = ("tanh",)
    noise_covariances = ("isotropic",)
    hidden_layer_sizes = (16,)
    calibration_weight = 4.0

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        return layers.initial_parameters(n_features, sizes, generator, device)

    def localise(self, parameters, rows, whiteners, generator):
        return parameters

    @classmethod
    def encoder_depth(cls, n_layers):
        return n_layers - 1

    def code(self, z, parameters):
        return torch.tanh(torch.addmm(parameters[1], z, parameters[0]))

    def decode(self, code, parameters):
        raise ValueError("Got decoder='shallow', expected one that decodes.")

    def head_input(self, z, parameters, log_q):
        head = layers.head_of(parameters)
        return (self.code(z, parameters) @ head.scale + head.offset)[:, 0]

    def bound(self, u):
        return math.log1p(math.exp(BOUND)) - F.softplus(BOUND - u)

    def evaluate(self, z, parameters, log_q, base_gradient, create_graph=False):
        u = self.head_input(z, parameters, log_q)
        slope = 1.0 - self.code(z, parameters).square()
        pull = slope * layers.head_of(parameters).scale[:, 0]
        return self.bound(u), torch.sigmoid(BOUND - u)[:, None] * (pull @ parameters[0].T)

    def training_score(self, z, parameters, base_gradient):
        f, gradient = self.evaluate(z, parameters, None, base_gradient)
        return f, gradient + base_gradient

    def training_tilts(self, f, rows, draws, parameters, generator):
        return f, self.log_tilt(draws[0], parameters, draws[1])


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(DECODERS, "shallow", ShallowDecoder)


@pytest.fixture
def X():
    """Two modes, which one Gaussian does not have."""
    means = [[-1.5, 0.0], [1.5, 0.5]]
    return MixtureOfGaussians([0.5, 0.5], means, [0.2 * np.eye(2)] * 2).sample(600, 0)


def test_fourth_decoder_fits_answers_and_samples(X):
    options = {"decoder": "shallow", "hidden_layer_sizes": "auto", "contraction_weight": 0.01}
    model = quick_estimator(**options).fit(X)
    assert model.transform(X).shape == (600, 16)
    assert list(model.get_feature_names_out())[-1] == "regularizedautoencoderscore15"
    slopes = [
        model.score_samples(X[:9] + step) - model.score_samples(X[:9] - step)
        for step in 1e-4 * np.eye(2)
    ]
    gradient = model.log_density_gradient(X[:9])
    np.testing.assert_allclose(np.transpose(slopes) / 2e-4, gradient, rtol=1e-4, atol=1e-5)
    assert model.log_density_hessian(X[:9]).shape == (9, 2, 2)
    assert model.reconstruct(X).shape == X.shape
    assert model.sample(50, 0).shape == (50, 2)
    with pytest.raises(ValueError, match="expected one that decodes"):
        model.inverse_transform(model.transform(X))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    again.set_params(warm_start=True).fit(X)


def test_fourth_decoder_learns_what_the_base_lacks(X):
    model = quick_estimator(decoder="shallow", hidden_layer_sizes=32, max_iter=300).fit(X)
    assert model.network_gain_ > 0.2


def test_fourth_decoder_is_searched_over(X):
    search = GridSearchCV(
        quick_estimator(hidden_layer_sizes=4, max_iter=12), {"decoder": ["shallow", "tied"]}, cv=2
    ).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_options_of_the_fourth_decoder_are_checked_as_those_of_others(X):
    model = quick_estimator(decoder="shallow", activation="silu")
    with pytest.raises(ValueError, match=r"Got activation='silu', expected .*\['tanh'\]"):
        model.fit(X)


def test_a_decoder_without_its_methods_is_none():
    class Unfinished(Decoder):
        """Nothing but the name."""

    with pytest.raises(TypeError, match="abstract"):
        Unfinished("silu", 1.0, None)
