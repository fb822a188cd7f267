"""Pictures of light, kernels and training in one style. Every function returns a figure and shows nothing."""

from onnlab.viz._image import add_scale_bar
from onnlab.viz.bench import Element, draw_bench, four_f_bench, trace_rays
from onnlab.viz.colours import PHASE_MAP, SIGNED_MAP, domain_colours, phase_colours
from onnlab.viz.layouts import show_layout
from onnlab.viz.planes import Plane, show_field, show_intensity, show_kernel, show_planes
from onnlab.viz.plots import image_grid, show_history, show_profile
from onnlab.viz.style import PALETTE, Figure, style, subplots

__all__ = [
    "PALETTE",
    "PHASE_MAP",
    "SIGNED_MAP",
    "Element",
    "Figure",
    "Plane",
    "add_scale_bar",
    "domain_colours",
    "draw_bench",
    "four_f_bench",
    "image_grid",
    "phase_colours",
    "show_field",
    "show_history",
    "show_intensity",
    "show_kernel",
    "show_layout",
    "show_planes",
    "show_profile",
    "style",
    "subplots",
    "trace_rays",
]
