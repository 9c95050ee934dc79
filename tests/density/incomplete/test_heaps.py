"""A density of sums that people round: it has the mass of each value, and draws alike."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skrae import RAESampler, RegularizedAutoEncoderScore
from tests.preprocessing.table.grids.test_heaps import heaped

N, ROUND = 1500, 0.9
STEP = 0.01


def table(n, seed):
    """Incomes in cents by group, nine in ten told in hundreds, and a number that depends on them.

    The shares of the groups are equal; incomes are N(2000, 400^2) and N(3000, 400^2).
    """
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    income = rng.normal(2000.0 + 1000.0 * group, 400.0)
    told = np.where(rng.random(n) < ROUND, 100.0 * np.round(income / 100.0), np.round(income, 2))
    return pd.DataFrame(
        {
            "group": np.where(group, "b", "a"),
            "income": told,
            "x": income / 400.0 + rng.normal(size=n),
        }
    )


@pytest.fixture(scope="module")
def model():
    return RegularizedAutoEncoderScore(max_components=8, max_iter=50, random_state=0).fit(
        table(N, 0)
    )


def test_report_names_the_preferred_values(model):
    place = list(model.columns_["name"]).index("income")
    assert model.columns_["kind"][place] == "heaps"
    assert model.columns_["step"][place] == STEP
    assert model.columns_["n_heaps"].tolist()[place] >= 20
    assert "n_heaps" in model.columns_._repr_html_()


def test_density_of_fresh_rows_is_near_the_law(model):
    """Of the law of the rounded rows; a smooth density has no more than its own share of it."""
    fresh = table(4000, 1)[["group", "income"]].assign(x=np.nan)
    found = model.score_samples(fresh)
    is_round = fresh["income"].to_numpy() % 100.0 == 0.0
    smooth = -0.5 * np.log(2.0 * np.pi * np.e * 400.0**2)
    # log 1/2 of the group, the share of round numbers, and one of 10 000 values of an interval.
    truth = np.log(0.5) + np.where(
        is_round, np.log(ROUND * 100.0 / STEP) + smooth, np.log(1.0 - ROUND) + smooth
    )
    assert found.mean() == pytest.approx(truth.mean(), abs=0.15)
    assert found[is_round].mean() > found[~is_round].mean() + 8.0


def test_mass_is_at_most_one(model):
    values = np.round(np.arange(0.0, 5500.0, STEP), 2)
    rng = np.random.default_rng(0)
    heaps = np.array(model._table().features[1].heaps.values)
    own = values[~np.isin(values, heaps)]
    chosen = rng.choice(own, 3000)
    total = 0.0
    for group in "ab":
        at, beside = (
            np.exp(model.score_samples(pd.DataFrame({"group": group, "income": v, "x": np.nan})))
            for v in (heaps, chosen)
        )
        total += STEP * (at.sum() + len(own) * beside.mean())
        error = STEP * len(own) * beside.std() / np.sqrt(len(chosen))
    assert 1.0 - 0.02 - 5.0 * error < total < 1.0 + 5.0 * error


def test_draws_are_rounded_as_rows_are(model):
    n = 4000
    draws = model.sample(n, random_state=0)
    share = (draws["income"] % 100.0 == 0.0).mean()
    assert abs(share - ROUND) < 0.03
    np.testing.assert_array_equal(draws["income"], draws["income"].round(2))
    assert draws.groupby("group")["income"].mean().diff().iloc[-1] == pytest.approx(1000, abs=60)


def test_answers_depend_on_their_row_alone(model):
    rows = table(30, 2)
    rows.loc[3, "x"] = rows.loc[4, "income"] = np.nan
    together = model.score_samples(rows)
    alone = [model.score_samples(rows.iloc[i : i + 1])[0] for i in range(len(rows))]
    np.testing.assert_array_equal(together, alone)


def test_holes_are_filled_by_rounded_values(model):
    rows = table(200, 3)
    rows.loc[:, "income"] = np.nan
    drawn = RAESampler(model, random_state=0).sample_conditional(rows, 5)
    values = np.asarray(drawn)[..., 1].astype(float)
    assert abs((values % 100.0 == 0.0).mean() - ROUND) < 0.06


def test_gradient_is_of_the_interval(model):
    rows = table(20, 4)
    gradient = model.log_density_gradient(rows)
    assert np.isfinite(gradient).all()
    # Higher incomes than the group's mean are less likely given x than lower ones.
    far = rows.assign(group="a", income=4000.0, x=np.nan)
    assert (model.log_density_gradient(far)[:, 1] < 0.0).all()


def test_plain_array_of_heaps_and_stored_model():
    X = heaped(800)[:, None]
    model = RegularizedAutoEncoderScore(max_components=4, max_iter=20, random_state=0).fit(X)
    assert model.columns_["kind"].tolist() == ["heaps"]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X[:20]), model.score_samples(X[:20]))


def test_conditional_of_preferred_values(model):
    """p(income | rest) is p(row) / p(rest); quantiles are those of the distribution function."""
    rows = table(12, 5)
    law = model.conditional("income", rows)
    joint = model.score_samples(rows) - model.score_samples(rows.assign(income=np.nan))
    np.testing.assert_allclose(law.score_samples(rows["income"]), joint, atol=0.05)
    at = law.quantile(np.linspace(0.05, 0.95, 7))
    assert (np.diff(at, axis=1) >= 0.0).all()
    assert ((at % 100.0 == 0.0).mean(axis=1) > 0.5).all()
    for value, q in zip(at.T, np.linspace(0.05, 0.95, 7), strict=True):
        # A quantile is the first value up to which so much of the law is.
        assert (law.cdf(value) >= q - 1e-6).all()
        assert (law.cdf(value - 2.0 * STEP) <= q + 1e-6).all()
