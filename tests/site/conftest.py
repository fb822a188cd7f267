"""The built site."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "book/_ext"))


@pytest.fixture(scope="session")
def site() -> Path:
    """Folder of the built site: ``_build/html``, or the one that the variable ONNLAB_SITE names."""
    folder = Path(os.environ.get("ONNLAB_SITE", ROOT / "_build/html")).resolve()
    if not (folder / "index.html").is_file():
        pytest.fail(f"no site in {folder}: run `make site` first", pytrace=False)
    return folder
