"""Training, and distillation: learning from a teacher instead of from labels alone."""

from onnlab.distill.augment import Augmentation, compose, mixup, random_flip, random_shift
from onnlab.distill.checkpoint import load_checkpoint, save_checkpoint
from onnlab.distill.history import Epoch, History, Scores
from onnlab.distill.kd import kd_loss
from onnlab.distill.ntk import ntk, ntk_trace
from onnlab.distill.ntkd import NTKD, ntkd_loss
from onnlab.distill.objectives import KD, Batch, CrossEntropy, Objective
from onnlab.distill.parallel import is_first, process_group
from onnlab.distill.segmentation import (
    Dice,
    SegmentationScores,
    confusion_matrix,
    dice_loss,
    scores_of,
    segmentation_scores,
)
from onnlab.distill.shipped import PRETRAINED, Pretrained, pretrained
from onnlab.distill.training import constant, cosine, evaluate, fit

__all__ = [
    "KD",
    "NTKD",
    "PRETRAINED",
    "Augmentation",
    "Batch",
    "CrossEntropy",
    "Dice",
    "Epoch",
    "History",
    "Objective",
    "Pretrained",
    "Scores",
    "SegmentationScores",
    "compose",
    "confusion_matrix",
    "constant",
    "cosine",
    "dice_loss",
    "evaluate",
    "fit",
    "is_first",
    "kd_loss",
    "load_checkpoint",
    "mixup",
    "ntk",
    "ntk_trace",
    "ntkd_loss",
    "pretrained",
    "process_group",
    "random_flip",
    "random_shift",
    "save_checkpoint",
    "scores_of",
    "segmentation_scores",
]
