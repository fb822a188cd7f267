"""Part IV of the book: devices that can be built, what they cost, and what breaks on the way."""

from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.metasurface import Metasurface
from onnlab.hardware.sensor import at_sensor

__all__ = ["MetaAtoms", "Metasurface", "at_sensor"]
