"""Data sets for the experiments, all through one function: ``load("mnist-mini")``."""

from onnlab.data.dataset import Dataset, Split
from onnlab.data.registry import available, load

__all__ = ["Dataset", "Split", "available", "load"]
