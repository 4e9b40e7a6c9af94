"""The site, for Sphinx: `make docs`. Pages under `generated` are written from the package before they are read."""

import os
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

import flowlab  # noqa: E402

project = "flowlab"
author = "The flowlab authors"
copyright = author
version = release = flowlab.__version__

REPOSITORY = os.environ.get("FLOWLAB_REPOSITORY", "")  # its address, which the workflow sets
files_address = f"{REPOSITORY or 'https://github.com/flowlab/flowlab'}/blob/main"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "formulas",
    "mathml",
    "generate",
]
exclude_patterns = ["extensions", "_build", "_parts"]

# Notebooks show their committed outputs; `make test-notebooks` compares these with a new run.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # or every bijector repeats the methods of its base
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_custom_sections = [("Reference", "References"), ("Declared by a subclass", "params_style")]
napoleon_use_ivar = True  # the attributes of a dataclass are described once, at its top
napoleon_use_rtype = False
add_module_names = False
toc_object_entries = False

html_theme = "furo"
highlight_language = "bash"  # of a block that names no language
html_title = "flowlab"
html_static_path = ["_static"]
html_css_files = ["flowlab.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {"source_repository": f"{REPOSITORY}/", "source_branch": "main", "source_directory": "docs/"}
if not REPOSITORY:
    html_theme_options = {}
pygments_style, pygments_dark_style = "friendly", "monokai"
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def reachable(inventories: dict[str, str]) -> dict[str, tuple[str, None]]:
    """The sites whose inventories can be read now; without a network there are none, and names stay plain."""
    found = {}
    for name, address in inventories.items():
        try:
            urllib.request.urlopen(f"{address}objects.inv", timeout=3).close()
        except OSError:
            break  # the next would only take its three seconds as well
        found[name] = (address, None)
    return found


intersphinx_mapping = reachable(
    {
        "python": "https://docs.python.org/3/",
        "torch": "https://docs.pytorch.org/docs/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
    }
)
