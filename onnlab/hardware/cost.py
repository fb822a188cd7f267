"""What one image costs: energy, time and photons, with every constant in view."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from onnlab.hardware.constants import Constants
from onnlab.hardware.operations import Operation, count_operations
from onnlab.networks import FourFConvolution
from onnlab.networks._text import columns
from onnlab.optics._check import efficiency, not_negative, one_of, positive_length

PLANCK, LIGHT_SPEED = 6.62607015e-34, 299_792_458.0  # exact in the SI, J s and m/s


@dataclass(frozen=True)
class Cost:
    """What one image costs. Made by :func:`cost`.

    Parameters
    ----------
    operations : tuple of Operation
        What was counted, layer by layer.
    capture, conversion, display, light, computing : float
        Energies in joules: of cameras, of their converters, of modulators, of the laser, of MACs.
    capture_time, display_time, computing_time : float
        Times in seconds. Light passes 30 cm of bench in a nanosecond: that is left out.
    photons : float
        Photons on the sensors that the wanted signal-to-noise ratio takes.
    """

    operations: tuple[Operation, ...]
    capture: float
    conversion: float
    display: float
    light: float
    computing: float
    capture_time: float
    display_time: float
    computing_time: float
    photons: float

    @property
    def energy(self) -> float:
        """All energies together in joules."""
        return self.capture + self.conversion + self.display + self.light + self.computing

    @property
    def latency(self) -> float:
        """Seconds from the scene to the answer, one step after the other."""
        return self.capture_time + self.display_time + self.computing_time

    @property
    def macs(self) -> int:
        """Multiply-accumulates that electronics does."""
        return sum(step.macs for step in self.operations if step.where == "electronics")

    @property
    def optical_macs(self) -> int:
        """Multiply-accumulates that light does."""
        return sum(step.macs for step in self.operations if step.where == "light")

    @property
    def read(self) -> int:
        """Numbers that cameras read."""
        return sum(step.read for step in self.operations)

    def describe(self) -> str:
        """Return the operations as text, a line for each, and their sums."""
        rows = [("layer", "kind", "where", "MACs", "shown", "read")]
        rows += [
            (s.name or "-", s.what, s.where, f"{s.macs:,}", f"{s.shown:,}", f"{s.read:,}")
            for s in self.operations
        ]
        rows.append(("in all", "", "electronics", f"{self.macs:,}", "", f"{self.read:,}"))
        return columns([*rows, ("", "", "light", f"{self.optical_macs:,}", "", "")])


def cost(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    constants: Constants | None = None,
    *,
    wavelength: float | None = None,
    parallel: bool = True,
    spectral: str = "light",
    display: bool = False,
) -> Cost:
    r"""Return what one image costs in a network: energy, time, photons.

    .. math:: E = N_f\,e_f + N_r\,(e_r + 2^b e_s) + N_w\,e_w + \frac{N_r\,p}{\eta_l}\,\frac{h c}{\lambda}
        + N_m\,e_m

    with exposures :math:`N_f`, pixels read :math:`N_r`, numbers shown :math:`N_w` and MACs :math:`N_m` of
    electronics from :func:`count_operations`, photons :math:`p` of a reading from :func:`photons_for_snr`,
    and the energies ``frame``, ``read``, ``conversion_step``, ``write`` and ``mac`` of the constants.

    Parameters
    ----------
    model : nn.Module
        A network for images, with or without optical or spectral layers.
    input_shape : (int, int, int)
        Channels, rows and columns of the images.
    constants : Constants, optional
        What the parts take.
    wavelength : float, optional
        Of a laser that lights the benches, in metres. Left out, the scene brings its own light, free of
        charge; but a :class:`~onnlab.networks.FourFConvolution` always has a laser, the one of its grid.
    parallel : bool
        All pictures of a bench lie side by side on one sensor and take one exposure, as behind an array of
        metasurfaces. Otherwise they are taken one after the other, as behind one mask that changes.
    spectral, display
        As for :func:`count_operations`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        If the model cannot be counted, an argument is none of those above, or a 4f system is made for another
        wavelength.

    Notes
    -----
    Each reading is given the photons of a bright one, whichever beam brings them: those of a reference beam
    count, too. However many masks share a laser, and whether its pictures are taken at once
    or one after the other, the photons are the same. This is the least that a laser takes: one that also
    shines between the exposures takes more. Masks are made once; showing them on a modulator is left out.

    Xiang et al. (2025), arXiv:2508.08421, name 65 M, 239 M and 65.9 G MACs and 5.83 mJ, 9.73 mJ and 2.04 J
    for a hybrid, a compact and a large network; capture takes 3.82 mJ in the hybrid and 2.36 mJ otherwise.
    With these MACs and captures, one energy for a MAC gives all three energies to the last digit. The MACs
    and captures themselves depend on the size of the images, the compact network and the camera, which we do
    not know. Our :class:`~onnlab.networks.HybridSegmenter` has 65 M at about 395 x 395 pixels, and a
    :class:`~onnlab.networks.UNet` of 5 levels from 64 channels has 65.9 G at about 299 x 299. And 56 pairs of
    pictures hold 37 times the numbers of one picture in three colours. A capture that is only 1.6 times as
    dear does not grow with what is read: most of it would be our ``frame``.

    Examples
    --------
    >>> from onnlab.networks import HybridClassifier, LeNet, PSFConvolution
    >>> hybrid = HybridClassifier(PSFConvolution(1, 8, 7, 28), hidden=(64,))
    >>> for model in (LeNet(), hybrid):
    ...     found = cost(model, (1, 28, 28))
    ...     print(f"{found.macs} MACs, {found.optical_macs} by light, {1e6 * found.energy:.1f} microjoules")
    416520 MACs, 0 by light, 13.6 microjoules
    25728 MACs, 307328 by light, 13.5 microjoules
    """
    c = Constants() if constants is None else constants
    if not isinstance(c, Constants):
        raise TypeError(f"constants must be Constants, got {type(c).__name__}; pass Constants(mac=1e-12)")
    operations = count_operations(model, input_shape, spectral=spectral, display=display)
    read = sum(step.read for step in operations)
    shown = sum(step.shown for step in operations)
    benches = [step for step in operations if step.pictures]
    exposures = len(benches) if parallel else sum(step.pictures for step in benches)
    shows = sum(step.shown > 0 for step in operations)
    macs = sum(step.macs for step in operations if step.where == "electronics")
    dose = photons_for_snr(c.snr, quantum_efficiency=c.quantum_efficiency, read_noise=c.read_noise)
    laser = None if wavelength is None else positive_length("wavelength", wavelength)
    lit = [step for step in benches if step.where == "light"]
    quanta = sum(step.read * _photon_energy(model.get_submodule(step.name), laser) for step in lit)
    return Cost(
        operations,
        capture=exposures * c.frame + read * c.read,
        conversion=read * 2**c.bits * c.conversion_step,
        display=shown * c.write,
        light=quanta * dose / c.light_efficiency,
        computing=macs * c.mac,
        capture_time=exposures * c.exposure + read / c.read_rate,
        display_time=shows * c.show_time,
        computing_time=macs / c.mac_rate,
        photons=read * dose,
    )


def _photon_energy(bench: nn.Module, laser: float | None) -> float:
    """Joules of a photon of the laser that lights a bench; zero where the scene brings the light."""
    own = next((m.grid.wavelength for m in bench.modules() if isinstance(m, FourFConvolution)), None)
    if own and laser and not math.isclose(own, laser):
        raise ValueError(
            f"wavelength must be {own!r}, the one of the 4f system's grid, got {laser!r}; leave it out, or "
            "make the optics for another wavelength"
        )
    wavelength = own or laser
    return PLANCK * LIGHT_SPEED / wavelength if wavelength else 0.0


def photons_for_snr(
    snr: float, *, quantum_efficiency: float = 1.0, read_noise: float = 0.0, dark_electrons: float = 0.0
) -> float:
    r"""Photons on a pixel that give its reading a signal-to-noise ratio.

    .. math:: S = \frac{\eta p}{\sqrt{\eta p + D + \sigma^2}} \quad\Rightarrow\quad
        p = \frac{S^2 + \sqrt{S^4 + 4 S^2 (D + \sigma^2)}}{2 \eta}

    Shot noise alone asks for :math:`S^2` photons; where read noise rules, for :math:`S \sigma`.

    Parameters
    ----------
    snr : float
        The ratio :math:`S` of mean and standard deviation; not in decibels.
    quantum_efficiency : float
        Electrons :math:`\eta` per photon, above 0 and up to 1.
    read_noise : float
        Standard deviation :math:`\sigma` in electrons.
    dark_electrons : float
        Electrons :math:`D` of the dark current in one exposure.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a number is none, or out of range.

    Notes
    -----
    Source of the noise model: EMVA Standard 1288, release 3.1, section 2; that of
    :class:`onnlab.optics.Camera`.
    """
    ratio = positive_length("snr", snr, "a ratio")
    eta = efficiency("quantum_efficiency", quantum_efficiency)
    noise = not_negative("read_noise", read_noise, "electrons")
    dark = not_negative("dark_electrons", dark_electrons, "electrons")
    return (ratio**2 + math.sqrt(ratio**4 + 4 * ratio**2 * (dark + noise**2))) / (2 * eta)


def crossover(
    candidate: Callable[[int], Cost],
    reference: Callable[[int], Cost],
    sizes: Sequence[int],
    by: str = "energy",
) -> int | None:
    """Find the image size from which one network is cheaper than another, by bisection.

    Parameters
    ----------
    candidate, reference : callable
        Each takes an image size and returns the :class:`Cost` of the network for it.
    sizes : sequence of int
        Image sizes to choose from, increasing; a ``range`` will do. Sizes have to suit the networks' pools.
    by : {"energy", "latency"}
        What is compared.

    Returns
    -------
    int or None
        The first size at which the candidate is cheaper; the first of all if it always is, None if it is not
        even at the last. It costs less there and not at the size before: with more than one crossing, it
        is one of them.

    Raises
    ------
    ValueError
        If there are no sizes, they do not increase, or ``by`` is unknown.

    Notes
    -----
    Whether there is such a size is the claim of Xiang et al. (2022), arXiv:2102.13323, for a linear network
    in a 4f system.
    """
    one_of("by", by, ("energy", "latency"))
    if not sizes or any(later <= size for size, later in pairwise(sizes)):
        raise ValueError(f"sizes must increase and hold at least one, got {sizes!r}; pass range(32, 513, 32)")

    def cheaper(size: int) -> bool:
        return getattr(candidate(size), by) < getattr(reference(size), by)

    if cheaper(sizes[0]):
        return sizes[0]
    if not cheaper(sizes[-1]):
        return None
    low, high = 0, len(sizes) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cheaper(sizes[middle]) else (middle, high)
    return sizes[high]
