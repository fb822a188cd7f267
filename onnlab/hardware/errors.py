"""Errors of optics as they are built, to be applied one after the other; here those of the mask itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from onnlab.hardware import _planes as planes
from onnlab.hardware.benches import Masks, PSFs, each, in_window
from onnlab.optics._check import finite_number, intensity, items, not_negative, share, whole_number


class OpticalError:
    """Base of the errors: from one bench to another.

    Your own error overrides one of the two methods, or both. It leaves its input as it is, and keeps
    gradients where it can. One that does not fit the kind of optics raises.
    """

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the bench of a 4f system with this error."""
        raise self._misplaced("FourFConvolution, which has masks", "PSFConvolution")

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the bench of a camera with PSFs with this error."""
        raise self._misplaced("PSFConvolution, which has no mask to put it on", "FourFConvolution")

    def _misplaced(self, here: str, there: str) -> ValueError:
        return ValueError(
            f"errors must fit the optics: {type(self).__name__} has no meaning for {here}; "
            f"use it with {there}, or leave it out"
        )


@dataclass(frozen=True)
class PhaseQuantisation(OpticalError):
    r"""The mask has few phases: each sample takes the nearest one, on the circle.

    With :math:`L` even levels, a share :math:`\operatorname{sinc}^2(1/L)` of the light goes where it should.
    The gradient passes straight through.

    Parameters
    ----------
    levels : int or sequence of float
        How many even levels, from the phase 0; or the phases themselves in radians, such as those measured
        on a modulator, as a sequence, a 1-D array or a tensor.
    """

    levels: int | Sequence[float]

    def __post_init__(self) -> None:
        phases = items(self.levels)
        if phases == ():
            raise ValueError("levels must hold at least one phase, got none; give them in radians")
        levels = (
            whole_number("levels", self.levels)
            if phases is None
            else tuple(finite_number("levels", phase, "radians") for phase in phases)
        )
        object.__setattr__(self, "levels", levels)

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks with their phases rounded."""
        t = masks.transmission
        phase = t.detach().angle().double()
        if isinstance(self.levels, int):
            step = 2 * math.pi / self.levels
            nearest = (phase / step).round() * step
        else:
            allowed = torch.tensor(self.levels, dtype=torch.float64, device=t.device) % (2 * math.pi)
            allowed = allowed.sort().values
            # The first level again behind the last, and the last before the first: phases lie on a circle.
            allowed = torch.cat([allowed[-1:] - 2 * math.pi, allowed, allowed[:1] + 2 * math.pi])
            phase = phase % (2 * math.pi)
            nearest = allowed[torch.bucketize(phase, (allowed[1:] + allowed[:-1]) / 2)]
        return replace(masks, transmission=planes.turned(t, nearest - phase))


@dataclass(frozen=True)
class PhaseNoise(OpticalError):
    r"""A rough surface: Gaussian phase errors of correlation :math:`\sigma^2 e^{-r^2/\ell^2}`.

    A mask gets such an error drawn, one for each kernel. On average the share
    :math:`e^{-\sigma^2}` of the light is left where it should go (Maréchal).

    PSFs tell nothing of the phases that made them, but their mean does not depend on these: behind any pupil
    with such a rough surface, the mean transfer function is the perfect one times

    .. math:: \exp\Big(-\sigma^2 \big(1 - e^{-(\lambda z \nu)^2/\ell^2}\big)\Big)

    That mean is taken: a share :math:`e^{-\sigma^2}` stays, and the rest makes a halo. What is drawn about
    it, the speckle, is left out. Light without correlation is lost, for its halo is wider than any sensor.
    It needs the ``distance`` :math:`z` and the ``wavelength`` of the bench.

    Parameters
    ----------
    sigma : float
        Standard deviation :math:`\sigma` in radians.
    correlation_length : float
        Distance :math:`\ell` in metres, on the mask or pupil, at which the correlation has fallen to 1/e.

    Notes
    -----
    Source: Goodman, Statistical Optics, 2nd edition, section 8.3 (random phase screens).
    """

    sigma: float
    correlation_length: float = 0.0

    def __post_init__(self) -> None:
        not_negative("sigma", self.sigma, "radians")
        not_negative("correlation_length", self.correlation_length, "metres")

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks with phase errors."""
        t, pitch = masks.transmission, masks.plane.pitch
        surface = planes.rough_surface(tuple(t.shape[1:]), pitch, self.correlation_length, generator)
        return replace(masks, transmission=planes.turned(t, self.sigma * surface))

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs with a halo."""
        left = math.exp(-(self.sigma**2))
        reach = psfs.bench.needed("distance", self) * psfs.bench.needed("wavelength", self)
        length = self.correlation_length
        if length == 0 or self.sigma == 0:
            return each(psfs, lambda psf: left * psf)
        # The exponential as its series: a share e^{-s^2} s^{2n}/n! of the light is scattered n times, into a
        # Gaussian spot of n times the variance. Far more often than s^2 times is improbable.
        mean = self.sigma**2
        times = torch.arange(1, math.ceil(mean + 12 * self.sigma) + 30, dtype=torch.float64)
        weights = (2 * times * math.log(self.sigma) - mean - torch.lgamma(times + 1)).exp()
        variances = times * (reach / length) ** 2 / (2 * math.pi**2)
        light = planes.gaussians(weights, variances, planes.ways(psfs.window), psfs.bench.pitch)
        return each(psfs, lambda psf: left * psf + planes.spread(psf, light))


@dataclass(frozen=True)
class DeadPixels(OpticalError):
    """Pixels of the mask that do not follow, drawn for each kernel.

    Parameters
    ----------
    fraction : float
        Probability that a pixel is dead, from 0 to 1.
    state : complex
        Its transmission: 0 for dark, 1 for clear.
    """

    fraction: float
    state: complex = 0.0

    def __post_init__(self) -> None:
        share("fraction", self.fraction)
        if not isinstance(self.state, (int, float, complex)) or not abs(self.state) <= 1:
            raise ValueError(
                f"state must be a transmission of modulus 1 at most, got {self.state!r}; a mask has no gain"
            )

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks with dead pixels."""
        t = masks.transmission
        dead = torch.rand(t.shape[1:], dtype=torch.float64, generator=generator) < self.fraction
        return replace(masks, transmission=torch.where(dead.to(t.device), self.state, t))


@dataclass(frozen=True)
class PSFError(OpticalError):
    r"""PSFs that a design or a process has missed: Gaussian noise on each of their samples.

    .. math:: p' \propto \max(p + \epsilon\, p_\mathrm{rms}\, g,\, 0), \qquad g \sim N(0, 1)

    within the rectangle of the kernel, and scaled so that no light is lost. Before negative light is cut off,
    :math:`\lVert p' - p \rVert / \lVert p \rVert` is near :math:`\epsilon`.

    Parameters
    ----------
    relative : float
        The error :math:`\epsilon`.

    Notes
    -----
    Choi et al. (2025), Nat. Commun. 16, 5623, were left with 0.33 to 0.50 in the design alone.
    """

    relative: float

    def __post_init__(self) -> None:
        not_negative("relative", self.relative, "share of the PSF")

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs with errors."""
        lit = (psfs.positive + psfs.negative).detach() > 0
        if self.relative == 0 or not lit.any():
            return psfs
        rows, columns = (lit.flatten(0, 1).any(0).any(axis).nonzero().flatten() for axis in (1, 0))
        inside = torch.zeros(psfs.window, dtype=torch.bool, device=lit.device)
        inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True

        def missed(psf: Tensor) -> Tensor:
            noise = torch.randn(psf.shape, dtype=torch.float64, generator=generator).to(psf)
            # A norm has a slope of zero at a dark PSF, where a square root has none.
            rms = torch.linalg.vector_norm(psf, dim=planes.AXES, keepdim=True) / inside.sum().sqrt()
            light = (psf + self.relative * rms * noise * inside).clamp(min=0)
            before, after = (one.sum(planes.AXES, keepdim=True) for one in (psf, light))
            return light * (before / after.where(after > 0, 1))

        return each(psfs, missed)


@dataclass(frozen=True, eq=False)
class MeasuredPSFs(OpticalError):
    """PSFs that are known, such as those measured on a device, or computed from a metasurface.

    They take the place of the perfect ones.

    Parameters
    ----------
    positive, negative : Tensor
        Shares of the light on each sample, none negative, ``(kernels, channels, ky, kx)``, no larger than the
        image, with their origin at ``(ky // 2, kx // 2)``. ``PSFConvolution.pair()`` returns what to aim at.
    scale : Tensor, optional
        Factors ``(kernels, 1, 1)`` by which electronics multiplies the difference of the two pictures, none
        negative; those of the perfect PSFs unless given.
    """

    positive: Tensor
    negative: Tensor
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("positive", "negative") if self.scale is None else ("positive", "negative", "scale"):
            intensity(getattr(self, name), name)

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the known PSFs."""
        placed = []
        for name in ("positive", "negative"):
            given, perfect = getattr(self, name), getattr(psfs, name)
            ny, nx = psfs.window
            if given.shape[:-2] != perfect.shape[:-2] or given.shape[-2] > ny or given.shape[-1] > nx:
                expected = ", ".join(map(str, perfect.shape[:-2]))
                raise ValueError(
                    f"{name} must have shape ({expected}, ky, kx), up to {ny} x {nx} samples, got "
                    f"{tuple(given.shape)}; crop it about its origin"
                )
            placed.append(in_window(given.to(perfect), psfs.window))
        scale = psfs.scale if self.scale is None else self.scale.to(psfs.scale)
        if scale.shape != psfs.scale.shape:
            raise ValueError(
                f"scale must have shape {tuple(psfs.scale.shape)}, one factor for each kernel, got "
                f"{tuple(scale.shape)}; use scale.reshape(-1, 1, 1)"
            )
        return replace(psfs, positive=placed[0], negative=placed[1], scale=scale)
