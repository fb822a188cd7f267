"""A data folder of its own."""

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNLAB_DATA", str(tmp_path))
    return tmp_path
