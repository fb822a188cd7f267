"""Part II of the book: networks with a nonlinearity, and the linear ones that light can be."""

from onnlab.networks.counterpart import LinearCounterpart, linear_counterpart
from onnlab.networks.hybrid import Hybrid, HybridClassifier, Stage
from onnlab.networks.optical import FourFConvolution, IdealConvolution, OpticalLayer, PSFConvolution
from onnlab.networks.spectral import SpectralConv2d, SpectralPool2d
from onnlab.networks.stack import SpectralFilter, SpectralStack, merge
from onnlab.networks.teachers import AlexNet, LeNet, SmallCNN

__all__ = [
    "AlexNet",
    "FourFConvolution",
    "Hybrid",
    "HybridClassifier",
    "IdealConvolution",
    "LeNet",
    "LinearCounterpart",
    "OpticalLayer",
    "PSFConvolution",
    "SmallCNN",
    "SpectralConv2d",
    "SpectralFilter",
    "SpectralPool2d",
    "SpectralStack",
    "Stage",
    "linear_counterpart",
    "merge",
]
