"""Explorables: small experiments in light, the same in JupyterLab and on the pages of the book.

Their mathematics runs in the reader's browser, so they answer at once and need no kernel. In JupyterLab they
share their state with Python: what you paint there is a tensor here, and the other way round. They need
Jupyter: ``pip install "onnlab[lab]"``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnlab.widgets.built_psf import BuiltPSF
    from onnlab.widgets.device_design import DeviceDesign
    from onnlab.widgets.diffraction import Diffraction
    from onnlab.widgets.fourier_mask import FourierMask
    from onnlab.widgets.kernel_heat_map import KernelHeatMap
    from onnlab.widgets.mask_overlay import MaskOverlay
    from onnlab.widgets.merge_kernels import MergeKernels
    from onnlab.widgets.paint_kernel import PaintKernel
    from onnlab.widgets.pool_image import PoolImage
    from onnlab.widgets.question_file import read_questions
    from onnlab.widgets.questions import Choice, NumberQuestion, Question, Trap
    from onnlab.widgets.quiz import Quiz
    from onnlab.widgets.temperature import Temperature

__all__ = [
    "BuiltPSF",
    "Choice",
    "DeviceDesign",
    "Diffraction",
    "FourierMask",
    "KernelHeatMap",
    "MaskOverlay",
    "MergeKernels",
    "NumberQuestion",
    "PaintKernel",
    "PoolImage",
    "Question",
    "Quiz",
    "Temperature",
    "Trap",
    "read_questions",
]

_MODULES = {
    "BuiltPSF": "built_psf",
    "Choice": "questions",
    "DeviceDesign": "device_design",
    "Diffraction": "diffraction",
    "FourierMask": "fourier_mask",
    "KernelHeatMap": "kernel_heat_map",
    "MaskOverlay": "mask_overlay",
    "MergeKernels": "merge_kernels",
    "NumberQuestion": "questions",
    "PaintKernel": "paint_kernel",
    "PoolImage": "pool_image",
    "Question": "questions",
    "Quiz": "quiz",
    "Temperature": "temperature",
    "Trap": "questions",
    "read_questions": "question_file",
}
_JUPYTER = ("anywidget", "ipywidgets", "traitlets")


def __getattr__(name: str) -> Any:
    # Looked up when asked for, so that the pages of the book can be built from the JavaScript alone.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in _JUPYTER:
            raise
        raise ImportError(f'{name} needs {error.name}; install it with pip install "onnlab[lab]"') from error


def __dir__() -> list[str]:
    return __all__
