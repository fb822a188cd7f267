"""What several commands share."""

import argparse


class CommandError(Exception):
    """What was asked for cannot be done; the text says why, and what to do."""


def count(text: str) -> int:
    """Read a number of things of which there must be one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)
