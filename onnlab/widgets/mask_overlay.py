"""The explorable of chapter 9: masks of several models over an image, and a threshold."""

from collections.abc import Mapping
from typing import Any

import torch
import traitlets
from torch import Tensor

from onnlab.widgets._explorable import Explorable
from onnlab.widgets._traits import Block, check_shares


class MaskOverlay(Explorable):
    """Where each of some models finds an object, claims it wrongly, or misses it; live over the threshold.

    What is given cannot be changed later; :attr:`threshold` and :attr:`shown` can, here and in the browser.

    Parameters
    ----------
    images : Tensor or array
        Between 0 and 1, ``(n, ny, nx)``, or ``(n, channels, ny, nx)``, of which the mean is shown. A page
        carries all of it: keep them few and small.
    masks : Tensor or array
        The truth, ``(n, ny, nx)``: true or 1 where the object is.
    probabilities : mapping of str to Tensor or array
        For each model, by its name, the probability of the object, ``(n, ny, nx)``. One to three models; the
        difference is that of the first and the last.
    threshold : float
        A pixel is claimed if its probability is at least this, 0 to 1.
    shown : int
        Index of the image that is shown.

    Examples
    --------
    >>> answers = {"teacher": teacher(x).softmax(1)[:, 1], "student": student(x).softmax(1)[:, 1]}
    >>> MaskOverlay(x, masks, answers)
    """

    module = "mask_overlay"

    images = Block(lambda: torch.empty(0, 0, 0), check_shares)
    masks = Block(lambda: torch.empty(0, 0, 0), check_shares)
    probabilities = Block(lambda: torch.empty(0, 0, 0, 0), check_shares)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    threshold = traitlets.Float(0.5).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)

    def __init__(self, images: Any, masks: Any, probabilities: Mapping[str, Any], **state: Any) -> None:
        images, masks = torch.as_tensor(images).detach().cpu().float(), torch.as_tensor(masks).detach().cpu()
        images = images.mean(1) if images.ndim == 4 else images
        if not 1 <= len(probabilities) <= 3:
            raise ValueError(f"probabilities must be of one to three models, got {len(probabilities)}")
        if images.ndim != 3 or images.numel() == 0:
            raise ValueError(
                f"images must have shape (n, ny, nx) or (n, channels, ny, nx), got {tuple(images.shape)}"
            )
        answers = {name: torch.as_tensor(values).detach().cpu() for name, values in probabilities.items()}
        for name, values in {"masks": masks, **answers}.items():
            if values.shape != images.shape:
                raise ValueError(
                    f"{name} must have the shape {tuple(images.shape)} of the images, got "
                    f"{tuple(values.shape)}; take the channel of the object"
                )
        super().__init__(
            images=images,
            masks=masks,
            probabilities=torch.stack(list(answers.values())),
            names=list(answers),
            **state,
        )

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal: dict) -> float:
        if not 0 <= proposal["value"] <= 1:
            raise ValueError(f"threshold must be from 0 to 1, got {proposal['value']}; it is a probability")
        return proposal["value"]

    @traitlets.validate("shown")
    def _check_shown(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(self.images):
            raise ValueError(f"shown must be from 0 to {len(self.images) - 1}, got {proposal['value']}")
        return proposal["value"]

    @property
    def scores(self) -> Tensor:
        """Intersection over union of the object, for each model on each image: float64, ``(models, n)``.

        Two empty masks agree: 1. :func:`~onnlab.distill.segmentation_scores` counts the pixels of all images
        together instead.
        """
        claimed, true = self.probabilities.double() >= self.threshold, self.masks > 0.5
        both, either = (claimed & true).sum((-2, -1)), (claimed | true).sum((-2, -1))
        return torch.where(either > 0, both.double() / either.clamp(min=1), 1.0)
