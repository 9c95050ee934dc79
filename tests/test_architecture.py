"""The layout of the package: who imports whom, how large things are, imports without effects."""

import ast
import io
import subprocess
import sys
import tokenize
from fnmatch import fnmatch

import pytest

from tests.rooms import (
    ALLOWED,
    FOLDERS,
    MODULES,
    PACKAGE,
    ROOT,
    SOURCES,
    imported_modules,
    imported_names,
    room,
)

PUBLIC = {
    "autoencoders",
    "datasets",
    "density",
    "metrics",
    "plotting",
    "sampling",
    "tasks",
}  # what skrae itself imports
MAX_CODE_LINES, MAX_MODULES, MAX_ENTRIES = 300, 8, 10
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


def forbidden_imports(module, source):
    """One sentence for each import that leaves the rooms a module may look into."""
    own = room(module)
    allowed = ALLOWED[own] | {own} if own else PUBLIC
    return [
        f"{module} imports {target}; {own or PACKAGE} may import {sorted(allowed)}"
        for target in sorted(imported_modules(module, source))
        if room(target) not in allowed
    ]


def circles(imports):
    """The modules, of a dictionary from each to those that it imports, that lie on circles."""
    left = {module: set(targets) - {module} for module, targets in imports.items()}
    while True:
        ends = {module for module, targets in left.items() if not targets & set(left)}
        if not ends:
            return sorted(left)
        left = {module: targets for module, targets in left.items() if module not in ends}


def code_lines(source):
    """Number of lines that hold code: no blank line, comment or docstring."""
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*skip, tokenize.ENCODING, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        (
            "skrae.density.fit.fitting",
            "from skrae.mixtures.growth import em",
            "skrae.mixtures.growth.em",
        ),
        (
            "skrae.density.fit.fitting",
            "from ...mixtures.growth.em import grow",
            "skrae.mixtures.growth.em",
        ),
        (
            "skrae.density.fit.fitting",
            "import skrae.mixtures.growth.em as em",
            "skrae.mixtures.growth.em",
        ),
        (
            "skrae.density.fit.fitting",
            "def f():\n    from ..options import x",
            "skrae.density.options",
        ),
        ("skrae.density", "from .estimator import Estimator", "skrae.density.estimator"),
        ("skrae", "from skrae.sampling import Chains", "skrae.sampling"),
    ],
)
def test_import_of_a_room_below_is_seen_and_passes(module, source, target):
    assert imported_modules(module, source) == {target}
    assert forbidden_imports(module, source) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("skrae.sampling.start", "from skrae.density.estimator import Estimator"),
        ("skrae.sampling.mcmc.kernels", "from ...density import fitted"),
        ("skrae.autoencoders.training", "from skrae.mixtures.mixture import MixtureDensity"),
        ("skrae.mixtures.growth.em", "def grow():\n    from skrae.autoencoders import layers"),
        ("skrae.preprocessing.affine", "if TYPE_CHECKING:\n    from skrae import mixtures"),
        ("skrae.datasets.laws", "from skrae.preprocessing import rows"),
        ("skrae.metrics", "import skrae.density.estimator"),
        ("skrae.density.estimator", "import skrae"),
        ("skrae.density.estimator", "from skrae import __version__"),
        ("skrae", "from skrae.mixtures.growth.em import grow"),
    ],
)
def test_import_of_a_room_above_or_beside_fails(module, source):
    assert len(forbidden_imports(module, source)) == 1


def test_upward_import_added_to_a_module_fails():
    module = "skrae.mixtures.growth.em"
    assert forbidden_imports(module, SOURCES[module]) == []
    added = SOURCES[module] + "\nfrom skrae.density.fitted import Fitted\n"
    (violation,) = forbidden_imports(module, added)
    assert violation.startswith("skrae.mixtures.growth.em imports skrae.density.fitted")


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == list("abcd")
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": {"x"}}) == []


def test_code_lines_leave_out_docstrings_comments_and_blanks():
    source = '"""Two\nlines."""\n\n# why\nx = """a\nb"""\ndef f():\n    "doc"\n    return (\n1)\n'
    assert code_lines(source) == 5


def test_imports_of_other_packages_belong_to_no_room():
    source = "import torch\nimport numpy as np\nfrom sklearn.base import BaseEstimator"
    assert imported_modules("skrae.density.estimator", source) == set()


def test_every_room_has_its_rule():
    assert {room(module) for module in MODULES} - {""} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_imports_stay_in_allowed_rooms(module):
    violations = forbidden_imports(module, SOURCES[module])
    assert not violations, "; ".join(violations)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_no_circle_within_a_package(package):
    own = [module for module in MODULES if room(module) == package]
    assert circles({module: imported_modules(module, SOURCES[module]) for module in own}) == []


@pytest.mark.parametrize("module", MODULES)
def test_module_is_short_enough(module):
    lines = code_lines(SOURCES[module])
    assert lines <= MAX_CODE_LINES, f"{module} has {lines} code lines: split it by meaning"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_is_small_enough(folder):
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_MODULES, modules
    if folder == ROOT / PACKAGE:
        rest = {"__init__.py", "py.typed", "__pycache__"}
        entries = [path.name for path in folder.iterdir() if path.name not in rest]
        assert len(entries) <= MAX_ENTRIES, entries


def split_classes(sources):
    """Base classes, no protocols, whose one subclass is in another file: parts cut off from it."""
    homes, protocols, children = {}, set(), {}
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                homes[node.name] = module
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                protocols |= {node.name} if "ABC" in bases else set()
                for base in bases:
                    children.setdefault(base, []).append(node.name)
    return {
        (base, *names)
        for base, names in children.items()
        if base in homes and base not in protocols
        if len(names) == 1 and homes[names[0]] != homes[base]
    }


def test_a_class_in_two_files_is_seen():
    sources = {"a": "class Queries: ...", "b": "class Estimator(Queries): ..."}
    assert split_classes(sources) == {("Queries", "Estimator")}
    assert split_classes({"a": "class Target(ABC): ...", "b": "class Field(Target): ..."}) == set()


def test_no_class_is_split_among_files():
    # Stands in for a mixin of scikit-learn's where that is older.
    stand_in = ("CallbackSupport", "RegularizedAutoEncoderScore")
    assert split_classes(SOURCES) <= {stand_in}


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
    names = set().union(*map(imported_names, SOURCES.values()))
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
