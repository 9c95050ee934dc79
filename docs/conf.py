"""How Sphinx builds the site: the guide, the gallery of examples and the API reference.

In a checkout with the extra `docs` installed:

    python -m sphinx -W --keep-going -n -j auto docs docs/_build/html

With SKRAE_QUICK=1 the gallery runs the examples in their quick form.
"""

import os
import re
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from PIL import Image, ImageOps
from sphinx.ext.autosummary import AutoLink
from sphinx_gallery.sorting import ExplicitOrder

import skrae

project = "skrae"
author = "skrae developers"
copyright = author
version = release = skrae.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
smartquotes = False
toc_object_entries_show_parents = "hide"
# A name in backquotes links to the object where there is one; see LinkOrCode.
default_role = "link_or_code"
# Links into other projects would need the network at build time: their names stay names.
nitpick_ignore_regex = [("py:.*", r"(sklearn|numpy|matplotlib|xarray)\..*")]

# Text: Markdown with formulas, which a code host renders too.
myst_enable_extensions = ["dollarmath"]
# Formulas become MathML when the site is built: browsers show it without a script or the network.
html_math_renderer = "mathml"

# API reference: a page for each public object, without what scikit-learn's base classes add.
autosummary_generate = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# Gallery: its sections are in examples/index.rst; within one, in this order.
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ORDER = [
    "quickstart",
    "network_gain",
    "sampling",
    "penguins",
    "imputer",
    "weather",
    "conditionals",
    "outliers",
    "digits",
    "sigma_lambda",
    "results",
    "words",
    "information",
    "maximum_entropy",
    "tilted_density",
    "ae_digits",
    "ae_sparse",
    "ae_swiss_roll",
    "ae_denoise",
    "ae_retrieval",
    "ae_draws",
    "infomax",
    "paper_score_1d",
    "paper_spiral",
    "paper_sampling",
    "guide_score",
    "guide_reconstruction",
    "guide_bias",
    "guide_decoders",
    "guide_density",
    "guide_parts",
    "guide_noise",
    "guide_sampling",
    "guide_gaps",
    "guide_columns",
]
# Thumbnails: the number of a picture and the part of it (left, top, right, bottom) that is still
# readable when small; the first picture as a whole for the others.
THUMBNAILS = {
    "quickstart": (1, (0, 0, 0.4, 1)),
    "network_gain": (1, (0.36, 0, 0.69, 1)),
    "penguins": (3, (0, 0, 1, 1)),
    "imputer": (1, (0.48, 0, 0.52, 1)),
    "weather": (2, (0, 0, 0.62, 1)),
    "conditionals": (1, (0, 0, 0.52, 1)),
    "outliers": (1, (0.615, 0, 0.9, 1)),
    "digits": (1, (0.02, 0, 0.65, 1)),
    "sigma_lambda": (1, (0, 0, 0.34, 1)),
    "results": (2, (0, 0, 1, 1)),
    "words": (1, (0, 0, 0.5, 1)),
    "information": (1, (0.47, 0, 1, 1)),
    "maximum_entropy": (1, (0.5, 0, 1, 1)),
    "tilted_density": (1, (0, 0, 0.5, 1)),
    "ae_digits": (2, (0, 0, 1, 1)),
    "ae_sparse": (1, (0, 0, 0.5, 0.5)),
    "ae_swiss_roll": (1, (0, 0.51, 0.5, 1)),
    "ae_denoise": (1, (0, 0, 0.63, 0.58)),
    "ae_retrieval": (1, (0, 0, 1, 0.62)),
    "ae_draws": (1, (0, 0, 0.555, 1)),
    "infomax": (1, (0.485, 0, 1, 1)),
    "paper_score_1d": (1, (0, 0, 0.36, 1)),
    "paper_spiral": (1, (0, 0, 0.19, 0.35)),
    "paper_sampling": (1, (0, 0, 0.43, 0.45)),
    "guide_reconstruction": (1, (0.5, 0, 1, 1)),
    "guide_bias": (1, (0, 0, 0.5, 0.5)),
    "guide_decoders": (1, (0, 0, 0.35, 1)),
    "guide_density": (1, (0.5, 0, 1, 1)),
    "guide_parts": (1, (0.66, 0, 1, 1)),
    "guide_noise": (1, (0, 0, 0.52, 1)),
}
# Examples leave their own pictures beside the built pages, not in the folder they are run in.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "copyfile_regex": r"index\.rst",
    "minigallery_sort_order": ExplicitOrder([str(EXAMPLES / f"plot_{name}.py") for name in ORDER]),
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skrae",),
    "parallel": True,
    "download_all_examples": False,
    "show_signature": False,
    "thumbnail_size": (480, 320),
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skrae {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {
    page: []
    for page in ("index", "install", "paper", "results", "benchmarks", "development", "changelog")
}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}


def name_output_folder(app, config):
    """Give the examples a folder for their pictures, relative to the one they run in."""
    folder = Path(app.outdir).parent / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SKRAE_OUTPUT", os.path.relpath(folder, EXAMPLES))


def crop_thumbnails(app):
    """Draw the thumbnails of THUMBNAILS again, from a part of the picture."""
    images = Path(app.srcdir) / "auto_examples" / "images"
    for name, (number, part) in THUMBNAILS.items():
        file = images / f"sphx_glr_plot_{name}_{number:03d}.png"
        if not file.is_file():  # an example that failed, as sphinx-gallery tells
            continue
        picture = Image.open(file).convert("RGB")
        size = 2 * picture.size
        box = [round(share * length) for share, length in zip(part, size, strict=True)]
        thumbnail = ImageOps.pad(picture.crop(box), (480, 320), color="white")
        thumbnail.save(images / "thumb" / f"sphx_glr_plot_{name}_thumb.png")


def skip_foreign_members(app, what, name, obj, skip, options):
    """Leave out members that another package defines: they have documentation of their own."""
    owner = getattr(getattr(obj, "fget", obj), "__module__", None)
    return True if not str(owner).startswith("skrae") else skip


def escaped(line):
    """A line of text in which |x| and base_score_, outside of backquotes, are no markup."""
    pieces = re.split(r"(`[^`]+`)", line)  # odd pieces are in backquotes
    pieces[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", piece) for piece in pieces[::2]]
    return "".join(pieces)


def escape_docstring(app, what, name, obj, options, lines):
    """Take formulas, plain text in docstrings, for what they are; those in TeX are it already."""
    in_doctest = in_math = False
    for i, line in enumerate(lines):
        in_doctest = line.strip().startswith(">>>") or (in_doctest and bool(line.strip()))
        in_math = line == ".. math::" or (in_math and (not line or line.startswith(" ")))
        if not in_doctest and not in_math:
            lines[i] = escaped(line)


def escape_example(app, docname, source):
    """The same for the text of examples; their code is indented. Tells of a short run."""
    if docname.startswith("auto_examples/plot_"):
        script = EXAMPLES / f"{docname.rpartition('/')[2]}.py"
        if os.environ.get("SKRAE_QUICK") == "1" and "SKRAE_QUICK" in script.read_text("utf-8"):
            told = "to download the full example code."
            short = " What is printed and drawn here is of a short run (``SKRAE_QUICK=1``)."
            source[0] = source[0].replace(told, told + short, 1)
        lines = source[0].split("\n")
        keep = (" ", "..")
        source[0] = "\n".join(line if line.startswith(keep) else escaped(line) for line in lines)


class LinkOrCode(AutoLink):
    """A name in backquotes: a link where it is the name of an object, code where it is none."""

    def run(self):
        found, errors = super().run()
        plain = (nodes.emphasis, nodes.literal)
        return [nodes.literal("", n.astext()) if isinstance(n, plain) else n for n in found], errors


def mathml(latex, display):
    """A formula as MathML, with the thin spaces that TeX puts around log and around no bar."""
    formula = convert(latex, display=display)
    thin, log, bar = '<mspace width="0.167em" />', "<mi>log</mi>", '<mo stretchy="false">&#x0007C;'
    formula = re.sub(rf"(?<=</mi>){log}", thin + log, formula)
    formula = re.sub(rf"{log}(?!<mo[^>]*>&#x00028;)", log + thin, formula)
    return formula.replace(bar, bar.replace("stretchy", 'lspace="0" rspace="0" stretchy'))


def visit_math(self, node):
    """A formula within a line."""
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(self, node):
    """A formula on a line of its own."""
    formula = mathml(node.astext(), "block")
    self.body.append(self.starttag(node, "div", CLASS="math") + formula + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_role("link_or_code", LinkOrCode())
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    # After sphinx-gallery has run the examples.
    app.connect("builder-inited", crop_thumbnails, priority=900)
    app.connect("config-inited", name_output_folder)
    # After numpydoc, which reads the docstring as it was written.
    app.connect("autodoc-process-docstring", escape_docstring, priority=900)
    app.connect("source-read", escape_example)
    app.connect("autodoc-skip-member", skip_foreign_members)
