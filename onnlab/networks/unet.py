"""U-Net, the teacher of segmentation, and its form with a linear encoder."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from onnlab.networks.counterpart import Row, copied, describe_rows, linear_counterpart
from onnlab.optics._check import whole_number


class Decoder(nn.Module):
    """The half of a U-Net that grows: from the coarsest maps, level by level, to the logits of each pixel.

    A level is an up-convolution of 2 x 2 with a ReLU, the maps of the encoder at the same size put beside
    it, and ``depth`` convolutions of 3 x 3 with BatchNorm and ReLU.

    Parameters
    ----------
    widths : sequence of int
        Channels of the encoder's maps, from the finest level to the coarsest.
    classes : int
        Number of classes.
    depth : int
        Convolutions of a level; 0 for up-convolutions alone.
    """

    def __init__(self, widths: Sequence[int], classes: int, depth: int = 2) -> None:
        super().__init__()
        self.up, self.blocks = nn.ModuleList(), nn.ModuleList()
        channels = widths[-1]
        for fine in reversed(widths[:-1]):
            self.up.append(nn.Sequential(nn.ConvTranspose2d(channels, fine, 2, stride=2), nn.ReLU()))
            channels = fine if depth else 2 * fine
            self.blocks.append(_convolutions([2 * fine] + [fine] * depth))
        self.logits = nn.Conv2d(channels, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits ``(batch, classes, ny, nx)`` from maps of all levels, the finest first."""
        *skips, x = maps
        for up, block, skip in zip(self.up, self.blocks, reversed(skips), strict=True):
            x = block(torch.cat([skip, up(x)], dim=1))
        return self.logits(x)


class EncoderDecoder(nn.Module):
    """A network that shrinks the image level by level, and grows an answer from the maps of all levels.

    Attributes
    ----------
    encoder : nn.ModuleList
        Levels of the half that shrinks, each a ``Sequential``.
    decoder : Decoder
        The half that grows.
    """

    def __init__(self, levels: list[nn.Sequential], decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(levels), decoder

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(batch, classes, ny, nx)`` of images ``(batch, channels, ny, nx)``."""
        maps = []
        for level in self.encoder:
            x = level(x)
            maps.append(x)
        return self.decoder(maps)


class UNet(EncoderDecoder):
    """U-Net with BatchNorm, for images of any size that its pools can halve.

    Each level of the encoder is a max-pool of 2 (not at the first level) and two convolutions of 3 x 3 with
    BatchNorm and ReLU; the number of channels doubles from level to level. The convolutions pad, so the
    answer is as large as the image.

    Parameters
    ----------
    channels : int
        Channels of the images.
    classes : int
        Number of classes.
    width : int
        Channels of the first level; 64 in the original.
    levels : int
        Number of levels, at least 2; 5 in the original. Rows and columns of the images must be multiples of
        ``2 ** (levels - 1)``.

    Notes
    -----
    Source: Ronneberger, Fischer & Brox (2015), DOI 10.1007/978-3-319-24574-4_28.
    """

    def __init__(self, channels: int = 3, classes: int = 2, width: int = 16, levels: int = 4) -> None:
        width, levels = whole_number("width", width), whole_number("levels", levels, 2)
        widths = [width * 2**level for level in range(levels)]
        steps = pairwise([whole_number("channels", channels), *widths])
        blocks = [_convolutions([before, after, after]) for before, after in steps]
        pooled = [nn.Sequential(nn.MaxPool2d(2), *block) for block in blocks[1:]]
        super().__init__([blocks[0], *pooled], Decoder(widths, whole_number("classes", classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(batch, classes, ny, nx)`` of images ``(batch, channels, ny, nx)``."""
        step = 2 ** (len(self.encoder) - 1)
        ny, nx = x.shape[-2:]
        if ny % step or nx % step:
            raise ValueError(
                f"x must have rows and columns that are multiples of {step}, for {len(self.encoder)} levels, "
                f"got {ny} x {nx}; resize or pad the images to {-(-ny // step) * step} x "
                f"{-(-nx // step) * step}, or make a UNet with fewer levels"
            )
        return super().forward(x)


class LinearUNet(EncoderDecoder):
    """A U-Net with a linear encoder, for images of one size. Made by :func:`linear_unet`.

    Attributes
    ----------
    table : tuple of Row
        What became of each layer of the encoder.
    """

    def __init__(self, levels: list[nn.Sequential], decoder: Decoder, table: tuple[Row, ...]) -> None:
        super().__init__(levels, decoder)
        self.table = table

    def describe(self) -> str:
        """Return the table as text, a line for each layer of the encoder."""
        return describe_rows(self.table)


def linear_unet(
    model: UNet,
    input_shape: tuple[int, int, int],
    *,
    pool: str = "spectral",
    relu_in_pool: bool = False,
    borders: str = "canvas",
    copy_weights: bool = True,
) -> LinearUNet:
    """Turn the encoder of a U-Net into its linear counterpart, and keep the decoder with its nonlinearities.

    Each level goes through :func:`linear_counterpart`. What reaches the decoder, at every level, is then a
    linear function of the image, up to a constant: light can compute it, one filter for each map.

    Parameters
    ----------
    model : UNet
        The teacher. It is not changed.
    input_shape : (int, int, int)
        Channels, rows and columns of its images.
    pool, relu_in_pool, borders, copy_weights
        As for :func:`linear_counterpart`, within each level. Without ``copy_weights`` the decoder starts
        afresh too.

    Returns
    -------
    LinearUNet
        The student, and the table of what became what.

    Raises
    ------
    TypeError, ValueError
        If the model is no U-Net, or as :func:`linear_counterpart` does.

    Notes
    -----
    Source: Xiang et al. (2022), arXiv:2102.13323, on segmentation.
    """
    if not isinstance(model, UNet):
        raise TypeError(
            f"model must be a UNet, got {type(model).__name__}; use linear_counterpart for others"
        )
    levels: list[nn.Sequential] = []
    table: list[Row] = []
    image = next(model.parameters()).new_zeros(1, *input_shape)
    for index, level in enumerate(model.encoder):
        part = linear_counterpart(
            level,
            (image.shape[1], image.shape[2], image.shape[3]),
            pool=pool,
            relu_in_pool=relu_in_pool,
            borders=borders,
            copy_weights=copy_weights,
        )
        levels.append(part.features)
        table += [Row(f"{index}.{row.name}", row.before, row.after) for row in part.table]
        with torch.no_grad():
            image = part.features(image)
    return LinearUNet(levels, copied(model.decoder, copy_weights), tuple(table))


def _convolutions(widths: Sequence[int]) -> nn.Sequential:
    """Convolutions of 3 x 3 from each number of channels to the next, with BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)
