"""What the cells put out: of the run that tested them, where there is one; otherwise the build runs them."""

import os
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

FOLDER = "ONNLAB_EXECUTED"
"""Environment variable: where in the project ``make test`` keeps the notebooks that it has executed."""


def setup(app: Sphinx) -> None:
    app.connect("config-inited", use_tested)


def use_tested(app: Sphinx, config: Config) -> None:
    """Take the outputs from the folder. A notebook that is not in it, as its code is now, is executed."""
    if folder := os.environ.get(FOLDER):
        config.nb_execution_mode = "cache"
        config.nb_execution_cache_path = str(Path(app.srcdir) / folder)
