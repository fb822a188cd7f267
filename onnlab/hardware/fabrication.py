"""From a design to devices: build them with errors, count the good ones, train for what is to come."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from onnlab.data import Split
from onnlab.distill import evaluate
from onnlab.hardware.benches import PSFBench
from onnlab.hardware.built import Errors, NoisyOptics, built, checked_errors
from onnlab.networks import HybridClassifier, HybridSegmenter, OpticalLayer
from onnlab.optics._check import whole_number

Student = TypeVar("Student", HybridClassifier, HybridSegmenter)
FRONT_ENDS = ("optics", "coarse")


def fabricate(
    student: Student, errors: Errors, generator: Generator, bench: PSFBench | None = None
) -> Student:
    """Build the optics of a hybrid network, with errors; return the network with the device in it.

    The device is frozen. The student stays as it is; the back end of the result is a copy that can be
    trained, for example by :func:`compensate`.

    Parameters
    ----------
    student : HybridClassifier or HybridSegmenter
        With a :class:`~onnlab.networks.PSFConvolution`, a :class:`~onnlab.networks.FourFConvolution`, or one
        of them inside of :class:`NoisyOptics`.
    errors : OpticalError or sequence of OpticalError
        Applied in this order. No error gives the device of the design.
    generator : Generator
        Of what is drawn: the device. On the CPU.
    bench : PSFBench, optional
        Measures of the bench of a :class:`~onnlab.networks.PSFConvolution`, which it needs. A 4f system has
        its own.

    Returns
    -------
    HybridClassifier or HybridSegmenter
        With :class:`BuiltOptics`; a coarse front end is a device of its own.

    Raises
    ------
    TypeError, ValueError
        If the optics are ideal or built already, an error has no meaning for them, or the bench lacks a
        measure.

    Notes
    -----
    The error model of Xiang et al. (2025), arXiv:2508.08421, has a brightness, a misalignment, an error of
    the kernel and noise of the sensor: that is :class:`Brightness`, :class:`LateralShift`,
    :class:`PSFError` and :class:`CameraNoise`.
    """
    if not isinstance(generator, Generator):
        raise TypeError(
            f"generator must be a torch.Generator, got {generator!r}; pass torch.Generator().manual_seed(0)"
        )
    found = checked_errors(errors)

    def build(design: OpticalLayer) -> OpticalLayer:
        design = design.design if isinstance(design, NoisyOptics) else design
        with torch.no_grad():
            return built(design, found, generator, bench)

    return _with_optics(student, build)


def noise_aware(student: Student, errors: Errors, bench: PSFBench | None = None) -> Student:
    """Return a copy of a network whose optics are :class:`NoisyOptics`: training prevents what errors do.

    Arguments as for :func:`fabricate`, which builds the result once it is trained.
    """
    return _with_optics(student, lambda design: NoisyOptics(design, errors, bench))


@dataclass(frozen=True, eq=False)
class YieldCurve:
    """Accuracy of devices, by the size of their errors; printing it shows the table.

    Parameters
    ----------
    sizes : tuple of float
        Of the error, in its own unit.
    accuracy : Tensor
        Share of right answers of each device, float64 ``(sizes, devices)``. The same column has the same
        seed throughout.
    """

    sizes: tuple[float, ...]
    accuracy: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean over the devices, ``(sizes,)``."""
        return self.accuracy.mean(1)

    @property
    def std(self) -> Tensor:
        """Standard deviation over the devices, with n - 1, ``(sizes,)``; NaN for one device."""
        one = self.accuracy.shape[1] == 1
        return torch.full_like(self.mean, torch.nan) if one else self.accuracy.std(1)

    def above(self, accuracy: float) -> Tensor:
        """Return the yield: the share of devices that reach an accuracy, ``(sizes,)``."""
        return (self.accuracy >= accuracy).double().mean(1)

    def __str__(self) -> str:
        rows = zip(self.sizes, self.mean, self.std, self.accuracy.amin(1), strict=True)
        lines = [f"{size:10.4g}  {mean:7.2%}  {std:7.2%}  {worst:7.2%}" for size, mean, std, worst in rows]
        return "\n".join([f"{'size':>10}  {'mean':>7}  {'std':>7}  {'worst':>7}", *lines])


def yield_curve(
    student: Student,
    split: Split,
    error_family: Callable[[float], Errors],
    sizes: Sequence[float],
    devices: int,
    seed: int,
    bench: PSFBench | None = None,
) -> YieldCurve:
    """Build devices with errors of growing size, and measure each of them. Sensors have their noise.

    Parameters
    ----------
    student : HybridClassifier or HybridSegmenter
        The design.
    split : Split
        Images to measure with.
    error_family : callable
        From a size to an error, or a sequence of them: ``PhaseNoise``, or ``lambda s: [LateralShift(s, 0)]``.
    sizes : sequence of float
        Sizes of the error.
    devices : int
        How many devices of each size.
    seed : int
        Of all that is drawn. Device ``j`` is drawn in the same way for all sizes: the curve is smooth.
    bench : PSFBench, optional
        As for :func:`fabricate`.

    Returns
    -------
    YieldCurve
        One row for each size.

    Raises
    ------
    TypeError, ValueError
        As :func:`fabricate` does, or if there is no size or no device.
    """
    if not len(sizes):
        raise ValueError("sizes must hold at least one, got none; pass for example [0.0, 0.1]")
    whole_number("devices", devices)
    seeds = torch.randint(2**31, (devices,), generator=Generator().manual_seed(seed)).tolist()

    def accuracy(size: float, device: int) -> float:
        generator = Generator().manual_seed(device)
        twin = fabricate(student, error_family(size), generator, bench)
        return evaluate(Exposed(twin, _exposures(twin, generator, device)), split).accuracy

    table = [[accuracy(size, device) for device in seeds] for size in sizes]
    return YieldCurve(tuple(float(size) for size in sizes), torch.tensor(table, dtype=torch.float64))


class Exposed(nn.Module):
    """A hybrid network whose sensor has its noise, wherever a model of images alone is asked for."""

    def __init__(self, model: HybridClassifier | HybridSegmenter, generator: Generator) -> None:
        super().__init__()
        self.model, self.generator = model, generator

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, from pictures taken anew."""
        return self.model(x, self.generator)


def _exposures(twin: nn.Module, generator: Generator, seed: int) -> Generator:
    """Return the source of the sensor's noise: that of the device on a CPU, one at its side elsewhere."""
    place = next(twin.parameters()).device
    return generator if place == generator.device else Generator(place).manual_seed(seed)


def _with_optics(student: Student, change: Callable[[OpticalLayer], OpticalLayer]) -> Student:
    """Return a copy of a network with other front ends."""
    if not isinstance(student, (HybridClassifier, HybridSegmenter)):
        raise TypeError(
            f"student must be a HybridClassifier or HybridSegmenter, got {type(student).__name__}; "
            "put its optics into one of them"
        )
    twin = copy.deepcopy(student)
    for name in FRONT_ENDS:
        front = getattr(twin, name, None)
        if front is not None:
            setattr(twin, name, change(front).train(student.training))
    return twin
