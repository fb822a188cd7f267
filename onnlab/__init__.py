"""Optical neural networks from the wave equation up: the library behind the book.

Each part of the book has its sub-package: part I is taught with :mod:`onnlab.optics`. Data sets come from
:mod:`onnlab.data`, figures from :mod:`onnlab.viz`, and the explorables from :mod:`onnlab.widgets`, the only
sub-package that needs Jupyter. Import what you use: ``import onnlab`` alone loads nothing heavy.
"""

__version__ = "0.1.0"
