"""Numbers as people read them: SI prefixes, round lengths, tick labels."""

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def si_unit(largest: float, unit: str) -> tuple[float, str]:
    """Choose the SI prefix that leaves 1 to 999 before the decimal point.

    Parameters
    ----------
    largest : float
        Largest magnitude to be shown, in ``unit``.
    unit : str
        A unit such as ``"m"``, its inverse ``"1/m"``, or ``""`` for a pure number, which has no prefix.

    Returns
    -------
    (float, str)
        ``scale`` and label: the number to show is ``value / scale``.

    Examples
    --------
    >>> si_unit(2.5e-4, "m")
    (1e-06, 'µm')
    >>> si_unit(5e4, "1/m")
    (1000.0, '1/mm')
    """
    largest = abs(largest)
    if not unit or largest == 0 or not math.isfinite(largest):
        return 1.0, unit
    # A hair is added so that 1e-6, stored as 0.999...e-6, still counts as one micro.
    exponent = 3 * math.floor(math.log10(largest * (1 + 1e-9)) / 3)
    exponent = min(max(exponent, -12), 12)
    if unit.startswith("1/"):
        return 10.0**exponent, f"1/{_PREFIXES[-exponent]}{unit[2:]}"
    return 10.0**exponent, f"{_PREFIXES[exponent]}{unit}"


def quantity(value: float, unit: str) -> str:
    """Write ``value`` with its unit and prefix to four digits: ``quantity(0.1, "m") == "100 mm"``."""
    scale, label = si_unit(value, unit)
    return f"{_number(value / scale)} {label}".rstrip()


def round_length(limit: float) -> float:
    """Return the largest length of the form 1, 2 or 5 times a power of ten that is at most ``limit``."""
    power = 10.0 ** math.floor(math.log10(limit * (1 + 1e-9)))
    return max(m for m in (1, 2, 5) if m * power <= limit * (1 + 1e-9)) * power


def label_axis(
    ax: Axes, which: Literal["x", "y"], name: str, unit: str, largest: float | None = None
) -> None:
    """Label an axis whose data are in ``unit``, with ticks in the prefix that suits its limits.

    Or that suits ``largest``, to have the same one on two axes.
    """
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    scale, label = si_unit(max(abs(low), abs(high)) if largest is None else largest, unit)
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_label_text(f"{name} ({label})" if label else name)
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _number(value / scale)))


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
