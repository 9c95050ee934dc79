"""The guide keeps its promises: its code runs, its links lead somewhere, no name is left out."""

import doctest
import re
from pathlib import Path
from types import ModuleType

import pytest

import skrae
from skrae import text as text_module
from tests.rooms import drawing

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [
    path
    for path in sorted(DOCS.rglob("*.md"))
    if not {"_build", "auto_examples", "generated"} & set(path.relative_to(DOCS).parts)
]
GUIDE = [page for page in PAGES if "```pycon" in page.read_text(encoding="utf-8")]


def page_name(page):
    return page.relative_to(DOCS).as_posix()


def console_blocks(page):
    """The interactive sessions of a page, one after the other."""
    blocks = re.findall(r"^```pycon\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    return "\n".join(blocks)


@pytest.mark.parametrize("page", GUIDE, ids=page_name)
def test_console_blocks_print_what_they_show(page):
    parser = doctest.DocTestParser()
    session = parser.get_doctest(console_blocks(page), {}, page_name(page), str(page), 0)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(session, out=report.append)
    assert session.examples
    assert not report, "".join(report)


def is_there(target, page):
    """Whether a relative link leads to a file, or to what the gallery makes of an example."""
    made = re.search(r"auto_examples/(?:images/sphx_glr_)?(\w+?)(?:_\d{3})?\.(?:rst|png)$", target)
    if made is None:
        return (page.parent / target).exists()
    folder = (page.parent / target).resolve().relative_to(DOCS).parts[0]
    example = ROOT / "examples" / f"{made[1]}.py"
    return folder == "auto_examples" and (made[1] == "index" or example.is_file())


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_lead_to_pages_or_examples(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [target for target in targets if not is_there(target, page)] == []


def test_broken_links_are_seen():
    page = DOCS / "guide" / "page.md"
    for broken in ("none.md", "auto_examples/index.rst", "../auto_examples/plot_none.rst"):
        assert not is_there(broken, page)
    for whole in ("../api.md", "../auto_examples/index.rst", "../auto_examples/plot_sampling.rst"):
        assert is_there(whole, page)


def test_tests_named_beside_the_paper_exist():
    named = re.findall(r"`(test_\w+)`", (DOCS / "paper.md").read_text(encoding="utf-8"))
    assert named
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert [name for name in named if name not in files] == []


def test_every_public_name_is_in_the_api_reference():
    listed = re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)
    objects = [getattr(skrae, name) for name in skrae.__all__]
    modules = [value for value in objects if isinstance(value, ModuleType)]
    public = [value.__name__ for value in objects if value not in modules]
    # A module that skrae does not load by itself is public all the same.
    public += [name for module in (*modules, text_module) for name in module.__all__]
    assert sorted(listed) == sorted(public)


def test_map_of_the_rooms_is_drawn_from_the_imports():
    text = (DOCS / "development.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- rooms -->\n```text\n(.*?)\n?```", text, re.S)[1]
    assert shown == drawing()


def test_files_named_in_the_development_page_exist():
    text = (DOCS / "development.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests/)?(?:\w+/)*\w+\.py)`", text)
    places = ROOT, ROOT / "skrae"
    missing = [name for name in named if not any((place / name).is_file() for place in places)]
    assert len(named) > 20
    assert missing == []


PROMISES = re.findall(
    r"`(tests/[\w/]+\.py)(?:::(\w+))?`|`(test_\w+)`",
    (DOCS / "guide" / "promises.md").read_text(encoding="utf-8"),
)


def test_every_promise_names_a_test_that_is_there():
    """By its file, or after another by its name alone, which is then of the same line."""
    assert len(PROMISES) > 20
    source = ""
    for path, name, alone in PROMISES:
        if path:
            source = (ROOT / path).read_text(encoding="utf-8")
        assert not (name or alone) or f"def {name or alone}(" in source, (path, name, alone)
