"""The nonlinear networks that linear ones learn from."""

from itertools import pairwise

from torch import Tensor, nn

from onnlab.optics._check import whole_number


class Classifier(nn.Module):
    """A CNN in two parts: ``features`` looks at the image, ``classifier`` decides.

    Attributes
    ----------
    features, classifier : nn.Sequential
        The two parts; the first layer of the second one is a ``Flatten``.
    """

    features: nn.Sequential
    classifier: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(batch, classes)`` of images ``(batch, channels, ny, nx)``."""
        return self.classifier(self.features(x))


class LeNet(Classifier):
    """LeNet-5 with ReLU and max-pools, for images of 28 x 28 pixels (0.06 M parameters).

    Two convolutions of 5 x 5 (6 and 16 kernels), then 400-120-84-``classes``.

    Source: LeCun et al. (1998), DOI 10.1109/5.726791.
    """

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        channels, classes = whole_number("channels", channels), whole_number("classes", classes)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )


class SmallCNN(Classifier):
    """Three convolutions of 3 x 3 with BatchNorm, for small images; ``width`` scales all of it.

    Convolutions with ``width``, 2 and 4 times ``width`` kernels, each with BatchNorm, ReLU and a max-pool of
    2; then one hidden layer of 8 times ``width``.
    """

    def __init__(self, channels: int = 1, classes: int = 10, image_size: int = 28, width: int = 32) -> None:
        super().__init__()
        widths = [whole_number("channels", channels), *(whole_number("width", width) * n for n in (1, 2, 4))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        side = whole_number("image_size", image_size) // 8
        if side == 0:
            raise ValueError(f"image_size must be at least 8, for three pools of 2, got {image_size}")
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * side**2, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, whole_number("classes", classes)),
        )


class AlexNet(Classifier):
    """AlexNet for images of 224 x 224 pixels, or its small form for 32 x 32.

    For 224 pixels: five convolutions as in torchvision's version, and the head 9216-1024-256-``classes`` of
    the teacher in Xiang et al. (2022), arXiv:2102.13323. For 32 pixels: five convolutions of 3 x 3 with
    64, 192, 384, 256 and 256 kernels, three pools of 2, and the head 4096-1024-256-``classes``.

    Source: Krizhevsky, Sutskever & Hinton (2012), DOI 10.1145/3065386.
    """

    def __init__(
        self, channels: int = 3, classes: int = 10, image_size: int = 224, dropout: float = 0.5
    ) -> None:
        super().__init__()
        channels, classes = whole_number("channels", channels), whole_number("classes", classes)
        if image_size == 224:
            first = [nn.Conv2d(channels, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
            second = [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
            last: nn.Module = nn.MaxPool2d(3, 2)
            features = 256 * 6 * 6
        elif image_size == 32:
            first = [nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            second = [nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            last = nn.MaxPool2d(2)
            features = 256 * 4 * 4
        else:
            raise ValueError(f"image_size must be 32 or 224, got {image_size!r}; resize the images")
        self.features = nn.Sequential(
            *first, *second,
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
            last,
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout), nn.Linear(features, 1024), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(1024, 256), nn.ReLU(),
            nn.Linear(256, classes),
        )  # fmt: skip
