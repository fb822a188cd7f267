"""The explorable of chapter 7: a tangent kernel over the steps of a training."""

from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from onnlab.distill import ntkd_loss
from onnlab.widgets._explorable import Explorable
from onnlab.widgets._traits import Block


class KernelHeatMap(Explorable):
    """Snapshots of a kernel while a network learns: heat map, eigenvalues, alignment with the labels.

    What is given cannot be changed later; :attr:`shown`, :attr:`order` and :attr:`centre` can, here and in
    the browser.

    Parameters
    ----------
    kernels : Tensor or array
        Symmetric kernels of the same ``n`` examples, ``(snapshots, n, n)``; kept as float32. A page carries
        all of them: nine of 100 x 100 are half a megabyte.
    labels : sequence of int
        Class of each example.
    steps : sequence of numbers, optional
        Where the training was at each snapshot, ascending; 0, 1, 2 ... if left out.
    shown : int
        Index of the snapshot that is shown.
    order : {"class", "given"}
        Examples class by class, or as they were given.
    centre : bool
        Whether the kernel is shown, compared and decomposed without what all examples have in common.

    Examples
    --------
    >>> KernelHeatMap(torch.stack([ntk(model, x) for model in models]), labels, steps=[0, 1, 2, 4])
    """

    module = "kernel_heat_map"

    kernels = Block(lambda: torch.empty(0, 0, 0))
    spectra = Block(lambda: torch.empty(2, 0, 0))
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    steps = traitlets.List(traitlets.Float()).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)
    order = traitlets.Enum(["class", "given"], "class").tag(sync=True)
    centre = traitlets.Bool(True).tag(sync=True)

    def __init__(self, kernels: Any, labels: Any, steps: Sequence[float] | None = None, **state: Any) -> None:
        kernels, labels = torch.as_tensor(kernels).detach().cpu(), torch.as_tensor(labels).tolist()
        if kernels.ndim != 3 or kernels.shape[1] != kernels.shape[2] or kernels.numel() == 0:
            raise ValueError(
                f"kernels must have shape (snapshots, n, n), got {tuple(kernels.shape)}; use torch.stack"
            )
        count, n, _ = kernels.shape
        if len(labels) != n:
            raise ValueError(f"labels must be {n}, one for each row of the kernels, got {len(labels)}")
        steps = list(range(count)) if steps is None else list(steps)
        if len(steps) != count or steps != sorted(set(steps)):
            raise ValueError(f"steps must be {count} ascending numbers, one for each kernel, got {steps}")
        kernels = kernels.double()
        spectra = torch.stack([torch.linalg.eigvalsh(some).flip(-1) for some in (kernels, _centred(kernels))])
        super().__init__(kernels=kernels, spectra=spectra, labels=labels, steps=steps, **state)

    @traitlets.validate("shown")
    def _check_shown(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(self.steps):
            raise ValueError(f"shown must be from 0 to {len(self.steps) - 1}, got {proposal['value']}")
        return proposal["value"]

    @property
    def kernel(self) -> Tensor:
        """The kernel as it is shown: ordered, and centred if so: float32, ``(n, n)``."""
        kernel = self.kernels[self.shown]
        kernel = _centred(kernel) if self.centre else kernel
        if self.order == "given":
            return kernel
        places = torch.tensor(self.labels).argsort(stable=True)
        return kernel[places][:, places]

    @property
    def alignment(self) -> Tensor:
        """Cosine of each snapshot with the kernel of the labels: float32, ``(snapshots,)``."""
        labels = torch.tensor(self.labels)
        target = (labels[:, None] == labels).float()
        return torch.stack(
            [
                1 - ntkd_loss(kernel, target, centre=self.centre, distance="alignment")
                for kernel in self.kernels
            ]
        )


def _centred(kernels: Tensor) -> Tensor:
    return (
        kernels
        - kernels.mean(-1, keepdim=True)
        - kernels.mean(-2, keepdim=True)
        + kernels.mean((-2, -1), True)
    )
