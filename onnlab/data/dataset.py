"""What every data set is: three splits of images and labels, as plain tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from onnlab.optics._check import whole_number

VOID = -100
"""Label of a pixel that belongs to no class: losses and scores pass over it, as PyTorch's own do."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels. ``split[i]`` and ``len(split)`` make it a map-style PyTorch data set.

    Pictures are stored as bytes, which fill a quarter of the memory of floats; ``split[i]`` makes floats of
    what it takes out, so that a training loop over ``split[indices]`` never holds them all.

    Parameters
    ----------
    pixels : Tensor
        Shape ``(n, channels, ny, nx)``: uint8 from 0 to 255, or floating point in [0, 1].
    labels : Tensor
        int64; shape ``(n,)`` with one class for each image, or ``(n, ny, nx)`` with one for each pixel, or
        :data:`VOID` where a pixel has none.

    Raises
    ------
    ValueError
        If the pixels do not have four axes or are integers other than uint8, the labels are not int64, or
        their numbers differ.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4:
            raise ValueError(
                f"pixels must have shape (n, channels, ny, nx), got {tuple(self.pixels.shape)}; "
                "add the missing axis with pixels[:, None]"
            )
        if not (self.pixels.dtype == torch.uint8 or self.pixels.is_floating_point()):
            raise ValueError(
                f"pixels must be uint8 from 0 to 255 or floats from 0 to 1, got {self.pixels.dtype}; "
                "use pixels.to(torch.uint8)"
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim not in (1, 3):
            raise ValueError(
                f"labels must be int64 of shape (n,) or (n, ny, nx), got {self.labels.dtype} of shape "
                f"{tuple(self.labels.shape)}; use labels.long(), and class numbers instead of one-hot rows"
            )
        if len(self.pixels) != len(self.labels):
            raise ValueError(
                f"pixels and labels must be equally many, got {len(self.pixels)} and {len(self.labels)}; "
                "take both from the same split"
            )

    @cached_property
    def images(self) -> Tensor:
        """All images at once, floating point in [0, 1]; made when first asked for, and kept."""
        return _as_floats(self.pixels)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> tuple[Tensor, Tensor]:
        images = self.pixels[index]  # a network may work in place: floats are copied, too
        return images.clone() if images.is_floating_point() else _as_floats(images), self.labels[index]

    def __repr__(self) -> str:
        return f"Split({len(self)} images of shape {tuple(self.pixels.shape[1:])})"

    def subset(self, n: int, seed: int) -> "Split":
        """Return ``n`` of the images, drawn without replacement and in random order.

        With one label for each image the draw is stratified: every class keeps its share, to within one
        image. The tensors are copies.

        Parameters
        ----------
        n : int
            How many images, from 1 to ``len(self)``.
        seed : int
            The same seed gives the same images.

        Raises
        ------
        TypeError
            If ``n`` is not an integer.
        ValueError
            If ``n`` is below 1 or above ``len(self)``.
        """
        strata = self.labels if self.labels.ndim == 1 else torch.zeros(len(self), dtype=torch.int64)
        chosen = stratified_indices(strata, n, torch.Generator().manual_seed(seed))
        return Split(self.pixels[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set.

    Parameters
    ----------
    name : str
        The name that :func:`onnlab.data.load` knows it by.
    train, validation, test : Split
        To fit, to choose and to report. No image is in two of them.
    classes : tuple of str
        ``classes[label]`` is the name of a class.
    credit : str
        Authors, licence and source, to be cited with results.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    credit: str

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def against_rest(self, name: str) -> "Dataset":
        """Return the same images with two classes: ``"rest"``, which is 0, and the one of this name, 1.

        Raises
        ------
        ValueError
            If no class has this name.
        """
        if name not in self.classes:
            raise ValueError(f"name must be one of {', '.join(map(repr, self.classes))}, got {name!r}")
        number = self.classes.index(name)
        train, validation, test = (
            Split(s.pixels, torch.where(s.labels == VOID, VOID, (s.labels == number).long()))
            for s in (self.train, self.validation, self.test)
        )
        return Dataset(f"{self.name}: {name}", train, validation, test, ("rest", name), self.credit)

    def coarser(self, factor: int) -> "Dataset":
        """Return images with fewer and larger pixels: each is the mean of ``factor`` x ``factor`` of these.

        Where each pixel has a label, it is that of the pixel in the middle.

        Parameters
        ----------
        factor : int
            Odd, and a divisor of rows and columns.

        Raises
        ------
        TypeError
            If ``factor`` is not an integer.
        ValueError
            If it is even, below 1, or does not divide rows and columns.
        """
        ny, nx = self.train.pixels.shape[2:]
        if whole_number("factor", factor) % 2 == 0 or ny % factor or nx % factor:
            raise ValueError(f"factor must be odd, and divide {ny} rows and {nx} columns, got {factor}")
        train, validation, test = (
            _coarser(split, factor) for split in (self.train, self.validation, self.test)
        )
        name = f"{self.name}: pixels of {factor} x {factor}"
        return Dataset(name, train, validation, test, self.classes, self.credit)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{split} {size}" for split, size in self.sizes.items())
        return f"Dataset({self.name!r}: {sizes}; {len(self.classes)} classes)"


def _coarser(split: Split, factor: int) -> Split:
    means = [F.avg_pool2d(_as_floats(pixels), factor) for pixels in split.pixels.split(64)]
    if not split.pixels.is_floating_point():
        means = [mean.mul_(255).round_().byte() for mean in means]
    middle = slice(factor // 2, None, factor)
    labels = split.labels if split.labels.ndim == 1 else split.labels[:, middle, middle]
    return Split(torch.cat(means), labels.contiguous())


def _as_floats(pixels: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1], in a new tensor; floats are returned as they are."""
    return pixels if pixels.is_floating_point() else pixels.float().div_(255)


def stratified_indices(labels: Tensor, n: int, generator: torch.Generator) -> Tensor:
    r"""Draw ``n`` indices so that each class keeps its share, in random order.

    A class with :math:`m_c` of all :math:`m` labels gets :math:`n\,m_c/m` indices, rounded down; those left
    over go one each to the classes with the largest remainders.

    Parameters
    ----------
    labels : Tensor
        Classes, int64 of shape ``(m,)``.
    n : int
        How many indices, from 1 to ``m``.
    generator : torch.Generator
        Source of the randomness.

    Returns
    -------
    Tensor
        Different indices into ``labels``, int64 of shape ``(n,)``.

    Raises
    ------
    TypeError
        If ``n`` is not an integer.
    ValueError
        If ``n`` is below 1 or above ``m``.
    """
    n = whole_number("n", n, 1, len(labels))
    counts = torch.bincount(labels)
    quota, remainder = counts * n // len(labels), counts * n % len(labels)
    left_over = n - int(quota.sum())
    quota[remainder.argsort(descending=True, stable=True)[:left_over]] += 1
    shuffled = torch.randperm(len(labels), generator=generator)
    of_class = labels[shuffled]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, size in enumerate(quota.tolist()):
        chosen[(of_class == label).nonzero()[:size]] = True
    return shuffled[chosen]
