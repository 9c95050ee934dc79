"""The rooms of the package and who imports whom, read from the sources.

    python -m tests.rooms

prints the map of docs/development.md.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "skrae"

# What the modules of a package may import of other packages of skrae.
ALLOWED = {
    "datasets": set(),
    "text": set(),
    "preprocessing": set(),
    "mixtures": {"preprocessing"},
    "autoencoders": {"preprocessing"},
    "sampling": {"preprocessing", "mixtures"},
    "density": {"preprocessing", "mixtures", "autoencoders", "sampling"},
    "tasks": {"preprocessing", "mixtures", "autoencoders", "sampling", "density"},
    "metrics": {"preprocessing"},
    "plotting": {"preprocessing", "sampling", "density", "metrics"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}
SOURCES = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
FOLDERS = sorted({path.parent for path in MODULES.values()})


def imported_names(source, package=PACKAGE):
    """Absolute dotted names of all that `source`, a module of `package`, imports anywhere in it.

    `from a import b` gives a.b: whether b is a module is for the reader of the name to know.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level + 1 or None] if node.level else []
            origin = ".".join(filter(None, [*parents, node.module]))
            names.update(f"{origin}.{alias.name}" for alias in node.names)
    return names


def imported_modules(module, source, modules=MODULES):
    """The package's modules that `source` imports; what is no module comes from its package."""
    package = (
        module if MODULES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    )
    found = set()
    for name in imported_names(source, package):
        if name.split(".")[0] == PACKAGE:
            found.add(name if name in modules else name.rpartition(".")[0])
    return found


def room(module):
    """The package or top module that a module belongs to; skrae itself is no room."""
    return [*module.split("."), ""][1]


def depth(name):
    """How many rooms lie below a room: the floor it is on."""
    return 1 + max((depth(below) for below in looks_into(name)), default=-1)


def looks_into(name):
    """The rooms that the modules of a room import."""
    own = [module for module in MODULES if room(module) == name]
    found = {room(target) for module in own for target in imported_modules(module, SOURCES[module])}
    return found - {name, ""}


def drawing():
    """The map: rooms from the top floor down, their modules, and the rooms that they look into."""
    lines = []
    for name in sorted(ALLOWED, key=lambda name: (-depth(name), name)):
        below = " ".join(sorted(looks_into(name), key=lambda name: (-depth(name), name)))
        lines.append(f"{name:<15}{'looks into ' + below if below else 'looks into nothing'}")
        for folder in sorted({m.rpartition(".")[0] for m in MODULES if room(m) == name}):
            inner = folder.split(".")[2:]
            modules = [m.rpartition(".")[2] for m in MODULES if m.rpartition(".")[0] == folder]
            names = [m for m in modules if f"{folder}.{m}" not in PACKAGES]
            if folder != PACKAGE:
                lines.append(f"    {'/'.join([*inner, '']):<10} {'  '.join(names)}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    print(drawing())  # noqa: T201 - the map is what is asked for
