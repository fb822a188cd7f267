"""Runs of few images, and a watch over what they train."""

from collections.abc import Iterator

import pytest

from onnlab.experiments.runs import training
from tests.experiments.helpers import few_images


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Collect what is given to ``fit``, which trains as always."""
    calls: list[dict] = []
    fit = training.fit

    def watched(model, data, objective, **settings):
        start = {name: value.clone() for name, value in model.state_dict().items()}
        calls.append({"start": start, "data": data, "objective": objective, **settings})
        return fit(model, data, objective, **settings)

    monkeypatch.setattr(training, "fit", watched)
    return calls


@pytest.fixture
def small() -> Iterator[None]:
    """Few images, for devices take their time to read them."""
    with few_images():
        yield
