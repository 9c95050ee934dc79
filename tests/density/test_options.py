"""What "auto" stands for, and what was chosen."""

from types import SimpleNamespace

import numpy as np
import pytest

from skrae import RegularizedAutoEncoderScore
from skrae.autoencoders.decoders.registry import DECODERS
from skrae.density.fit.base import base_sizes
from skrae.density.fit.fitting import patience
from skrae.density.options import (
    check_options,
    chosen_network_options,
    resolved_options,
)
from tests.density.estimators import quick_estimator


@pytest.mark.parametrize("name", DECODERS)
def test_auto_stands_for_what_the_decoder_says(name):
    decoder = DECODERS[name]
    model = quick_estimator(decoder=name, hidden_layer_sizes="auto")
    check_options(model)
    options = resolved_options(model)
    assert options.activation == decoder.activations[0]
    assert options.hidden_layer_sizes == decoder.hidden_layer_sizes
    assert options.noise_covariance == decoder.noise_covariances[0]
    assert options.calibration_weight == decoder.calibration_weight


@pytest.mark.parametrize(
    ("n_rows", "most"), [(100, 64), (4000, 64), (4001, 250), (16_000, 1000), (10**6, 2048)]
)
def test_more_rows_bear_more_components(n_rows, most):
    options = resolved_options(RegularizedAutoEncoderScore())
    assert base_sizes(options, n_rows)[0] == most
    assert base_sizes(options._replace(max_components=7), n_rows)[0] == 7


@pytest.mark.parametrize(
    ("n_components", "d", "checks"), [(1, 2, 3), (513, 2, 3), (514, 2, 1), (1, 60, 3), (1, 61, 1)]
)
def test_a_large_base_is_tried_fewer_times(n_components, d, checks):
    options, base = resolved_options(RegularizedAutoEncoderScore()), SimpleNamespace()
    base.weights, base.n_features = np.ones(n_components), d
    assert patience(options, base) == checks
    assert patience(options._replace(n_iter_no_change=7), base) == 7


def test_options_that_are_given_are_kept():
    given = {"activation": "tanh", "noise_covariance": "isotropic", "calibration_weight": 1}
    options = resolved_options(quick_estimator(**given))
    assert {name: getattr(options, name) for name in given} == given
    assert options.hidden_layer_sizes == (16, 16)


@pytest.mark.parametrize("sizes", [8, (8, 8), [8], np.array([8]), np.array([8, 8])])
def test_layers_given_as_any_sequence_are_chosen(sizes):
    assert chosen_network_options(RegularizedAutoEncoderScore()) == []
    model = RegularizedAutoEncoderScore(hidden_layer_sizes=sizes)
    assert chosen_network_options(model) == ["hidden_layer_sizes"]


def test_bias_correction_trains_the_paper_alone_on_isotropic_noise():
    options = resolved_options(quick_estimator(bias_correction=True))
    assert (options.noise_covariance, options.calibration_weight) == ("isotropic", 0.0)
