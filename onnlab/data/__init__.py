"""Data sets for the experiments, all through one function: ``load("mnist-mini")``."""

from onnlab.data.cache import DataError, available, data_folder, fetch
from onnlab.data.dataset import Dataset, Split
from onnlab.data.registry import load

__all__ = ["DataError", "Dataset", "Split", "available", "data_folder", "fetch", "load"]
