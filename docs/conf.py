"""Sphinx settings: `make docs` builds the site into docs/_build/html, with every warning an error."""

from camara_otp import __version__

project = "camara-otp"
author = "The camara-otp maintainers"
copyright = author  # noqa: A001 - Sphinx's name
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"camara-otp {release}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# `python no-run: why` marks an example that the tests leave out; a reader sees Python.
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "notes")]
