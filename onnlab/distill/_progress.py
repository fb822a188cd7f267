"""One line on standard error that tells how far a training is."""

import sys
import time
from types import TracebackType

from onnlab.distill.history import Epoch

PAUSE = 0.2  # seconds between two changes of the line


class Progress:
    """A line that is written over; silent if not wanted. Leaving the context ends it."""

    def __init__(self, epochs: int, steps: int, wanted: bool) -> None:
        self.epochs, self.steps, self.wanted = epochs, steps, wanted
        self.last = ""  # what the epoch before came to
        self.length = 0
        self.due = 0.0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.length:
            print(file=sys.stderr)

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Tell that a step is done, both counted from 0."""
        if self.wanted and time.monotonic() >= self.due:
            share = (step + 1) / self.steps
            self._write(f"epoch {epoch + 1}/{self.epochs} {share:4.0%}  loss {loss:.4f}{self.last}")

    def epoch(self, row: Epoch) -> None:
        """Tell that an epoch is done."""
        if self.wanted:
            self.last = f"  validation {row.validation_accuracy:.2%}  {row.seconds:.1f} s/epoch"
            self._write(f"epoch {row.epoch}/{self.epochs} 100%  loss {row.training_loss:.4f}{self.last}")

    def _write(self, text: str) -> None:
        print("\r" + text.ljust(self.length), end="", file=sys.stderr, flush=True)
        self.length = len(text)
        self.due = time.monotonic() + PAUSE
