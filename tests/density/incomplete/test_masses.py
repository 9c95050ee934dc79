"""The whole mass of a fitted model is one, and of counts it is what their entropy allows."""

import numpy as np
import pytest
from scipy.stats import binom, entropy, norm, poisson

from skrae.density.incomplete import evaluator
from tests.density.incomplete.tables import fitted, with_network

pandas = pytest.importorskip("pandas")
# A level that no row of the fit had.
UNSEEN = "never seen"


def grid(low, high, n):
    """Points of sinh, and their weights in an integral."""
    u = np.linspace(np.arcsinh(low), np.arcsinh(high), n)
    return np.sinh(u), np.cosh(u) * (u[1] - u[0])


def mass(model, columns, **weights):
    """Sum of exp log p over all combinations of the values of some columns, weighted."""
    values = np.meshgrid(*map(np.arange, map(len, columns.values())), indexing="ij")
    places = [place.ravel() for place in values]
    frame = pandas.DataFrame(
        {name: np.asarray(own)[i] for (name, own), i in zip(columns.items(), places, strict=True)}
    )
    share = np.ones(len(frame))
    for (name, own), i in zip(columns.items(), places, strict=True):
        share *= weights.get(name, np.ones(len(own)))[i]
    return float(share @ np.exp(model.score_samples(frame)))


def each_network(model):
    return [model, with_network(model, seed=3)]


def test_counts_and_a_normal_given_a_class_have_mass_one(monkeypatch):
    rng = np.random.default_rng(0)
    c = rng.choice(["a", "b"], 300, p=[0.6, 0.4])
    k, x = rng.poisson(2.0 + 3.0 * (c == "b")), rng.standard_normal(300) + 2.0 * (c == "b")
    x[rng.random(300) < 0.15] = np.nan
    for model in each_network(fitted(pandas.DataFrame({"c": c, "k": k, "x": x}))):
        assert model.columns_["kind"].tolist() == ["categorical", "cells", "continuous"]
        points, weights = grid(-40.0, 40.0, 61)
        columns = {"c": ["a", "b", UNSEEN], "k": np.arange(-12, 30), "x": points}
        assert abs(mass(model, columns, x=weights) - 1.0) < 0.01
        # And with a hole in each column in turn.
        for hole, value in (("c", [None]), ("k", [np.nan]), ("x", [np.nan])):
            rest = {name: value if name == hole else own for name, own in columns.items()}
            own_weights = {} if hole == "x" else {"x": weights}
            with monkeypatch.context() as patch:
                patch.setattr(evaluator, "N_POINTS", 512 if hole == "x" else 64)
                assert abs(mass(model, rest, **own_weights) - 1.0) < 0.01


def test_waiting_times_that_are_often_zero_have_mass_one():
    """With respect to Lebesgue, and a unit mass at the atom."""
    rng = np.random.default_rng(1)
    z = np.where(rng.random(300) < 0.4, 0.0, rng.exponential(1.0, 300))
    flag = np.where(z > 1.0, "late", "soon")
    points, weights = grid(-60.0, 60.0, 2000)  # none of them zero
    base, network = each_network(fitted(pandas.DataFrame({"z": z, "flag": flag})))
    for model in (base, network):
        assert model.columns_["kind"].tolist() == ["atoms", "categorical"]
        for flags in (["late", "soon", UNSEEN], [None]):
            continuous = mass(model, {"z": points, "flag": flags}, z=weights)
            at_zero = mass(model, {"z": [0.0], "flag": flags})
            assert abs(continuous + at_zero - 1.0) < 0.01
    assert abs(mass(base, {"z": [0.0], "flag": [None]}) - (z == 0.0).mean()) < 0.02


def test_levels_of_two_categories_have_mass_one_and_their_frequencies(monkeypatch):
    monkeypatch.setattr(evaluator, "N_POINTS", 2048)  # of noise that only a network sees
    rng = np.random.default_rng(2)
    a = rng.choice(["a", "b", "c"], 500, p=[0.5, 0.3, 0.2])
    b = np.where(rng.random(500) < 0.8, a, "other")
    b = np.where(rng.random(500) < 0.1, None, b)
    base, network = each_network(fitted(pandas.DataFrame({"a": a, "b": b})))
    for model in (base, network):
        levels = {"a": ["a", "b", "c", UNSEEN], "b": ["a", "b", "c", "other", UNSEEN]}
        assert abs(mass(model, levels) - 1.0) < 0.01
        assert abs(mass(model, {**levels, "b": [None]}) - 1.0) < 0.01
    for level in "abc":
        assert abs(mass(base, {"a": [level], "b": [None]}) - (a == level).mean()) < 0.04


def test_a_mass_of_one_level_that_was_never_seen_is_that_of_one_row_more():
    frame = pandas.DataFrame({"a": ["x", "y"] * 30, "k": np.random.default_rng(0).normal(size=60)})
    model = fitted(frame)
    hole = pandas.DataFrame({"a": [UNSEEN, None], "k": [0.3, 0.3]})
    found = model.score_samples(hole)
    assert found[0] - found[1] == pytest.approx(-np.log(61.0), abs=1e-12)
    known = model.score_samples(pandas.DataFrame({"a": ["x", "y"], "k": [0.3, 0.3]}))
    total = np.exp(known).sum() + np.exp(found[0])
    assert total == pytest.approx(np.exp(found[1]), rel=1e-9)


LAWS = {
    "poisson": poisson(3.0),
    "binomial": binom(12, 0.4),
    "rounded normal": None,
}


@pytest.mark.parametrize("name", LAWS)
def test_counts_have_the_log_mass_of_their_entropy(name):
    """E log q <= -H whatever q is, as masses add up to one; and near it, of an easy law."""
    n, values = 2000, np.arange(-8, 20)
    rng = np.random.default_rng(5)
    if name == "rounded normal":
        true = norm.cdf(values + 0.5, 5.0, 2.0) - norm.cdf(values - 0.5, 5.0, 2.0)
        counts = np.rint(rng.normal(5.0, 2.0, n))
    else:
        true, counts = LAWS[name].pmf(values), LAWS[name].rvs(n, random_state=rng)
    for n_components in (4, 32):
        model = fitted(counts[:, None].astype(float), max_components=n_components)
        assert model.columns_["kind"].tolist() == ["cells"]
        log_mass = model.score_samples(values[:, None].astype(float))
        assert (log_mass < 0.0).all()
        assert model.score(counts[:, None].astype(float)) < 0.0
        gap = true @ log_mass + entropy(true)
        # Of three components or four, by the noise of the fit -0.025 to -0.003.
        assert -0.03 < gap <= 1e-9


def test_tenths_are_a_density():
    """Of a step h the log mass over h: as of unrounded numbers."""
    rng = np.random.default_rng(4)
    x = rng.normal(5.0, 2.0, 2000)
    rounded = fitted(np.round(x, 1)[:, None], column_kinds="cells")
    assert rounded.columns_["step"][0] == pytest.approx(0.1)
    found = rounded.score_samples([[5.0], [7.0]])
    np.testing.assert_allclose(found, norm.logpdf([5.0, 7.0], 5.0, 2.0), atol=0.15)
