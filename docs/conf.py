"""How Sphinx builds the site: `sphinx-build -W -b html docs build/docs`."""

import re
from pathlib import Path

project = "dltrain"
author = "dltrain maintainers"
release = re.search(r'__version__ = "(.*?)"', (Path(__file__).parents[1] / "dltrain/__init__.py").read_text())[1]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "dltrain"
html_static_path = ["_static"]
