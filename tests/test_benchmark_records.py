"""What the benchmark tables share, the mass of a density, and the commands' small parts."""

import argparse
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Gaussian
from tests.benchmarks import __main__ as index
from tests.benchmarks import density, published, records, trust
from tests.benchmarks.mass import StudentMixture, mass, summary
from tests.benchmarks.models import MODELS
from tests.benchmarks.peers import KernelPeer, fit_peer


@pytest.fixture
def options(tmp_path):
    return argparse.Namespace(quick=False, threads=1, json=tmp_path / "records.json")


def cases_of(*models):
    return [{"set": "a", "model": model} for model in models]


class Measure:
    """Counts the cases it is asked for."""

    def __init__(self, fails_at=None):
        self.asked, self.fails_at = [], fails_at

    def __call__(self, case):
        if case["model"] == self.fails_at:
            raise RuntimeError("stopped")
        self.asked.append(case["model"])
        return {"mean": float(len(self.asked))}


# --- records --------------------------------------------------------------------------------------


def test_only_missing_cases_are_run(options):
    first, second = Measure(), Measure()
    records.run(cases_of("kde", "gmm"), first, options)
    found = records.run(cases_of("gmm", "flow"), second, options)
    assert (first.asked, second.asked) == (["kde", "gmm"], ["flow"])
    assert [record["model"] for record in found] == ["kde", "gmm", "flow"]
    assert found == json.loads(options.json.read_text())


def test_a_stop_loses_one_record(options):
    with pytest.raises(RuntimeError, match="stopped"):
        records.run(cases_of("kde", "gmm"), Measure(fails_at="gmm"), options)
    assert [record["model"] for record in records.load(options.json)] == ["kde"]


def test_what_another_command_adds_meanwhile_is_kept(options):
    def measure(case):
        if not options.json.exists():
            records.run(cases_of("flow"), Measure(), options)
        return {"mean": 0.0}

    found = records.run(cases_of("kde", "gmm"), measure, options)
    assert [record["model"] for record in found] == ["flow", "kde", "gmm"]


def test_a_quick_record_never_stands_for_a_full_one(options):
    quick = argparse.Namespace(**{**vars(options), "quick": True})
    records.run(cases_of("kde"), Measure(), quick)
    full = Measure()
    records.run(cases_of("kde"), full, options)
    assert full.asked == ["kde"]


def test_groups_follow_the_order_of_the_table_not_of_the_runs():
    found = [{"set": s, "model": m} for m in ("gmm", "skrae") for s in ("b", "a")]
    groups = records.grouped(found, "set", "model", order={"set": "ab", "model": MODELS})
    assert list(groups) == [("a", "skrae"), ("a", "gmm"), ("b", "skrae"), ("b", "gmm")]


def test_a_missing_figure_is_no_number_in_a_mean():
    group = [{"mass": 1.0}, {"mass": None}]
    assert records.mean_and_spread(group, "mass") == "- (-)"
    assert records.mean_and_spread([{"m": 1.0}, {"m": 3.0}], "m") == f"2.00 ({np.sqrt(2):.2f})"


# --- mass -----------------------------------------------------------------------------------------


@pytest.fixture
def rows(random_seed):
    return np.random.default_rng(random_seed).standard_normal((300, 3)) @ np.diag([1.0, 2.0, 0.1])


def test_whitened_hyvarinen_of_a_gaussian_is_that_of_its_white_rows(random_seed):
    """In units in which its covariance is I: the mean of |z|^2 / 2, less d."""
    rng = np.random.default_rng(random_seed)
    factor = np.tril(rng.standard_normal((3, 3)))
    z = rng.standard_normal((50, 3))
    gaussian = Gaussian(np.zeros(3), factor @ factor.T)
    model = SimpleNamespace(
        log_density_gradient=gaussian.gradient,
        log_density_hessian=lambda X: np.tile(-np.linalg.inv(factor @ factor.T), (len(X), 1, 1)),
    )
    found = density.whitened_hyvarinen(model, z @ factor.T, factor @ factor.T)
    assert found == pytest.approx(0.5 * (z**2).sum(axis=1).mean() - 3.0)


def test_log_density_of_a_student_mixture_is_scipys(random_seed):
    rng = np.random.default_rng(random_seed)
    means, factors = rng.normal(size=(2, 3)), np.linalg.cholesky([np.eye(3), np.diag([1, 2, 3])])
    mixture = StudentMixture(np.array([0.3, 0.7]), means, factors, np.array([3.0, 8.0]))
    X = mixture.sample(50, rng)
    parts = zip(mixture.weights, means, factors, mixture.dofs, strict=True)
    expected = sum(w * multivariate_t(m, L @ L.T, nu).pdf(X) for w, m, L, nu in parts)
    np.testing.assert_allclose(mixture.log_density(X), np.log(expected), rtol=1e-10)


def test_draws_of_a_student_mixture_follow_its_density(random_seed):
    shared = StudentMixture(np.ones(1), np.zeros((1, 1)), np.full((1, 1, 1), 2.0), np.full(1, 5.0))
    inside = quad(lambda x: np.exp(shared.log_density(np.array([[x]]))[0]), -2.0, 2.0)[0]
    draws = shared.sample(20_000, np.random.default_rng(random_seed))
    error = np.sqrt(inside * (1.0 - inside) / len(draws))
    assert abs((np.abs(draws) < 2.0).mean() - inside) < 5.0 * error


@pytest.mark.parametrize("name", ["kde", "gmm"])
def test_mass_of_a_normalised_density_is_one(name, rows, random_seed):
    peer = fit_peer(name, rows[:200], rows[200:], seed=0)
    found = mass(peer, rows, np.random.default_rng(random_seed), n_draws=4_000)
    assert found["mass_stderr"] < 0.02
    assert abs(found["mass"] - 1.0) < 5.0 * found["mass_stderr"]


def test_mass_of_skrae_is_one_within_its_own_normaliser(rows, random_seed):
    model = RegularizedAutoEncoderScore(max_iter=20, random_state=0).fit(rows)
    found = mass(model, rows, np.random.default_rng(random_seed), n_draws=4_000)
    assert found["mass_stderr"] < 0.02
    error = np.hypot(found["mass_stderr"], model.log_normalizer_stderr_)
    assert abs(found["mass"] - 1.0) < 5.0 * error


def test_mass_of_a_density_twice_too_large_is_two(rows, random_seed, monkeypatch):
    peer = fit_peer("gmm", rows[:200], rows[200:], seed=0)
    honest = type(peer).score_samples
    monkeypatch.setattr(type(peer), "score_samples", lambda self, X: honest(self, X) + np.log(2.0))
    found = mass(peer, rows, np.random.default_rng(random_seed), n_draws=4_000)
    assert abs(found["mass"] - 2.0) < 5.0 * found["mass_stderr"]


def test_too_few_effective_draws_give_no_mass():
    weights = np.zeros(1_000)
    weights[:100] = 10.0
    assert summary(weights) == {"mass": None, "mass_stderr": None, "mass_ess": 100.0}


def test_kernel_density_of_a_far_row_is_the_sum_over_its_kernels(random_seed):
    # scikit-learn's tree misses this one by tens of nats.
    rows = np.random.default_rng(random_seed).standard_normal((2_000, 5))
    far, width = np.full(5, 4.0), 0.2
    terms = multivariate_normal(np.zeros(5), width**2 * np.eye(5)).logpdf(far - rows)
    expected = logsumexp(terms) - np.log(len(rows))
    found = KernelPeer(rows, width).log_density(far[None])[0]
    assert found == pytest.approx(expected, rel=1e-10)


# --- protocols ------------------------------------------------------------------------------------


def test_folds_are_standardised_by_their_training_rows_and_partition_the_set(random_seed):
    X = np.random.default_rng(random_seed).normal(3.0, 2.0, size=(95, 2))
    folds = [published.rnade_fold(X, fold) for fold in range(10)]
    sizes = [len(test) for _, _, test in folds]
    assert sum(sizes) == 95
    assert max(sizes) <= 10
    inside = np.vstack(folds[3][:2])
    np.testing.assert_allclose(inside.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(inside.std(0), 1.0, rtol=1e-12)


def test_dkef_split_keeps_every_row_and_whitens_them_all(random_seed):
    X = np.random.default_rng(random_seed).normal(size=(200, 3)).round(1)
    parts = published.dkef_split(X, seed=1)
    assert [len(part) for part in parts] == [162, 18, 20]
    np.testing.assert_allclose(np.cov(np.vstack(parts).T, bias=True), np.eye(3), atol=1e-10)
    assert not np.array_equal(parts[0], published.dkef_split(X, seed=2)[0])


# --- commands -------------------------------------------------------------------------------------

RECORD = {
    "set": "redwine",
    "seed": 0,
    "mean": -10.0,
    "median": -9.0,
    "base": -10.5,
    "mass": 1.0,
    "mass_stderr": 0.01,
    "fit_cpu": 3.0,
    "search_cpu": 6.0,
    "details": {"noise_level": 0.1, "log_normalizer_stderr": 0.01},
}


def test_density_report_weighs_the_time_of_a_fit_by_the_flows():
    found = [{**RECORD, "model": "flow"}, {**RECORD, "model": "skrae", "fit_cpu": 1.5}]
    lines = density.report(found).splitlines()
    ours = next(line for line in lines if "| skrae |" in line)
    assert ours.split(" | ")[-2] == "0.5"
    assert any("| redwine | 0 | -10.500 | -10.000 |" in line for line in lines)


def test_published_report_names_what_was_published():
    found = [{**RECORD, "model": "gmm", "protocol": "rnade"}]
    assert "| rnade | redwine | EoNADE | -8.76 |" in published.report(found)


def test_quick_of_published_runs_on_the_real_rows(data_folder, capsys):
    published.main(["--quick", "--protocols", "dkef", "--models", "kde"])
    value = re.search(r"dkef \| redwine \| kde \| (\S+)", capsys.readouterr().out)
    # What the first run gave: the split, its random numbers and the tuning are all deterministic.
    assert float(value[1]) == -12.35


def test_quick_of_density_runs_on_the_real_rows(data_folder, capsys, monkeypatch):
    monkeypatch.setattr(density, "mass", lambda *_: {"mass": None, "mass_stderr": None})
    density.main(["--quick", "--models", "kde"])
    assert "| redwine | kde | -10.838 | - |" in capsys.readouterr().out


def test_quick_of_trust_asks_for_one_set_a_table():
    quick = argparse.Namespace(quick=True, seeds=None, tables=list(trust.TABLES))
    assert [case["set"] for case in trust.cases(quick)] == ["Banana", "Banana"]


def test_every_command_is_listed_and_says_what_it_prints(capsys):
    index.main([])
    printed = capsys.readouterr().out
    for name in index.COMMANDS:
        assert f"`{name}`" in printed
    with_main = {p.stem for p in index.FOLDER.glob("*.py") if '"__main__"' in p.read_text()}
    assert with_main - {"__main__"} == set(index.COMMANDS)


def test_kept_records_make_the_tables_of_their_command(tmp_path, capsys):
    case = {"set": "redwine", "seed": 0, "model": "iforest", "auc": 0.875, "fit_cpu": 1.0}
    records.save([case], tmp_path / "outliers.json")
    index.main(["--report", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.startswith("## `python -m tests.benchmarks.outliers`")
    assert ".875" in printed
    assert "tests.benchmarks.density" not in printed
