"""What the explorables have in common in Python: the twin for static pages, and what they start with."""

from typing import Any, ClassVar

import anywidget
import torch
from torch import Tensor

from onnlab.widgets._bundle import bundle, digit, twin

SIZE = 128  # samples along each side of every picture
SOBEL = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]  # finds upright edges


class Explorable(anywidget.AnyWidget):
    """A widget whose JavaScript is ``static/<module>.js``, live in JupyterLab and on static pages.

    A subclass names its :attr:`module` and declares the traits it shares with ``sync=True``.
    """

    module: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "module" in cls.__dict__:
            cls._esm = bundle(cls.module)
        super().__init_subclass__(**kwargs)

    def twin(self) -> str:
        """Return the HTML that stands for this widget, in its present state, on a page without Python."""
        traits = self.traits(sync=True).items()
        own = [name for name, trait in traits if issubclass(trait.this_class, Explorable) and name[0] != "_"]
        return twin(self.module, self.get_state(own))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        shown = super()._repr_mimebundle_(**kwargs)
        if shown is None:
            return None
        data, metadata = shown
        data = {**data, "text/html": self.twin()}
        return (data, metadata) if metadata else data


def default_object() -> Tensor:
    """Return the digit, enlarged four times, with a margin: float32 in [0, 1], ``(128, 128)``."""
    small = torch.from_numpy(digit() / 255)[None, None]
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
    return torch.nn.functional.pad(large, (8, 8, 8, 8))[0, 0].float()
