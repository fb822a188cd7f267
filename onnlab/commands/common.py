"""What several commands share."""

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class CommandError(Exception):
    """What was asked for cannot be done; the text says why, and what to do."""


def count(text: str) -> int:
    """Read a number of things of which there must be one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def check_folder(place: Path, option: str, *, write: bool = True) -> None:
    """Raise unless a folder is there or can be made; before hours of work are lost."""
    there = next(one for one in (place, *place.absolute().parents) if one.exists())
    if not there.is_dir():
        raise CommandError(f"{option} must be a folder, got {place}: {there} is a file; name another")
    if write and not os.access(there, os.W_OK):
        raise CommandError(
            f"{option} must be a folder to write to, got {place}: {there} cannot be written to; name another"
        )


def check_file(place: Path, option: str) -> None:
    """Raise unless a file can be written; before hours of work are lost."""
    if place.is_dir():
        raise CommandError(f"{option} must be a file, and {place} is a folder; name a file in it")
    check_folder(place.parent, f"the folder of {option}")


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, by which systems end what runs too long, interrupt the block, so that it can clean up."""
    if threading.current_thread() is not threading.main_thread():  # no other can say what signals do
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
