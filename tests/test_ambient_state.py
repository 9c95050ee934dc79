"""Fits, questions and samplers give the same answers whatever state the caller has set."""

import multiprocessing
from contextlib import ExitStack, contextmanager, nullcontext

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.neighbors import KernelDensity

from skrae import DensityOutlierDetector, RAESampler, RegularizedAutoEncoderScore
from skrae.metrics import hyvarinen_score
from tests.autoencoders.transformers.estimators import MEMBERS, bent_sheet, member
from tests.density.estimators import quick_estimator
from tests.interruptions import ambient


@contextmanager
def default_device(name):
    """A default device, set as users set it."""
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype):
    """A default dtype of the process."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def array_api():
    """scikit-learn's dispatch, which asks whether SciPy's is on too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIPY_ARRAY_API", "1")
        with config_context(array_api_dispatch=True):
            yield


STATES = {
    "none": nullcontext,
    "no grad": torch.no_grad,
    "inference": torch.inference_mode,
    "default device": lambda: default_device("meta"),
    "device context": lambda: torch.device("meta"),
    "double": lambda: default_dtype(torch.float64),
    "half": lambda: default_dtype(torch.float16),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "array api": array_api,
}


@contextmanager
def everything():
    """All of them at once."""
    with ExitStack() as stack:
        for state in list(STATES.values()):
            stack.enter_context(state())
        yield


def models():
    """One of each kind of fit: a network, radial units, margins, each decoder."""
    yield "network", quick_estimator()
    yield "averaged", RegularizedAutoEncoderScore(max_iter=20, max_mixtures=1, random_state=0)
    for decoder in ("free", "tied", "kernel"):
        yield decoder, quick_estimator(decoder=decoder, hidden_layer_sizes=(16,))
    yield "corrected", quick_estimator(bias_correction=True)


MODELS = dict(models())


def table():
    """Rows of a ring, in columns of two units."""
    angles = np.random.default_rng(0).uniform(0.0, 6.0, 150)
    noise = 0.1 * np.random.default_rng(1).standard_normal((150, 2))
    return np.stack([np.cos(angles), np.sin(angles)], 1) * [1.0, 50.0] + noise


def answers(model, X):
    """Everything that can be asked of a fitted model and of chains on it."""
    asked = X[:20]
    holed = np.where([[False, True]], np.nan, asked[:3])
    yield model.score_samples(asked), model.score(asked), model.base_log_density(asked)
    yield model.log_density_gradient(asked), model.log_density_hessian(asked)
    yield model.transform(asked), model.reconstruct(asked), *model.local_moments(asked)
    yield hyvarinen_score(model, asked), model.sample(50, random_state=0)
    if hasattr(model, "decoder") and model.decoder in ("free", "tied"):
        yield model.inverse_transform(model.transform(asked))
    sampler = RAESampler(model, n_chains=4, n_warmup=32, random_state=0)
    chains = sampler.sample_chains(20)
    yield chains.draws, sampler.sample_chains(5, continue_from=chains).draws
    yield sampler.sample_conditional(holed, 8), sampler.impute(holed, 8)


def all_answers(model, X):
    """The same, as one array."""
    parts = [np.ravel(part) for group in answers(model, X) for part in group]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def X():
    return table()


@pytest.fixture(scope="module")
def expected(X):
    """By model, the answers outside of any state; fitted when first asked for."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = all_answers(MODELS[name].fit(X), X)
        return found[name]

    return of


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:With .* no network")
@pytest.mark.parametrize(
    ("name", "state"),
    [("network", state) for state in list(STATES)[1:]] + [(name, "everything") for name in MODELS],
)
def test_same_answers_in_every_state(name, state, X, expected):
    """Bit for bit; and the state is left as it was."""
    right = expected(name)
    with everything() if state == "everything" else STATES[state]():
        before = ambient()
        found = all_answers(MODELS[name].fit(X), X)
        assert ambient() == before
    np.testing.assert_array_equal(found, right)


def test_a_model_of_one_state_answers_in_another(X):
    with torch.inference_mode():
        model = quick_estimator().fit(X)
        model.score_samples(X)
    assert np.isfinite(model.log_density_hessian(X)).all()


@pytest.mark.parametrize("state", ["none", "array api"])
def test_tensors_are_rows(state, X):
    tensor = torch.tensor(X, requires_grad=True)
    with STATES[state]():
        model = quick_estimator().fit(tensor, sample_weight=torch.ones(len(X)))
        found = model.score_samples(tensor)
        filled = RAESampler(model, random_state=0).impute(tensor[:2] * torch.tensor([1, torch.nan]))
    model = quick_estimator().fit(X, sample_weight=np.ones(len(X)))
    np.testing.assert_array_equal(found, model.score_samples(X))
    holed = X[:2] * np.array([1, np.nan])
    np.testing.assert_array_equal(filled, RAESampler(model, random_state=0).impute(holed))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_foreign_densities_are_sampled_in_every_state(X):
    sampler = RAESampler(KernelDensity().fit(X), base_density=X, n_warmup=32, random_state=0)
    right = sampler.sample_chains(20).draws
    with everything():
        np.testing.assert_array_equal(sampler.sample_chains(20).draws, right)


def codes_and_rows(name):
    """What an auto-encoder answers after a fit, as one array."""
    X = bent_sheet(80, 0)
    model = member(name, max_iter=10).fit(X, sample_weight=np.linspace(0.5, 1.5, 80))
    codes, holed = model.transform(X), np.where([[True] + 4 * [False]], np.nan, X)
    parts = codes, model.inverse_transform(codes), model.reconstruct(X), model.impute(holed)
    parts += model.components_, model.reconstruction_error(X), model.score(X)
    return np.concatenate([np.ravel(part) for part in (*parts, model.validation_curve_)])


@pytest.mark.parametrize("name", MEMBERS)
def test_auto_encoders_answer_the_same_in_every_state(name):
    """Bit for bit, in each state and in all of them at once; and the state is left as it was."""
    right = codes_and_rows(name)
    for state in (*STATES.values(), everything):
        with state():
            before = ambient()
            found = codes_and_rows(name)
            assert ambient() == before
        np.testing.assert_array_equal(found, right)


def test_detectors_answer_the_same_in_every_state(X):
    model = DensityOutlierDetector(random_state=0)
    right = model.fit(X, sample_weight=np.ones(len(X))).explain(X)
    rows = torch.tensor(X, requires_grad=True)
    for state in (*STATES.values(), everything):
        with state():
            before = ambient()
            found = model.fit(rows, sample_weight=torch.ones(len(X), device="cpu")).explain(rows)
            assert ambient() == before
        np.testing.assert_array_equal(found, right)


def test_geodesic_auto_encoders_answer_the_same_in_every_state():
    X = bent_sheet(80, 0)
    model = member("distance", distance="geodesic", max_iter=10)
    right = model.fit(X).transform(X)
    with everything():
        np.testing.assert_array_equal(model.fit(X).transform(X), right)


def test_tensors_are_rows_of_auto_encoders():
    X = bent_sheet(80, 0)
    tensor = torch.tensor(X, requires_grad=True)
    model = member("plain", max_iter=10).fit(tensor, sample_weight=torch.ones(80))
    codes = model.transform(tensor)
    np.testing.assert_array_equal(codes, member("plain", max_iter=10).fit(X).transform(X))
    np.testing.assert_array_equal(
        model.inverse_transform(torch.tensor(codes)), model.inverse_transform(codes)
    )


def _fit_in_fork(X, answer):
    threads = torch.get_num_threads()
    model = quick_estimator().fit(X)
    answer.put((model.score(X), threads, torch.get_num_threads()))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no forks"
)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_fits_and_keeps_its_threads(X):
    """After work of several threads in the parent, for which the child would wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.ones(2000, 2000) @ torch.ones(2000, 2000)
        model = quick_estimator().fit(X)
        context = multiprocessing.get_context("fork")
        answer = context.Queue()
        child = context.Process(target=_fit_in_fork, args=(X, answer))
        child.start()
        score, threads, later = answer.get(timeout=120)
        child.join(timeout=120)
    finally:
        torch.set_num_threads(before)
    assert score == pytest.approx(model.score(X), abs=1e-3)
    assert threads == later == 2
