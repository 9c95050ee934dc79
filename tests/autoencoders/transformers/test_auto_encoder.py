"""What a fitted auto-encoder is, and what it answers."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import subspace_angles
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skrae import AutoEncoder
from skrae.autoencoders.batches import Rows
from skrae.autoencoders.transformers.fit.fitting import check_every
from skrae.autoencoders.transformers.terms.entropy import lacking_entropy_power
from skrae.autoencoders.transformers.terms.information import Views
from skrae.metrics import knn_entropy, stress, stress_scorer, trustworthiness
from skrae.preprocessing.rows import WeightedRows
from tests.autoencoders.transformers.estimators import (
    MEMBERS,
    ROW_QUESTIONS,
    bent_sheet,
    held_out_rows,
    member,
    quick_auto_encoder,
    without_last_steps,
)
from tests.autoencoders.transformers.random_parts import normal
from tests.mixtures.random_mixtures import generator

UNITS = np.array([1.0, 10.0, 0.1, 1.0, 5.0])
TABLES = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows near a curved sheet, their columns in units of their own."""
    return bent_sheet(150, random_seed) * UNITS


@pytest.fixture(scope="module", params=MEMBERS)
def fitted(request, X):
    """One of each member of the family, the best on the rows held out."""
    with without_last_steps():
        return member(request.param).fit(X)


def bent(n, seed):
    """Rows near a parabola, of which one straight axis keeps three quarters of the variance."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(-2.0, 2.0, n)
    return np.column_stack([u, 0.6 * u**2, -0.4 * u**2]) + 0.05 * rng.standard_normal((n, 3))


# --- linear auto-encoders -------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "options", [{"hidden_layer_sizes": ()}, {"hidden_layer_sizes": (8,), "activation": "identity"}]
)
def test_a_linear_auto_encoder_is_pca(table, options):
    X, k = TABLES[table](return_X_y=True)[0], 4
    model = AutoEncoder(k, scaling="standardize", random_state=0, **options).fit(X)
    z = (X - model.location_) / model.scale_
    assert_allclose(z.mean(axis=0), 0.0, atol=1e-10)
    assert_allclose(z.std(axis=0)[X.std(axis=0) > 0.0], 1.0)
    pca = PCA(k, svd_solver="full").fit(z)
    assert subspace_angles(model.components_.T, pca.components_.T).max() <= 1e-6
    codes = pca.transform(z)
    assert_allclose(np.abs(model.transform(X)), np.abs(codes), atol=1e-8)
    reconstructed = pca.inverse_transform(codes) * model.scale_ + model.location_
    assert_allclose(model.reconstruct(X), reconstructed, rtol=1e-8, atol=1e-8)
    assert model.n_iter_ == 0
    assert model.loss_curve_ == []
    assert model.score(X) == pytest.approx(pca.explained_variance_ratio_.sum())


@pytest.mark.parametrize("scaling", ["auto", "standardize", None])
def test_working_space_is_that_of_scaling(scaling, random_seed):
    X = bent_sheet(100, random_seed) * [1.0, 1.2, 0.9, 1.1, 0.8] + 3.0
    model = quick_auto_encoder(scaling=scaling, max_iter=1).fit(X)
    wide = quick_auto_encoder(scaling=scaling, max_iter=1).fit(X * UNITS)
    assert_allclose(model.location_, X.mean(axis=0))
    expected = X.std(axis=0) if scaling == "standardize" else np.ones(5)
    assert_allclose(model.scale_, expected)
    expected = np.ones(5) if scaling is None else (X * UNITS).std(axis=0)
    assert_allclose(wide.scale_, expected)


@pytest.mark.parametrize("sizes", [(), (8,)])
def test_rows_on_a_plane_are_reconstructed_before_any_step(sizes, random_seed):
    rng = np.random.default_rng(random_seed)
    X = rng.standard_normal((60, 2)) @ rng.standard_normal((2, 6))
    model = quick_auto_encoder(hidden_layer_sizes=sizes, max_iter=1).fit(X)
    assert model.reconstruction_error(X).max() < 1e-12
    assert model.score(X) > 1.0 - 1e-12


def test_without_rows_to_hold_out_a_plain_fit_is_pca(X):
    rows = X[:9, :3]
    model, linear = quick_auto_encoder().fit(rows), member("linear").fit(rows)
    assert model.n_iter_ == 0
    assert_allclose(model.reconstruct(X[:, :3]), linear.reconstruct(X[:, :3]), rtol=1e-9, atol=1e-9)
    assert quick_auto_encoder(noise_level=0.3).fit(rows).n_iter_ > 0


def test_as_many_units_as_columns_are_the_identity(X):
    model = quick_auto_encoder().fit(X[:, :2])
    assert model.n_iter_ == 0
    assert_allclose(model.reconstruct(X[:, :2]), X[:, :2], rtol=1e-9)


@pytest.mark.parametrize("sizes", [(), (8,)])
def test_no_unit_writes_to_constant_columns(sizes, random_seed):
    """More units than columns that vary: those beyond span none of the others."""
    X = np.column_stack([bent_sheet(40, random_seed)[:, :2], np.full((40, 3), 3.0)])
    model = quick_auto_encoder(n_components=4, hidden_layer_sizes=sizes).fit(X)
    assert not model.components_[:, 2:].any()
    assert_array_equal(model.inverse_transform(np.ones((1, 4)))[0, 2:], 3.0)


@pytest.mark.parametrize("k", [1, 2])
def test_never_worse_than_pca_on_held_out_rows(k, X):
    with without_last_steps():
        model = quick_auto_encoder(n_components=k, scaling=None).fit(X)
    held_out = held_out_rows(model, X)
    others = X[~(X[:, None] == held_out).all(axis=2).any(axis=1)]
    assert len(others) + len(held_out) == len(X)
    z, rest = (rows - model.location_ for rows in (held_out, others))
    axes = np.linalg.eigh(rest.T @ rest)[1][:, -k:]
    error = np.square(z - z @ axes @ axes.T).sum(axis=1).mean()
    assert model.reconstruction_error(held_out).mean() <= error * (1.0 + 1e-6)
    assert_allclose(model.residual_variance_.sum(), model.reconstruction_error(held_out).mean())


@pytest.mark.parametrize("name", ["plain", "noise", "l1", "distance"])
def test_the_last_steps_take_all_rows_and_leave_the_records(name, X):
    options = {"learning_rate": 0.01, "max_iter": 300}
    with without_last_steps():
        before = member(name, **options).fit(X)
    model = member(name, **options).fit(X)
    assert before.n_iter_ < model.n_iter_ <= 300
    for attribute in ("validation_curve_", "loss_curve_", "terms_"):
        assert getattr(model, attribute) == getattr(before, attribute)
    assert_array_equal(model.residual_variance_, before.residual_variance_)
    held_out = held_out_rows(model, X)
    assert (
        model.reconstruction_error(held_out).mean() < before.reconstruction_error(held_out).mean()
    )


@pytest.mark.parametrize("learning_rate", [0.5, 30.0, 1e6, 1e30])
@pytest.mark.parametrize("name", ["plain", "noise", "contraction"])
def test_a_rate_that_is_too_large_ends_no_worse_than_it_began(name, learning_rate, X):
    model = member(name, learning_rate=learning_rate, max_iter=100).fit(X)
    curve = np.array(model.validation_curve_)
    assert model.terms_["reconstruction"] <= 1.0
    assert np.nanmin(curve) <= curve[0]
    held_out = held_out_rows(model, X)
    with without_last_steps():
        before = member(name, learning_rate=learning_rate, max_iter=100).fit(X)
    error, error_before = (own.reconstruction_error(held_out).mean() for own in (model, before))
    assert error <= 1.5 * error_before


def test_a_curve_is_followed_where_pca_cannot(random_seed):
    X, fresh = bent(300, random_seed), bent(300, random_seed + 1)
    model = quick_auto_encoder(
        n_components=1, hidden_layer_sizes=(32,), max_iter=400, learning_rate=0.01
    ).fit(X)
    z = (fresh - model.location_) / model.scale_
    axes = PCA(1).fit((X - model.location_) / model.scale_)
    error = np.square(z - axes.inverse_transform(axes.transform(z))).sum(axis=1)
    assert model.reconstruction_error(fresh).mean() < 0.3 * error.mean()


# --- answers --------------------------------------------------------------------------------------


def test_answers_of_a_row_do_not_depend_on_the_others(fitted, X):
    many = np.tile(X, (4, 1))
    for question in ROW_QUESTIONS:
        ask = getattr(fitted, question)
        answers = ask(X)
        assert_array_equal(ask(many), np.concatenate([answers] * 4))
        for i in (0, 7, 149):
            assert_array_equal(ask(X[i : i + 1])[0], answers[i])


def test_decoded_codes_are_reconstructions(fitted, X):
    assert_allclose(
        fitted.inverse_transform(fitted.transform(X)), fitted.reconstruct(X), rtol=1e-12, atol=1e-12
    )


def test_score_and_errors_follow_their_formulas(fitted, X, random_seed):
    weights = np.random.default_rng(random_seed).integers(0, 4, len(X))
    z = (X - fitted.location_) / fitted.scale_
    squares = np.square(z - (fitted.reconstruct(X) - fitted.location_) / fitted.scale_)
    found = fitted.reconstruction_error(X, per_feature=True)
    assert_allclose(found, squares, rtol=1e-8, atol=1e-12)
    assert_allclose(fitted.reconstruction_error(X), found.sum(axis=1), rtol=1e-12)
    total = np.square(z).sum(axis=1)
    assert fitted.score(X) == pytest.approx(1.0 - squares.sum() / total.sum())
    expected = 1.0 - weights @ squares.sum(axis=1) / (weights @ total)
    assert fitted.score(X, sample_weight=weights) == pytest.approx(expected)
    assert isinstance(fitted.score(X), float)


def test_residual_variance_is_that_of_held_out_rows_in_units_of_the_columns(fitted, X):
    held_out = held_out_rows(fitted, X)
    squares = fitted.reconstruction_error(held_out, per_feature=True) * fitted.scale_**2
    assert_allclose(fitted.residual_variance_, squares.mean(axis=0), rtol=1e-9)


def test_curves_and_terms_are_records_of_the_fit(fitted):
    terms, weights = (
        fitted.terms_,
        {
            "reconstruction": 1.0,
            "sparsity": fitted.sparsity_weight,
            "encoder_contraction": fitted.encoder_contraction_weight,
            "distance": fitted.distance_weight,
            "entropy": 0.1 * fitted.entropy_weight,
            "information": fitted.information_weight,
        },
    )
    assert set(terms) == {name for name, weight in weights.items() if weight > 0.0}
    objective = sum(weights[name] * value for name, value in terms.items())
    is_linear = terms.keys() == {"reconstruction"} and fitted.hidden_layer_sizes == ()
    if not is_linear:  # which is fitted to the held-out rows too, in the end
        assert objective == pytest.approx(min(fitted.validation_curve_), rel=1e-4)
    assert len(fitted.validation_curve_) == len(fitted.loss_curve_) + 1
    assert fitted.n_iter_ == (0 if is_linear else 51)
    assert len(fitted.loss_curve_) >= fitted.n_iter_ / check_every(150)


def test_the_first_of_the_validation_curve_is_the_linear_path(X):
    model = quick_auto_encoder(scaling=None).fit(X)
    held_out = held_out_rows(model, X)
    rest = X[~(X[:, None] == held_out).all(axis=2).any(axis=1)] - model.location_
    z, axes = held_out - model.location_, np.linalg.eigh(rest.T @ rest)[1][:, -2:]
    error = np.square(z - z @ axes @ axes.T).sum(axis=1).mean()
    variance = np.square(rest).sum(axis=1).mean()
    assert model.validation_curve_[0] == pytest.approx(error / variance, rel=1e-5)


def test_the_best_parameters_are_kept(random_seed):
    """Of rows in which there is nothing to learn, so that the last check is not the best."""
    X = np.random.default_rng(random_seed).standard_normal((60, 5))
    model = quick_auto_encoder(learning_rate=0.05, max_iter=300, n_iter_no_change=100).fit(X)
    curve = model.validation_curve_
    assert min(curve) < curve[-1]
    assert model.terms_["reconstruction"] <= min(curve[1:])


def test_a_lasting_lack_of_progress_ends_the_fit(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((60, 5))
    model = quick_auto_encoder(max_iter=5000, n_iter_no_change=1, learning_rate=0.1).fit(X)
    assert model.n_iter_ < 5000


def test_loss_has_weight_decay_and_the_terms_have_not(random_seed):
    X = bent_sheet(100, random_seed)
    light, heavy = (quick_auto_encoder(weight_decay=w, max_iter=50).fit(X) for w in (0.0, 10.0))
    assert heavy.loss_curve_[0] > 10.0 * light.loss_curve_[0]
    assert heavy.validation_curve_[0] == light.validation_curve_[0]


# --- members of the family ------------------------------------------------------------------------


def test_denoising_beats_the_linear_path(random_seed):
    """Of rows of a curve with noise as in the fit, both trained for it."""
    rng = np.random.default_rng(random_seed + 2)
    X, clean = bent(400, random_seed), bent(400, random_seed + 1)
    options = {"noise_level": 0.4, "scaling": None, "random_state": 0, "n_components": 1}
    linear = AutoEncoder(hidden_layer_sizes=(), max_iter=1, **options).fit(X)
    model = AutoEncoder(hidden_layer_sizes=(32,), max_iter=500, learning_rate=0.01, **options).fit(
        X
    )
    noisy = clean + 0.4 * rng.standard_normal(clean.shape)
    errors = [
        np.square(r - clean).sum(axis=1).mean()
        for r in (model.reconstruct(noisy), linear.reconstruct(noisy), noisy)
    ]
    assert errors[0] < 0.9 * errors[1]
    assert errors[0] < 0.7 * errors[2]


def sparse(weight, X, **options):
    options = {"max_iter": 250, "learning_rate": 0.02, **options}
    return member("l1", n_components=12, sparsity_weight=weight, **options).fit(X)


def test_l1_makes_fewer_units_active_and_keeps_atoms_at_length_one(random_seed):
    X = bent_sheet(300, random_seed)
    models = [sparse(weight, X) for weight in (0.003, 1.0)]
    shares = [float((model.transform(X) > 1e-6).mean()) for model in models]
    assert shares[0] > shares[1] + 0.1
    for model in models:
        assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-6)
    assert models[0].score(X) > models[1].score(X)


@pytest.mark.parametrize("code_activation", ["relu", "sigmoid"])
def test_atoms_of_one_layer_are_components(code_activation, random_seed):
    X = bent_sheet(100, random_seed)
    model = sparse(0.1, X, code_activation=code_activation, max_iter=20)
    assert_allclose(model.components_, model.coefs_[-1], atol=1e-12)
    lengths = np.linalg.norm(model.components_, axis=1)
    assert_allclose(lengths, lengths[0], rtol=1e-6)


@pytest.mark.parametrize("target", [0.1, 0.3])
def test_kl_brings_mean_activations_to_their_target(target, random_seed):
    X = bent_sheet(300, random_seed)
    options = {"hidden_layer_sizes": (), "max_iter": 250, "learning_rate": 0.02}
    model = member("kl", sparsity_target=target, sparsity_weight=3.0, **options).fit(X)
    assert_allclose(model.transform(X).mean(axis=0), target, atol=0.05)


def jacobian_of(model, X, step=1e-5):
    """dh/dx in working space by differences, (n, k, d)."""
    shifts = step * np.diag(model.scale_)
    ends = [(model.transform(X + s) - model.transform(X - s)) / (2 * step) for s in shifts]
    return np.stack(ends, axis=-1)


def test_contraction_makes_the_code_move_less(random_seed):
    """Of codes of deviation 1 on either side."""
    X, fresh = bent_sheet(200, random_seed), bent_sheet(100, random_seed + 1)
    options = {"hidden_layer_sizes": (16,), "max_iter": 250, "learning_rate": 0.01}
    sizes_of_maps = [
        np.square(
            jacobian_of(
                quick_auto_encoder(
                    encoder_contraction_weight=weight, code_scaling="standardize", **options
                ).fit(X),
                fresh,
            )
        )
        .sum(axis=(1, 2))
        .mean()
        for weight in (1e-6, 1.0)
    ]
    assert sizes_of_maps[1] < 0.9 * sizes_of_maps[0]


def test_the_contraction_term_is_that_of_the_codes(random_seed):
    """Two units, so exactly, of held-out rows; their own deviation is not the training rows'."""
    X = bent_sheet(200, random_seed)
    with without_last_steps():
        model = member("contraction", n_components=2).fit(X)
    held_out = held_out_rows(model, X)
    jacobian = jacobian_of(model, held_out) / model.transform(held_out).std(axis=0)[:, None]
    expected = np.square(jacobian).sum(axis=(1, 2)).mean()
    assert model.terms_["encoder_contraction"] == pytest.approx(expected, rel=1e-4)


def test_entropy_weight_raises_the_entropy_of_codes(random_seed):
    """Of held-out rows, codes of deviation 1; toward that of a normal, 1.42 nats a unit."""
    X, fresh = bent_sheet(400, random_seed), bent_sheet(400, random_seed + 1)
    options = {"hidden_layer_sizes": (32,), "max_iter": 400, "learning_rate": 0.01}
    found = []
    for weight in (0.0, 0.3, 3.0):
        model = quick_auto_encoder(entropy_weight=weight, **options).fit(X)
        codes = model.transform(fresh)
        found.append(knn_entropy((codes - codes.mean(axis=0)) / codes.std(axis=0), whiten=False))
    assert found[0] < found[1] < found[2]
    assert found[2] - found[0] > 0.1
    # 400 draws tell an entropy within 0.1.
    assert found[2] < np.log(2.0 * np.pi * np.e) + 0.1


@pytest.mark.parametrize("name", ["entropy", "information"])
def test_the_terms_of_distinct_rows_are_those_of_the_codes(name, random_seed):
    """Of held-out rows, each once; that of information over views drawn anew."""
    X = bent_sheet(200, random_seed)
    with without_last_steps():
        model = member(name, learning_rate=0.01).fit(np.repeat(X, 2, axis=0))
    held_out = held_out_rows(model, X)
    answers = model._answers()
    z = torch.from_numpy(answers.space.forward(held_out))
    if name == "entropy":
        codes = torch.from_numpy(model.transform(held_out))
        lacking = float(lacking_entropy_power(codes))
        assert model.terms_["entropy"] == pytest.approx(lacking, rel=1e-4)
        return
    draws = [
        Views().missing_information(
            lambda rows: torch.from_numpy(answers.encode(rows.numpy())), z, generator(seed)
        )
        for seed in range(60)
    ]
    # The stored value is a mean of nine.
    spread = np.std(draws) * (1.0 / 3.0 + 1.0 / np.sqrt(60))
    assert abs(model.terms_["information"] - np.mean(draws)) < 4.0 * spread


def test_repeated_rows_in_a_batch_count_once(random_seed):
    """Batches are drawn with replacement: the same row twice is no neighbour."""
    z = normal(6, 2, seed=random_seed)
    rows = Rows(WeightedRows(z, torch.ones(6, dtype=z.dtype)), 40, generator(random_seed))
    drawn, is_first = rows.draw_marked(40)
    assert len(drawn) == len(is_first) == 40
    assert_array_equal(np.unique(drawn, axis=0), np.unique(drawn[is_first], axis=0))
    assert int(is_first.sum()) == len(np.unique(drawn, axis=0)) <= 6


def test_distances_are_kept_better_than_by_pca(random_seed):
    X, fresh = bent_sheet(300, random_seed), bent_sheet(200, random_seed + 1)
    options = {"scaling": None, "max_iter": 300, "learning_rate": 0.01}
    model = quick_auto_encoder(distance_weight=10.0, hidden_layer_sizes=(32,), **options)
    with without_last_steps():
        model.fit(X)
    pca = PCA(2).fit(X)
    assert stress(fresh, model.transform(fresh)) < 0.85 * stress(fresh, pca.transform(fresh))
    held_out = held_out_rows(model, X)
    found = stress(held_out, model.transform(held_out)) ** 2
    assert model.terms_["distance"] == pytest.approx(found, rel=1e-4)


def test_geodesic_distances_unroll_a_roll(random_seed):
    rng = np.random.default_rng(random_seed)
    t = np.sqrt(20.0 + 90.0 * (np.arange(600) + rng.random(600)) / 600)
    width = rng.uniform(0.0, 10.0, 600)
    X = np.column_stack([t * np.cos(t), width, t * np.sin(t)])
    flat = np.column_stack([0.5 * t**2, width])
    options = {"hidden_layer_sizes": (48, 24), "max_iter": 500, "learning_rate": 0.01}
    model, plain = (
        quick_auto_encoder(distance_weight=weight, distance="geodesic", scaling=None, **options)
        .fit(X)
        .transform(X)
        for weight in (10.0, 0.0)
    )
    assert trustworthiness(flat, model) > 0.97
    assert stress(flat, model) < 0.2
    assert stress(flat, model) < 0.5 * stress(flat, plain)


def test_masking_noise_trains_for_imputation(random_seed):
    """Of rows near a plane: without it what is missing counts as known to be the mean."""
    rng = np.random.default_rng(random_seed)
    X, fresh = rng.standard_normal((2, 300, 2)) @ rng.standard_normal((2, 6))
    masked = np.where(rng.random(fresh.shape) < 0.25, np.nan, fresh)
    errors = []
    for level in (0.25, 0.0):
        model = member("linear", noise="masking", noise_level=level).fit(X)
        errors.append(np.square(model.impute(masked) - fresh)[np.isnan(masked)].mean())
    assert errors[0] < 0.8 * errors[1]


# --- options of the code and of the fit -----------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "linear", "noise", "l1", "contraction"])
def test_a_standardised_code_has_mean_zero_and_deviation_one(name, X, random_seed):
    weights = np.random.default_rng(random_seed).integers(1, 4, len(X))
    model = member(name, code_scaling="standardize").fit(X, sample_weight=weights)
    code = np.repeat(model.transform(X), weights, axis=0)
    used = model.code_scale_ != 1.0
    assert used.any()
    assert_allclose(code.mean(axis=0)[used], 0.0, atol=1e-9)
    assert_allclose(code.std(axis=0)[used], 1.0, rtol=1e-9)
    assert_allclose(code.std(axis=0)[~used], 0.0, atol=1e-9)
    free = member(name, code_scaling=None, encoder_contraction_weight=0.0)
    assert not free.fit(X).code_mean_.any()
    assert (free.code_scale_ == 1.0).all()


def test_a_standardised_code_changes_no_reconstruction(X):
    free, scaled = (quick_auto_encoder(code_scaling=s).fit(X) for s in (None, "standardize"))
    assert_allclose(scaled.reconstruct(X), free.reconstruct(X), rtol=1e-12)
    again = scaled.transform(X) * scaled.code_scale_ + scaled.code_mean_
    assert_allclose(again, free.transform(X), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["plain", "noise", "l1", "contraction", "distance"])
def test_weights_are_repetitions_and_the_order_of_rows_does_not_matter(name, X, random_seed):
    rng = np.random.default_rng(random_seed)
    weights = rng.integers(1, 4, len(X))
    model = member(name).fit(X, sample_weight=weights)
    repeated = rng.permutation(np.repeat(X, weights, axis=0))
    for other in (
        member(name).fit(repeated),
        member(name).fit(X[::-1], sample_weight=weights[::-1]),
        member(name).fit(X, sample_weight=4.0 * weights),
        member(name).fit(
            np.concatenate([X, X[:9] + 1.0]), sample_weight=np.r_[weights, np.zeros(9)]
        ),
    ):
        assert_array_equal(other.transform(X), model.transform(X))
        assert_array_equal(other.reconstruct(X), model.reconstruct(X))
        assert other.validation_curve_ == model.validation_curve_
    plain = member(name).fit(X)
    assert not np.array_equal(plain.transform(X), model.transform(X))


def test_the_random_state_is_all_that_is_random(X):
    first, again, other = (
        quick_auto_encoder(noise_level=0.3, random_state=seed).fit(X)
        for seed in (5, np.random.RandomState(5), 6)
    )
    assert_array_equal(again.transform(X), first.transform(X))
    assert not np.array_equal(other.transform(X), first.transform(X))


def test_a_warm_start_goes_on(X):
    model = quick_auto_encoder(warm_start=True, max_iter=100, learning_rate=0.01).fit(X)
    first, location = model.validation_curve_, model.location_
    assert model.fit(X + 0.1) is model
    assert model.n_iter_ == 198
    assert len(model.validation_curve_) == 2 * len(first)
    assert model.validation_curve_[: len(first)] == first
    assert_array_equal(model.location_, location)
    assert len(model.loss_curve_) == len(model.validation_curve_) - 2
    cold = quick_auto_encoder(max_iter=100, learning_rate=0.01).fit(X)
    model.set_params(warm_start=False).fit(X)
    assert_array_equal(model.transform(X), cold.transform(X))
    assert model.n_iter_ == 99


@pytest.mark.parametrize("name", MEMBERS)
def test_a_warm_start_begins_where_the_last_fit_ended(name, X):
    """What it does not better stays as it was, but for the length of atoms in float32."""
    with without_last_steps():
        model = member(name, warm_start=True).fit(X)
    before, curve = model.reconstruct(X), model.validation_curve_
    model.set_params(max_iter=1, learning_rate=1e-30).fit(X)
    if name != "linear":  # which is fitted to the held-out rows too, in the end
        assert model.validation_curve_[len(curve)] == pytest.approx(min(curve), rel=1e-3)
    tolerance = 1e-6 if model.sparsity_weight else 1e-12
    assert_allclose(model.reconstruct(X), before, rtol=tolerance, atol=tolerance)


# --- dtypes and containers ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers_have_the_dtype_of_the_rows(name, dtype, X):
    X = X.astype(dtype)
    model = member(name, max_iter=5).fit(X)
    codes = model.transform(X)
    answers = [codes, model.inverse_transform(codes), model.reconstruct(X), model.impute(X)]
    answers += [model.reconstruction_error(X), model.reconstruction_error(X, per_feature=True)]
    assert {answer.dtype for answer in answers} == {np.dtype(dtype)}
    k = len(model.components_)
    shapes = [(150, k), (150, 5), (150, 5), (150, 5), (150,), (150, 5)]
    assert [answer.shape for answer in answers] == shapes
    wide = model.transform(X.astype(np.float64))
    assert_allclose(codes, wide, rtol=1e-5, atol=1e-5 * np.abs(wide).max())


def test_codes_are_named_by_the_class(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcde"), index=range(7, 157))
    model = quick_auto_encoder(max_iter=5).set_output(transform="pandas")
    codes = model.fit_transform(frame)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]
    assert codes.index.tolist() == frame.index.tolist()
    assert model.feature_names_in_.tolist() == list("abcde")
    plain = quick_auto_encoder(max_iter=5).fit(X)
    assert_array_equal(codes.to_numpy(), plain.transform(X))
    assert plain.get_feature_names_out().tolist() == ["autoencoder0", "autoencoder1"]
    assert_array_equal(model.inverse_transform(codes), plain.reconstruct(X))


@pytest.mark.parametrize("kind", ["array", "pandas", "polars", "list"])
def test_impute_fills_what_is_missing_alone_and_keeps_the_container(kind, X, random_seed):
    holed = np.where(np.random.default_rng(random_seed).random(X.shape) < 0.2, np.nan, X)
    make = {"array": np.asarray, "list": np.ndarray.tolist}.get(kind)
    if make is None:
        make = pytest.importorskip(kind).DataFrame
    model = quick_auto_encoder(max_iter=5).fit(make(X))
    given = make(holed)
    found = model.impute(given)
    assert isinstance(found, np.ndarray if kind in ("array", "list") else type(given))
    filled = np.asarray(found)
    missing = np.isnan(holed)
    assert_array_equal(filled[~missing], holed[~missing])
    centred = np.where(missing, model.location_, holed)
    expected = model.reconstruct(make(centred))[missing]
    assert_allclose(filled[missing], expected, rtol=1e-12)
    assert_array_equal(np.asarray(model.impute(make(X))), X)
    assert_array_equal(holed[missing], np.nan)


def test_rows_of_nothing_but_holes_become_the_reconstruction_of_the_mean(X):
    model = quick_auto_encoder(max_iter=5).fit(X)
    found = model.impute(np.full((1, 5), np.nan))
    assert_allclose(found, model.reconstruct(model.location_[None]), rtol=1e-12)


# --- use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 9, 10, 30])
@pytest.mark.parametrize("name", MEMBERS)
def test_few_rows_are_enough(n, name, random_seed):
    X = bent_sheet(n, random_seed)
    model = member(name, max_iter=5).fit(X)
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(list(model.terms_.values())).all()
    assert np.isfinite(model.validation_curve_).all()


def test_a_default_fit_of_few_rows_works(random_seed):
    X = bent_sheet(30, random_seed)
    model = AutoEncoder().fit(X)
    assert model.transform(X).shape == (30, 2)
    assert model.score(X) > 0.5


def test_any_number_of_held_out_rows_has_pairs_and_deviations(random_seed):
    """One more than fill a block."""
    X = np.random.default_rng(random_seed).standard_normal((2050, 3))
    for options in ({"distance_weight": 1.0}, {"encoder_contraction_weight": 1.0}):
        model = quick_auto_encoder(validation_fraction=0.5, max_iter=1, **options).fit(X)
        assert len(held_out_rows(model, X)) == 1025
        assert np.isfinite(model.validation_curve_).all()
        assert max(model.validation_curve_) < 100.0


@pytest.mark.parametrize(
    "grid", [{"distance_weight": [0.0, 30.0]}, {"sparsity_weight": [0.0, 0.1]}]
)
def test_weights_are_found_by_a_search_over_stress(grid, random_seed):
    X = bent_sheet(120, random_seed)
    model = quick_auto_encoder(scaling=None, max_iter=150, learning_rate=0.01)
    search = GridSearchCV(model, grid, scoring=stress_scorer, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    if "distance_weight" in grid:
        assert search.best_params_ == {"distance_weight": 30.0}


def test_codes_feed_a_classifier_in_a_search():
    X, y = load_wine(return_X_y=True)
    steps = make_pipeline(quick_auto_encoder(max_iter=10), LogisticRegression())
    grid = {"autoencoder__noise_level": [0.0, 0.3], "autoencoder__n_components": [2, 4]}
    search = GridSearchCV(steps, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9


def test_data_is_never_written_to(X):
    rows, weights = X.copy(), np.linspace(0.0, 2.0, len(X))
    rows.flags.writeable = weights.flags.writeable = False
    model = quick_auto_encoder(max_iter=5).fit(rows, sample_weight=weights)
    for question in (*ROW_QUESTIONS, "impute", "score"):
        getattr(model, question)(rows)
    assert_array_equal(rows, X)
