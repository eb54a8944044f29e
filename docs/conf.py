"""The site of README.md, CONTRIBUTING.md, CHANGELOG.md and docs/ (`make docs`).

Sphinx reads the project's root, so that a link means the same on the site, in a clone and on a forge. Nothing is
fetched, neither while the site is built nor while it is read.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = {
    "Start": ["self"],
    "Your videos": ["docs/segment", "docs/app", "docs/inference"],
    "Your data": ["docs/own_data", "docs/datasets", "docs/evaluation"],
    "The paper": ["docs/not_reproduced", "docs/reproduce", "docs/ablations", "docs/selector", "docs/paper_map"],
    "Scale out": ["docs/planning", "docs/scaling", "docs/engines", "docs/agents", "docs/experiments", "docs/full_size"],
    "Extend": ["docs/extending", "docs/api", "CONTRIBUTING", "docs/safety"],
    "Log": ["docs/LOG", "CHANGELOG"],
}

project = "GLUS"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md"]
exclude_patterns = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "docs"]

myst_heading_anchors = 3  # named as forges name them
highlight_language = "text"
default_role = "code"  # docstrings quote with one backtick
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "GLUS"
html_extra_path = ["index.html"]  # leads to README.html
html_copy_source = False
html_show_copyright = False


def add_contents(_: "Sphinx", name: str, source: list[str]) -> None:
    """What stands at the side of every page; README.md itself is free of directives, for readers of the file."""
    if name == root_doc:
        source[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"
            for caption, pages in CONTENTS.items()
        )


def setup(app: "Sphinx") -> None:
    """Sphinx calls this."""
    app.connect("source-read", add_contents)
