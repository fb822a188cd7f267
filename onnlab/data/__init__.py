"""Data sets for the experiments, all through one function: ``load("mnist-mini")``."""

from onnlab.data.cache import DataError, available, data_folder, fetch
from onnlab.data.carvana import carvana
from onnlab.data.dataset import VOID, Dataset, Split
from onnlab.data.registry import load
from onnlab.data.scenes import scenes

__all__ = [
    "VOID",
    "DataError",
    "Dataset",
    "Split",
    "available",
    "carvana",
    "data_folder",
    "fetch",
    "load",
    "scenes",
]
