"""Part II of the book: networks with a nonlinearity, and the linear ones that light can be."""

from onnlab.networks.counterpart import LinearCounterpart, linear_counterpart
from onnlab.networks.hybrid import Hybrid, HybridClassifier, HybridSegmenter, Stage
from onnlab.networks.optical import FourFConvolution, IdealConvolution, OpticalLayer, PSFConvolution
from onnlab.networks.spectral import SpectralConv2d, SpectralPool2d
from onnlab.networks.stack import SpectralFilter, SpectralStack, merge
from onnlab.networks.teachers import AlexNet, LeNet, SmallCNN
from onnlab.networks.unet import Decoder, LinearUNet, UNet, linear_unet

__all__ = [
    "AlexNet",
    "Decoder",
    "FourFConvolution",
    "Hybrid",
    "HybridClassifier",
    "HybridSegmenter",
    "IdealConvolution",
    "LeNet",
    "LinearCounterpart",
    "LinearUNet",
    "OpticalLayer",
    "PSFConvolution",
    "SmallCNN",
    "SpectralConv2d",
    "SpectralFilter",
    "SpectralPool2d",
    "SpectralStack",
    "Stage",
    "UNet",
    "linear_counterpart",
    "linear_unet",
    "merge",
]
