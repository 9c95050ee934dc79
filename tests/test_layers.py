"""The layout of the package: imports point downwards, importing is free of side effects."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "skrae"

# A module may import only modules of a smaller number.
LAYERS = {
    "__init__": 11,
    "_sampler": 10,
    "_tasks": 9,
    "_sources": 8,
    "_estimator": 10,
    "metrics": 9,
    "plotting": 9,
    "population": 9,
    "_pair_display": 6,
    "_trace_display": 6,
    "_fitting": 7,
    "_queries": 7,
    "_state": 6,
    "_completion": 5,
    "_independent": 5,
    "_panels": 5,
    "_annealing": 6,
    "_evaluation": 5,
    "_runs": 4,
    "_normalizer": 4,
    "_training": 5,
    "_warmup": 3,
    "_base_selection": 2,
    "_chains": 2,
    "_conditional": 2,
    "_cycles": 2,
    "_progress": 2,
    "_score_field": 3,
    "_bias_correction": 4,
    "_decoders": 4,
    "_energy_decoder": 2,
    "_free_decoder": 3,
    "_tied_decoder": 3,
    "_targets": 2,
    "datasets": 2,
    "_base_density": 1,
    "_diagnostics": 1,
    "_known_laws": 1,
    "_known_mixtures": 1,
    "_metropolis": 1,
    "_mixture_fit": 1,
    "_networks": 1,
    "_objectives": 1,
    "_one_layer": 1,
    "_validation": 1,
    "_adaptation": 0,
    "_advice": 0,
    "_callbacks": 0,
    "_device": 0,
    "_known_density": 0,
    "_hidden_units": 0,
    "_linear_algebra": 0,
    "_log_ratios": 0,
    "_scaling": 0,
    "_splitting": 0,
}
MAX_LINES = 300
TOP_LEVEL = {
    ".ci",
    ".git",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "LICENSE",
    "README.md",
    "docs",
    "examples",
    "pyproject.toml",
    "setup.cfg",
    "skrae",
    "tests",
}

MODULES = {
    path.relative_to(ROOT / PACKAGE).with_suffix("").as_posix(): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}


def imported_names(source):
    """Absolute dotted names of all that `source`, a module of the package, imports anywhere in it.

    `from a import b` gives a.b: whether b is a module is for the reader of the name to know.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, [PACKAGE if node.level else None, node.module]))
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return names


def imported_modules(source):
    """The package's modules that `source` imports; what is no module comes from __init__."""
    paths = [name.split(".") for name in imported_names(source)]
    heads = {path[1] if path[1:] else "__init__" for path in paths if path[0] == PACKAGE}
    return {head if head in LAYERS or head in MODULES else "__init__" for head in heads}


def layer_violations(module, source):
    """One sentence for each import of `source` that does not point strictly downwards."""
    return [
        f"{module} (layer {LAYERS[module]}) imports {target} (layer {LAYERS[target]})"
        for target in sorted(imported_modules(source) & set(LAYERS))
        if LAYERS[target] >= LAYERS[module]
    ]


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("_training", "from . import _networks", "_networks"),
        ("_training", "from ._networks import Encoder", "_networks"),
        ("_training", "from skrae._networks import Encoder", "_networks"),
        ("_training", "import skrae._networks as networks", "_networks"),
        ("_training", "def fit():\n    from ._networks import Encoder", "_networks"),
        ("__init__", "from ._estimator import Estimator", "_estimator"),
    ],
)
def test_downward_import_is_seen_and_passes(module, source, target):
    assert imported_modules(source) == {target}
    assert layer_violations(module, source) == []


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("_networks", "from . import _training", "_training"),
        ("_networks", "from .datasets import ring", "datasets"),
        ("_sampler", "import skrae._estimator", "_estimator"),
        ("_sampler", "def sample():\n    from skrae import _estimator", "_estimator"),
        ("_normalizer", "if TYPE_CHECKING:\n    from ._training import f", "_training"),
        ("_estimator", "import skrae", "__init__"),
        ("_estimator", "from . import __version__", "__init__"),
        ("_estimator", "from skrae import *", "__init__"),
    ],
)
def test_upward_or_sideways_import_fails(module, source, target):
    (violation,) = layer_violations(module, source)
    assert violation.endswith(f"imports {target} (layer {LAYERS[target]})")


def test_imports_of_other_packages_have_no_layer():
    source = "import torch\nimport numpy as np\nfrom sklearn.base import BaseEstimator"
    assert imported_modules(source) == set()


def test_every_module_has_a_layer():
    missing = sorted(set(MODULES) - set(LAYERS))
    assert not missing, f"no layer for {missing}: add them to LAYERS in {Path(__file__).name}"


@pytest.mark.parametrize("module", sorted(set(MODULES) & set(LAYERS)))
def test_imports_point_strictly_downwards(module):
    violations = layer_violations(module, MODULES[module].read_text(encoding="utf-8"))
    assert not violations, "; ".join(violations)


@pytest.mark.parametrize("module", MODULES)
def test_module_is_short_enough(module):
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{module} has {lines} lines: split it by meaning"


def test_top_level_has_only_the_agreed_entries():
    # What git ignores (environments, builds, caches) may lie about.
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    odd = [
        path.name
        for path in ROOT.iterdir()
        if path.name not in TOP_LEVEL and not any(fnmatch(path.name, name) for name in ignored)
    ]
    assert odd == []


# argv: a statement, then names to resolve before it: their side effects are not the statement's.
# Prints the name of each piece of global state that the statement changed.
STATE_SCRIPT = """
import os, pkgutil, random, sys, warnings
from contextlib import suppress
import numpy as np, torch

def global_state():
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "distribution checks": torch.distributions.Distribution._validate_args,
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": [np.asarray(part).tolist() for part in np.random.get_state()],
        "python random state": random.getstate(),
        "numpy errors": np.geterr(),
        "numpy print options": repr(np.get_printoptions()),
        "warnings filters": list(warnings.filters),
        "environment": dict(os.environ),
    }

statement, *names = sys.argv[1:]
for name in names:
    with suppress(ImportError, AttributeError):
        pkgutil.resolve_name(name)
before = global_state()
exec(statement)
after = global_state()
print(*[name for name in before if before[name] != after[name]], sep="\\n")
"""


def changed_state(statement, *names):
    """Names of the pieces of global state that `statement` changes in a fresh process."""
    command = [sys.executable, "-c", STATE_SCRIPT, statement, *names]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return [line for line in output.stdout.splitlines() if line]


def test_import_changes_no_global_state():
    sources = [path.read_text(encoding="utf-8") for path in MODULES.values()]
    names = set().union(*map(imported_names, sources))
    others = sorted(name for name in names if name.split(".")[0] != PACKAGE)
    assert changed_state(f"import {PACKAGE}", *others) == []


def test_change_of_global_state_is_seen():
    changes = {
        "default dtype": "torch.set_default_dtype(torch.float64)",
        "threads": "torch.set_num_threads(torch.get_num_threads() + 1)",
        "gradients": "torch.set_grad_enabled(False)",
        "distribution checks": "torch.distributions.Distribution.set_default_validate_args(False)",
        "torch random state": "torch.manual_seed(1)",
        "numpy random state": "np.random.seed(1)",
        "warnings filters": "warnings.simplefilter('ignore')",
    }
    assert changed_state("; ".join(changes.values())) == list(changes)
