"""Any finite table: a clear error before any state changes, or finite answers as documented."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tests.autoencoders.transformers.estimators import (
    MEMBERS,
    bent_sheet,
    member,
    quick_auto_encoder,
)
from tests.density.test_properties import CONTAINERS, tables

REFUSALS = "all equal", "all constant", "with a range of", "all 0, expected fewer"

few = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


def fit_or_refusal(model, X):
    """The fitted model, or None where fit refused with a clear message and set nothing."""
    try:
        return model.fit(X)
    except ValueError as error:
        if not any(words in str(error) for words in REFUSALS):
            raise
    assert [name for name in vars(model) if name.endswith("_")] == []
    return None


@few
@given(
    table=tables(),
    name=st.sampled_from(sorted(MEMBERS)),
    container=st.sampled_from(sorted(CONTAINERS)),
    scaling=st.sampled_from(["auto", "standardize", None]),
)
def test_a_finite_table_has_finite_answers_or_a_clear_refusal(table, name, container, scaling):
    X = CONTAINERS[container](table)
    model = fit_or_refusal(member(name, max_iter=2, scaling=scaling), X)
    if model is None:
        return
    codes = model.transform(X)
    k = len(model.components_)
    assert codes.shape == (len(table), k)
    for answer in (codes, model.reconstruct(X), model.inverse_transform(codes)):
        assert np.isfinite(answer).all()
    rows = np.asarray(X)
    constant = ~model._fitted_as["varies"]
    mean = np.broadcast_to(rows.mean(axis=0, dtype=np.float64), rows.shape)
    assert_allclose(model.reconstruct(X)[:, constant], mean[:, constant], rtol=1e-6)
    assert np.isfinite(list(model.terms_.values())).all()
    assert np.isfinite(np.asarray(model.sample(5, random_state=0))).all()
    assert model.score(X) <= 1.0
    plain = member(name, max_iter=2, scaling=scaling).fit(np.ascontiguousarray(table))
    expected = plain.transform(np.ascontiguousarray(table))
    if expected.dtype == codes.dtype:  # a list of float32 is one of float64
        assert_array_equal(expected, codes)


@few
@given(
    exponents=st.lists(st.integers(-30, 30), min_size=5, max_size=5),
    name=st.sampled_from(sorted(MEMBERS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_units_of_powers_of_two_change_nothing_but_the_units(exponents, name, seed):
    X, a = bent_sheet(40, seed), 2.0 ** np.array(exponents)
    small, large = (
        member(name, scaling="standardize", max_iter=5).fit(rows) for rows in (X, a * X)
    )
    assert_array_equal(large.transform(a * X), small.transform(X))
    assert_array_equal(large.scale_, a * small.scale_)
    assert_array_equal(
        large.inverse_transform(large.transform(a * X)),
        a * small.inverse_transform(small.transform(X)),
    )
    assert large.validation_curve_ == small.validation_curve_
    assert large.terms_ == small.terms_
    assert_array_equal(large.residual_variance_, a**2 * small.residual_variance_)
    assert_array_equal(large.noise_variance_, a**2 * small.noise_variance_)
    draws = (model.sample(3, random_state=0) for model in (large, small))
    assert_array_equal(next(draws), a * next(draws))


@few
@given(
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    options=st.sampled_from([{}, {"noise_level": 0.3}, {"noise": "swap", "noise_level": 0.3}]),
    seed=st.integers(0, 2**32 - 1),
)
def test_other_units_and_places_change_a_linear_path_by_rounding(scale, shift, options, seed):
    """In the limit of no steps, since another order of rows is another split."""
    X = bent_sheet(40, seed)
    small, large = (
        quick_auto_encoder(scaling="standardize", max_iter=1, learning_rate=1e-30, **options).fit(
            rows
        )
        for rows in (X, scale * X + shift)
    )
    assert_allclose(large.transform(scale * X + shift), small.transform(X), atol=1e-5)
    assert_allclose(large.location_, scale * small.location_ + shift, rtol=1e-9, atol=1e-9)


@few
@given(
    name=st.sampled_from(["plain", "linear", "masking", "swap", "l1", "kl", "distance"]),
    scaling=st.sampled_from(["auto", None]),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_one_unit_of_all_columns_changes_nothing_but_the_units(name, scaling, exponent, seed):
    """Gaussian noise and contraction are in the units of working space."""
    X, a = bent_sheet(40, seed), 2.0**exponent
    small, large = (member(name, scaling=scaling, max_iter=5).fit(rows) for rows in (X, a * X))
    assert_allclose(large.score(a * X), small.score(X), rtol=1e-4, atol=1e-4)
    assert_allclose(large.reconstruct(a * X), a * small.reconstruct(X), rtol=1e-2, atol=1e-2 * a)


@pytest.mark.parametrize("name", ["plain", "noise", "kl"])
def test_repeated_columns_and_constants_do_no_harm(name, random_seed):
    X = bent_sheet(60, random_seed)
    X = np.column_stack([X, X[:, 0], np.full(60, -4.0)])
    model = member(name, max_iter=20).fit(X)
    r = model.reconstruct(X)
    assert np.isfinite(r).all()
    assert_array_equal(r[:, 6], -4.0)
    assert model.residual_variance_[6] == 0.0
