"""Which energy is the model: what is estimated of each, what is chosen, what the model answers."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from skrae import RegularizedAutoEncoderScore, datasets
from skrae.density.fit import fitting
from skrae.density.fit.radial import members
from skrae.density.fit.radial.closed_form import QuadraticCriterion, fit_radial
from skrae.density.fit.radial.members import (
    BLURS,
    SHARES,
    Judgement,
    _blur,
    _chosen,
    _derivatives,
    _energy,
    _judgement,
    _of_average,
)
from skrae.mixtures.growth.tails import Judged
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.rows import WeightedRows
from tests.density.random_fields import random_field
from tests.mixtures.random_mixtures import random_mixture

N_FRESH = 4000


def fit(X, **options):
    """A fit with few steps of a network that does not win."""
    quick = {"max_iter": 12, "hidden_layer_sizes": (8,), "max_mixtures": 3, "random_state": 0}
    return RegularizedAutoEncoderScore(**{**quick, **options}).fit(X)


def relative_divergence(model, density, rows):
    truth = density.gradient(rows)
    return ((model.log_density_gradient(rows) - truth) ** 2).sum() / (truth**2).sum()


@pytest.fixture(scope="module")
def ring():
    return datasets.Ring()


@pytest.fixture(scope="module")
def models(ring):
    """The same rows with each option."""
    X = ring.sample(600, 0)
    return {select: fit(X, select=select) for select in ("likelihood", "score", None)}


@pytest.fixture(scope="module")
def line():
    """A model in one column in which radial units have a share."""
    return fit(datasets.SexticWell().sample(1000, 10))


def test_average_halves_the_error_of_the_score(models, ring):
    rows = ring.sample(N_FRESH, 1)
    errors = {key: relative_divergence(model, ring, rows) for key, model in models.items()}
    assert errors["likelihood"] < 0.5 * errors[None]
    densities = {key: model.score(rows) for key, model in models.items()}
    assert densities["likelihood"] > densities[None]


def test_table_tells_what_was_chosen(models):
    table = models["likelihood"].members_
    np.testing.assert_array_equal(table["share"], SHARES)
    assert table["chosen"].sum() == 1
    assert table["share"][table["chosen"]] == models["likelihood"].radial_units_["share"]
    best = table["log_density"].argmax()
    assert table["log_density_stderr"][best] == 0.0
    assert table["hyvarinen_stderr"][table["hyvarinen"].argmin()] == 0.0
    loss = table["log_density"][best] - table["log_density"][table["chosen"]][0]
    assert loss <= members.MAX_LOSS
    assert models[None].members_ is None
    assert models[None].radial_units_ is None


def test_without_the_choice_the_model_is_its_base(models, ring):
    rows = ring.sample(50, 1)
    np.testing.assert_array_equal(
        models[None].score_samples(rows), models[None].base_log_density(rows)
    )
    np.testing.assert_array_equal(
        models[None].base_log_density(rows), models["likelihood"].base_log_density(rows)
    )


def test_density_integrates_to_one(line):
    grid = np.linspace(-30.0, 30.0, 60_001)
    mass = np.exp(line.score_samples(grid[:, None])).sum() * (grid[1] - grid[0])
    assert line.radial_units_ is not None
    assert mass == pytest.approx(1.0, abs=0.01)


def test_gradient_and_hessian_are_those_of_the_density(models, ring):
    model, rows, step = models["likelihood"], ring.sample(20, 2), 1e-5
    for j in range(2):
        shift = step * np.eye(2)[j]
        above, below = rows + shift, rows - shift
        slope = (model.score_samples(above) - model.score_samples(below)) / (2 * step)
        np.testing.assert_allclose(model.log_density_gradient(rows)[:, j], slope, rtol=1e-4)
        bend = model.log_density_gradient(above) - model.log_density_gradient(below)
        hessian = model.log_density_hessian(rows)[:, j]
        np.testing.assert_allclose(hessian, bend / (2 * step), rtol=1e-3, atol=1e-3)


def test_draws_have_the_entropy_of_the_density(line):
    """E log p over draws is that over the grid, within four standard errors."""
    values = line.score_samples(line.sample(2000, random_state=0))
    grid = np.linspace(-30.0, 30.0, 60_001)[:, None]
    log_density = line.score_samples(grid)
    share = np.exp(log_density) / np.exp(log_density).sum()
    error = values.std() / np.sqrt(1000)
    assert values.mean() == pytest.approx(share @ log_density, abs=4.0 * error)


def test_same_seed_same_choice_and_a_pickle_answers_alike(models, ring):
    rows, model = ring.sample(30, 1), models["likelihood"]
    again = fit(ring.sample(600, 0))
    np.testing.assert_array_equal(again.score_samples(rows), model.score_samples(rows))
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.log_density_gradient(rows), model.log_density_gradient(rows))


def test_float32_rows_get_float32_answers(models, ring):
    rows = ring.sample(30, 1).astype(np.float32)
    for question in ("score_samples", "log_density_gradient", "log_density_hessian", "reconstruct"):
        found = getattr(models["likelihood"], question)(rows)
        expected = getattr(models["likelihood"], question)(rows.astype(float))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_mixtures_stay_where_they_are_the_truth():
    """On a mixture of Gaussians kernels are worse, and held-out rows say so."""
    density = datasets.RotatedMixture(n_features=2)
    model = fit(density.sample(2000, 0), max_mixtures=8)
    assert model.radial_units_ is None
    assert model.members_["chosen"][0]


def test_many_columns_have_no_choice(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((150, members.MAX_FEATURES + 1))
    assert fit(X).members_ is None


@pytest.mark.parametrize(
    "options", [{"calibration_weight": 0.0}, {"base_density": "gaussian"}, {"decoder": "tied"}]
)
def test_what_is_asked_for_alone_is_left_alone(options, ring):
    model = fit(ring.sample(200, 0), **options, noise_level=0.5)
    assert model.members_ is None
    assert model.radial_units_ is None


def test_unknown_choice_is_refused(ring):
    with pytest.raises(ValueError, match="select='hyvarinen', expected one of"):
        fit(ring.sample(200, 0), select="hyvarinen")


def test_continued_fit_keeps_its_radial_units(ring):
    X = ring.sample(600, 0)
    model = fit(X, warm_start=True)
    units = model.radial_units_
    model.fit(X)
    assert model.radial_units_["share"] == units["share"]
    np.testing.assert_array_equal(model.radial_units_["centres"], units["centres"])


# What the choice is made of


def test_divergence_is_the_trace_of_the_jacobian():
    z = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(6, 2)
    values, divergence = _derivatives(lambda x: torch.stack([x[:, 0] ** 3, x.prod(1)], 1), z, 3)
    torch.testing.assert_close(values[:, 0], z[:, 0] ** 3)
    torch.testing.assert_close(divergence, 3.0 * z[:, 0] ** 2 + z[:, 0])


def judgement(means, spread, n=400):
    """Scores of these means, whose differences from the first row of noise have this spread."""
    noise = np.random.default_rng(0).standard_normal((len(means), n))
    noise = spread * (noise - noise.mean(1, keepdims=True))
    values = torch.as_tensor(np.array(means)[:, None] + noise)
    return Judgement(values, -values)


@pytest.mark.parametrize("select", ["likelihood", "score"])
@pytest.mark.parametrize(("means", "place"), [([0, 1, 2, 1, 0], 2), ([0, 1, 2, 1.999, 1], 3)])
def test_largest_share_that_rows_cannot_tell_from_the_best(select, means, place):
    weights = torch.ones(400, dtype=torch.float64)
    assert _chosen(judgement(means, 0.1), weights, select).place == place


def test_no_more_than_a_little_likelihood_is_given_away():
    """Rows that tell little would allow any loss; for the score they may."""
    found = judgement([1.0, 1.0, 1.0, 1.0, 0.9], 10.0)
    weights = torch.ones(400, dtype=torch.float64)
    assert _chosen(found, weights, "likelihood").place == 3
    assert _chosen(found, weights, "score").place == 4


@pytest.mark.parametrize("head", [0.0, 1.0])
def test_judgement_is_that_of_the_averaged_field(head):
    """Both scores at each share, against the field that would be the model."""
    field = random_field(2, 0, head=head)
    generator = torch.Generator().manual_seed(0)
    rows, held_out = (
        WeightedRows(field.base.sample(n, generator), torch.ones(n, dtype=torch.float64))
        for n in (400, 50)
    )
    smooth = field.base.blurred(2.0, local=True)
    fit = fit_radial(rows, QuadraticCriterion(smooth), generator)
    part = Judged(field.base, rows, held_out)
    found = _judgement(part, (lambda base: field) if head else None, fit, 2.0, generator)
    draws = field.base.sample(100_000, generator)
    for share, log_density, hyvarinen in zip(SHARES, *found, strict=True):
        averaged = field.averaged(_energy(field.base, smooth, rows, fit, share))
        log_z = torch.logsumexp(averaged.log_tilt(draws), 0) - np.log(len(draws))
        # The tilt is within a factor e of 1: 4096 draws leave its mean an error of some hundredths.
        expected = averaged.log_density(held_out.z) - log_z
        torch.testing.assert_close(log_density, expected, atol=0.1, rtol=0.0)
        _, psi, _, _ = averaged.evaluate(held_out.z)
        divergence = averaged.hessian(held_out.z).diagonal(dim1=1, dim2=2).sum(1)
        torch.testing.assert_close(hyvarinen, 0.5 * psi.square().sum(1) + divergence)


def test_scores_of_an_average_of_mixtures():
    """Means of held-out rows plus the disagreement are those of the geometric mean itself."""
    densities = [random_mixture(2, 3, seed) for seed in range(3)]
    z = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = WeightedRows(z, torch.ones(60, dtype=torch.float64))
    parts = [Judged(density, rows, rows) for density in densities]
    each = [density.evaluate(z) for density in densities]
    psi = torch.stack([gradient for _, gradient, _ in each])
    half = 0.5 * psi.square().sum(2)
    before = Judgement(*(v.reshape(1, -1).expand(len(SHARES), -1) for v in (half, half)))
    after = _of_average(parts, [60, 60, 60], before)
    mean = after.hyvarinen[0].reshape(3, 60).mean(0)
    torch.testing.assert_close(mean, 0.5 * psi.mean(0).square().sum(1))
    assert torch.equal(after.hyvarinen[-1], before.hyvarinen[-1])


def test_interrupted_choice_says_so_and_keeps_the_mixtures(ring, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "choose_member", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = fit(ring.sample(300, 0))
    assert model.members_ is None
    rows = ring.sample(10, 1)
    np.testing.assert_array_equal(model.score_samples(rows), model.base_log_density(rows))


def test_units_go_where_they_are_no_longer_asked_for(ring):
    X = ring.sample(600, 0)
    model = fit(X, warm_start=True)
    model.set_params(select=None).fit(X)
    assert model.radial_units_ is None


def test_few_rows_have_no_kernels(ring):
    """Nothing is held out of fewer than ten rows: the base density alone is the model."""
    model = fit(ring.sample(8, 0), decoder="kernel", hidden_layer_sizes="auto")
    assert model.network_gain_ == 0.0


def test_kernels_of_few_rows_can_be_fitted_again(ring):
    options = {"decoder": "kernel", "hidden_layer_sizes": "auto", "base_density": "gaussian"}
    X = ring.sample(150, 0)
    model = fit(X, warm_start=True, **options)
    gain = model.network_gain_
    assert gain > 0.0
    assert model.fit(X).network_gain_ == pytest.approx(gain, abs=0.5)


def test_blur_is_the_widest_that_held_out_rows_allow(monkeypatch, random_seed):
    """In closed form for one Gaussian; that of many narrow ones side by side may be any."""
    monkeypatch.setattr(members, "MAX_BLUR_LOSS", 0.25)
    generator = torch.Generator().manual_seed(random_seed)
    one = MixtureDensity([1.0], np.zeros((1, 2)), np.eye(2)[None], [np.inf])
    losses = [np.log1p(blur) - blur / (1.0 + blur) for blur in BLURS]
    most = 2 * 0.25
    expected = max(blur for blur, loss in zip(BLURS, losses, strict=True) if loss <= most)
    assert min(abs(loss - most) for loss in losses) > 5.0 / np.sqrt(40_000)
    assert _blur(judged_by_its_draws(one, 40_000, generator)) == expected
    places = np.linspace(-4.0, 4.0, 200)[:, None]
    many = MixtureDensity(np.full(200, 0.005), places, np.full((200, 1, 1), 0.1), [np.inf] * 200)
    assert _blur(judged_by_its_draws(many, 1000, generator)) == BLURS[-1]


def judged_by_its_draws(density, n, generator):
    rows = WeightedRows(density.sample(n, generator), torch.ones(n, dtype=torch.float64))
    return Judged(density, rows, rows)


def test_verbose_tells_the_share(capsys):
    model = fit(datasets.Ring().sample(150, 0), verbose=1)
    share = model.members_["share"][model.members_["chosen"]][0]
    assert f"radial units: a share of {share:g} in the model" in capsys.readouterr().out
