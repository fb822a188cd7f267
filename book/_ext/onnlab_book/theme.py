"""Looks: our style sheet and the theme options that ``_config.yml`` cannot merge."""

from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

STATIC = Path(__file__).parent / "static"

THEME_OPTIONS = {
    "navbar_persistent": [],  # the second, hidden search box
    "primary_sidebar_end": [],  # a place for advertisements
    "pygments_dark_style": "github-dark-colorblind",
    "repository_url": "",  # jupyter-book's default is its own repository
    "search_bar_text": "Search this book",
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "logo": {"text": "Optical Neural Networks"},
}


def setup(app: Sphinx) -> None:
    app.connect("config-inited", configure)
    app.add_css_file("onnlab.css")
    app.add_js_file("onnlab.js", loading_method="defer")


def configure(app: Sphinx, config: Config) -> None:
    """Merge: a dictionary given in ``_config.yml`` would replace the options jupyter-book sets."""
    config.html_theme_options = {**config.html_theme_options, **THEME_OPTIONS}
    config.html_context = {"default_mode": "auto", **config.html_context}
    config.html_static_path.append(str(STATIC))
