"""How far a training is, on standard error: in one line, or among others in a line each minute."""

import sys
import time
from types import TracebackType

from onnlab.distill.history import Epoch

PAUSE = 0.2  # seconds between two changes of the line
MINUTE = 60.0


class Progress:
    """A line that is written over; silent if not wanted. Leaving the context ends it.

    If ``wanted`` is the name of the training, it is a line each minute that starts with it.
    """

    def __init__(self, epochs: int, steps: int, wanted: bool | str) -> None:
        self.epochs, self.steps, self.wanted = epochs, steps, bool(wanted)
        self.name = wanted if isinstance(wanted, str) else ""
        self.last = ""  # what the epoch before came to
        self.length = 0
        self.due = time.monotonic() + MINUTE if self.name else 0.0

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
            if not self.name:
                self._write(f"epoch {row.epoch}/{self.epochs} 100%  loss {row.training_loss:.4f}{self.last}")

    def _write(self, text: str) -> None:
        if self.name:
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)
            self.due = time.monotonic() + MINUTE
            return
        print("\r" + text.ljust(self.length), end="", file=sys.stderr, flush=True)
        self.length = len(text)
        self.due = time.monotonic() + PAUSE
