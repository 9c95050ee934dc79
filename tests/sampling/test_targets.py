"""Targets of the chains: the public methods of estimators, in working space and with units."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.mixture import GaussianMixture

from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import AffineMap, fit_affine
from skrae.preprocessing.blocks import BLOCK_DRAWS, NETWORK_ROWS
from skrae.sampling.mcmc.density_ratios import exact
from skrae.sampling.targets import FAR, VANISHED, ConditionalTarget, PublicTarget
from tests.density.estimators import quick_estimator
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture

UNITS = np.array([1.0, 200.0, 0.01])


def data():
    """Skewed columns in different units."""
    rng = np.random.default_rng(0)
    first = np.log(rng.gamma(1.0, size=400))
    return np.column_stack([first, first**2, first]) * UNITS + rng.standard_normal((400, 3)) * UNITS


@pytest.fixture(scope="module")
def estimator():
    fitted = quick_estimator().fit(data())
    assert fitted.network_gain_ > 0, "the base alone would hide the network"
    return fitted


@pytest.fixture(scope="module")
def base_alone():
    """A model of which the network is zero."""
    fitted = quick_estimator(max_iter=1).fit(data()[:40])
    fitted.coefs_[-1] = np.zeros_like(fitted.coefs_[-1])
    fitted.intercepts_[-1] = np.zeros_like(fitted.intercepts_[-1])
    return fitted


def rows_of(target, n, seed):
    """Draws of q in working space, and the same in the units of the data."""
    z = target.base.sample(n, generator(seed))
    return z, target.transform.inverse(z.numpy())


def agree(found, expected, tolerance):
    """To this share of the largest entry of each column of numbers."""
    found, expected = np.asarray(found), np.asarray(expected)
    scale = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerance)


# The field


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_field_target_is_the_estimator_in_units_of_the_data(estimator, temperature, random_seed):
    """Log density and, by the chain rule, its derivatives; the target's network is in float32."""
    target = estimator._sampling_target(temperature)
    z, X = rows_of(target, 200, random_seed)
    state = target(z)
    assert torch.equal(state.position, z)
    agree(target.in_units(z.numpy(), state.log_density.numpy()), estimator.score_samples(X), 1e-5)
    assert target.beta == 1 / temperature
    gradient = temperature * target.transform.gradient(z.numpy(), state.gradient.numpy())
    agree(gradient, estimator.log_density_gradient(X), 1e-4)
    hessian = target.transform.hessian(
        z[:20].numpy(), lambda: state.gradient[:20].numpy(), target.hessian(z[:20]).numpy()
    )
    agree(temperature * hessian, estimator.log_density_hessian(X[:20]), 1e-3)
    log_q = state.log_base.numpy() + target.transform.log_abs_det(z.numpy())
    agree(log_q, estimator.base_log_density(X), 1e-10)
    torch.testing.assert_close(state.responsibilities, target.base.responsibilities(z))
    assert torch.equal(target.factors, target.base.factors)


def test_field_target_parts_agree_with_its_states(estimator, random_seed):
    target = estimator._sampling_target(2.0)
    z, _ = rows_of(target, 300, random_seed)
    state, (log_density, log_base) = target(z), target.densities(z)
    torch.testing.assert_close(log_density, state.log_density, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(log_base, state.log_base)
    assert torch.equal(target.gradient(z), state.gradient)
    assert target.has_gradient
    assert not target.is_base


def test_field_target_of_many_rows_is_that_of_each(estimator, random_seed):
    """Rows beyond a block of states, and of densities."""
    target = estimator._sampling_target(1.0)
    n = BLOCK_DRAWS + 10
    z, _ = rows_of(target, n, random_seed)
    state, (log_density, log_base) = target(z), target.densities(z)
    for part in (*state, log_density, log_base):
        assert len(part) == n
    for some in (
        slice(0, 5),
        slice(NETWORK_ROWS - 2, NETWORK_ROWS + 2),
        slice(BLOCK_DRAWS - 2, None),
    ):
        for part, alone in zip(state, target(z[some]), strict=True):
            torch.testing.assert_close(part[some], alone, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            log_density[some], target.densities(z[some])[0], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_field_without_a_network_is_its_base(base_alone, temperature, random_seed):
    target = base_alone._sampling_target(temperature)
    assert target.is_base
    z, X = rows_of(target, 50, random_seed)
    state = target(z)
    torch.testing.assert_close(temperature * state.log_density, state.log_base)
    torch.testing.assert_close(target.densities(z)[0], state.log_density)
    slope = finite_differences(target.base.log_density, z)
    torch.testing.assert_close(temperature * state.gradient, slope, atol=1e-4, rtol=1e-4)
    agree(
        temperature * target.transform.gradient(z.numpy(), state.gradient.numpy()),
        base_alone.log_density_gradient(X),
        1e-6,
    )


# Public methods


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_public_target_gives_the_states_of_the_field(estimator, temperature, random_seed):
    """For one estimator and map; in the units of the data the two densities are one."""
    field = estimator._sampling_target(temperature)
    public = PublicTarget(estimator, field.transform, field.base, temperature)
    z, _ = rows_of(field, 200, random_seed)
    one, other = field(z), public(z)
    one_in_units, other_in_units = (
        target.in_units(z.numpy(), state.log_density.numpy())
        for target, state in ((field, one), (public, other))
    )
    agree(other_in_units, one_in_units, 1e-5)
    agree(other.gradient, one.gradient, 1e-4)
    agree(public.hessian(z[:20]), field.hessian(z[:20]), 1e-3)
    assert torch.equal(other.log_base, one.log_base)
    torch.testing.assert_close(other.responsibilities, one.responsibilities)
    assert torch.equal(other.position, z)
    for found, expected in zip(
        public.densities(z), (other.log_density, other.log_base), strict=True
    ):
        assert torch.equal(found, expected)
    assert torch.equal(public.gradient(z), other.gradient)
    assert torch.equal(public.factors, field.factors)
    pair = [public(z[:50]), public(z[50:100])], [field(z[:50]), field(z[50:100])]
    agree(*(exact(*states, None) for states in pair), 1e-4)


class Quartic:
    """log p(x) = -|x - c|_4^4 with exact derivatives, and a wall of any value at x_1 > limit."""

    centre = np.array([0.5, -1.0, 2.0])

    def __init__(self, wall=0.0, limit=np.inf):
        self.wall, self.limit, self.asked = wall, limit, []

    def score_samples(self, X):
        self.asked.append(X)
        return np.where(X[:, 0] > self.limit, self.wall, -((X - self.centre) ** 4).sum(axis=1))

    def log_density_gradient(self, X):
        return -4 * (X - self.centre) ** 3

    def log_density_hessian(self, X):
        return np.eye(3) * (-12 * (X - self.centre) ** 2)[:, None]


def whitening(X):
    """The map that whitens rows."""
    return fit_affine(X, np.ones(len(X)), "whiten").map


def tilted_map(d=3):
    """From units of the data to a working space whose axes are turned and stretched."""
    rng = np.random.default_rng(2)
    return whitening(rng.standard_normal((500, d)) @ rng.standard_normal((d, d)))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_public_target_derivatives_are_those_of_its_log_density(temperature, random_seed):
    target = PublicTarget(Quartic(), tilted_map(), None, temperature)
    z = torch.randn(10, 3, generator=generator(random_seed), dtype=torch.float64)
    X = target.transform.inverse(z.numpy())
    state = target(z)
    np.testing.assert_allclose(temperature * state.log_density, Quartic().score_samples(X))
    slopes = finite_differences(lambda z: target(z).log_density, z)
    agree(state.gradient, slopes, 1e-5)
    agree(target.hessian(z), finite_differences(target.gradient, z), 1e-5)


def test_public_target_without_a_base_has_one_component(random_seed):
    target = PublicTarget(Quartic(), tilted_map())
    z = torch.randn(10, 3, generator=generator(random_seed), dtype=torch.float64)
    state = target(z)
    assert target.base is None
    assert torch.equal(state.log_base, torch.zeros(10, dtype=torch.float64))
    assert torch.equal(state.responsibilities, torch.ones(10, 1, dtype=torch.float64))
    other = target.with_base(random_mixture(3, 2, random_seed))
    assert target.base is None
    with_base = other(z)
    assert with_base.responsibilities.shape == (10, 2)
    torch.testing.assert_close(with_base.log_base, other.base.log_density(z))
    assert torch.equal(with_base.log_density, state.log_density)


@pytest.mark.parametrize("temperature", [0.3, 3.0, 7.0])
def test_another_base_keeps_the_temperature(temperature):
    target = PublicTarget(Quartic(), tilted_map(), None, temperature)
    assert target.with_base(random_mixture(3, 2, 0)).beta == pytest.approx(target.beta, rel=1e-15)


def test_estimator_without_a_gradient_gives_states_without_one(random_seed):
    X = data()
    mixture = GaussianMixture(2, random_state=0).fit(X)
    target = PublicTarget(mixture, whitening(X))
    assert not target.has_gradient
    z = torch.randn(10, 3, generator=generator(random_seed), dtype=torch.float64)
    state = target(z)
    assert state.gradient.shape == (10, 0)
    expected = mixture.score_samples(target.transform.inverse(z.numpy()))
    np.testing.assert_array_equal(state.log_density, expected)


def test_rows_too_far_have_no_density_and_are_not_asked_for():
    estimator = Quartic()
    target = PublicTarget(estimator, tilted_map())
    z = torch.zeros(5, 3, dtype=torch.float64)
    z[1, 0], z[2, 1], z[4] = torch.nan, torch.inf, 1.001 * FAR
    state = target(z)
    bad = torch.tensor([False, True, True, False, True])
    assert torch.equal(state.log_density == VANISHED, bad)
    assert torch.equal(state.gradient.isnan().all(1), bad)
    assert torch.equal(state.gradient.isnan().any(1), bad)
    assert torch.equal(target.hessian(z).isnan().all(2).all(1), bad)
    (asked,) = estimator.asked
    assert asked.shape == (2, 3)
    assert np.isfinite(asked).all()
    alone = target(z[~bad])
    assert torch.equal(state.log_density[~bad], alone.log_density)
    assert torch.equal(state.gradient[~bad], alone.gradient)
    n = len(estimator.asked)
    assert (target(z[bad]).log_density == VANISHED).all()
    assert len(estimator.asked) == n, "asked for no rows"


@pytest.mark.parametrize(
    ("wall", "expected"),
    [(np.inf, np.nan), (np.nan, np.nan), (-np.inf, -np.inf), (-1e300, -0.5e300)],
)
def test_infinite_density_counts_as_nan_and_zero_density_as_itself(wall, expected):
    identity = AffineMap.diagonal(np.zeros(3), np.ones(3))
    base = random_mixture(3, 1, 0)
    target = PublicTarget(Quartic(wall, limit=0.0), identity, base, temperature=2.0)
    z = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    for values in (target(z).log_density, target.densities(z)[0]):
        np.testing.assert_array_equal(values[1], expected)
        assert values[0] == 0.5 * Quartic().score_samples(z[:1].numpy())[0]


class Misshapen(Quartic):
    """Answers of one method have a shape of their own."""

    def __init__(self, method, answer):
        super().__init__()
        setattr(self, method, answer)


@pytest.mark.parametrize(
    ("method", "answer", "got"),
    [
        ("score_samples", lambda X: np.zeros((len(X), 1)), r"\(4, 1\)"),
        ("score_samples", lambda X: 0.0, r"\(\)"),
        ("score_samples", lambda X: np.zeros(len(X) + 1), r"\(5,\)"),
        ("log_density_gradient", lambda X: np.zeros(len(X)), r"\(4,\)"),
        ("log_density_gradient", lambda X: np.zeros((3, len(X))), r"\(3, 4\)"),
    ],
)
def test_answers_of_another_shape_are_refused(method, answer, got):
    target = PublicTarget(Misshapen(method, answer), tilted_map())
    message = rf"Got shape {got} from Misshapen\.{method} for 4 rows, expected \(4,"
    with pytest.raises(ValueError, match=message):
        target(torch.zeros(4, 3, dtype=torch.float64))


def test_names_of_columns_are_handed_on(random_seed):
    """An estimator that was fitted to a DataFrame would warn of an array."""
    X = pd.DataFrame(data(), columns=["age", "height", "weight"])
    for fitted in (GaussianMixture(2, random_state=0).fit(X), quick_estimator(max_iter=1).fit(X)):
        target = PublicTarget(fitted, whitening(X.to_numpy()))
        z = torch.randn(10, 3, generator=generator(random_seed), dtype=torch.float64)
        values = target(z).log_density
        rows = pd.DataFrame(target.transform.inverse(z.numpy()), columns=X.columns)
        np.testing.assert_array_equal(values, fitted.score_samples(rows))


def test_an_estimator_without_names_gets_an_array():
    estimator = Quartic()
    PublicTarget(estimator, tilted_map())(torch.zeros(2, 3, dtype=torch.float64))
    assert type(estimator.asked[0]) is np.ndarray


# Other coordinates, and the base density and metric of what is missing


def tilt(d=3):
    return torch.as_tensor(np.random.default_rng(3).standard_normal((d, d)))


@pytest.mark.parametrize("source", ["field", "public"])
def test_conditional_target_obeys_the_chain_rule(source, estimator, random_seed):
    """In y with z = y A: values at the image, derivatives in y."""
    inner = estimator._sampling_target(2.0)
    if source == "public":
        inner = PublicTarget(estimator, inner.transform, inner.base, 2.0)
    base, factors = random_mixture(3, 2, random_seed), torch.ones(4, 2, 3, 3)
    target = ConditionalTarget(inner, tilt(), inner.transform, base, factors)
    assert (target.base, target.factors) == (base, factors)
    y = torch.randn(8, 3, generator=generator(random_seed), dtype=torch.float64)
    state, image = target(y), inner(y @ tilt())
    assert torch.equal(state.position, y)
    for name in ("log_density", "log_base", "responsibilities"):
        assert torch.equal(getattr(state, name), getattr(image, name))
    for found, expected in zip(target.densities(y), inner.densities(y @ tilt()), strict=True):
        assert torch.equal(found, expected)
    torch.testing.assert_close(target.gradient(y), state.gradient)
    for name in ("beta", "has_gradient", "is_base", "min_local"):
        assert getattr(target, name) == getattr(inner, name)
    values = state.log_density.numpy()
    np.testing.assert_array_equal(
        target.in_units(y.numpy(), values), inner.in_units((y @ tilt()).numpy(), values)
    )
    if source == "public":
        slopes = finite_differences(lambda y: target(y).log_density, y)
        agree(state.gradient, slopes, 1e-5)
        agree(target.hessian(y), finite_differences(target.gradient, y), 1e-5)


def turned(inner):
    """The inner target in y with z = y A, its base density as it is."""
    return ConditionalTarget(inner, tilt(), inner.transform, inner.base, inner.factors)


def test_conditional_target_of_a_field_is_that_of_the_public_methods(estimator, random_seed):
    field = estimator._sampling_target(2.0)
    public = PublicTarget(estimator, field.transform, field.base, 2.0)
    y = torch.randn(20, 3, generator=generator(random_seed), dtype=torch.float64)
    one, other = turned(field), turned(public)
    agree(one(y).gradient, other(y).gradient, 1e-4)
    agree(one.hessian(y), other.hessian(y), 1e-3)


def test_conditional_target_without_a_gradient_has_none(random_seed):
    X = data()
    inner = PublicTarget(GaussianMixture(2, random_state=0).fit(X), whitening(X))
    state = turned(inner)(torch.randn(6, 3, generator=generator(random_seed), dtype=torch.float64))
    assert state.gradient.shape == (6, 0)


def test_base_of_a_public_target_may_be_heavy_tailed(random_seed):
    base = MixtureDensity([1.0], np.zeros((1, 3)), [np.eye(3)], [3.0])
    target = PublicTarget(Quartic(), tilted_map(), base)
    z = base.sample(20, generator(random_seed))
    torch.testing.assert_close(target(z).log_base, base.log_density(z))
