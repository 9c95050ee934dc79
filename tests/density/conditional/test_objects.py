"""Marginals and conditionals of fitted densities: closed forms, identities, brute force."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from skrae import RegularizedAutoEncoderScore
from tests.density.estimators import quick_estimator
from tests.density.incomplete.tables import fitted, mixed_frame, quietly, with_network
from tests.test_ambient_state import everything

KINDS = ("base", "network")
COV = np.array([[1.0, 0.6, -0.3], [0.6, 2.0, 0.4], [-0.3, 0.4, 1.5]])


@pytest.fixture(scope="module")
def gaussian():
    """A model whose density is one Gaussian: the wide component is asked to have no weight."""
    X = np.random.default_rng(0).multivariate_normal([1.0, -2.0, 3.0], COV, 400)
    model = quietly(RegularizedAutoEncoderScore(base_density="gaussian", max_iter=1).fit, X)
    model.base_weights_ = np.array([1.0, 0.0])
    return model


@pytest.fixture(scope="module")
def rows():
    """Skewed columns that depend on each other."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((400, 3)) @ np.array([[1.0, 0.5, 0.3], [0.0, 1.0, -0.6], [0, 0, 0.5]])
    return np.column_stack([z[:, 0], np.exp(1.5 * z[:, 1]), 100.0 * z[:, 2]])


@pytest.fixture(scope="module")
def plain(rows):
    base = fitted(rows, margins="auto", max_components=6, select=None)
    assert base.margins_ is not None
    assert base._evaluator(np.float64).field.is_base
    return {"base": base, "network": with_network(base, head=2.0)}


@pytest.fixture(scope="module")
def raw():
    base = fitted(mixed_frame(pd, 250))
    return {"base": base, "network": with_network(base)}


def grid(model, row, column, centre, spread, n=20001):
    """Values of a column, and the conditional density of them on a row by brute force."""
    values = centre + spread * np.sinh(np.linspace(-14.0, 14.0, n))
    full = np.repeat(row[None], n, axis=0)
    full[:, column] = values
    density = np.exp(model.score_samples(full))
    return values, density / np.trapezoid(density, values)


# --- closed forms ---------------------------------------------------------------------------------


def moments(model):
    """Mean and covariance of the Gaussian that a model is."""
    inverse = np.linalg.inv(model.whitening_)
    factor = model.base_factors_[0]
    mean = model.base_means_[0] @ inverse + model.location_
    return mean, inverse.T @ factor @ factor.T @ inverse


def test_marginals_of_a_gaussian(gaussian):
    mean, covariance = moments(gaussian)
    X = np.random.default_rng(2).normal([1.0, 3.0], 1.0, (5, 2))
    law = stats.multivariate_normal(mean[[0, 2]], covariance[np.ix_([0, 2], [0, 2])])
    assert_allclose(gaussian.marginal([0, 2]).score_samples(X), law.logpdf(X), atol=1e-10)
    one, line = gaussian.marginal(1), stats.norm(mean[1], covariance[1, 1] ** 0.5)
    assert_allclose(one.score_samples(X[:, 0]), line.logpdf(X[:, 0]), atol=1e-10)
    assert_allclose(one.cdf(X[:, 0]), line.cdf(X[:, 0]), atol=1e-12)
    assert_allclose(one.quantile([0.05, 0.5, 0.99]), line.ppf([0.05, 0.5, 0.99]), atol=1e-9)
    assert_allclose(one.mean(), mean[1], atol=1e-12)
    assert_allclose(gaussian.marginal([0, 1]).mean(), mean[:2], atol=1e-12)


def test_conditionals_of_a_gaussian(gaussian):
    mean, covariance = moments(gaussian)
    X = np.random.default_rng(3).standard_normal((5, 3))
    gain = np.linalg.solve(covariance[:2, :2], covariance[:2, 2])
    own = mean[2] + (X[:, :2] - mean[:2]) @ gain
    law = stats.norm(own, (covariance[2, 2] - covariance[2, :2] @ gain) ** 0.5)
    found = gaussian.conditional(2, X)
    assert_allclose(found.score_samples(X[:, 2]), law.logpdf(X[:, 2]), atol=1e-10)
    assert_allclose(found.mean(), own, atol=1e-10)
    assert_allclose(found.cdf(X[:, 2]), law.cdf(X[:, 2]), atol=1e-12)
    assert_allclose(found.quantile(0.9), law.ppf(0.9), atol=1e-9)
    assert_allclose(found.effective_share(), 1.0)


def test_what_is_missing_of_the_given_is_integrated_out(gaussian):
    mean, covariance = moments(gaussian)
    X = np.array([[0.5, np.nan, np.nan], [np.nan, -1.0, np.nan]])
    found = gaussian.conditional([2], X)
    gains = covariance[2, :2] / covariance.diagonal()[:2]
    expected = mean[2] + gains * (np.array([0.5, -1.0]) - mean[:2])
    assert_allclose(found.mean()[:, 0], expected, atol=1e-10)


# --- identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [([0, 2], 1), ([2, 1], [0]), ([1], [2, 0])])
def test_densities_multiply(plain, rows, a, b):
    """log p(x) = log p(a) + log p(b | a), to rounding in the base."""
    model = plain["base"]
    X = rows[:40]
    given = X.copy()
    given[:, b] = np.nan
    parts = model.marginal(a).score_samples(X[:, a]), model.conditional(b, given)
    own = X[:, b]
    assert_allclose(parts[0] + parts[1].score_samples(own), model.score_samples(X), atol=1e-10)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_densities_multiply_within_the_error_of_draws(plain, rows, column):
    """Of a network log p(a) is a mean over 64 draws, log p(b | a) an integral."""
    model, X = plain["network"], rows[:40]
    others = [j for j in range(3) if j != column]
    joint, rest = model.conditional(others, X), model.marginal(others)
    own = model.conditional(column, X).score_samples(X[:, column])
    gap = model.score_samples(X) - rest.score_samples(X[:, others]) - own
    missing = X.copy()
    missing[:, column] = np.nan
    share = model.conditional([column, others[0]], missing).effective_share()
    error = np.sqrt((1.0 / np.minimum(share, joint.effective_share()) - 1.0) / 64)
    assert (np.abs(gap) < 6.0 * error + 1e-3).all()
    assert np.abs(gap).max() > 1e-6


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_laws_of_a_number_against_brute_force(plain, rows, kind, column):
    model = plain[kind]
    for row in rows[:3]:
        law = model.conditional(column, row[None])
        low, left, centre, right, high = law.quantile([1e-5, 0.16, 0.5, 0.84, 1.0 - 1e-5])[0]
        spread = right - left
        values, density = grid(model, row, column, centre, spread)
        below = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(values)))
        each = np.flatnonzero((values > low) & (values < high))[::200]
        several = model.conditional(column, np.repeat(row[None], len(each), 0))
        log_density = several.score_samples(values[each])
        assert_allclose(log_density, np.log(density[each]), atol=2e-3)
        assert_allclose(law.cdf(values[each][None])[0], below[each], atol=1e-3)
        # Where its map is bent the ends of a law are drawn in.
        mean = np.trapezoid(density * np.clip(values, low, high), values)
        assert abs(law.mean()[0] - mean) < 5e-3 * spread
        q = np.array([0.05, 0.3, 0.5, 0.8, 0.95])
        assert_allclose(np.interp(law.quantile(q)[0], values, below), q, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_quantiles_invert_the_distribution_function(plain, rows, kind):
    law, q = plain[kind].conditional(1, rows[:20]), [0.001, 0.2, 0.5, 0.97]
    assert_allclose(law.cdf(law.quantile(q)), np.tile(q, (20, 1)), atol=1e-10)
    one = plain[kind].marginal(2)
    assert_allclose(one.cdf(one.quantile(q)), q, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_marginal_distribution_function_is_the_integral_of_its_density(plain, kind):
    law = plain[kind].marginal(1)
    values = law.quantile(np.linspace(0.02, 0.98, 2001))
    density = np.exp(law.score_samples(values))
    steps = (density[1:] + density[:-1]) / 2 * np.diff(values)
    below = law.cdf(values)
    assert_allclose(np.cumsum(steps), below[1:] - below[0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_the_distribution_function(plain, rows, kind):
    """Kolmogorov and Smirnov's test, of rows that are drawn by inversion and by weights."""
    model = plain[kind]
    for columns in (1, [0, 1]):
        draws = model.conditional(columns, rows[:3]).sample(2000, random_state=0)
        own = draws if columns == 1 else draws[:, :, 1]
        given = rows[:3].copy()
        given[:, columns] = np.nan
        law = model.conditional(1, given)
        # Draws are taken, with repeats, of as many by their weights.
        shares = np.zeros(3) if columns == 1 else model.conditional(columns, rows[:3])
        worth = 1.0 if columns == 1 else 1.0 / shares.effective_share() + 1.0
        statistic = [stats.kstest(u, "uniform").statistic for u in law.cdf(own)]
        assert (np.array(statistic) < 2.2 * np.sqrt(worth / 2000)).all()


# --- raw tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_levels_are_bayes_rule(raw, kind):
    model, frame = raw[kind], mixed_frame(pd, 20, seed=5, holes=0.0)
    found = model.conditional("c", frame)
    joint = []
    for level in found.levels:
        rows = frame.assign(c=pd.Categorical([level] * 20, categories=frame["c"].cat.categories))
        joint.append(model.score_samples(rows))
    odds = np.exp(np.array(joint).T)
    shares = odds / odds.sum(axis=1, keepdims=True)
    assert_allclose(found.probabilities(), shares, rtol=1e-10)
    own = found.score_samples(frame["c"])
    n = model._table().features[0].n_observed
    place = frame["c"].cat.codes.to_numpy()
    expected = np.log(shares[np.arange(20), place] * n / (n + 1))
    assert_allclose(own, expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_masses_of_cells_add_up_and_are_their_steps(raw, kind):
    model, row = raw[kind], mixed_frame(pd, 1, seed=6, holes=0.0)
    k = np.arange(-30, 60)
    law = model.conditional("k", pd.concat([row] * len(k), ignore_index=True))
    mass, below = np.exp(law.score_samples(k)), law.cdf(k)
    # Beyond is what heavy tails have there.
    assert_allclose(mass.sum(), 1.0, atol=2e-3)
    assert_allclose(np.diff(below), mass[1:], atol=1e-9)
    q = np.array([0.01, 0.2, 0.5, 0.9])
    expected = k[np.searchsorted(below, q)]
    assert_array_equal(model.conditional("k", row).quantile(q)[0], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_atoms_are_steps_of_the_distribution_function(raw, kind):
    model, rows = raw[kind], mixed_frame(pd, 5, seed=7, holes=0.0)
    law = model.conditional("z", rows)
    mass = np.exp(law.score_samples(np.zeros(5)))
    step = law.cdf(np.zeros(5)) - law.cdf(np.full(5, -1e-9))
    assert_allclose(step, mass, rtol=1e-6)
    assert (mass > 0.05).all()
    q = np.linspace(0.02, 0.98, 25)
    found = law.quantile(q)
    assert (np.diff(found, axis=1) >= 0.0).all()
    at, below = found == 0.0, law.cdf(found)
    assert at.any(axis=1).all()
    assert_allclose(below[~at], np.tile(q, (5, 1))[~at], atol=1e-9)
    assert (below[at] >= np.tile(q, (5, 1))[at]).all()
    draws = law.sample(4000, random_state=0)
    error = np.sqrt(mass * (1.0 - mass) / 4000)
    assert (np.abs((draws == 0.0).mean(axis=1) - mass) < 5.0 * error).all()
    spread = draws.std(axis=1) / 4000**0.5
    assert (np.abs(draws.mean(axis=1) - law.mean()) < 5.0 * spread).all()


@pytest.mark.parametrize("kind", KINDS)
def test_raw_densities_multiply(raw, kind):
    """Several columns by definition; one exactly in the base, cells up to their lattice."""
    model, rows = raw[kind], mixed_frame(pd, 30, seed=8, holes=0.2)
    total = model.score_samples(rows)
    for columns in (["c"], ["x"], ["k", "z"], ["c", "x"]):
        others = [name for name in rows.columns if name not in columns]
        found = model.conditional(columns, rows).score_samples(rows[columns])
        found = found + model.marginal(others).score_samples(rows[others])
        exact = kind == "base" or len(columns) == 2
        assert_allclose(found, total, atol=1e-8 if exact else 0.5)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_frames_and_arrays_give_one_answer(raw):
    model, rows = raw["base"], mixed_frame(pd, 10, seed=9)
    array = rows.astype(object).where(rows.notna(), None).to_numpy()
    laws = [model.conditional("k", table) for table in (rows, array)]
    assert_array_equal(laws[0].mean(), laws[1].mean())
    values = rows["k"]
    lists = pl.Series("k", values.to_numpy()), values, values.tolist(), values.to_numpy()[:, None]
    for own in lists:
        assert_array_equal(laws[0].score_samples(own), laws[0].score_samples(values.to_numpy()))
    codes = model.conditional("c", rows)
    own = codes.score_samples(rows["c"])
    assert_array_equal(codes.score_samples([None if pd.isna(c) else c for c in rows["c"]]), own)
    assert isinstance(model.marginal(["k", "c"]).sample(3, random_state=0), pd.DataFrame)


def test_constants_are_one_value():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.standard_normal(60), "one": 3.0, "name": "same", "k": 1.0})
    X.loc[:4, "x"] = np.nan
    law = fitted(X).conditional(["one", "name"], X[:4])
    model = fitted(X)
    number, name = (model.conditional(column, X[:4]) for column in ("one", "name"))
    assert_array_equal(number.mean(), 3.0)
    assert_array_equal(number.quantile([0.1, 0.9]), 3.0)
    assert_array_equal(number.cdf([2.9, 3.0, 3.1, 9.0]), [0.0, 1.0, 1.0, 1.0])
    assert_array_equal(name.probabilities(), 1.0)
    assert name.sample(2, 0).tolist() == [["same", "same"]] * 4
    assert law.sample(1, 0)[0, 0].tolist() == [3.0, "same"]
    with pytest.raises(ValueError, match="categorical column 'name', expected one of numbers"):
        name.mean()


@pytest.mark.parametrize("decoder", ["gradient", "free", "tied", "kernel"])
def test_every_decoder_has_conditionals(decoder):
    X = np.random.default_rng(0).standard_normal((200, 2)) ** 2
    model = quietly(quick_estimator(decoder=decoder, max_iter=12, hidden_layer_sizes=8).fit, X)
    law = model.conditional(0, X[:1])
    values, density = grid(model, X[0], 0, X[0, 0], 1.0, 8001)
    each = np.flatnonzero((values > -1.0) & (values < 4.0))[::400]
    found = model.conditional(0, np.repeat(X[:1], len(each), 0)).score_samples(values[each])
    assert_allclose(found, np.log(density[each]), atol=3e-3)
    below = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(values)))
    assert_allclose(law.cdf(values[each][None])[0], below[each], atol=3e-3)


# --- a row alone ----------------------------------------------------------------------------------


def answers(model, columns, rows, values):
    law = model.conditional(columns, rows)
    found = [law.score_samples(values), law.sample(3, random_state=0), law.effective_share()]
    if len(law.columns) == 1 and law.columns != ["c"]:
        found += [law.mean(), law.quantile([0.1, 0.77]), law.cdf(values)]
    return found


@pytest.mark.parametrize("columns", [0, 1, [0, 2]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_that_of_its_row_alone(plain, rows, kind, columns):
    X = rows[:37].copy()
    X[5:20, 2] = np.nan
    every = answers(plain[kind], columns, X, np.nan_to_num(X[:, columns]))
    for place in (0, 7, 36):
        own = slice(place, place + 1)
        alone = answers(plain[kind], columns, X[own], np.nan_to_num(X[own][:, columns]))
        for a, b in zip(every, alone, strict=True):
            # Densities of full rows of many columns round by the rows beside them.
            assert_allclose(a[own], b, rtol=0.0 if columns in (0, 1) else 1e-11)


@pytest.mark.parametrize("columns", ["k", "z", "c", "x"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_that_of_its_raw_row_alone(raw, kind, columns):
    rows = mixed_frame(pd, 21, seed=10)
    values = rows[columns].fillna(0.5) if columns == "x" else rows[columns]
    every = answers(raw[kind], columns, rows, values)
    for place in (0, 9, 20):
        own = slice(place, place + 1)
        alone = answers(raw[kind], columns, rows.iloc[own], values.iloc[own])
        for a, b in zip(every, alone, strict=True):
            assert_array_equal(a[own], b)


@pytest.mark.parametrize("kind", KINDS)
def test_several_values_of_a_row_are_those_of_each(plain, raw, rows, kind):
    Y = np.array([[0.5, 2.0, np.nan], [1.0, 0.1, 0.2]])
    for law in (
        plain[kind].conditional(1, rows[:2]),
        raw[kind].conditional("z", mixed_frame(pd, 2)),
    ):
        each = [law.score_samples(values) for values in Y.T]
        assert_allclose(law.score_samples(Y), np.transpose(each), rtol=1e-12)


def test_what_stands_in_the_columns_is_not_looked_at(plain, rows):
    model, given = plain["network"], rows[:5].copy()
    before = model.conditional(1, given).mean()
    given[:, 1] = np.nan
    assert_array_equal(model.conditional(1, given).mean(), before)


def test_a_law_goes_on_when_its_model_is_fitted_again(rows):
    model = fitted(rows)
    law = model.conditional(1, rows[:4])
    before = law.mean()
    quietly(model.fit, rows[:100] * 2.0)
    assert_array_equal(law.mean(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same_in_any_state(plain, rows, kind):
    expected = answers(plain[kind], 1, rows[:5], rows[:5, 1])
    with everything():
        found = answers(plain[kind], 1, rows[:5], rows[:5, 1])
    for a, b in zip(found, expected, strict=True):
        assert_array_equal(a, b)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("y", ValueError, "Got 'y' in columns, expected a name or a position of the 4 columns"),
        (4, ValueError, "Got 4 in columns"),
        (1.5, TypeError, "Got 1.5 in columns, expected names or positions"),
        ([], ValueError, "expected at least one column, and none twice"),
        (["x", 1], ValueError, "expected at least one column, and none twice"),
        ([True, False], ValueError, "a mask of 2 entries, expected 4"),
    ],
)
def test_columns_that_are_none_are_refused(raw, columns, error, message):
    with pytest.raises(error, match=message):
        raw["base"].marginal(columns)
    with pytest.raises(error, match=message):
        raw["base"].conditional(columns, mixed_frame(pd, 3))


def test_questions_that_a_column_has_no_answer_to_are_refused(raw):
    rows = mixed_frame(pd, 3)
    levels, pair = raw["base"].conditional("c", rows), raw["base"].marginal(["x", "k"])
    for question in (levels.mean, lambda: levels.quantile(0.5), lambda: levels.cdf(np.ones(3))):
        with pytest.raises(ValueError, match="categorical column 'c', expected one of numbers"):
            question()
    with pytest.raises(ValueError, match="of numbers, expected a category: probabilities"):
        raw["base"].conditional("k", rows).probabilities()
    for question in (lambda: pair.quantile(0.5), lambda: pair.cdf([1.0])):
        with pytest.raises(ValueError, match=r"Got 2 columns \['x', 'k'\], expected one"):
            question()


def test_values_that_do_not_fit_are_refused(plain, rows):
    law = plain["base"].conditional(1, rows[:3])
    with pytest.raises(ValueError, match="Got 2 rows, expected 3"):
        law.score_samples([1.0, 2.0])
    with pytest.raises(ValueError, match="Got values of 2 columns, expected 1"):
        law.score_samples(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"Got y of shape \(2,\)"):
        law.cdf([1.0, 2.0])
    with pytest.raises(ValueError, match="Got NaN among the values"):
        law.cdf([1.0, np.nan, 2.0])
    for q in (1.2, [-0.1, 0.5]):
        with pytest.raises(ValueError, match=r"expected a number in \[0, 1\]"):
            law.quantile(q)
    with pytest.raises(ValueError, match="Got n_samples=0"):
        law.sample(0)
    with pytest.raises(ValueError, match="expecting 3 features"):
        plain["base"].conditional(1, rows[:, :2])
