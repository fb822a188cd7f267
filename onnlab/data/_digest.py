"""What tells images, labels and weights apart: a hash of their numbers."""

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from onnlab.data.dataset import Split


def raw(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor of any type, in the order of its indices."""
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def digest(*splits: "Split") -> str:
    """Return the SHA-256 of all pixels and labels of some splits."""
    found = hashlib.sha256()
    for split in splits:
        found.update(raw(split.pixels))
        found.update(raw(split.labels))
    return found.hexdigest()
