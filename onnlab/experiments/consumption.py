"""Energy and MACs of an image, for the systems of the experiments and in the paper; nothing is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from onnlab.data.sources import SOURCES
from onnlab.experiments.catalogue.compensation import compensation
from onnlab.experiments.devices import in_light
from onnlab.experiments.papers import CONSUMPTIONS
from onnlab.experiments.parts import NETWORKS
from onnlab.hardware import Cost, cost
from onnlab.networks import HybridClassifier, HybridSegmenter, PSFConvolution
from onnlab.networks._text import columns, markdown_table

IMAGES: dict[str, tuple[tuple[int, int, int], int]] = {
    "mnist-mini": (SOURCES["mnist"].shape, 10),
    "scenes-24": ((1, 24, 24), 2),
    "mnist": (SOURCES["mnist"].shape, 10),
    "cifar10": (SOURCES["cifar10"].shape, 10),
    "camvid-cars": (SOURCES["camvid"].shape, 2),
}
"""Channels, rows and columns of an image, and the number of classes: known without the data themselves."""


@dataclass(frozen=True)
class Consumer:
    """A system, and what one image costs in it.

    Parameters
    ----------
    network, data : str
        As in :class:`onnlab.experiments.Row`.
    image : (int, int, int)
        Channels, rows and columns.
    cost : Cost
        Of one image. Kernels are pairs of PSFs, which a camera reads twice.
    teacher : Cost or None
        That of the teacher for the same image; None if this is a teacher.
    """

    network: str
    data: str
    image: tuple[int, int, int]
    cost: Cost
    teacher: Cost | None

    @property
    def saving(self) -> float | None:
        """How many times more energy the teacher takes."""
        return None if self.teacher is None else self.teacher.energy / self.cost.energy


def network_cost(network: str, data: str) -> Cost:
    """Return what an image of a data set costs in a network, with its kernels made of light.

    Parameters
    ----------
    network, data : str
        As in :class:`onnlab.experiments.Row`.
    """
    shape, classes = IMAGES[data]
    channels, ny, nx = shape
    model: nn.Module = NETWORKS[network](
        channels=channels, classes=classes, image_size=ny if ny == nx else (ny, nx)
    )
    if isinstance(model, (HybridClassifier, HybridSegmenter)):
        model.optics = in_light(model.optics, PSFConvolution)
    return cost(model, shape)


def consumers(scale: str) -> list[Consumer]:
    """Return students and teachers of :func:`onnlab.experiments.compensation`, in pairs, the student first.

    Parameters
    ----------
    scale : str
        One of :data:`onnlab.experiments.SCALES`.
    """
    designs = [row for row in compensation(scale).rows if row.student is None and row.teacher is not None]
    rows = []
    for student, teacher, data in dict.fromkeys(
        (d.network, d.teacher.network, d.data) for d in designs if d.teacher
    ):
        first, second = network_cost(student, data), network_cost(teacher, data)
        rows += [
            Consumer(student, data, IMAGES[data][0], first, second),
            Consumer(teacher, data, IMAGES[data][0], second, None),
        ]
    return rows


OURS = (
    "network: data, image", "MACs: light", "MACs: digital", "capture", "conversion", "digital", "in all",
    "teacher",
)  # fmt: skip
PAPER = ("system", "MACs", "capture (mJ)", "in all (mJ)", "energy but for capture, per MAC (pJ)")


def our_cells(rows: Sequence[Consumer]) -> list[tuple[str, ...]]:
    """Return the cells of our table, without its head ``OURS``; energies are in microjoules."""
    return [
        (
            f"{one.network}: {one.data}, {'×'.join(map(str, one.image))}",
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
        f"{one.network} on {one.data} (× {_three(saving)}), where the camera takes "
        f"{100 * one.cost.capture / one.cost.energy:.0f} % of the student's energy and digital MACs "
        f"{100 * one.cost.computing / one.cost.energy:.0f} %"
        for one, saving in short
    )
    return (
        f"Less than a tenth of the teacher's energy, or nothing, is saved by {len(short)} of {len(rows)} "
        f"students: {told}. "
        "The camera reads two pictures for each kernel, and a small teacher leaves little to save."
    )


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
