"""The style leaks nowhere, needs no pyplot, and a notebook shows a figure exactly once."""

import base64
import io
import subprocess
import sys

import matplotlib
import matplotlib.image
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from onnlab.viz import Figure, show_kernel, show_profile, style, subplots

KERNEL = [[1.0, 0.0], [0.0, -1.0]]


def test_style_holds_inside_its_context_only():
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["axes.spines.top"] is False
        assert matplotlib.rcParams["figure.facecolor"] == "white"
    show_kernel(KERNEL)._repr_png_()
    assert dict(matplotlib.rcParams) == before


def test_figures_do_not_depend_on_the_settings_of_the_user():
    plain = show_kernel(KERNEL)._repr_png_()[0]
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.facecolor": "black"}):
        assert show_kernel(KERNEL)._repr_png_()[0] == plain


def test_importing_and_drawing_load_no_pyplot():
    script = (
        "import sys, onnlab; assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules;"
        "import onnlab.viz as viz; viz.show_kernel([[1.0]])._repr_png_();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_picture_is_opaque_white_and_twice_as_fine_as_its_width():
    fig = show_profile([0, 1], [0, 1])
    data, metadata = fig._repr_png_()
    picture = matplotlib.image.imread(io.BytesIO(data))
    assert metadata == {"width": round(7.2 * 96)}
    assert picture.shape[1] == pytest.approx(2 * metadata["width"], abs=2)
    assert (picture[..., 3:] == 1).all()
    assert np.allclose(picture[0, 0, :3], 1)


def test_subplots_have_the_asked_shape_and_size():
    fig, axes = subplots(2, 3, width=6.0)
    assert isinstance(fig, Figure)
    assert axes.shape == (2, 3)
    assert tuple(fig.get_size_inches()) == pytest.approx((6.0, 3.0))
    with pytest.raises(ValueError, match="rows and columns must be at least 1, got 0 and 3"):
        subplots(0, 3)


def test_lines_differ_in_colour_and_dashes():
    fig = show_profile([0, 1], {str(i): [i, i] for i in range(6)})
    lines = fig.axes[0].lines
    assert len({line.get_color() for line in lines}) == 6
    assert len({str(line._dash_pattern) for line in lines}) == 6


@pytest.mark.slow
def test_a_notebook_shows_a_figure_exactly_once(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)  # as on a reader's machine
    cells = [
        "from onnlab import viz\nviz.show_kernel([[1.0, 2.0]])",
        "figure = viz.show_kernel([[1.0, 2.0]])",
        "display(figure)",
        "import matplotlib.pyplot as plt\nviz.show_kernel([[1.0, 2.0]])",
        "fig, ax = plt.subplots()",  # pyplot itself still works beside it
        "viz.show_kernel([[1.0, 2.0]])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    pictures = [[o for o in cell.outputs if "image/png" in o.get("data", {})] for cell in notebook.cells]
    assert [len(shown) for shown in pictures] == [1, 0, 1, 1, 1, 1]
    assert base64.b64decode(pictures[0][0].data["image/png"]).startswith(b"\x89PNG")
    assert pictures[0][0].metadata["image/png"]["width"] == 432
