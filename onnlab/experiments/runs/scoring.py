"""How a trained network is scored: on both splits, by noisy pictures where its light was built."""

import hashlib
from functools import lru_cache

from torch import Generator, Tensor, nn

from onnlab.data import Dataset
from onnlab.data._digest import raw
from onnlab.distill import History, evaluate, segmentation_scores
from onnlab.experiments.runs.images import labels_pixels
from onnlab.experiments.settings import Run
from onnlab.hardware import KernelClassifier
from onnlab.hardware.fabrication import Exposed
from onnlab.networks import HybridClassifier, HybridSegmenter

AT_ONCE = 500
"""Images at a time that a classifier answers to."""


def scores(
    run: Run, model: nn.Module, history: History | None, data: Dataset, device: str
) -> dict[str, float]:
    """Return the scores of the network of a run, as its line holds them.

    The validation scores of a training are those of the epoch that was kept, and those of what is solved
    come with its ridge. What is built is validated now.
    """
    pixels = labels_pixels(data)
    at_once = 16 if pixels else AT_ONCE  # logits of pixels are as large as images
    if run.student is not None:
        # A built camera has its noise: what counts are the answers to single pictures.
        assert isinstance(model, (HybridClassifier, HybridSegmenter))
        if isinstance(model, HybridClassifier):
            model = _Shown(model, pictures_of(run.student, run.row.process, run.seed, device))
        else:
            model = Exposed(model, Generator(device).manual_seed(run.seed))
    if run.student is None and history is not None:
        kept = history.rows[history.kept - 1]
        loss, accuracy = kept.validation_loss, kept.validation_accuracy
    elif isinstance(model, KernelClassifier):  # it has answered to them when it chose its ridge
        loss, accuracy = model.validation.loss, model.validation.accuracy
    else:
        validated = evaluate(model, data.validation, batch_size=at_once)
        loss, accuracy = validated.loss, validated.accuracy
    splits = {"test": data.test, "validation": data.validation} if pixels else {}
    miou = {f"{name}_miou": segmentation_scores(model, split).miou for name, split in splits.items()}
    return {
        **miou,
        "test_accuracy": evaluate(model, data.test, batch_size=at_once).accuracy,
        "validation_accuracy": accuracy,
        "validation_loss": loss,
    }


class Pictures:
    """What the back ends of one device get to see of each batch: pictures that are taken once."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.maps: dict[bytes, Tensor] = {}


@lru_cache(maxsize=1)
def pictures_of(student: Run, process: str | None, seed: int, device: str) -> Pictures:
    """Return the pictures of a device; all runs with that device share them."""
    return Pictures(Generator(device).manual_seed(seed))


class _Shown(nn.Module):
    """A built classifier that answers to the pictures of its device. Taking them is most of the work."""

    def __init__(self, model: HybridClassifier, pictures: Pictures) -> None:
        super().__init__()
        self.model, self.pictures = model, pictures

    def forward(self, x: Tensor) -> Tensor:
        key = hashlib.sha256(raw(x)).digest()
        maps = self.pictures.maps
        if key not in maps:
            maps[key] = self.model.pool(self.model.optics(x, self.pictures.generator))
        return self.model.back_end(maps[key])
