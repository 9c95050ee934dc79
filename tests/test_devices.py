"""device="cuda" keeps tensors together, and answers as the processor with the same numbers does."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from skrae import AutoEncoder, InfoMaxEncoder, RAESampler, RegularizedAutoEncoderScore
from skrae.mixtures.growth import nearest
from tests.density.estimators import ROW_QUESTIONS, quick_estimator
from tests.pretended_device import pretended_cuda


def rows(n=400, d=3):
    """Around a circle in the first two of d columns."""
    rng = np.random.default_rng(0)
    angle, X = rng.uniform(0.0, 2 * np.pi, n), 0.3 * rng.standard_normal((n, d))
    X[:, :2] += 3.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    return X


def raw_table(n=400):
    """A frame with a category, whole numbers and holes."""
    rng, X = np.random.default_rng(1), rows(n)
    side = np.where(X[:, 0] > 0.0, "right", "left")
    frame = pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "side": pd.Categorical(side)})
    frame["count"] = rng.poisson(2.0 + np.abs(X[:, 0]))
    frame.loc[rng.random(n) < 0.1, "x"] = np.nan
    return frame


def asked(model, X, questions=ROW_QUESTIONS):
    """The answers of a model, each as one array."""
    return {name: numbers(getattr(model, name)(X)) for name in questions}


def numbers(answer):
    """The numbers of an array, a frame or several of them, one after the other."""
    if isinstance(answer, tuple):
        return np.concatenate([numbers(part) for part in answer])
    if isinstance(answer, pd.DataFrame):
        return numbers(pd.get_dummies(answer).to_numpy(float))
    return np.ravel(answer)


def assert_same(make, X, questions=ROW_QUESTIONS, then=lambda model: model):
    """The model that `make` gives answers the same on both devices; the one of the device."""
    expected = asked(then(make("cpu").fit(X)), X[:20], questions)
    with pretended_cuda() as computed:
        model = then(make("cuda").fit(X))
        n_of_fit = len(computed)
        found = asked(model, X[:20], questions)
        assert len(computed) > n_of_fit > 0
    for name, answer in expected.items():
        assert_allclose(found[name], answer, rtol=1e-5, atol=1e-5, err_msg=name)
    return model


# --- the device itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "compute",
    [
        lambda near, far: near + far,
        lambda near, far: torch.cat([far, near]),
        lambda near, far: near[far.long()],
        lambda near, far: far.index_put_((far.long(),), near),
        lambda near, far: torch.stack([far[0], near[0]]),
        lambda near, far: near[0].add_(far[0]),
        lambda near, far: far.numpy(),
        lambda near, far: torch.rand(3, device="cuda", generator=torch.Generator("cpu")),
        lambda near, far: torch.rand(3, generator=torch.Generator("cuda")),
        lambda near, far: far.normal_(generator=torch.Generator("cpu")),
    ],
)
def test_what_a_device_refuses_is_refused(compute):
    with pretended_cuda(), pytest.raises((RuntimeError, TypeError), match="device"):
        compute(torch.ones(3), torch.ones(3, device="cuda"))


def test_what_a_device_takes_is_taken():
    before = torch.cuda.is_available()
    with pretended_cuda():
        far = torch.arange(3.0, device="cuda", requires_grad=True)
        (gradient,) = torch.autograd.grad((far.square() * torch.tensor(2.0)).sum(), far)
        assert gradient.device == far.device != torch.ones(1).device
        assert gradient.tolist() == [0.0, 4.0, 8.0]
        assert far.detach()[torch.tensor([2])].numpy(force=True) == [2.0]
        assert (far.detach() @ torch.eye(3, device="cuda")).shape == (3,)
    assert torch.cuda.is_available() == before


# --- what runs on it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"noise_covariance": "local", "contraction_weight": 0.01},
        {"bias_correction": True},
        {"decoder": "free", "max_iter": 60},
        {"decoder": "tied", "hidden_layer_sizes": (16,)},
        {"decoder": "kernel", "hidden_layer_sizes": (64,)},
    ],
    ids=str,
)
def test_a_network_and_its_questions(options):
    def make(device):
        return quick_estimator(**{"max_iter": 30, **options}, device=device)

    model = assert_same(make, rows())
    assert model.network_gain_ > 0.0 or options.get("decoder") == "tied"


def test_an_average_with_radial_units():
    def make(device):
        return RegularizedAutoEncoderScore(
            max_iter=5, max_mixtures=1, max_components=4, random_state=0, device=device
        )

    assert assert_same(make, rows(300, 2)).radial_units_


def test_a_network_over_many_components_of_many_columns(monkeypatch):
    """Whose noise is local, by the few components that a row is likely of; it gains nothing."""
    monkeypatch.setattr(nearest, "MIN_COMPONENTS", 2)
    monkeypatch.setattr(nearest, "MIN_ROWS_OF_FEW", 100)
    monkeypatch.setattr(nearest, "MORE", 2)
    X = rows(300, 61)
    X *= np.repeat([0.2, 5.0], 150)[:, None]

    def make(device):
        options = {"max_iter": 2, "max_mixtures": 1, "max_components": 4, "margins": "identity"}
        return RegularizedAutoEncoderScore(**options, random_state=0, device=device)

    questions = "score_samples", "log_density_gradient", "transform"
    assert len(assert_same(make, X, questions).base_weights_) > 2


def test_raw_tables():
    def make(device):
        return quick_estimator(device=device)

    model = assert_same(make, raw_table(), ("score_samples", "base_log_density", "transform"))
    assert model.network_gain_ > 0.0


def test_chains_and_holes():
    def drawn(model):
        assert model.network_gain_ > 0.0
        options = {"n_chains": 4, "n_warmup": 20, "random_state": 0}
        chains = RAESampler(model, **options).sample_chains(20)
        gaps = np.where(np.arange(3) == 1, np.nan, X[:5])
        return chains.draws, RAESampler(model, random_state=0).impute(gaps, n_samples=10)

    X = rows()
    expected = drawn(quick_estimator().fit(X))
    with pretended_cuda() as computed:
        model = quick_estimator(device="cuda").fit(X)
        n_of_fit = len(computed)
        found = drawn(model)
        assert len(computed) > n_of_fit
    for here, there in zip(expected, found, strict=True):
        assert_allclose(there, here, rtol=1e-5, atol=1e-5)


def test_streams_and_warm_starts():
    def make(device):
        return quick_estimator(warm_start=True, device=device)

    assert_same(make, rows(), then=lambda model: model.fit(rows()).partial_fit(rows(100)))


@pytest.mark.parametrize("make", [AutoEncoder, InfoMaxEncoder])
def test_encoders(make):
    X = rows()
    expected = make(2, max_iter=3, random_state=0, device="cpu").fit(X).transform(X)
    with pretended_cuda() as computed:
        found = make(2, max_iter=3, random_state=0, device="cuda").fit(X).transform(X)
        assert computed
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
