"""What users of the sampler get wrong and see: errors, warnings, progress, interrupts, names."""

import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from scipy.stats import halfnorm, kstest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import RAESampler
from skrae.datasets import Banana, Gaussian
from skrae.sampling import completion, thinning
from skrae.sampling.mcmc import diagnostics
from tests.density.estimators import quick_estimator
from tests.sampling.known_targets import Known, Ungraded
from tests.sampling.scripted import seen_in

ROWS = np.random.default_rng(0).standard_normal((80, 2))
STARTS = ROWS[:6]
NORMAL = Gaussian(np.zeros(2), np.eye(2))
SMALL = {"n_chains": 6, "n_warmup": 32, "random_state": 0}
# Of one comparison with a law; some 25 of them.
SIGMAS = 5.0


class Half(Known):
    """N(0, I) where x_0 > 0; the log density is `outside` elsewhere."""

    def __init__(self, outside):
        super().__init__(NORMAL)
        self.outside = outside

    def score_samples(self, X):
        return np.where(X[:, 0] > 0.0, super().score_samples(X), self.outside)


class Answers(Known):
    """N(0, I), of which one method's answers are spoiled by a function."""

    def __init__(self, method, spoil):
        super().__init__(NORMAL)
        setattr(self, method, lambda X: spoil(getattr(Known, method)(self, X)))


class Interrupted(Known):
    """N(0, I), whose user presses Ctrl-C once it is armed."""

    armed = False

    def score_samples(self, X):
        if self.armed:
            raise KeyboardInterrupt
        return super().score_samples(X)


class Seedless(Ungraded):
    """N(0, I), with a `sample` that nobody can seed."""

    def sample(self, n):
        raise AssertionError("not to be called")


@pytest.fixture(scope="module")
def fitted():
    """Fitted estimators by name: one inside torch, one by its public methods."""
    mixture = GaussianMixture(2, random_state=0).fit(ROWS)
    return {"field": quick_estimator(max_iter=6).fit(ROWS), "mixture": mixture}


def small(estimator, **options):
    return RAESampler(estimator, **{**SMALL, **options})


def attributes(thing):
    """The attributes of an object by name, arrays as copies."""
    pairs = getattr(thing, "__dict__", {}).items()
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in pairs}


def refused(sampler, error, message, method="sample_chains", *arguments, **keywords):
    """The call raises, and leaves the sampler and its estimator as they were."""
    estimator = sampler.estimator
    before = attributes(sampler), attributes(estimator)
    with pytest.raises(error, match=message):
        getattr(sampler, method)(*(arguments or (2,)), **keywords)
    for old, new in zip(before, (attributes(sampler), attributes(estimator)), strict=True):
        assert old.keys() == new.keys()
        for name in old.keys() - {"n_evaluations"}:
            assert new[name] is old[name] or assert_array_equal(new[name], old[name]) is None


# option values: error, what the message says of what was got and what is expected
POSITIVE = {
    0: (ValueError, "Got {}=0, expected a finite number > 0"),
    -1.0: (ValueError, "Got {}=-1.0, expected a finite number > 0"),
    np.inf: (ValueError, "Got {}=inf, expected a finite number > 0"),
    np.nan: (ValueError, "Got {}=nan, expected a finite number > 0"),
}
COUNTS = {
    -1: (ValueError, "Got {}=-1, expected an integer >= "),
    2.0: (TypeError, "Got {}=2.0, expected an integer >= "),
    "2": (TypeError, "Got {}='2', expected an integer >= "),
}
BAD_OPTIONS = [
    *[
        ({n: v}, e, m.format(n))
        for n in ("temperature", "step_size")
        for v, (e, m) in POSITIVE.items()
    ],
    *[
        ({n: v}, e, m.format(n))
        for n in ("n_chains", "n_warmup", "thin")
        for v, (e, m) in COUNTS.items()
    ],
    *[({n: 0}, ValueError, f"Got {n}=0, expected an integer >= 1") for n in ("n_chains", "thin")],
    ({"temperature": "hot"}, TypeError, "Got temperature='hot', expected a finite number > 0"),
    ({"step_size": "atuo"}, TypeError, "Got step_size='atuo', expected 'auto' or a number > 0"),
    (
        {"step_size": np.ones(2)},
        TypeError,
        "Got step_size=array.*, expected 'auto' or a number > 0",
    ),
    ({"proposal": "lagevin"}, ValueError, "Got proposal='lagevin', expected one of .*'langevin'"),
    ({"proposal": None}, ValueError, "Got proposal=None, expected one of .*'langevin'"),
    ({"log_ratio": "exct"}, ValueError, "Got log_ratio='exct', expected one of .*'exact'"),
    ({"metric": "full"}, ValueError, "Got metric='full', expected one of .*'dense'"),
    ({"progress": "yes"}, ValueError, "Got progress='yes', expected True, False or a callable"),
    ({"random_state": "x"}, ValueError, "'x' cannot be used to seed"),
    ({"init": "atuo"}, ValueError, "Got init='atuo', expected 'auto' or an array of starts"),
    ({"init": STARTS[:3]}, ValueError, r"Got init of shape \(3, 2\), expected \(6, 2\)"),
    ({"init": STARTS[:, :1]}, ValueError, r"Got init of shape \(6, 1\), expected \(6, 2\)"),
    ({"init": STARTS[0]}, ValueError, "Expected 2D array, got 1D array"),
    ({"init": STARTS * np.nan}, ValueError, "Input init contains NaN"),
    ({"base_density": "atuo"}, ValueError, "Got base_density='atuo', expected 'auto', None, rows"),
    ({"base_density": ROWS[:, :1]}, ValueError, "Got a base_density of 1 features, expected 2"),
    ({"base_density": ROWS * np.nan}, ValueError, "Input base_density contains NaN"),
    ({"base_density": ROWS[:1]}, ValueError, "1 sample.* minimum of 2"),
    ({"base_density": GaussianMixture()}, NotFittedError, "GaussianMixture .* not fitted"),
    (
        {"base_density": KernelDensity().fit(ROWS)},
        TypeError,
        "Got a KernelDensity as base_density, expected a fitted",
    ),
    (
        {"base_density": None, "metric": "local"},
        ValueError,
        "Got metric='local' without a base density .* could shape it, expected base_density",
    ),
    (
        {"base_density": None, "proposal": "independence"},
        ValueError,
        "Got proposal='independence' without a base density .*, expected base_density",
    ),
]


@pytest.mark.parametrize("kind", ["field", "mixture"])
@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_a_bad_option_is_refused_by_name(options, error, message, kind, fitted):
    refused(small(fitted[kind], **options), error, message)


@pytest.mark.parametrize("method", ["sample", "sample_chains", "sample_conditional", "impute"])
@pytest.mark.parametrize("count", [*COUNTS, 0])
def test_a_bad_number_of_draws_is_refused(method, count, fitted):
    error, message = {**COUNTS, 0: (ValueError, "Got {}=0, expected an integer >= 1")}[count]
    name = "n_draws" if method == "sample_chains" else "n_samples"
    rows = ([[np.nan, 0.0]],) if method in ("sample_conditional", "impute") else ()
    refused(small(fitted["field"]), error, message.format(name), method, *rows, count)


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ("first", "Got X_init='first', expected 'auto' or an array of starts"),
        (STARTS[:5], r"Got X_init of shape \(5, 2\), expected \(6, 2\)"),
        (STARTS + np.inf, "Input X_init contains infinity"),
    ],
)
def test_bad_starts_are_refused_by_name(starts, message, fitted):
    for estimator in fitted.values():
        refused(small(estimator), ValueError, message, "sample_chains", 2, starts)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (GaussianMixture(), NotFittedError, "This GaussianMixture instance is not fitted yet"),
        (quick_estimator(), NotFittedError, "RegularizedAutoEncoderScore instance is not fitted"),
        (
            StandardScaler().fit(ROWS),
            TypeError,
            "Got a StandardScaler without score_samples, expected",
        ),
        (None, TypeError, "Got a NoneType without score_samples, expected"),
        (Ungraded(NORMAL), ValueError, "no base density and no `sample` to start from"),
        (KernelDensity(kernel="linear").fit(ROWS), ValueError, "no `sample` to start from"),
        (Seedless(NORMAL), TypeError, "Got Seedless.sample without random_state, expected it"),
    ],
)
def test_an_estimator_that_cannot_be_sampled_is_refused(estimator, error, message):
    refused(small(estimator), error, message)
    if not isinstance(estimator, Seedless):
        refused(small(estimator, base_density=None), error, message)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("proposal", "langevin"),
        ("proposal", "hamiltonian"),
        ("log_ratio", "path"),
        ("log_ratio", "first_order"),
        ("log_ratio", "second_order"),
    ],
)
def test_options_that_need_a_gradient_say_so(option, value):
    message = (
        f"Got {option}='{value}' for a Ungraded without log_density_gradient, expected the method,"
        f" or another {option}"
    )
    refused(small(Ungraded(NORMAL), **{option: value}), TypeError, message)


def test_options_that_need_a_hessian_say_so():
    sampler = small(Known(NORMAL), log_ratio="second_order")
    message = "Got log_ratio='second_order' for a Known without log_density_hessian, expected"
    refused(sampler, TypeError, message)


@pytest.mark.parametrize("log_ratio", ["first_order", "second_order"])
def test_expansions_are_refused_for_independence_proposals(log_ratio, fitted):
    sampler = small(fitted["field"], proposal="independence", log_ratio=log_ratio)
    refused(
        sampler, ValueError, f"Got log_ratio='{log_ratio}' with proposal='independence', expected"
    )


def test_chains_without_a_base_density_start_from_the_estimators_own_rows():
    class Giver(Known):
        def sample(self, n, random_state):
            return STARTS[:n]

    still = {"proposal": "random_walk", "step_size": 1e-9, "n_warmup": 0}
    sampler = small(Giver(NORMAL), base_density=None, **still)
    chains, _ = seen_in(lambda: sampler.sample_chains(2))
    assert_allclose(chains.draws, np.repeat(STARTS[:, None], 2, axis=1), atol=1e-6)


@pytest.mark.parametrize("outside", [-np.inf, np.nan])
def test_starts_of_zero_density_are_refused(outside):
    starts = np.abs(STARTS) * [1.0, -1.0]
    starts[2, 0] = -1.0
    message = f"Got a log density of {outside} at start 2, expected starts of positive density"
    refused(small(Half(outside), init=starts), ValueError, message)
    everywhere = Answers("score_samples", lambda values: values * 0.0 + outside)
    message = "Got a finite log density at 0 of 48 draws of the base density, expected at least 6"
    refused(small(everywhere, base_density=ROWS), ValueError, message)


@pytest.mark.parametrize("method", ["score_samples", "log_density_gradient"])
@pytest.mark.parametrize("spoil", [lambda a: a[:-1], lambda a: a[..., None], lambda a: a.sum()])
def test_answers_of_a_wrong_shape_are_refused(method, spoil):
    sampler = small(Answers(method, spoil), init=STARTS)
    refused(
        sampler, ValueError, rf"Got shape \(.*\) from Answers.{method} for 6 rows, expected \(6,"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[np.inf, np.nan]], "Input X contains infinity"),
        ([[np.nan]], "X (has|with) 1 features"),
        ([np.nan, 1.0], "Expected 2D array, got 1D array"),
        (np.empty((0, 2)), r"0 sample\(s\)"),
        ([["a", np.nan]], "could not convert string to float"),
    ],
)
def test_bad_rows_to_complete_are_refused(rows, message, fitted):
    for estimator in (*fitted.values(), Known(NORMAL)):
        for method in ("sample_conditional", "impute"):
            sampler = small(estimator, base_density=ROWS)
            refused(sampler, ValueError, message, method, rows)


@pytest.mark.parametrize("kind", ["field", "mixture"])
def test_rows_fully_observed_and_fully_missing_are_completed(kind, fitted):
    rows = np.array([[0.1, 3.0], [np.nan, np.nan], [0.5, -0.5]])
    draws = small(fitted[kind]).sample_conditional(rows, 200)
    assert_array_equal(draws[[0, 2]], np.repeat(rows[[0, 2], None], 200, axis=1))
    # Four chains whose draws are nearly independent: at least a quarter counts.
    error = SIGMAS * draws[1].std(axis=0) / np.sqrt(200 / 4)
    assert (np.abs(draws[1].mean(axis=0) - ROWS.mean(axis=0)) < error).all()
    assert_array_equal(small(fitted[kind]).impute(rows[[0]]), rows[[0]])


def test_completion_without_a_base_density_is_refused(fitted):
    for sampler in (small(fitted["mixture"], base_density=None), small(Known(NORMAL), init=STARTS)):
        message = "without a base density that could complete rows, expected base_density as"
        refused(sampler, ValueError, message, "sample_conditional", [[np.nan, 0.0]])


def test_chains_of_another_target_are_not_continued(fitted):
    chains = small(fitted["mixture"]).sample_chains(4)
    other = GaussianMixture(1).fit(ROWS + 1.0)
    for sampler in (small(other), small(fitted["mixture"], temperature=2.0)):
        message = "Got chains of another density as continue_from: .* expected the estimator"
        refused(sampler, ValueError, message, continue_from=chains)
    wide = small(Known(Gaussian(np.zeros(3), np.eye(3))))
    message = "Got chains of 2 features as continue_from, expected 3, those of the estimator"
    refused(wide, ValueError, message, continue_from=chains)


@pytest.mark.parametrize("thing", ["chains", ROWS, [], 3])
def test_only_chains_are_continued(thing, fitted):
    message = (
        f"Got a {type(thing).__name__} as continue_from, expected the Chains that sample_chains"
    )
    refused(small(fitted["mixture"]), TypeError, message, continue_from=thing)


def test_chains_are_not_continued_from_other_starts(fitted):
    sampler = small(fitted["mixture"])
    chains = sampler.sample_chains(4)
    message = "Got X_init and continue_from, expected one"
    refused(sampler, ValueError, message, X_init=STARTS, continue_from=chains)


POSITIVE_STARTS = {"init": np.abs(STARTS)}
# options, and draws a chain
KERNELS = {
    "auto": ({"base_density": ROWS}, 400),
    "auto that learns": (POSITIVE_STARTS, 400),
    "random_walk": ({**POSITIVE_STARTS, "proposal": "random_walk"}, 400),
    "hamiltonian": ({**POSITIVE_STARTS, "proposal": "hamiltonian"}, 100),
    "path": ({**POSITIVE_STARTS, "proposal": "langevin", "log_ratio": "path"}, 100),
    "independence": ({"base_density": ROWS, "proposal": "independence"}, 400),
}


@pytest.mark.parametrize(
    ("kernel", "outside"),
    [*[(k, o) for k in KERNELS for o in (-np.inf, np.nan)], ("auto", np.inf)],
)
def test_where_there_is_no_density_no_draw_is(kernel, outside, random_seed):
    options, n_draws = KERNELS[kernel]
    sampler = small(
        Half(outside), **{"n_warmup": 64, "thin": 2, **options, "random_state": random_seed}
    )
    chains, caught = seen_in(lambda: sampler.sample_chains(n_draws))
    assert (chains.draws[..., 0] > 0.0).all()
    n_rejected, n_proposed = chains.n_nonfinite.sum(), 6 * 2 * n_draws
    assert 0 < n_rejected < 0.6 * n_proposed
    told = [str(w.message) for w in caught if w.category is RuntimeWarning]
    if outside == -np.inf:  # a density of zero there, which is no fault
        assert not told
    else:
        (message,) = told
        assert f"NaN or +inf at {n_rejected} of {n_proposed} proposals" in message
    # Half normal in x_0; draws an effective sample apart, so that the test of their law is fair.
    gap = int(np.ceil(2.0 * 6 * n_draws / chains.ess().min()))
    assert kstest(chains.draws[:, ::gap, 0].ravel(), halfnorm.cdf).pvalue > 1e-6
    assert kstest(chains.draws[:, ::gap, 1].ravel(), "norm").pvalue > 1e-6


@pytest.mark.parametrize(
    ("options", "consequence"),
    [
        ({}, "independence proposals come from a mixture fitted"),
        ({"n_warmup": 3}, "all moves are local .n_warmup or n_chains is too small"),
        ({"n_chains": 1, "init": STARTS[:1]}, "all moves are local .n_warmup or n_chains"),
    ],
)
def test_chains_say_what_they_propose_from(options, consequence):
    sampler = small(Known(NORMAL), **{"n_warmup": 64, "init": STARTS, **options})
    _, caught = seen_in(lambda: sampler.sample_chains(4))
    text = f"No base density is known, so {consequence}"
    assert any(re.search(text, str(warning.message)) for warning in caught)


@pytest.mark.parametrize("method", ["sample", "sample_chains", "sample_conditional", "impute"])
def test_warnings_of_one_call_all_point_at_its_line(method, monkeypatch):
    monkeypatch.setattr(thinning, "MAX_PILOT", 256)
    chains = method in ("sample", "sample_chains")
    options = {"init": np.abs(STARTS)} if chains else {"base_density": ROWS}
    argument = 64 if chains else [[-1.0, np.nan], [np.nan, 0.0]]
    sampler = small(Half(np.nan), **options)
    _, caught = seen_in(lambda: getattr(sampler, method)(argument))
    assert {w.category for w in caught} == {RuntimeWarning, ConvergenceWarning}
    assert len({w.lineno for w in caught}) == 1
    assert [w.filename for w in caught] == [__file__] * len(caught)


def test_completions_of_a_row_without_density_are_warned_of():
    sampler = small(Half(-np.inf), base_density=ROWS)
    with pytest.warns(
        ConvergenceWarning, match="1 of 2 rows do not mix, first of row 2 with R-hat inf"
    ):
        sampler.sample_conditional([[1.0, 1.0], [1.0, np.nan], [-1.0, np.nan]], 20)


@pytest.mark.parametrize("proposal", ["hamiltonian", "langevin", "auto"])
@pytest.mark.parametrize("step_size", ["auto", 1e3, 1e200])
def test_paths_that_diverge_leak_no_warning_of_numpy(proposal, step_size):
    banana = Known(Banana())
    options = {"proposal": proposal, "step_size": step_size, "base_density": None}
    sampler = small(banana, init=30.0 * STARTS, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The log density was NaN or .inf at", RuntimeWarning)
        warnings.filterwarnings(
            "ignore", "The chains (do not mix|are too short)", ConvergenceWarning
        )
        chains = sampler.sample_chains(20)
    assert np.isfinite(chains.draws).all()
    assert_allclose(chains.log_density, banana.score_samples(chains.to_rows()).reshape(6, 20))


class Diary(list):
    """Progress as it was told; `at` is called with each entry."""

    def __init__(self, at=lambda progress: None):
        super().__init__()
        self.at = at

    def __call__(self, progress):
        self.append(progress)
        self.at(progress)


def test_progress_is_told_to_a_callable(fitted):
    diary = Diary()
    small(fitted["field"], progress=diary).sample_chains(150)
    warm_up = [p for p in diary if p.stage == "warm-up"]
    draws = [p for p in diary if p.stage == "draws"]
    assert diary == warm_up + draws
    for stage, n_total in ((warm_up, 32), (draws, 150)):
        n_done = [p.n_done for p in stage]
        assert n_done == sorted(n_done)
        assert n_done[-1] == n_total
        assert {p.n_total for p in stage} == {n_total}
        assert all(0.0 <= p.acceptance_rate <= 1.0 for p in stage)
    assert np.isnan([p.rhat for p in warm_up]).all()
    assert 0.9 < draws[-1].rhat < 1.5


def test_progress_of_completions_counts_rows(fitted, monkeypatch):
    monkeypatch.setattr(completion, "MAX_NUMBERS", 1)
    diary = Diary()
    small(fitted["field"], progress=diary).sample_conditional(np.full((3, 2), np.nan), 4)
    assert [(p.stage, p.n_done, p.n_total) for p in diary] == [("rows", n, 3) for n in (1, 2, 3)]


def test_progress_of_one_chain_compares_its_halves(fitted):
    diary = Diary()
    chains, _ = seen_in(
        lambda: small(fitted["field"], n_chains=1, progress=diary).sample_chains(20)
    )
    assert diary[-1].rhat == pytest.approx(diagnostics.split_rhat(chains.draws).max())


def test_progress_as_a_bar_is_written(fitted, capsys):
    pytest.importorskip("rich")
    sampler = small(fitted["field"], progress=True)
    sampler.sample_chains(40)
    told = capsys.readouterr().out
    assert "warm-up" in told
    assert "draws" in told
    assert "R-hat" in told
    sampler.sample_conditional([[np.nan, 0.0]], 4)
    assert "rows" in capsys.readouterr().out


def test_a_bar_without_its_package_is_refused(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    refused(
        small(fitted["field"], progress=True), ImportError, r"needs the package rich.*progress\]"
    )


def test_an_error_of_the_callable_is_passed_on(fitted):
    def fail(progress):
        raise ZeroDivisionError("of the user")

    refused(small(fitted["field"], progress=fail), ZeroDivisionError, "of the user")


def interrupted_target(n_done):
    """A target that is interrupted once this many draws are told of, and what tells it."""
    target = Interrupted(NORMAL)

    def arm(progress):
        target.armed = progress.stage == "draws" and progress.n_done >= n_done

    return target, Diary(arm)


def test_interrupted_chains_are_returned_and_can_be_continued():
    options = {"init": STARTS, "proposal": "hamiltonian"}
    target, diary = interrupted_target(100)
    with pytest.warns(ConvergenceWarning, match="interrupted; the 112 draws a chain drawn before"):
        chains = small(target, progress=diary, **options).sample_chains(300)
    whole = small(Known(NORMAL), **options).sample_chains(300)
    assert_array_equal(chains.draws, whole.draws[:, :112])
    rest = small(Known(NORMAL), **options).sample_chains(188, continue_from=chains)
    assert_array_equal(rest.draws, whole.draws[:, 112:])


def test_an_interrupt_by_the_progress_callable_keeps_its_draws():
    def interrupt(progress):
        if progress.stage == "draws":
            raise KeyboardInterrupt

    sampler = small(Known(NORMAL), init=STARTS, base_density=None, progress=interrupt)
    with pytest.warns(ConvergenceWarning, match="interrupted; the 16 draws a chain"):
        assert sampler.sample_chains(300).draws.shape == (6, 16, 2)


# After 64 of the 256 transitions of the pilot, after all, and among those that follow.
@pytest.mark.parametrize("n_done", [64, 256])
def test_interrupted_samples_are_returned(n_done, monkeypatch):
    monkeypatch.setattr(thinning, "MAX_PILOT", 256)
    target, diary = interrupted_target(n_done)
    sampler = small(target, init=STARTS, base_density=None, progress=diary)
    with warnings.catch_warnings():
        # Of so few draws nobody knows whether they mix.
        warnings.filterwarnings("ignore", "The chains (do not mix|are too short)|.* rows are worth")
        with pytest.warns(ConvergenceWarning, match=r"interrupted; the \d+ rows drawn before"):
            rows = sampler.sample(10_000)
    assert 6 <= len(rows) <= 6 * n_done
    assert rows.shape[1] == 2
    assert np.isfinite(rows).all()


def test_an_interrupt_between_two_lengths_of_the_pilot_keeps_the_first(monkeypatch):
    monkeypatch.setattr(thinning, "RHAT_LIMIT", 0.0)
    target, diary = interrupted_target(256)
    sampler = small(target, init=STARTS, base_density=None, progress=diary)
    with pytest.warns(ConvergenceWarning, match=r"interrupted; the 100 rows drawn before"):
        assert sampler.sample(100).shape == (100, 2)


@pytest.mark.parametrize("method", ["sample", "sample_chains"])
def test_an_interrupt_of_the_warm_up_is_passed_on(method):
    target = Interrupted(NORMAL)

    def arm(progress):
        target.armed = progress.n_done >= 10

    sampler = small(target, init=STARTS, progress=Diary(arm))
    with pytest.raises(KeyboardInterrupt):
        getattr(sampler, method)(100)


def test_an_interrupted_completion_returns_the_rows_before_it(monkeypatch):
    monkeypatch.setattr(completion, "MAX_NUMBERS", 1)
    rows = np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, 4.0], [0.0, np.nan], [5.0, 6.0]])
    target = Interrupted(NORMAL)

    def arm(progress):
        target.armed = True

    sampler = small(target, base_density=ROWS, progress=arm)
    with pytest.warns(ConvergenceWarning, match="interrupted; the first 3 rows drawn before"):
        draws = sampler.sample_conditional(rows, 20)
    assert_array_equal(
        draws, small(Known(NORMAL), base_density=ROWS).sample_conditional(rows, 20)[:3]
    )
    target.armed = True
    with pytest.raises(KeyboardInterrupt):
        sampler.sample_conditional(rows, 20)


@pytest.fixture(scope="module")
def frame():
    """Rows with named columns, in two clusters."""
    rows = np.concatenate([ROWS, ROWS + np.array([0.0, 30.0])])
    return pd.DataFrame(rows, columns=["length", "weight"])


@pytest.mark.parametrize(
    "estimator",
    [
        quick_estimator(max_iter=6),
        GaussianMixture(2, random_state=0),
        make_pipeline(StandardScaler(), KernelDensity()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_names_of_features_are_kept_and_used(estimator, frame):
    estimator.fit(frame)
    options = {"base_density": frame} if hasattr(estimator, "steps") else {}
    sampler = small(estimator, **options)
    holes = frame[:2].assign(weight=np.nan)
    assert sampler.sample_conditional(holes, 4).shape == (2, 4, 2)
    assert_array_equal(sampler.sample_conditional(holes, 4)[:, 0, 0], frame["length"][:2])
    with pytest.raises(ValueError, match="feature names should match"):
        sampler.sample_conditional(holes[["weight", "length"]])
    for name, rows in (("init", frame[:6]), ("base_density", frame)):
        swapped = small(estimator, **{**options, name: rows[["weight", "length"]]})
        refused(swapped, ValueError, "feature names should match")
    starts = np.repeat(frame.to_numpy()[[0, -1]], 3, axis=0)
    still = {"proposal": "random_walk", "step_size": 1e-3, **options}
    walk = small(estimator, init=starts, **still)
    with pytest.warns(ConvergenceWarning, match="R-hat of '(length|weight)' is"):
        chains = walk.sample_chains(30)
    assert chains.feature_names == ["length", "weight"]


MIXTURES = [
    kind(n_components=2, covariance_type=covariance, random_state=0)
    for kind in (GaussianMixture, BayesianGaussianMixture)
    for covariance in ("full", "tied", "diag", "spherical")
]


@pytest.mark.parametrize(
    "mixture", MIXTURES, ids=lambda m: f"{type(m).__name__} {m.covariance_type}"
)
def test_mixtures_of_scikit_learn_are_drawn_from(mixture, random_seed):
    rows = np.concatenate([ROWS, 4.0 + ROWS @ [[1.0, 0.5], [0.0, 0.3]]])
    mixture.fit(rows * [1e-3, 1e3])
    weights, means = mixture.weights_, mixture.means_
    covariance = mixture.covariances_
    second = [
        np.broadcast_to(
            {"full": c, "tied": c, "diag": np.diag(np.ravel(c)) if c.ndim == 1 else c}.get(
                mixture.covariance_type, c * np.eye(2)
            ),
            (2, 2),
        ).diagonal()
        for c in (covariance if mixture.covariance_type != "tied" else [covariance] * 2)
    ]
    check_moments(mixture, weights @ means, weights @ (second + means**2), {}, random_seed)


@pytest.mark.parametrize(
    ("kernel", "spread"), [("gaussian", 1.0), ("tophat", 0.25), ("epanechnikov", 1 / 6)]
)
def test_kernel_densities_are_drawn_from(kernel, spread, random_seed):
    """Variance of a coordinate within a kernel of width 1: 1; (1/4); (1/6)."""
    density = KernelDensity(kernel=kernel, bandwidth=0.7).fit(ROWS)
    options = {"base_density": ROWS} if kernel == "epanechnikov" else {}
    second = (ROWS**2).mean(axis=0) + spread * 0.7**2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The log density was NaN or .inf at", RuntimeWarning)
        check_moments(density, ROWS.mean(axis=0), second, options, random_seed)


def test_a_pipeline_is_drawn_from_in_its_own_units(random_seed):
    rows = ROWS * [1e-3, 1e3]
    density = make_pipeline(StandardScaler(), KernelDensity(bandwidth=0.5)).fit(rows)
    second = (rows**2).mean(axis=0) + 0.5**2 * rows.var(axis=0)
    check_moments(density, rows.mean(axis=0), second, {"base_density": rows}, random_seed)


def check_moments(estimator, mean, second, options, seed):
    """Draws agree with the law's first two moments within what their number allows."""
    sampler = small(estimator, n_chains=16, n_warmup=128, **{**options, "random_state": seed})
    with warnings.catch_warnings():
        # The errors below know what R-hat says of so few draws.
        warnings.filterwarnings(
            "ignore", "The chains (do not mix|are too short)", ConvergenceWarning
        )
        draws = sampler.sample_chains(200).draws
    for values, expected in ((draws, mean), (draws**2, second)):
        error = SIGMAS * diagnostics.mcse(values)
        assert (np.abs(values.mean(axis=(0, 1)) - expected) < error).all()


NORMALS = {"with gradient": Known(NORMAL), "without": Ungraded(NORMAL)}
OPTIONS = {
    "proposal": ("auto", "random_walk", "langevin", "hamiltonian", "independence"),
    "log_ratio": ("auto", "exact", "path", "first_order", "second_order"),
    "metric": ("auto", "local", "dense", "diagonal"),
    "step_size": ("auto", 0.3),
    "temperature": (1.0, 0.3, 2.0),
    "n_chains": (1, 2, 6),
    "n_warmup": (0, 1, 9, 40),
    "thin": (1, 3),
    "base_density": ("auto", None, "rows"),
    "init": ("auto", "starts"),
}


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["field", "mixture", *NORMALS]),
    options=st.fixed_dictionaries({name: st.sampled_from(v) for name, v in OPTIONS.items()}),
    n=st.integers(1, 9),
)
def test_any_options_give_draws_or_a_clean_refusal(kind, options, n, fitted, random_seed):
    estimator = NORMALS[kind] if kind in NORMALS else fitted[kind]
    if options["init"] == "starts":
        options["init"] = STARTS[: options["n_chains"]]
    if isinstance(options["base_density"], str) and options["base_density"] == "rows":
        options["base_density"] = fitted["mixture"]
    holes = np.array([[0.5, np.nan], [np.nan, np.nan], [1.0, 2.0]])

    def run():
        sampler = RAESampler(estimator, random_state=random_seed, **options)
        chains = sampler.sample_chains(n)
        if sampler.base_density is None or isinstance(estimator, Ungraded | Known):
            return chains.draws, chains.log_density, None
        return chains.draws, chains.log_density, sampler.sample_conditional(holes, n)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        refusal = None
        try:
            draws, log_density, completed = run()
            again = run()
        except (TypeError, ValueError) as error:
            refusal = error
    if refusal is not None:
        assert "expected" in str(refusal)
        return
    assert draws.shape == (options["n_chains"], n, 2)
    assert_equal(again, (draws, log_density, completed))
    assert np.isfinite(draws).all()
    rows = draws.reshape(-1, 2)
    assert_allclose(log_density.ravel(), estimator.score_samples(rows), rtol=1e-4, atol=1e-4)
    if completed is not None:
        assert completed.shape == (3, n, 2)
        observed = ~np.isnan(holes)
        assert_array_equal(completed.swapaxes(1, 2)[observed].T, np.tile(holes[observed], (n, 1)))


@pytest.mark.filterwarnings("ignore:The chains do not mix")
def test_a_temperature_at_which_the_tails_have_no_finite_integral_is_refused(fitted):
    model = fitted["field"]
    limit = 1.0 + 3.0 / np.bincount(model.base_blocks_).max()
    with pytest.raises(
        ValueError, match=f"Got temperature={limit}, expected less than {limit:.3g}"
    ):
        RAESampler(model, temperature=limit).sample(10)
    assert np.isfinite(RAESampler(model, temperature=0.5, random_state=0).sample(10)).all()


def test_chains_that_stand_still_are_told_apart_from_separate_modes():
    sampler = small(Known(NORMAL), init=STARTS, proposal="random_walk", step_size=1e6)
    with pytest.warns(ConvergenceWarning, match="Only 0.0% of the proposals were accepted"):
        sampler.sample_chains(64)
