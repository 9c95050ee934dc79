"""What the user is warned of: just beyond each limit and not before, at the line of the call."""

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import skrae.sampling.sampler as face
from skrae import RAESampler
from skrae.datasets import Banana, Gaussian
from skrae.sampling import chains, completion, thinning
from skrae.sampling.completion import CHAINS_PER_ROW, N_WARMUP, Completion
from skrae.sampling.mcmc import diagnostics
from skrae.sampling.mcmc.runs import Kernel, Run
from skrae.sampling.reports import ConvergenceSummary, warn_of_few_draws
from skrae.sampling.start import ChainSetup
from skrae.sampling.thinning import Quality
from tests.density.estimators import quick_estimator
from tests.sampling.known_targets import Known
from tests.sampling.scripted import ScriptedRun, autoregressive, seen_in, spread_chains

NORMAL = Gaussian(np.zeros(2), np.eye(2))
ROWS = np.random.default_rng(0).standard_normal((64, 2))
# Of what R-hat^2 exceeds 1 by, beside the limit: twice the error of a scripted R-hat.
BELOW, ABOVE = 0.96, 1.04


@pytest.fixture
def script(monkeypatch):
    """Hands a sampler the transitions that its chains will make."""

    def play(positions, acceptance=1.0):
        run = ScriptedRun(positions, acceptance)
        monkeypatch.setattr(ChainSetup, "start", lambda setup, reporter: run)
        return RAESampler(Known(NORMAL), init=ROWS, base_density=None)

    return play


def told(call):
    """The texts of the warnings of a call, and its result."""
    result, caught = seen_in(call)
    return [str(w.message) for w in caught], result


# R-hat


@pytest.mark.parametrize(
    ("n_draws", "excess", "limit"),
    [(100, 10 / 100, "1.049"), (200, 10 / 200, "1.025"), (600, 1.01**2 - 1, "1.010")],
)
def test_chains_warn_where_rhat_is_above_its_limit(n_draws, excess, limit, script, monkeypatch):
    """R-hat^2 - 1 of 10 / n_draws, as five times that of agreeing chains, or R-hat of 1.01."""
    monkeypatch.setattr(diagnostics, "FEW_DRAWS", n_draws)
    for share in (BELOW, ABOVE):
        positions = spread_chains(share * excess, 64, n_draws, np.random.default_rng(0))
        texts, drawn = told(lambda p=positions: script(p).sample_chains(n_draws))
        assert drawn.rhat()[0] ** 2 - 1 == pytest.approx(share * excess, rel=0.02)
        assert len(texts) == (share > 1)
        for text in texts:
            assert text.startswith("The chains are too short to tell whether they mix")
            assert f"expected at most {limit}." in text


@pytest.mark.parametrize("share", [BELOW, ABOVE])
def test_rows_warn_where_their_chains_do_not_agree(share, script):
    """Chains of a spread that stays: above 1.01 the pilot goes on past 256 transitions, in vain."""
    parts = [
        spread_chains(share * (1.01**2 - 1), 64, 256, np.random.default_rng(i)) for i in range(8)
    ]
    texts, rows = told(lambda: script(np.concatenate(parts, axis=1)).sample(64))
    assert rows.shape == (64, 1)
    assert len(texts) == (share > 1)
    assert all("expected at most 1.010. Draw more." in text for text in texts)


@pytest.mark.parametrize(
    ("rhat", "acceptance", "advice"),
    [
        (1.09, 0.5, "The chains are too short to tell whether they mix.*Draw more"),
        (1.09, 0.01, "The chains are too short to tell whether they mix.*Draw more"),
        (1.11, 0.5, "The chains do not mix.*Raise n_warmup of RAESampler"),
        (1.11, 0.021, "The chains do not mix.*Raise n_warmup of RAESampler"),
        (1.11, 0.019, "The chains do not mix.*Only 1.9% of the proposals were accepted"),
    ],
)
def test_advice_is_by_rhat_and_by_acceptance(rhat, acceptance, advice, script):
    positions = spread_chains(rhat**2 - 1, 64, 200, np.random.default_rng(0))
    with pytest.warns(ConvergenceWarning, match=advice):
        script(positions, acceptance).sample_chains(200)


@pytest.mark.parametrize(("others", "n_told"), [(-1.0, 0), (1.0, 1)])
def test_all_draws_are_asked_where_some_of_them_disagree(others, n_told, script):
    """Every second draw of 512 is about its chain's mean, the others opposite to it, or as well."""
    quick, rest = (spread_chains(0.05, 64, 256, np.random.default_rng(seed)) for seed in range(2))
    if others < 0:
        rest = rest[::-1]
    positions = np.stack([quick, rest], axis=2).reshape(64, 512, 1)
    texts, drawn = told(lambda: script(positions).sample_chains(512))
    assert (drawn.rhat()[0] > 1.01) == n_told
    assert len(texts) == n_told


# Partly observed rows


def completions_of(chains_of_row, monkeypatch, n_asked=None):
    """Warnings for three rows, of which the second has these chains (4, n_draws, 1)."""
    rule, n_draws = np.random.default_rng(0), chains_of_row.shape[1]
    draws = rule.standard_normal((CHAINS_PER_ROW, 3, n_draws, 2))
    draws[:, [0, 2], :, 1:] = spread_chains(0.0, CHAINS_PER_ROW, 200, rule)[:, None, :n_draws]
    draws[:, 1, :, 1:] = chains_of_row
    draws = draws.reshape(-1, n_draws, 2)
    positions = np.concatenate([draws[:, [0] * N_WARMUP], draws.repeat(2, axis=1)], axis=1)
    kernel = Kernel("langevin", 4, 4, 1.0, None, 1, None)
    monkeypatch.setattr(completion, "_tuned", lambda *parts: completion.Tuned(kernel, 2))
    monkeypatch.setattr(completion, "Run", lambda *parts: ScriptedRun(positions))
    X = [[0.0, 1.0], [0.0, np.nan], [1.0, np.nan], [2.0, np.nan]]
    sampler = RAESampler(Known(NORMAL), base_density=ROWS, random_state=0)
    n_samples = CHAINS_PER_ROW * (n_draws if n_asked is None else n_asked)
    return told(lambda: sampler.sample_conditional(X, n_samples))[0]


@pytest.mark.parametrize("n_draws", [50, 200])
def test_completions_warn_where_rhat_of_a_row_is_above_its_limit(n_draws, monkeypatch):
    """R-hat^2 - 1 of 15 / n_draws, for the 4 chains of a row, which is told by its place in X."""
    below, above = (
        spread_chains(share * 15 / n_draws, CHAINS_PER_ROW, n_draws, np.random.default_rng(0))
        for share in (BELOW, ABOVE)
    )
    assert completions_of(below, monkeypatch) == []
    (text,) = completions_of(above, monkeypatch)
    assert "The chains of 1 of 3 rows do not mix, first of row 2 with R-hat" in text


@pytest.mark.parametrize("n_asked", [1, 6])
def test_few_completions_are_judged_by_six_draws_a_chain(n_asked, monkeypatch):
    apart = 100.0 * np.arange(4)[:, None, None] + np.random.default_rng(0).normal(size=(4, 6, 1))
    (text,) = completions_of(apart, monkeypatch, n_asked)
    assert "The chains of 1 of 3 rows do not mix" in text
    near = np.random.default_rng(1).normal(size=(4, 6, 1))
    assert completions_of(near, monkeypatch, n_asked) == []


# What rows are worth


@pytest.mark.parametrize(("time", "warns"), [(13.5, False), (18.5, True)])
def test_rows_warn_where_they_are_worth_fewer_than_half(
    time, warns, script, monkeypatch, random_seed
):
    """AR(1) chains thinned by 8: rows are worth 8 / time of their number."""
    monkeypatch.setattr(thinning, "MAX_THIN", 8)
    phi, rule = (time - 1) / (time + 1), np.random.default_rng(random_seed)
    sampler = script(autoregressive(rule, phi, (256, 6000, 1)))
    texts, rows = told(lambda: sampler.sample(150_000))
    assert len(rows) == 150_000
    worth = [text for text in texts if "rows are worth only" in text]
    assert len(worth) == warns
    for text in worth:
        n = float(text.split("worth only ")[1].split()[0])
        assert n / len(rows) == pytest.approx(8 / time, rel=0.15)


# The line of the caller

CALM = ConvergenceSummary(
    rhat=np.ones(2), n_draws=10**6, acceptance_rate=0.5, n_undefined=0, n_proposed=9
)
SUMMARIES = {
    "Whether the chains mix is unknown. 3 draws": {"rhat": np.full(2, np.nan), "n_draws": 3},
    "The log density is the same at all draws": {"is_flat": True},
    "The chains are too short": {"rhat": np.full(2, 1.05)},
    "The chains do not mix: R-hat": {"rhat": np.full(2, 2.0)},
    "Only 1.0% of the proposals": {"rhat": np.full(2, 2.0), "acceptance_rate": 0.01},
    "NaN or +inf at 3 of 9": {"n_undefined": 3},
}
NO_BASE, INTERRUPTED = "No base density is known", "The run was interrupted;"
COLD = "The run was interrupted in its warm-up"
WORTH, STUCK = "2 rows are worth only 0", "The chains of 1 of 2 rows do not mix"
OF_COMPLETIONS = ["NaN or +inf at 3 of 9", INTERRUPTED, STUCK]
TOLD_BY = {
    "sample": [*SUMMARIES, NO_BASE, INTERRUPTED, COLD, WORTH],
    "sample_chains": [*SUMMARIES, NO_BASE, INTERRUPTED, COLD],
    "sample_conditional": OF_COMPLETIONS,
    "impute": OF_COMPLETIONS,
    "model.sample": [*SUMMARIES, INTERRUPTED, WORTH],
}


@pytest.fixture(scope="module")
def model():
    """A model whose network is not zero, or no chain would be run."""
    fitted = quick_estimator(max_iter=20).fit(Banana(scale=2.0, bend=0.3).sample(200, 0))
    assert not fitted._sampling_target().is_base
    return fitted


def arrange(text, monkeypatch):
    """Let all chains end in such a way that this warning, and no other, is due."""
    summary = CALM._replace(**SUMMARIES.get(text, {}))
    interrupted, n_done = text == INTERRUPTED, 1 if text == INTERRUPTED else 2
    quality = Quality(summary, 0.0 if text == WORTH else np.inf, interrupted)
    inner, init = Run.draw, Run.__init__

    def completed(target, density_ratio, X, n_samples, seed, take, **options):
        take(slice(0, n_done), np.zeros((n_done, n_samples, 2)))
        return Completion(
            rhat=np.array([np.inf if text == STUCK else 1.0, 1.0])[:n_done],
            n_draws=100,
            n_undefined=summary.n_undefined,
            n_proposed=summary.n_proposed,
            interrupted=interrupted,
        )

    monkeypatch.setattr(face, "chain_rows", lambda *run: (np.zeros((2, 2)), quality))
    monkeypatch.setattr(face, "complete", completed)
    monkeypatch.setattr(chains.Chains, "_summary", lambda self: summary)
    monkeypatch.setattr(Run, "draw", lambda *run: inner(*run)._replace(interrupted=interrupted))
    monkeypatch.setattr(Run, "__init__", lambda run, *parts: init(run, *parts[:2], text == COLD))


@pytest.mark.parametrize(
    ("method", "text"), [(method, text) for method, texts in TOLD_BY.items() for text in texts]
)
def test_every_warning_points_at_the_line_of_the_caller(method, text, model, monkeypatch):
    arrange(text, monkeypatch)
    base = "auto" if text == NO_BASE else GaussianMixture(random_state=0).fit(ROWS)
    thing = RAESampler(Known(NORMAL), n_warmup=2, init=ROWS, base_density=base, random_state=0)
    argument = [[0.0, np.nan], [np.nan, 0.0]] if OF_COMPLETIONS is TOLD_BY[method] else 2
    if method == "model.sample":
        thing, method = model, "sample"

    def call():
        return getattr(thing, method)(argument)

    (warning,) = seen_in(call)[1]
    assert text in str(warning.message)
    assert warning.category is (RuntimeWarning if "NaN" in text else ConvergenceWarning)
    assert (warning.filename, warning.lineno) == (__file__, call.__code__.co_firstlineno + 1)


def test_list_of_warnings_is_whole():
    """As many as there are calls of `warn`; one of them gives two kinds of advice.

    And one is of raw tables alone.
    """
    paths = Path(face.__file__).parent.rglob("*.py")
    nodes = [n for path in paths for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) == "warn"]
    assert len(calls) - 1 == len({text for texts in TOLD_BY.values() for text in texts}) - 1
    assert not any(isinstance(n, ast.Import) and n.names[0].name == "warnings" for n in nodes)


def test_few_draws_of_the_base_are_told():
    with pytest.warns(ConvergenceWarning, match="1 of 3 rows .* worth fewer than 5%"):
        warn_of_few_draws(np.array([1.0, 0.01, 0.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_few_draws(np.array([1.0, 0.06]))
