"""What a fitted estimator answers: shapes, derivatives, integrals, units and samples."""

import numpy as np
import pandas as pd
import pytest
import torch

from skrae import datasets
from tests.density.estimators import quick_estimator

SCALINGS = ("whiten", "standardize", None)


def ring(n, seed, units=(1.0, 1.0)):
    """n rows of a thickened circle, the columns multiplied by `units`."""
    return datasets.Ring().sample(n, seed) * np.asarray(units)


@pytest.fixture(scope="module", params=SCALINGS, ids=str)
def fitted(request, random_seed):
    """A fitted model and rows near its data; raw units are badly scaled where they may be."""
    units = (1.0, 1.0) if request.param is None else (1e-3, 1e4)
    X = ring(400, random_seed, units)
    model = quick_estimator(scaling=request.param, max_iter=90).fit(X)
    assert model.coefs_[-1].any(), "the base density won: the network would not be tested"
    return model, X


def quadrature(model, n=500, reach=60.0):
    """Nodes and weights of a trapezoid rule over the plane, finest near the data (n^2 nodes).

    The nodes are z = 0.5 sinh(u) in standardised units, u equidistant; `reach` is the largest z.
    """
    u = np.linspace(-1.0, 1.0, n) * np.arcsinh(2.0 * reach)
    z, weights = 0.5 * np.sinh(u), 0.5 * np.cosh(u) * (u[1] - u[0])
    scale = np.sqrt(np.diag(np.linalg.inv(model.whitening_ @ model.whitening_.T)))
    nodes = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    return nodes * scale + model.location_, np.outer(weights, weights).ravel() * scale.prod()


def spreads(X):
    """The standard deviation of each column: the natural step for differences."""
    return X.std(axis=0)


def central_differences(function, X, step=1e-4):
    """Derivatives of a function (n, d) -> (n, ...) per spread of a column, on the last axis."""
    shifts = step * np.diag(spreads(X))
    return np.stack([(function(X + s) - function(X - s)) / (2 * step) for s in shifts], axis=-1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shapes_and_dtypes(dtype, random_seed):
    X = ring(100, random_seed).astype(dtype)
    model = quick_estimator(hidden_layer_sizes=(16, 5), max_iter=36).fit(X)
    rows = X[:7]
    means, covariances = model.local_moments(rows)
    answers = {
        (7,): [model.score_samples(rows), model.base_log_density(rows)],
        (7, 2): [model.log_density_gradient(rows), model.reconstruct(rows), means],
        (7, 2, 2): [model.log_density_hessian(rows), covariances],
        (7, 5): [model.transform(rows)],
        (4, 2): [model.sample(4, random_state=0)],
    }
    for shape, arrays in answers.items():
        assert [(a.shape, a.dtype) for a in arrays] == [(shape, dtype)] * len(arrays)
    assert isinstance(model.score(rows), float)
    assert model.get_feature_names_out().shape == (5,)


def test_float32_and_float64_answers_agree(fitted):
    model, X = fitted
    narrow = X.astype(np.float32)
    for question in (model.score_samples, model.log_density_gradient, model.reconstruct):
        wide = question(narrow.astype(np.float64))
        limit = 1e-4 * np.abs(wide).max(axis=0)
        assert (np.abs(question(narrow) - wide) < limit).all()


def test_gradient_is_the_derivative_of_the_log_density(fitted):
    model, X = fitted
    gradient = model.log_density_gradient(X) * spreads(X)
    np.testing.assert_allclose(
        gradient, central_differences(model.score_samples, X), rtol=1e-5, atol=1e-5
    )


def test_hessian_is_the_derivative_of_the_gradient_and_symmetric(fitted):
    model, X = fitted
    hessian = model.log_density_hessian(X) * np.outer(spreads(X), spreads(X))
    np.testing.assert_allclose(hessian, hessian.transpose(0, 2, 1), rtol=1e-10, atol=1e-10)
    differences = central_differences(lambda x: model.log_density_gradient(x) * spreads(X), X)
    np.testing.assert_allclose(hessian, differences, rtol=1e-5, atol=1e-5)


def test_score_is_the_weighted_mean(fitted, random_seed):
    model, X = fitted
    log_density = model.score_samples(X)
    weights = np.random.default_rng(random_seed).integers(0, 4, len(X))
    repeated = model.score(np.repeat(X, weights, axis=0))
    assert model.score(X) == pytest.approx(log_density.mean())
    assert model.score(X, sample_weight=weights) == pytest.approx(repeated)
    assert model.score(X, sample_weight=5.0 * weights) == pytest.approx(repeated)


def test_answers_do_not_depend_on_the_other_rows(fitted):
    model, X = fitted
    # More rows than are answered in one piece.
    many = np.tile(X, (20, 1))
    log_density = model.score_samples(X)
    np.testing.assert_allclose(model.score_samples(many), np.tile(log_density, 20), rtol=1e-10)
    np.testing.assert_allclose(model.score_samples(X[:1]), log_density[:1], rtol=1e-10)


def test_reconstruction_of_isotropic_noise_moves_along_the_gradient(random_seed):
    """Of a network, without scaling: r(x) = x + (sigma^2 + lambda) grad log p(x)."""
    X = ring(600, random_seed)
    model = quick_estimator(
        noise_level=0.2,
        contraction_weight=0.01,
        noise_covariance="isotropic",
        scaling=None,
        hidden_layer_sizes=(64, 64),
        max_iter=120,
    ).fit(X)
    assert model.network_gain_ > 0.0
    moved = X + 0.05 * model.log_density_gradient(X)
    np.testing.assert_allclose(model.reconstruct(X), moved, rtol=1e-10, atol=1e-10)


def test_local_covariance_is_symmetric_and_positive_semi_definite(fitted):
    model, X = fitted
    means, covariances = model.local_moments(X)
    np.testing.assert_array_equal(means, model.reconstruct(X))
    standard = covariances / np.outer(spreads(X), spreads(X))
    np.testing.assert_allclose(standard, standard.transpose(0, 2, 1), atol=1e-12)
    assert np.linalg.eigvalsh(standard).min() > -1e-10
    assert np.linalg.eigvalsh(standard)[:, -1].min() > 0.0


KNOWN = {
    "ring": (datasets.Ring(thickness=0.2), (1e-3, 1e4), {}),
    "spiral": (datasets.Spiral(), (1.0, 1.0), {"base_density": "mixture"}),
    "banana": (datasets.Banana(), (1e4, 1e-3), {"noise_covariance": "isotropic"}),
    "mixture": (
        datasets.MixtureOfGaussians(
            [0.3, 0.7], [[-2.0, 0.0], [1.0, 1.0]], [[[0.1, 0.0], [0.0, 1.0]], np.eye(2) * 0.2]
        ),
        (1.0, 1e-3),
        {"noise_level": 0.0, "contraction_weight": 0.02},
    ),
    "heavy tails": (datasets.StudentT(df=3.0), (1e-3, 1e-3), {"noise_level": "auto"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_density_and_base_density_integrate_to_one(name, random_seed):
    density, units, options = KNOWN[name]
    X = density.sample(400, random_seed) * units
    model = quick_estimator(random_state=random_seed, **options).fit(X)
    nodes, weights = quadrature(model)
    assert weights @ np.exp(model.base_log_density(nodes)) == pytest.approx(1.0, abs=0.003)
    assert weights @ np.exp(model.score_samples(nodes)) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("scaling", ["whiten", "standardize"])
def test_units_of_a_power_of_two_change_nothing_but_the_units(scaling, random_seed):
    X, a = ring(150, random_seed), np.array([2.0**20, 2.0**-7])
    small, large = (
        quick_estimator(scaling=scaling, noise_level="auto", max_iter=36).fit(rows)
        for rows in (X, a * X)
    )
    expected = small.score_samples(X) - np.log(a).sum()
    np.testing.assert_allclose(large.score_samples(a * X), expected, rtol=1e-12)
    np.testing.assert_array_equal(large.sample(20, 0), a * small.sample(20, 0))
    np.testing.assert_allclose(
        large.log_density_gradient(a * X), small.log_density_gradient(X) / a, rtol=1e-9
    )
    assert large.noise_level_ == small.noise_level_


@pytest.mark.parametrize("scaling", ["whiten", "standardize"])
def test_other_units_change_little_but_the_units(scaling, random_seed):
    """The rounding of z differs, and float32 training carries it on: 0.1 nat on the mean."""
    X, a, b = ring(150, random_seed), np.array([3e3, 0.7]), np.array([1e5, -20.0])
    small, large = (
        quick_estimator(scaling=scaling, max_iter=36).fit(rows) for rows in (X, a * X + b)
    )
    expected = small.score_samples(X) - np.log(a).sum()
    difference = large.score_samples(a * X + b) - expected
    assert np.abs(difference).mean() < 0.1


def test_sample_is_deterministic_and_independent_of_the_global_seed(fitted):
    model, _ = fitted
    drawn, before = [], np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        for seed in (0, 1):
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            drawn.append(model.sample(30, 7))
    np.random.set_state(before)  # noqa: NPY002
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(
        model.sample(30, np.random.RandomState(7)), model.sample(30, np.random.RandomState(7))
    )
    assert not np.array_equal(model.sample(30, 7), model.sample(30, 8))


def test_sample_has_the_moments_of_the_data(random_seed):
    """Mean and covariance agree within 4 standard errors of the data's and the sample's own."""
    X = ring(1000, random_seed, (1e-3, 1e4))
    model = quick_estimator(noise_level="auto", base_density="mixture").fit(X)
    drawn = model.sample(4000, random_seed)

    def moments(rows):
        z = (rows - X.mean(axis=0)) / spreads(X)
        # Radii beyond 4 spreads belong to the heavy tail of the base: its moments have no error.
        z = z[np.linalg.norm(z, axis=1) < 4.0]
        features = np.column_stack([z, z**2, z.prod(axis=1)])
        return features.mean(axis=0), features.var(axis=0) / len(z)

    (of_data, data_error), (of_drawn, drawn_error) = moments(X), moments(drawn)
    assert (np.abs(of_data - of_drawn) < 4.0 * np.sqrt(data_error + drawn_error)).all()


def test_sample_follows_the_density(fitted, random_seed):
    """Pearson's statistic of draws in cells, against the quadrature of the density there."""
    model, X = fitted
    nodes, weights = quadrature(model)
    mass = weights * np.exp(model.score_samples(nodes))
    edges = [np.quantile(column, [0.15, 0.3, 0.5, 0.7, 0.85]) for column in X.T]

    def cells(rows):
        columns = [np.searchsorted(e, c) for e, c in zip(edges, rows.T, strict=True)]
        return columns[0] * 6 + columns[1]

    drawn = np.bincount(cells(model.sample(4000, random_seed)), minlength=36)
    expected = 4000 * np.bincount(cells(nodes), mass, minlength=36) / mass.sum()
    used = expected > 5.0
    statistic = ((drawn - expected)[used] ** 2 / expected[used]).sum()
    # Mean 35 and variance 70 for independent draws; those of one population are nearly so.
    assert statistic < 35 + 5 * np.sqrt(70)
    assert drawn[~used].sum() < 5.0 * used.size


def test_verbose_sample_prints_how_far_its_chains_are(capsys):
    rows = datasets.Ring().sample(300, 0)
    model = quick_estimator(max_iter=120, hidden_layer_sizes=(32, 32)).fit(rows)
    assert model.network_gain_ > 0.0
    quiet = model.sample(200, random_state=0)
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(model.set_params(verbose=1).sample(200, random_state=0), quiet)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("[RegularizedAutoEncoderScore] draws: ")
    assert "R-hat" in lines[-1]
    assert any("warm-up: 512 of 512, acceptance" in line for line in lines)
    assert len(lines) < 30


def test_columns_tell_what_became_of_each():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.random(600), rng.lognormal(size=600), np.round(20.0 * rng.standard_normal(600)) / 20.0]
    )
    X = pd.DataFrame(X, columns=["share", "amount", "rounded"]).assign(fixed=3.0)
    X.loc[5, "rounded"] = 1e4
    with pytest.warns(UserWarning, match="constant columns|beyond 20 deviations"):
        model = quick_estimator(base_density="mixture", max_iter=1).fit(X)
    report = pd.DataFrame(model.columns_).set_index("name")
    assert report.index.tolist() == ["share", "amount", "rounded", "fixed"]
    assert report["map"].tolist()[1:] == ["bent", "straight", "affine"]
    assert report.loc["share", "lower_end"] == pytest.approx(0.0, abs=0.02)
    assert report.loc["share", "upper_end"] == pytest.approx(1.0, abs=0.02)
    assert report.loc["rounded", "step"] == pytest.approx(0.05)
    assert report["n_wild"].tolist() == [0, 0, 1, 0]
    assert report["is_constant"].tolist() == [False, False, False, True]
    assert report.loc["rounded", "scale"] == pytest.approx(1.0, abs=0.1)


def test_copies_of_rows_are_their_weight():
    X = np.random.default_rng(0).standard_normal((60, 2))
    counts = np.random.default_rng(1).integers(1, 9, 60)
    copied = quick_estimator(max_iter=6).fit(np.repeat(X, counts, axis=0))
    weighted = quick_estimator(max_iter=6).fit(X, sample_weight=counts)
    np.testing.assert_array_equal(copied.score_samples(X), weighted.score_samples(X))


@pytest.mark.filterwarnings("ignore:Got collinear", "ignore:Got scaling=None")
@pytest.mark.parametrize("scaling", ["whiten", "standardize", None])
def test_collinear_columns_are_fitted_whatever_the_scaling(scaling):
    z = np.random.default_rng(0).standard_normal((200, 2))
    X = np.column_stack([z, z @ [1.0, 2.0]])
    model = quick_estimator(base_density="mixture", scaling=scaling, max_iter=1).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
