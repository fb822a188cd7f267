"""The images of a run: its data set, and the part of it that the run learns from."""

from functools import lru_cache

from onnlab.data import Dataset
from onnlab.data._digest import digest
from onnlab.experiments.parts import TASKS
from onnlab.experiments.settings import Run


@lru_cache(maxsize=2)
def dataset(name: str) -> tuple[Dataset, str]:
    """Return a data set, and the SHA-256 of all its pixels and labels in their splits."""
    data = TASKS[name]()
    return data, digest(data.train, data.validation, data.test)


def images_of(run: Run) -> Dataset:
    """Return the data set with the training images of a run. What is built has a part of its student's."""
    data = dataset(run.row.data)[0] if run.student is None else images_of(run.student)
    if run.row.labels is None:
        return data
    few = data.train.subset(run.row.labels, run.seed)
    return Dataset(data.name, few, data.validation, data.test, data.classes, data.credit)


def shape_of(data: Dataset) -> tuple[int, int, int]:
    """Return channels, rows and columns of an image."""
    channels, ny, nx = data.train.pixels.shape[1:]
    return channels, ny, nx


def labels_pixels(data: Dataset) -> bool:
    """Whether each pixel has a label."""
    return data.train.labels.ndim == 3
