"""The public contract of the three decoders: answers, errors, few rows, continuation, sampling."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_equal
from scipy.special import log1p
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skrae import RAESampler, RegularizedAutoEncoderScore, datasets
from tests.density.estimators import held_out_rows, interrupt_after, quick_estimator

DECODERS = "gradient", "free", "tied", "kernel"
each_decoder = pytest.mark.parametrize("decoder", DECODERS)
with_a_code_to_decode = pytest.mark.parametrize("decoder", ["free", "tied"])
# Enough that each beats one Gaussian on the ring.
LEARNING = {
    "gradient": {"hidden_layer_sizes": (32, 32), "max_iter": 120},
    "free": {"hidden_layer_sizes": (12,), "max_iter": 40},
    "tied": {"hidden_layer_sizes": (32,), "max_iter": 150},
    "kernel": {"hidden_layer_sizes": (60,), "noise_level": 0.1},
}
HIDDEN = {"silu": lambda u: u / (1.0 + np.exp(-u)), "sigmoid": lambda u: 1.0 / (1.0 + np.exp(-u))}
BOUND, SHARPNESS = 5.0, 4.0


def small(decoder, **options):
    """A fit of a moment."""
    tiny = {"noise_level": 0.5, "hidden_layer_sizes": 6, "max_iter": 6}
    return quick_estimator(decoder=decoder, **{**tiny, **options})


@pytest.fixture(scope="module")
def X():
    """Rows of a thickened circle, in unequal units: the same for every seed, as much is fitted."""
    return datasets.Ring().sample(300, 0) * [1.0, 20.0] + [0.0, 100.0]


@pytest.fixture(scope="module")
def models(X):
    """A fitted model of each decoder, for tests that leave it as it is."""
    return {
        decoder: quick_estimator(decoder=decoder, **LEARNING[decoder]).fit(X)
        for decoder in DECODERS
    }


# Answers


@each_decoder
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_shapes_and_dtypes(decoder, dtype, models, X):
    model, rows = models[decoder], X[:7].astype(dtype)
    k = LEARNING[decoder]["hidden_layer_sizes"][-1]
    means, covariances = model.local_moments(rows)
    answers = {
        (7,): [model.score_samples(rows), model.base_log_density(rows)],
        (7, 2): [model.log_density_gradient(rows), model.reconstruct(rows), means],
        (7, 2, 2): [model.log_density_hessian(rows), covariances],
        (7, k): [model.transform(rows)],
    }
    if decoder in ("free", "tied"):
        answers[7, 2].append(model.inverse_transform(model.transform(rows)))
    for shape, found in answers.items():
        for answer in found:
            assert answer.shape == shape
            assert answer.dtype == dtype
            assert np.isfinite(answer).all()
    np.testing.assert_array_equal(means, model.reconstruct(rows))
    assert (np.linalg.eigvalsh(covariances) > -1e-6 * np.abs(covariances).max()).all()
    assert isinstance(model.score(rows), float)
    names = [f"regularizedautoencoderscore{j}" for j in range(k)]
    assert model.get_feature_names_out().tolist() == names
    assert model.sample(3, random_state=0).shape == (3, 2)


@with_a_code_to_decode
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_decoded_codes_are_the_reconstruction(decoder, dtype, models, X):
    model, rows = models[decoder], X.astype(dtype)
    found = model.inverse_transform(model.transform(rows))
    limit = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(found, model.reconstruct(rows), rtol=limit, atol=100.0 * limit)
    assert found.std(axis=0).min() > 0.1
    as_list = model.inverse_transform(model.transform(rows[:2]).tolist())
    np.testing.assert_allclose(as_list, found[:2], rtol=limit, atol=100.0 * limit)


def plain_layers(model, X):
    """Code and reconstruction by NumPy, from public attributes."""
    h = (X - model.location_) @ model.whitening_
    layers = list(zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True))
    hidden = HIDDEN[{"free": "silu", "tied": "sigmoid"}[model.decoder]]
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight.astype(float) + bias
        if i + 1 < len(layers):
            h = hidden(h)
        if i + 1 == len(layers) // 2:
            code = h
    return code, h


@with_a_code_to_decode
def test_coefs_and_intercepts_are_all_of_the_reconstruction(decoder, models, X):
    model = models[decoder]
    code, z = plain_layers(model, X)
    np.testing.assert_allclose(model.transform(X), code, rtol=1e-9, atol=1e-12)
    expected = z @ np.linalg.inv(model.whitening_) + model.location_
    # Weights are float32; those of the tied decoder are kept in other units than z.
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=1e-6, atol=1e-5)


def test_decoder_mirrors_the_encoder(X):
    model = small("free", hidden_layer_sizes=(7, 4, 3)).fit(X[:60])
    shapes = [w.shape for w in model.coefs_]
    assert shapes == [(2, 7), (7, 4), (4, 3), (3, 4), (4, 7), (7, 2), (1, 1)]
    assert [b.shape for b in model.intercepts_] == [(7,), (4,), (3,), (4,), (7,), (2,), (1,)]
    code, _ = plain_layers(model, X)
    np.testing.assert_allclose(model.transform(X), code, rtol=1e-9, atol=1e-12)
    assert len(model.get_feature_names_out()) == 3


def test_tied_weights_are_tied(models):
    weight, back, _ = models["tied"].coefs_
    np.testing.assert_allclose(weight / weight[0, 0], back.T / back[0, 0], rtol=1e-5)


@with_a_code_to_decode
def test_log_density_by_numpy(decoder, models, X):
    """log p = log q + B(s (log p_r - log q) + o) - log Z, log p_r of closed form or by quadrature.

    log q is in the units of the rows, log p_r in those of working space.
    """
    model, rows = models[decoder], X[:20]
    z, tau = (rows - model.location_) @ model.whitening_, model.noise_level_**2
    log_det = np.linalg.slogdet(model.whitening_)[1]
    log_q = model.base_log_density(rows) - log_det
    if decoder == "tied":
        weight, offset = model.coefs_[0].astype(float), model.intercepts_[1]
        u = z @ weight + model.intercepts_[0]
        potential = log1p(np.exp(u)).sum(1) - ((z - offset) ** 2).sum(1) / (2.0 * tau)
    else:
        origin = model.base_weights_ @ model.base_means_
        t = np.linspace(0.0, 1.0, 1001)[:, None]
        potential = []
        for row in z:
            points = (origin + t * (row - origin)) @ np.linalg.inv(model.whitening_)
            r = plain_layers(model, points + model.location_)[1]
            along = (r - origin - t * (row - origin)) @ (row - origin) / tau
            potential.append(np.trapezoid(along, t[:, 0]))
    u = model.coefs_[-1].item() * (potential - log_q) + model.intercepts_[-1].item()
    f = u - log1p(np.exp(SHARPNESS * (u - BOUND))) / SHARPNESS
    expected = log_q + f - model.log_normalizer_ + log_det
    np.testing.assert_allclose(model.score_samples(rows), expected, atol=1e-4)
    assert np.ptp(u) > 0.5


@each_decoder
def test_density_integrates_to_one(decoder, models):
    """Over a grid that holds all but the tails of the base, within the error of log Z."""
    model = models[decoder]
    side = np.linspace(-5.0, 5.0, 161)
    z = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    X = z @ np.linalg.inv(model.whitening_) + model.location_
    cell = (side[1] - side[0]) ** 2 / abs(np.linalg.det(model.whitening_))
    mass = np.exp(model.score_samples(X)).sum() * cell
    base_tails = 1.0 - np.exp(model.base_log_density(X)).sum() * cell
    assert 0.0 < base_tails < 0.05
    # f cannot be above the bound in the tails, and is far below it there.
    assert abs(mass - 1.0) < 5.0 * model.log_normalizer_stderr_ + base_tails + 0.005
    assert model.network_gain_ > 0.05


@pytest.mark.parametrize("decoder", ["gradient", "tied"])
def test_score_is_the_gradient_of_the_log_density(decoder, models, X):
    """In the units of the rows, by finite differences."""
    model, rows, steps = models[decoder], X[:30], np.diag([1e-4, 2e-3])
    slopes = [
        (model.score_samples(rows + s) - model.score_samples(rows - s)) / (2.0 * s.sum())
        for s in steps
    ]
    np.testing.assert_allclose(model.log_density_gradient(rows), np.transpose(slopes), atol=1e-5)
    hessian = model.log_density_hessian(rows)
    np.testing.assert_allclose(hessian, hessian.transpose(0, 2, 1), rtol=1e-12)


def test_score_of_the_free_decoder_agrees_with_its_density_up_to_the_curl(models, X):
    """On the rows, in shares of the score's size."""
    model, steps = models["free"], np.diag([1e-4, 2e-3])
    slopes = np.transpose(
        [(model.score_samples(X + s) - model.score_samples(X - s)) / (2.0 * s.sum()) for s in steps]
    )
    units = np.linalg.inv(model.whitening_).T
    score, slopes = model.log_density_gradient(X) @ units, slopes @ units
    departure = np.linalg.norm(score - slopes) / np.linalg.norm(score)
    assert 0.0 < departure < 10.0 * model.curl_


def test_curl(models):
    assert models["gradient"].curl_ == models["tied"].curl_ == 0.0
    assert 0.0 < models["free"].curl_ < 0.4


@each_decoder
def test_model_is_never_worse_than_its_base_on_held_out_rows(decoder, models, X):
    model = models[decoder]
    held_out = held_out_rows(model, X)
    base = model.base_log_density(held_out).mean()
    assert model.base_score_ == pytest.approx(base, abs=0.05)
    assert model.score(held_out) >= base - 0.03
    assert model.score(held_out) == pytest.approx(base + model.network_gain_, abs=0.1)


@with_a_code_to_decode
def test_pure_noise_is_left_to_the_base(decoder, random_seed):
    """There the model is the base, whose score and Hessian it answers with; r is its own."""
    X = np.random.default_rng(random_seed).standard_normal((80, 3))
    model = small(decoder, max_iter=30).fit(X)
    held_out = held_out_rows(model, X)
    assert model.score(held_out) >= model.base_log_density(held_out).mean() - 0.03
    if model.network_gain_ == 0.0:
        assert model.log_normalizer_ == 0.0
        np.testing.assert_allclose(model.score_samples(X), model.base_log_density(X), rtol=1e-12)
        assert not np.allclose(model.reconstruct(X), X, atol=1e-3)


# The paper's criterion alone


@with_a_code_to_decode
@pytest.mark.parametrize(("sigma", "lam"), [(0.4, 0.0), (0.0, 0.16)], ids=["DAE", "RCAE"])
def test_paper_reconstruction_of_normal_rows(decoder, sigma, lam, random_seed):
    """r = x / (1 + tau) where the rows are, (r - x)/tau = -x / (1 + tau)."""
    X = np.random.default_rng(random_seed).standard_normal((2000, 1))
    model = RegularizedAutoEncoderScore(
        sigma,
        lam,
        decoder=decoder,
        calibration_weight=0,
        scaling=None,
        base_density="gaussian",
        hidden_layer_sizes=(24,),
        max_iter=150,
        n_iter_no_change=100,
        random_state=random_seed,
    ).fit(X)
    x = np.linspace(-1.5, 1.5, 13)[:, None]
    score = (model.reconstruct(x) - x) / 0.16
    assert np.sqrt(np.mean((score + x / 1.16) ** 2)) < 0.4
    assert np.polyfit(x[:, 0], model.reconstruct(x)[:, 0], 1)[0] == pytest.approx(1 / 1.16, abs=0.1)


@each_decoder
def test_calibration_is_needless(decoder, X):
    model = quick_estimator(decoder=decoder, calibration_weight=0, **LEARNING[decoder]).fit(X)
    held_out = held_out_rows(model, X)
    assert model.score(held_out) >= model.base_score_ - 0.03


# Options


@pytest.mark.parametrize(
    ("decoder", "sizes", "activation", "noise"),
    [
        ("gradient", [128, 128, 128], "silu", "local"),
        ("free", [128], "silu", "isotropic"),
        ("tied", [128], "sigmoid", "isotropic"),
    ],
)
def test_auto_stands_for_what_suits_the_decoder(decoder, sizes, activation, noise, X):
    model = RegularizedAutoEncoderScore(0.3, decoder=decoder, max_iter=1, random_state=0)
    before = model.get_params()
    fitted = model.fit(X[:40])._fitted()
    n_layers = len(fitted.coefs) - 1
    n_layers = n_layers if decoder == "gradient" else n_layers // 2
    assert [w.shape[1] for w in fitted.coefs[:n_layers]] == sizes
    assert (fitted.activation, fitted.noise_covariance) == (activation, noise)
    assert model.get_params() == before


@pytest.mark.parametrize("decoder", DECODERS)
def test_rows_with_holes_are_answered(decoder, models, X):
    """Complete rows of a question get what they get alone, and the others their marginals."""
    rows = X[:4].copy()
    rows[2, 1] = np.nan
    complete = [0, 1, 3]
    for question in ("score_samples", "log_density_gradient", "transform", "reconstruct"):
        found = getattr(models[decoder], question)(rows)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(
            found[complete], getattr(models[decoder], question)(rows[complete])
        )
    assert models[decoder].log_density_gradient(rows)[2, 1] == 0.0


def test_search_over_decoders(X):
    """With the defaults of each, and normalised scores that can be compared."""
    search = GridSearchCV(
        RegularizedAutoEncoderScore(0.5, max_iter=6, random_state=0),
        {"decoder": list(DECODERS)},
        cv=2,
        error_score="raise",
    ).fit(X[:40])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.best_estimator_.score(X) == search.score(X)


@with_a_code_to_decode
@pytest.mark.parametrize("through", ["pickle", "skops"])
def test_round_trips(decoder, through, models, X):
    model = models[decoder]
    if through == "pickle":
        restored = pickle.loads(pickle.dumps(model))
    else:
        skops = pytest.importorskip("skops.io")
        dumped = skops.dumps(model)
        untrusted = skops.get_untrusted_types(data=dumped)
        assert untrusted == ["skrae.density.estimator.RegularizedAutoEncoderScore"]
        restored = skops.loads(dumped, trusted=untrusted)
    for question in ("score_samples", "log_density_gradient", "reconstruct", "transform"):
        np.testing.assert_array_equal(
            getattr(restored, question)(X), getattr(model, question)(X), err_msg=question
        )
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "coefs_")


@with_a_code_to_decode
def test_same_seed_same_model(decoder, X):
    first, second, other = (
        small(decoder, random_state=s, max_iter=12).fit(X[:60]) for s in (1, 1, 2)
    )
    assert_equal(vars(first), vars(second))
    assert not np.array_equal(first.reconstruct(X), other.reconstruct(X))


@with_a_code_to_decode
def test_parameters_set_after_fit_change_no_answer(decoder, models, X):
    model = copy.deepcopy(models[decoder])
    model.set_params(decoder="gradient", noise_level=2.0, contraction_weight=1.0, activation="tanh")
    for question in ("score_samples", "reconstruct", "log_density_gradient"):
        expected = getattr(models[decoder], question)(X[:9])
        np.testing.assert_array_equal(getattr(model, question)(X[:9]), expected)


# Continuation


@with_a_code_to_decode
def test_warm_start_continues(decoder, X):
    model = quick_estimator(decoder=decoder, warm_start=True, **LEARNING[decoder]).fit(X)
    first = copy.deepcopy(vars(model))
    model.set_params(max_iter=12).fit(X)
    for name in ("location_", "whitening_", "base_means_", "base_factors_"):
        np.testing.assert_array_equal(getattr(model, name), first[name])
    assert first["n_iter_"] < model.n_iter_ <= first["n_iter_"] + 12
    assert model.loss_curve_[: len(first["loss_curve_"])] == first["loss_curve_"]
    held_out = held_out_rows(model, X)
    assert model.score(held_out) >= first["base_score_"] + first["network_gain_"] - 0.1


@with_a_code_to_decode
@pytest.mark.parametrize(
    ("name", "other"),
    [("decoder", "gradient"), ("hidden_layer_sizes", (5,)), ("activation", "tanh")],
)
def test_warm_start_refuses_another_network(decoder, name, other, X):
    model = small(decoder, warm_start=True).fit(X[:40])
    before = copy.deepcopy(vars(model))
    model.set_params(**{name: other})
    with pytest.raises(ValueError, match=f"Got {name}=.* expected .*warm_start"):
        model.fit(X[:40])
    assert_equal(vars(model), {**before, name: other})


@with_a_code_to_decode
def test_network_that_is_kept_keeps_the_tau_it_was_fitted_with(decoder, models, X, monkeypatch):
    """Continued with another contraction weight, but not beaten: the same density and r."""
    model = copy.deepcopy(models[decoder]).set_params(
        warm_start=True, contraction_weight=0.3, noise_level=0.5
    )
    interrupt_after(0, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    before = models[decoder]
    np.testing.assert_allclose(model.reconstruct(X), before.reconstruct(X), rtol=1e-5, atol=1e-5)
    shift = model.score_samples(X) - before.score_samples(X)
    assert np.ptp(shift) < 1e-3
    assert np.abs(shift).max() < 0.05  # of log Z, which is estimated anew


@with_a_code_to_decode
def test_fit_that_left_the_base_as_it_was_can_be_continued(decoder, X):
    """Without calibration too, where no gradient reaches the head."""
    model = quick_estimator(
        decoder=decoder,
        warm_start=True,
        calibration_weight=0,
        **{**LEARNING[decoder], "max_iter": 1},
    ).fit(X)
    # What a fit stores where the base won.
    model.coefs_[-1] = np.zeros_like(model.coefs_[-1])
    model.intercepts_[-1] = np.zeros_like(model.intercepts_[-1])
    first, n_checks = model.reconstruct(X), len(model.validation_curve_)
    model.set_params(max_iter=12).fit(X)
    assert not np.allclose(model.reconstruct(X), first)
    assert np.abs(model.validation_curve_[n_checks:]).max() > 1e-3, "f stays at 0"


@with_a_code_to_decode
@pytest.mark.parametrize("n_steps", [0, 30])
def test_interrupted_fit_leaves_a_usable_model(decoder, n_steps, X, monkeypatch):
    interrupt_after(n_steps, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = small(decoder, noise_level="auto", max_iter=60).fit(X)
    assert model.n_iter_ <= n_steps
    assert np.isfinite(model.reconstruct(X)).all()
    assert model.score(held_out_rows(model, X)) >= model.base_score_ - 0.03
    if n_steps == 0:
        np.testing.assert_allclose(model.score_samples(X), model.base_log_density(X), rtol=1e-12)


@with_a_code_to_decode
def test_interrupted_fit_of_few_rows_leaves_a_usable_model(decoder, X, monkeypatch):
    interrupt_after(2, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = small(decoder).fit(X[:8])
    assert np.isfinite(model.reconstruct(X)).all()
    np.testing.assert_allclose(model.score_samples(X), model.base_log_density(X), rtol=1e-12)


# Tables of odd shapes


@with_a_code_to_decode
@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(2, 2, 6), (5, 3, 6), (20, 2, 6), (40, 1, 6), (40, 2, 64), (40, 12, 3)],
    ids=[
        "two rows",
        "five rows",
        "twenty",
        "one feature",
        "more units than rows",
        "fewer than features",
    ],
)
def test_odd_shapes(decoder, n, d, k, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((n, d)) + 3.0
    model = small(decoder, hidden_layer_sizes=k, max_iter=12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got .* expected more rows than columns", UserWarning)
        model.fit(X)
    assert model.transform(X).shape == (n, k)
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(X)), model.reconstruct(X), rtol=1e-6, atol=1e-6
    )
    for question in ("score_samples", "log_density_gradient", "log_density_hessian"):
        assert np.isfinite(getattr(model, question)(X)).all()
    assert 0.0 <= model.curl_ <= 1.0
    assert model.score(X) > model.score(X + 10.0)
    with warnings.catch_warnings():
        # What a dozen steps leave may be a density that is hard to draw from.
        warnings.filterwarnings("ignore", "The chains", ConvergenceWarning)
        assert model.sample(4, random_state=0).shape == (4, d)


@with_a_code_to_decode
def test_rows_of_weight_zero_are_as_if_they_were_not_there(decoder, X):
    rows, weights = X[:60], np.r_[np.zeros(20), np.linspace(0.5, 2.0, 40)]
    found = small(decoder).fit(rows, sample_weight=weights)
    expected = small(decoder).fit(rows[20:], sample_weight=7.0 * weights[20:])
    np.testing.assert_allclose(found.score_samples(X), expected.score_samples(X), rtol=1e-5)
    np.testing.assert_allclose(found.reconstruct(X), expected.reconstruct(X), rtol=1e-5)
    other = small(decoder).fit(rows)
    assert not np.allclose(found.reconstruct(X), other.reconstruct(X), rtol=1e-5)


def test_weights_draw_rows_as_often_as_repetitions(random_seed):
    """r at a point of a cluster leans to the heavier cluster, as much as with repeated rows."""
    noise = np.random.default_rng(random_seed).standard_normal((120, 1))
    X, weights = noise + np.repeat([[-1.0], [1.0]], 60, axis=0), np.repeat([1, 4], 60)
    options = {
        "scaling": None,
        "noise_level": 2.0,
        "hidden_layer_sizes": 24,
        "max_iter": 60,
        "calibration_weight": 0,
        "n_iter_no_change": 100,
    }

    def middle(rows, weights):
        fits = (
            small("tied", random_state=s, **options).fit(rows, sample_weight=weights)
            for s in range(3)
        )
        return np.array([model.reconstruct([[0.0]]).item() for model in fits])

    weighted, repeated = middle(X, weights), middle(np.repeat(X, weights, axis=0), None)
    plain = middle(X, None)
    error = np.sqrt((weighted.var(ddof=1) + repeated.var(ddof=1)) / 3.0)
    assert abs(weighted.mean() - repeated.mean()) < 6.0 * error
    assert weighted.mean() - plain.mean() > 0.15


@pytest.mark.parametrize("options", [{}, {"contraction_weight": 0.02}], ids=str)
def test_relu_units_stay_confined_through_training(options, X):
    """|W|_2^2 <= 1 - tau / 25 in units of the noise: the singular values of W W^T in coefs_."""
    model = quick_estimator(
        decoder="tied", activation="relu", hidden_layer_sizes=24, max_iter=60, **options
    ).fit(X)
    tau = model.noise_level_**2 + model.contraction_weight
    jacobian = model.coefs_[0].astype(float) @ model.coefs_[1]
    largest = np.linalg.eigvalsh(jacobian)[-1]
    assert largest <= (1.0 - tau / 25.0) * (1.0 + 1e-5)
    far = model.location_ + 1e4 * np.array([[1.0, 0.0], [0.0, 20.0]])
    assert (model.score_samples(far) <= model.base_log_density(far) + 5.0).all()


# Sampling


@with_a_code_to_decode
def test_chains_draw_from_the_model(decoder, models, X):
    """R-hat near 1, the model's own log density, and the moments of the ring."""
    model = models[decoder]
    sampler = RAESampler(model, n_chains=32, n_warmup=100, random_state=0)
    chains = sampler.sample_chains(120)
    assert (chains.rhat() < 1.05).all()
    draws = chains.draws.reshape(-1, 2)
    log_density = model.score_samples(draws[::40])
    np.testing.assert_allclose(chains.log_density.reshape(-1)[::40], log_density, atol=2e-3)
    assert np.abs(draws.mean(0) - X.mean(0)).max() < 0.35 * X.std(0).max()


@each_decoder
def test_samples_have_the_entropy_of_the_density(decoder, models):
    """Mean of log p over samples and over a grid, within 5 standard errors."""
    model = models[decoder]
    side = np.linspace(-5.0, 5.0, 121)
    z = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    log_p = model.score_samples(z @ np.linalg.inv(model.whitening_) + model.location_)
    share = np.exp(log_p) / np.exp(log_p).sum()
    # Of rows on the grid alone, where both means are taken.
    samples = model.sample(1500, random_state=1)
    inside = np.abs((samples - model.location_) @ model.whitening_).max(axis=1) < 5.0
    found = model.score_samples(samples[inside])
    error = found.std() / np.sqrt(inside.sum())
    assert abs(found.mean() - share @ log_p) < 5.0 * error + 0.01
    assert inside.mean() > 0.97


@with_a_code_to_decode
def test_impute(decoder, models, X):
    """The gap is filled from the model's conditional density: on the ring, not in its middle."""
    rows = X[:6].copy()
    rows[:, 1] = np.nan
    filled = RAESampler(models[decoder], random_state=0).impute(rows)
    np.testing.assert_array_equal(filled[:, 0], rows[:, 0])
    assert np.isfinite(filled).all()
    assert np.abs(filled[:, 1] - 100.0).max() < 60.0
