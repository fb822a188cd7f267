"""Tables as text."""

from collections.abc import Iterable, Sequence


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of words as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]], left: Sequence[int]) -> str:
    """Return a Markdown table; the columns that are not named as left are aligned to the right."""
    rule = [":--" if column in left else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
