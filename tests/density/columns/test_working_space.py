"""The choice of the way to working space: on held-out rows, from the training part alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from skrae.density.columns import working_space
from skrae.density.columns.line_mixture import LineMixture
from skrae.density.columns.working_space import choose_space, fit_space
from skrae.preprocessing.split import split_folds

OPTIONS = SimpleNamespace(margins="auto", scaling="whiten")


def chosen(X, seed=0, n_folds=4, **options):
    """The space of rows of weight one."""
    _, folds = split_folds(X, 0.1, np.random.RandomState(seed), n_folds)
    options = SimpleNamespace(**{**vars(OPTIONS), **options})
    return choose_space(X, np.ones(len(X)), folds, options, None, seed), folds


LAWS = {
    "normal": (lambda rng: rng.standard_normal((600, 3)), False),
    # Ten chances for a column's law to please the rows that choose its size.
    "many normal": (lambda rng: rng.standard_normal((1000, 10)), False),
    "skewed": (lambda rng: np.exp(rng.standard_normal((600, 3))), True),
    "box": (lambda rng: rng.random((1500, 3)), True),
}


@pytest.mark.parametrize("name", list(LAWS))
def test_margins_are_kept_where_held_out_rows_prefer_them(name, random_seed):
    draw, maps = LAWS[name]
    X = draw(np.random.default_rng(random_seed))
    assert (chosen(X)[0].margins is not None) == maps
    assert chosen(X, margins="identity")[0].margins is None


def test_nothing_is_learned_from_the_first_fold(random_seed):
    """Its rows may be any: the map stays as it is."""
    rng = np.random.default_rng(random_seed)
    X = np.exp(rng.standard_normal((400, 2)))
    train, (held_out, *_) = split_folds(X, 0.1, np.random.RandomState(0))
    moved = X.copy()
    moved[held_out] = np.exp(rng.standard_normal((len(held_out), 2)))
    spaces = [fit_space(rows, np.ones(400), train, OPTIONS) for rows in (X, moved)]
    np.testing.assert_array_equal(*(space.transform.parts()[1] for space in spaces))


def test_optimism_counts_columns_of_more_than_one_gaussian():
    single, double, triple = (
        SimpleNamespace(mixture=LineMixture(*np.ones((3, size + 1)))) for size in (1, 2, 3)
    )
    weights = np.array([1.0, 1.0, 2.0])
    for columns, n_chosen in (([single, None], 0), ([double, single], 1), ([double, triple], 2)):
        found = working_space._optimism(SimpleNamespace(columns=columns), weights)
        assert found == pytest.approx(working_space.OPTIMISM * n_chosen * 6.0 / 16.0)


def test_further_folds_are_asked_only_while_it_is_open(monkeypatch, random_seed):
    rng = np.random.default_rng(random_seed)
    asked = []
    true = working_space._candidates

    def spy(X, weights, train, fold, *rest):
        asked.append(len(fold))
        return true(X, weights, train, fold, *rest)

    monkeypatch.setattr(working_space, "_candidates", spy)
    chosen(np.exp(1.5 * rng.standard_normal((1000, 4))))
    assert len(asked) == 1
    asked.clear()
    monkeypatch.setattr(working_space, "CLEAR_STANDARD_ERRORS", np.inf)
    chosen(np.exp(rng.standard_normal((200, 2))))
    assert len(asked) == 4


def test_wild_rows_are_left_out_and_named(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((500, 2))
    X[7, 1] = 1e5
    space = fit_space(X, np.ones(500), np.arange(400), OPTIONS, names=["a", "b"])
    assert np.flatnonzero(~space.kept).tolist() == [7]
    assert space.remarks.wild == (1, "'b'", 1e5)
    rows = space.rows(X, np.ones(500), np.arange(20))
    assert len(rows.z) == 19
    np.testing.assert_allclose(np.std(space.transform.forward(X[8:]), axis=0), 1.0, atol=0.15)


def test_constant_columns_get_noise_of_the_deviation_they_are_given(random_seed):
    X = np.column_stack(
        [np.random.default_rng(random_seed).standard_normal(500), np.full(500, 7.0)]
    )
    for scaling in ("whiten", "standardize", None):
        options = SimpleNamespace(margins="identity", scaling=scaling)
        space = fit_space(X, np.ones(500), np.arange(500), options)
        rows = space.rows(X, np.ones(500), np.arange(500))
        width = 0.01 if scaling is None else 1.0
        assert float(rows.z[:, 1].std()) == pytest.approx(width, rel=0.2)
        again = space.rows(X, np.ones(500), np.arange(500))
        assert (again.z == rows.z).all()


def test_columns_that_vary_on_the_held_out_side_alone_have_a_map():
    X = np.zeros((40, 1))
    X[0] = 1.0
    space = fit_space(X, np.ones(40), np.arange(1, 40), OPTIONS)
    assert np.isfinite(space.transform.forward(X)).all()


def test_a_column_that_varies_on_the_held_out_side_alone_is_not_constant(random_seed):
    X = np.column_stack([np.random.default_rng(random_seed).standard_normal(100), np.zeros(100)])
    X[0, 1] = 1.0
    space = fit_space(X, np.ones(100), np.arange(1, 100), OPTIONS)
    assert not space.dither.any()


def test_where_every_row_has_a_wild_value_none_is_left_out(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((20, 20)) + 1e6 * np.eye(20)
    space = fit_space(X, np.ones(20), np.arange(15), OPTIONS)
    assert space.kept.any()
    assert len(space.rows(X, np.ones(20), np.arange(15, 20)).z) > 0


def test_a_column_constant_up_to_rounding_has_no_map(random_seed):
    rng = np.random.default_rng(random_seed)
    rounding = np.where(rng.random(600) < 0.5, 0.1 * 3, 0.3)
    space, _ = chosen(np.column_stack([np.exp(rng.standard_normal((600, 2))), rounding]))
    assert space.columns is None or space.columns[2] is None
    assert space.dither[2] > 0.0


def test_a_column_of_which_one_value_holds_many_rows_has_no_map(random_seed):
    rng = np.random.default_rng(random_seed)
    flags = np.where(rng.random(600) < 0.3, 0.0, rng.exponential(size=600))
    space, _ = chosen(np.column_stack([np.exp(rng.standard_normal((600, 2))), flags]))
    assert space.columns is None or space.columns[2] is None
