"""The camera: from light to digital numbers, with the noise that comes on the way."""

import math

import torch
from torch import Tensor, nn

from onnlab.optics import _check
from onnlab.optics.imaging import straight_through

# Digital numbers are returned as floats, and float32 holds every integer up to 24 bits.
MOST_BITS = 24


class Camera(nn.Module):
    r"""A sensor and its converter: intensity in, digital numbers out.

    Each pixel goes through the same chain:

    1. **binning**: the pixel collects the light of its ``binning`` x ``binning`` samples: photons add up;
    2. **electrons**: the expected number is :math:`\mu = \eta\,p \sum I + D\,t`;
    3. **shot noise**: the number of electrons is drawn from a Poisson distribution of mean :math:`\mu`
       (light and dark current together: a sum of Poisson numbers is one too);
    4. **full well**: a pixel holds :math:`W` electrons at the most;
    5. **read noise**: Gaussian, of mean zero and standard deviation :math:`\sigma`;
    6. **digits**: the converter multiplies by the :attr:`gain` :math:`K = (2^b - 1)/W`, rounds to whole
       numbers, and stops at 0 and at :math:`2^b - 1`.

    Parameters
    ----------
    photons : float
        Photons :math:`p` that one sample of intensity 1 sends to the sensor during the exposure.
    binning : int
        Samples along each side of a pixel.
    quantum_efficiency : float
        Electrons :math:`\eta` per photon, above 0 and up to 1.
    dark_current : float
        Electrons :math:`D` that a pixel collects without light, per second.
    exposure_time : float
        Duration :math:`t` in seconds. It counts for the dark current alone: ``photons`` is already a number
        per exposure, so a longer exposure means more of both.
    read_noise : float
        Standard deviation :math:`\sigma` in electrons.
    full_well : float, optional
        Electrons :math:`W` that a pixel can hold; None for no limit.
    bits : int, optional
        Bits :math:`b` of the converter, from 1 to 24; None for no converter: the output is in electrons,
        it is not rounded, and read noise may carry it below zero or above the full well.
    shot_noise : bool
        False for light without shot noise: a beam that does not exist, and is useful to think with.

    Raises
    ------
    TypeError
        If an argument is not a number of the kind named above.
    ValueError
        If a number is out of range, or ``bits`` is given without the ``full_well`` that sets the gain.

    Notes
    -----
    Gradients are those of a surrogate. A drawn number of electrons passes back the gradient of its mean,
    :math:`\partial n/\partial\mu = 1`, and rounding passes gradients through unchanged (the straight-through
    estimator, Bengio et al. 2013, arXiv:1308.3432). This is exact on average for anything linear in
    :math:`n`; what it leaves out is that stronger light is also noisier, so a loss that punishes the noise
    itself does not see that. A pixel beyond a limit (full well, or either end of the converter) passes back
    zero.

    A converter without an offset cuts the negative half of the read noise: dark pixels read too high on
    average.

    Source of the model: EMVA Standard 1288, release 3.1, section 2 (linear signal and noise model).

    Examples
    --------
    >>> camera = Camera(photons=1000, read_noise=2, full_well=10_000, bits=10)
    >>> image = camera(torch.ones(8, 8), torch.Generator().manual_seed(0))
    >>> image.shape
    torch.Size([8, 8])
    """

    def __init__(
        self,
        *,
        photons: float = 1000.0,
        binning: int = 1,
        quantum_efficiency: float = 1.0,
        dark_current: float = 0.0,
        exposure_time: float = 1.0,
        read_noise: float = 0.0,
        full_well: float | None = None,
        bits: int | None = None,
        shot_noise: bool = True,
    ) -> None:
        super().__init__()
        self.photons = _check.positive_length("photons", photons, "photons per sample at intensity 1")
        self.binning = _check.whole_number("binning", binning)
        self.quantum_efficiency = _check.efficiency("quantum_efficiency", quantum_efficiency)
        self.dark_current = _check.not_negative("dark_current", dark_current, "electrons per second")
        self.exposure_time = _check.positive_length("exposure_time", exposure_time, "seconds")
        self.read_noise = _check.not_negative("read_noise", read_noise, "electrons")
        self.full_well = (
            None if full_well is None else _check.positive_length("full_well", full_well, "electrons")
        )
        self.bits = None if bits is None else _check.whole_number("bits", bits, most=MOST_BITS)
        if self.bits is not None and self.full_well is None:
            raise ValueError(
                f"bits must come with a full_well, got bits={bits!r} and full_well=None; the largest digital "
                "number stands for a full pixel: give its electrons, as in full_well=10_000"
            )
        if not isinstance(shot_noise, bool):
            raise TypeError(f"shot_noise must be True or False, got {shot_noise!r}")
        self.shot_noise = shot_noise

    @property
    def gain(self) -> float:
        """Digital numbers per electron, ``(2**bits - 1) / full_well``; 1 without a converter."""
        if self.bits is None or self.full_well is None:
            return 1.0
        return (2**self.bits - 1) / self.full_well

    @property
    def dark_electrons(self) -> float:
        """Expected electrons of the dark current in one exposure."""
        return self.dark_current * self.exposure_time

    def forward(self, intensity: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Take a picture.

        Parameters
        ----------
        intensity : Tensor
            Non-negative intensity ``(..., ny, nx)``, float32 or float64.
        generator : torch.Generator, optional
            Where the noise comes from: the same seed gives the same picture. On the device of ``intensity``.
            It can be left out for a camera without shot noise and read noise only.

        Returns
        -------
        Tensor
            Digital numbers (electrons if ``bits`` is None), ``(..., ny / binning, nx / binning)``, of the
            dtype of ``intensity``.

        Raises
        ------
        TypeError
            If ``intensity`` is not a real floating-point tensor (a complex field: pass ``u.abs() ** 2``).
        ValueError
            If ``intensity`` holds a negative number, NaN or infinity, or its sides are no multiples of
            ``binning``; if the camera is noisy and there is no generator, or it is on another device.
        """
        mean = self.expected_electrons(intensity)
        if not (self.shot_noise or self.read_noise):
            return self._digitise(self._fill(mean))
        _check_generator(generator, intensity)
        electrons = mean
        if self.shot_noise:
            # Exactly n in value; the gradient is that of the mean.
            electrons = straight_through(torch.poisson(mean.detach(), generator=generator), mean)
        electrons = self._fill(electrons)
        if self.read_noise:
            unit = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
            electrons = electrons + self.read_noise * unit
        return self._digitise(electrons)

    def expected(self, intensity: Tensor) -> Tensor:
        """Return what the camera would read with all noise off: limits and rounding stay.

        Same arguments, result and errors as :meth:`forward`. Away from the limits this is also the mean of
        many pictures, to within the rounding.
        """
        return self._digitise(self._fill(self.expected_electrons(intensity)))

    def expected_electrons(self, intensity: Tensor) -> Tensor:
        r"""Return the mean number of electrons :math:`\mu = \eta\,p \sum I + D\,t` of each pixel.

        Same arguments and errors as :meth:`forward`; neither full well nor converter is applied.
        """
        light = _bin(_check.intensity(intensity, "intensity"), self.binning)
        return self.quantum_efficiency * self.photons * light + self.dark_electrons

    def to_intensity(self, values: Tensor) -> Tensor:
        r"""Turn what the camera read back into intensity, the mean over each pixel's samples.

        .. math:: \hat I = \frac{v / K - D\,t}{\eta\,p\,B^2}

        with the values :math:`v` and the binning :math:`B`. Linear: it inverts :meth:`expected` up to the
        rounding where no limit was met, and does so on average for a noisy picture.

        Parameters
        ----------
        values : Tensor
            Digital numbers (electrons if ``bits`` is None) from :meth:`forward`.
        """
        electrons = values / self.gain - self.dark_electrons
        return electrons / (self.quantum_efficiency * self.photons * self.binning**2)

    def variance(self, intensity: Tensor) -> Tensor:
        r"""Return the variance of what the camera reads, pixel by pixel: the photon transfer curve.

        .. math:: \operatorname{var}(v) = K^2 (\mu + \sigma^2) + \tfrac{1}{12}

        The :math:`\mu` is the shot noise and the last term the rounding of the converter; each is there only
        if the camera has it. It holds away from the limits, and where the noise is at least about as large
        as the steps of the converter. Same argument and errors as :meth:`forward`.

        Source: EMVA Standard 1288, release 3.1, section 2.2.
        """
        shot = self.expected_electrons(intensity) * self.shot_noise
        rounding = 0.0 if self.bits is None else 1 / 12
        return self.gain**2 * (shot + self.read_noise**2) + rounding

    def extra_repr(self) -> str:
        """List the settings, as ``print(camera)`` shows them."""
        names = (
            "photons", "binning", "quantum_efficiency", "dark_current", "exposure_time",
            "read_noise", "full_well", "bits", "shot_noise",
        )  # fmt: skip
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)

    def _fill(self, electrons: Tensor) -> Tensor:
        return electrons if self.full_well is None else electrons.clamp(max=self.full_well)

    def _digitise(self, electrons: Tensor) -> Tensor:
        if self.bits is None:
            return electrons
        digits = (electrons * self.gain).clamp(0, 2**self.bits - 1)
        return straight_through(digits.round(), digits)


def _bin(intensity: Tensor, binning: int) -> Tensor:
    ny, nx = intensity.shape[-2:]
    if ny % binning or nx % binning:
        fitting = (ny // binning * binning, nx // binning * binning)
        remedy = f"crop it to {fitting}" if min(fitting) else f"use binning={math.gcd(ny, nx)}"
        raise ValueError(
            f"intensity must have sides that are multiples of binning={binning}, got {(ny, nx)}; {remedy}"
        )
    blocks = intensity.unflatten(-2, (ny // binning, binning)).unflatten(-1, (nx // binning, binning))
    return blocks.sum(dim=(-3, -1))


def _check_generator(generator: torch.Generator | None, intensity: Tensor) -> None:
    if generator is None:
        raise ValueError(
            "generator must be given for a noisy camera, got None; pass torch.Generator().manual_seed(0), "
            "or call expected(intensity) for a picture without noise"
        )
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator, got {generator!r}; pass torch.Generator().manual_seed(0)"
        )
    if generator.device.type != intensity.device.type:
        raise ValueError(
            f"generator must be on the device of intensity, {intensity.device}, got {generator.device}; "
            f'make it with torch.Generator("{intensity.device}")'
        )
