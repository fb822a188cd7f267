"""Scenes that are made here: digits and shapes over textures, each pixel with its class."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from onnlab.data.cache import SHIPPED, read_arrays
from onnlab.data.dataset import Dataset, Split
from onnlab.optics._check import two_sizes, whole_number

CLASSES = ("background", "digit", "disc", "rectangle", "triangle", "ring")
CREDIT = (
    "Scenes: made by onnlab.data.scenes, with digits of MNIST (Y. LeCun, C. Cortes, C. J. C. Burges; "
    "CC BY-SA 3.0)"
)
CHUNK = 250  # pictures painted at a time, so that the memory stays small


def scenes(
    size: int | tuple[int, int] = 64,
    *,
    train: int = 1000,
    validation: int = 200,
    test: int = 300,
    channels: int = 1,
    objects: int = 5,
    noise: float = 0.03,
    figure_ground: bool = False,
    seed: int = 0,
) -> Dataset:
    """Make pictures of digits, discs, rectangles, triangles and rings that cover each other, and their masks.

    Objects and background have the same kinds of texture: blotches and a grating about a mean. So neither
    brightness nor texture tells the class; the shape does. Objects are painted one over the other, without
    soft edges: each pixel shows one thing, and the masks are exact.

    Parameters
    ----------
    size : int or (int, int)
        Rows and columns, each at least 16.
    train, validation, test : int
        Number of pictures. No digit of mnist-mini is in two splits.
    channels : int
        1 for grey, 3 for colour.
    objects : int
        Objects painted in each picture. Some may end up hidden.
    noise : float
        Standard deviation of the noise of each pixel, where white is 1.
    figure_ground : bool
        Tell two classes apart only: ``"background"``, which is 0, and ``"object"`` of any kind, 1.
    seed : int
        The same seed gives the same pictures.

    Returns
    -------
    Dataset
        Labels int64 ``(n, ny, nx)``. No pixel is void.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """
    shape = two_sizes("size", size, 16)
    whole_number("channels", channels)
    whole_number("objects", objects)
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise must be from 0 up, got {noise}; 0.03 is usual")
    whole_number("seed", seed, 0)
    arrays = read_arrays(SHIPPED)
    digits = {name: torch.from_numpy(arrays[f"x_{name}"]) for name in ("train", "validation", "test")}
    counts = {"train": train, "validation": validation, "test": test}
    seeds = torch.randint(2**31, (3,), generator=Generator().manual_seed(seed)).tolist()
    splits = {}
    for (name, count), split_seed in zip(counts.items(), seeds, strict=True):
        generator = Generator().manual_seed(split_seed)
        painter = _Painter(digits[name], shape, channels, objects, noise, generator)
        sizes = [len(part) for part in torch.arange(whole_number(name, count)).split(CHUNK)]
        pixels, labels = zip(*(painter.paint(n) for n in sizes), strict=True)
        classes = torch.cat(labels)
        splits[name] = Split(torch.cat(pixels), classes.clamp(max=1) if figure_ground else classes)
    names = (CLASSES[0], "object") if figure_ground else CLASSES
    return Dataset("scenes", splits["train"], splits["validation"], splits["test"], names, CREDIT)


class _Painter:
    """Paints pictures, all of a chunk at once: background, then one object over the other."""

    def __init__(
        self,
        digits: Tensor,
        shape: tuple[int, int],
        channels: int,
        objects: int,
        noise: float,
        generator: Generator,
    ) -> None:
        self.digits, self.shape, self.channels = digits, shape, channels
        self.objects, self.noise, self.generator = objects, noise, generator
        # The shorter side is 1, the origin in the middle.
        y, x = (torch.arange(n) - (n - 1) / 2 for n in shape)
        self.y, self.x = y[:, None] / min(shape), x / min(shape)

    def paint(self, n: int) -> tuple[Tensor, Tensor]:
        """Return uint8 pixels ``(n, channels, ny, nx)`` and their classes ``(n, ny, nx)``."""
        mean = self.uniform(0, 1, n, self.channels, 1, 1)
        picture = self.texture(0.1 + 0.8 * mean)
        labels = torch.zeros(n, *self.shape, dtype=torch.int64)
        for _ in range(self.objects):
            kind = torch.randint(1, len(CLASSES), (n,), generator=self.generator)
            mask = self.object(kind)
            # A fresh mean keeps its distance from that of the background, round the circle from 0 to 1.
            fresh = (mean + self.uniform(0.3, 0.7, n, self.channels, 1, 1)) % 1
            picture = torch.where(mask[:, None], self.texture(0.1 + 0.8 * fresh), picture)
            labels = torch.where(mask, kind[:, None, None], labels)
        grain = torch.randn(picture.shape, generator=self.generator)
        bytes_ = ((picture + self.noise * grain).clamp(0, 1) * 255).round().to(torch.uint8)
        return bytes_, labels

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def texture(self, mean: Tensor) -> Tensor:
        """Blotches and a grating about a mean ``(n, channels, 1, 1)``."""
        n = len(mean)
        coarse = torch.randn(n, 1, 5, 5, generator=self.generator)
        blotches = F.interpolate(coarse, self.shape, mode="bilinear", align_corners=True)
        angle, start = self.uniform(0, math.pi, n, 1, 1), self.uniform(0, 2 * math.pi, n, 1, 1)
        turns = 2 * math.pi * self.uniform(3, 12, n, 1, 1)
        grating = torch.cos(turns * (self.x * angle.cos() + self.y * angle.sin()) + start)
        strengths = self.uniform(0, 0.08, 2, n, self.channels, 1, 1)
        return mean + strengths[0] * blotches + strengths[1] * grating[:, None]

    def object(self, kind: Tensor) -> Tensor:
        """Masks ``(n, ny, nx)`` of objects of these kinds, at random places, of random size and tilt."""
        n = len(kind)
        radius = self.uniform(0.12, 0.24, n, 1, 1)
        # Digits stand upright, more or less: a 6 is no 9. What they leave of their square is background.
        upright = (kind == CLASSES.index("digit"))[:, None, None]
        angle = self.uniform(-1, 1, n, 1, 1) * torch.where(upright, 0.3, math.pi)
        y = (self.y - self.uniform(0.8, -0.8, n, 1, 1) * self.y.max()) / radius
        x = (self.x - self.uniform(0.8, -0.8, n, 1, 1) * self.x.max()) / radius
        u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        slimness = self.uniform(0.4, 0.9, n, 1, 1)
        which = torch.randint(len(self.digits), (n,), generator=self.generator)
        mask = torch.empty(n, *self.shape, dtype=torch.bool)
        for index, name in enumerate(CLASSES[1:], start=1):
            chosen = kind == index
            at = u[chosen], v[chosen]
            if name == "digit":
                mask[chosen] = _digit(*at, self.digits[which[chosen]])
            elif name == "rectangle":
                mask[chosen] = (at[0].abs() < 1) & (at[1].abs() < slimness[chosen])
            else:
                mask[chosen] = SHAPES[name](*at)
        return mask


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    slant = math.sqrt(3) / 2
    return torch.stack([v, slant * u - v / 2, -slant * u - v / 2]).amax(0) < 0.6


SHAPES = {
    "disc": lambda u, v: u**2 + v**2 < 1,
    "triangle": _triangle,
    "ring": lambda u, v: (u**2 + v**2 - 0.65).abs() < 0.35,  # radii 0.55 to 1
}


def _digit(u: Tensor, v: Tensor, digits: Tensor) -> Tensor:
    """Strokes of digits uint8 ``(n, 28, 28)``, a little larger than the other objects."""
    places = torch.stack([u, v], dim=-1) / 1.5
    return F.grid_sample(digits[:, None].float(), places, align_corners=False)[:, 0] > 127
