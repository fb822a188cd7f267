"""The experiments themselves, as tables of settings: a module for each."""

from collections.abc import Callable

from onnlab.experiments.catalogue.compensation import compensation
from onnlab.experiments.catalogue.ntkd import ntkd
from onnlab.experiments.catalogue.random_kernels import random_kernels
from onnlab.experiments.catalogue.sclc import sclc
from onnlab.experiments.catalogue.segmentation import segmentation
from onnlab.experiments.catalogue.when_kd_helps import when_kd_helps
from onnlab.experiments.settings import Experiment

EXPERIMENTS: dict[str, Callable[[str], Experiment]] = {
    "sclc": sclc,
    "when-kd-helps": when_kd_helps,
    "ntkd": ntkd,
    "segmentation": segmentation,
    "compensation": compensation,
    "random-kernels": random_kernels,
}
"""Experiments by name; each is called with a scale."""
