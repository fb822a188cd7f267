"""One thread for every test: two spinning thread pools on busy cores cost a factor of a hundred."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

torch.set_num_threads(1)

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in ``tests/site`` as a browser test: it needs Chromium and the built site."""
    for item in items:
        if (TESTS / "site") in item.path.parents:
            item.add_marker(pytest.mark.browser)
