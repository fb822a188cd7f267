"""One thread for every test, and the browser that the site and JupyterLab tests share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Two spinning thread pools on busy cores cost a factor of a hundred: both are set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import matplotlib
import pytest
import torch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)
matplotlib.use("agg")  # not by the environment: a kernel that a test starts would lose its inline figures

TESTS = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in ``tests/site`` as a browser test: it needs Chromium and the built site."""
    for item in items:
        if (TESTS / "site") in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """One headless Chromium for the whole run; open a new context or page in it for each test.

    The environment variable ``CHROMIUM`` names another executable than the one on the path.
    """
    from playwright.sync_api import sync_playwright

    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.fail("no Chromium found: install it (Debian: apt-get install chromium) or set CHROMIUM", False)
    as_root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=as_root)
        yield browser
        browser.close()
