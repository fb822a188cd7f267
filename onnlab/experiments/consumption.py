"""Energy and MACs of an image, for the systems of the experiments and in the paper; nothing is trained."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from onnlab.data.sources import SOURCES
from onnlab.experiments.catalogue.compensation import compensation
from onnlab.experiments.devices import PROCESSES, in_light
from onnlab.experiments.papers import CONSUMPTIONS
from onnlab.experiments.parts import NETWORKS
from onnlab.hardware import Constants, Cost, cost
from onnlab.networks import HybridClassifier, HybridSegmenter
from onnlab.networks._text import columns, markdown_table
from onnlab.optics._check import one_of

IMAGES: dict[str, tuple[tuple[int, int, int], int]] = {
    "mnist-mini": (SOURCES["mnist"].shape, 10),
    "scenes-24": ((1, 24, 24), 2),
    "mnist": (SOURCES["mnist"].shape, 10),
    "cifar10": (SOURCES["cifar10"].shape, 10),
    "camvid-cars": (SOURCES["camvid"].shape, 2),
}
"""Channels, rows and columns of an image, and the number of classes: known without the data themselves."""


OPTICS = {"clean room": "PSFs", "4f laboratory": "4f system"}
"""What each process makes of a kernel."""


@dataclass(frozen=True)
class Consumer:
    """A system, and what one image costs in it.

    Parameters
    ----------
    network, data : str
        As in :class:`onnlab.experiments.Row`.
    process : str or None
        The one that makes its optics, see :data:`onnlab.experiments.PROCESSES`; None if this is a teacher.
    image : (int, int, int)
        Channels, rows and columns.
    cost : Cost
        Of one image. A camera reads two pictures for each kernel: of a pair of PSFs, or of a 4f system with
        the reference beam in phase and out of phase.
    teacher : Cost or None
        That of the teacher for the same image; None if this is a teacher.
    """

    network: str
    data: str
    process: str | None
    image: tuple[int, int, int]
    cost: Cost
    teacher: Cost | None

    @property
    def name(self) -> str:
        """The network, and what its kernels are made of."""
        return self.network if self.process is None else f"{self.network} ({OPTICS[self.process]})"

    @property
    def saving(self) -> float | None:
        """How many times more energy the teacher takes."""
        return None if self.teacher is None else self.teacher.energy / self.cost.energy


def network_cost(network: str, data: str, process: str = "clean room") -> Cost:
    """Return what an image of a data set costs in a network, with its kernels made of light.

    Behind PSFs the scene brings its own light. A 4f system has a laser, which lights the scene as a slide.

    Parameters
    ----------
    network, data : str
        As in :class:`onnlab.experiments.Row`.
    process : str
        The one that makes the optics of a hybrid network, see :data:`onnlab.experiments.PROCESSES`.

    Raises
    ------
    ValueError
        If one of the names is unknown.
    """
    one_of("network", network, NETWORKS)
    one_of("data", data, IMAGES)
    one_of("process", process, PROCESSES)
    shape, classes = IMAGES[data]
    channels, ny, nx = shape
    with torch.device("meta"):  # counting needs shapes only, and large networks take long to draw
        model: nn.Module = NETWORKS[network](
            channels=channels, classes=classes, image_size=ny if ny == nx else (ny, nx)
        )
    if isinstance(model, (HybridClassifier, HybridSegmenter)):
        model.optics = in_light(model.optics, PROCESSES[process].optics)
    return cost(model, shape)


def consumers(scale: str) -> list[Consumer]:
    """Return students and teachers of :func:`onnlab.experiments.compensation`.

    A student comes once for each process that builds it, and before its teacher.

    Parameters
    ----------
    scale : str
        One of :data:`onnlab.experiments.SCALES`.
    """
    processes: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in compensation(scale).rows:
        if row.process is not None and row.student is not None and row.student.teacher is not None:
            names = (row.student.network, row.student.teacher.network, row.student.data)
            processes.setdefault(names, {})[row.process] = None
    found = []
    for (student, teacher, data), built in processes.items():
        image, taught_by = IMAGES[data][0], network_cost(teacher, data)
        found += [
            Consumer(student, data, process, image, network_cost(student, data, process), taught_by)
            for process in built
        ]
        found.append(Consumer(teacher, data, None, image, taught_by, None))
    return found


OURS = (
    "network: data, image", "MACs: light", "MACs: digital", "capture", "conversion", "digital", "in all",
    "teacher",
)  # fmt: skip
PAPER = ("system", "MACs", "capture (mJ)", "in all (mJ)", "energy but for capture, per MAC (pJ)")


def our_cells(rows: Sequence[Consumer]) -> list[tuple[str, ...]]:
    """Return the cells of our table, without its head ``OURS``; energies are in microjoules."""
    return [
        (
            f"{one.name}: {one.data}, {'×'.join(map(str, one.image))}",
            _many(one.cost.optical_macs),
            _many(one.cost.macs),
            *(
                _three(1e6 * value)
                for value in (one.cost.capture, one.cost.conversion, one.cost.computing, one.cost.energy)
            ),
            "" if one.saving is None else f"× {_three(one.saving)}",
        )
        for one in rows
    ]


def paper_cells() -> list[tuple[str, ...]]:
    """Return the cells of the paper's table, without its head ``PAPER``. The last column is our inference."""
    return [
        (
            one.system,
            _many(one.macs),
            f"{1e3 * one.capture:g}",
            f"{1e3 * one.energy:g}",
            f"{1e12 * one.per_mac:.1f}",
        )
        for one in CONSUMPTIONS
    ]


def format_energy(scale: str) -> str:
    """Return both tables as text."""
    paper = columns((PAPER, *paper_cells()))
    ours = columns((OURS, *our_cells(consumers(scale))))
    return f"energy of one image, in microjoules\n\n{ours}\n\narXiv:2508.08421\n\n{paper}"


def energy_table(scale: str) -> str:
    """Return our table as Markdown."""
    return markdown_table(OURS, our_cells(consumers(scale)), left=(0,))


def savings(scale: str) -> str:
    """Return in sentences which students save less than a tenth of a teacher's energy, and what takes it."""
    rows = [(one, one.saving) for one in consumers(scale) if one.saving is not None]
    short = [(one, saving) for one, saving in rows if saving < 1 / 0.9]
    if not short:
        return f"At least a tenth of the teacher's energy is saved by all {len(rows)} students."
    told = "; ".join(
        f"{one.name} on {one.data} (× {_three(saving)}), where the camera takes "
        f"{100 * one.cost.capture / one.cost.energy:.0f} % of the student's energy and digital MACs "
        f"{100 * one.cost.computing / one.cost.energy:.0f} %"
        for one, saving in short
    )
    return (
        f"Less than a tenth of the teacher's energy, or nothing, is saved by {len(short)} of {len(rows)} "
        f"students: {told}. "
        "The camera reads two pictures for each kernel, and a small teacher leaves little to save."
    )


def lasers(scale: str) -> str:
    """Return in sentences how much of the energy lasers take, and what images cost that have to be shown.

    Rough scenes give speckle in the light of a laser. Then a camera photographs the scene first, and a
    modulator shows the picture to the laser: the cost of a network that does nothing, and of what is shown.
    """
    told = []
    for one in consumers(scale):
        if one.teacher is None or one.cost.light == 0:
            continue
        shown = cost(nn.Identity(), one.image).energy + math.prod(one.image) * Constants().write
        told.append(
            f"The laser of {one.name} on {one.data} takes {_three(1e6 * one.cost.light / one.cost.energy)} "
            "millionths of the student's energy. If the scene has to be photographed first and shown to the "
            f"laser by a modulator, that adds {_three(1e6 * shown)} microjoules, and the teacher takes "
            f"× {_three(one.teacher.energy / (one.cost.energy + shown))}."
        )
    return " ".join(told)


def paper_energies() -> str:
    """Return the paper's table as Markdown."""
    return markdown_table(PAPER, paper_cells(), left=(0,))


def _many(count: float) -> str:
    """A count with a prefix, to three digits."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{_three(count / size)} {prefix}"
    return f"{count:g}"


def _three(value: float) -> str:
    """Three digits, never with an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


COMPUTED: dict[str, Callable[[str], str]] = {"energy": format_energy}
"""What ``onnlab reproduce`` computes at once, without seeds: called with a scale, it returns text."""
