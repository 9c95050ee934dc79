"""The README keeps its promises: its Python runs, its commands and links name what exists."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """The contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def marked_command(marker):
    """The first fenced block after the marker, as .ci/run reads it."""
    return re.search(rf"<!-- {marker} -->\n```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]


def test_python_block_runs_and_gives_the_shapes_it_states(capsys):
    (code,) = blocks("python")
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    test = names["test"]
    for name in ("log_density", "gradient", "denoised", "new_rows", "filled", "draws"):
        stated = re.search(rf"^{name} = .*# \(([\d, ]+)\)", code, re.MULTILINE)[1]
        shape = tuple(int(size) for size in stated.split(",") if size.strip())
        assert names[name].shape == shape, name
    assert names["model"].score(test) == pytest.approx(np.mean(names["log_density"]))
    assert str(names["search"].best_params_) in capsys.readouterr().out


@pytest.mark.parametrize("marker", ["quickstart-command", "test-command"])
def test_marked_command_is_one_line_and_names_what_exists(marker):
    command = marked_command(marker)
    assert command.count("\n") == 1
    for script in re.findall(r"\S+\.py\b", command):
        assert (ROOT / script).is_file(), script
    extras = re.search(r"\[([\w,]+)\]", command)[1].split(",")
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in extras:
        assert re.search(rf"^{extra} = \[", metadata, re.MULTILINE), extra


def test_relative_links_lead_to_files():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []
