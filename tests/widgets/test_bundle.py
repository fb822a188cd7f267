"""The JavaScript as one text, and the twin in HTML."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import torch

from onnlab.widgets import (
    BuiltPSF,
    DeviceDesign,
    Diffraction,
    FourierMask,
    KernelHeatMap,
    MaskOverlay,
    MergeKernels,
    PaintKernel,
    PoolImage,
    Quiz,
    Temperature,
)
from onnlab.widgets._bundle import FALLBACK, SHARED, STATIC, bundle, modules, twin
from onnlab.widgets._explorable import Explorable
from tests.widgets import examples

READY = [DeviceDesign, Diffraction, FourierMask, MergeKernels, PaintKernel, PoolImage, Temperature]
WIDGETS = [*READY, BuiltPSF, KernelHeatMap, MaskOverlay, Quiz]
QUESTIONS = ["Choice", "NumberQuestion", "Question", "Trap", "read_questions"]


def test_modules_are_those_of_the_widgets() -> None:
    assert modules() == sorted(widget.module for widget in WIDGETS)


@pytest.mark.parametrize("name", modules())
def test_bundle_is_self_contained(name: str) -> None:
    text = bundle(name)
    assert not re.search(
        r"^\s*import\b|\bimport\(|\brequire\(|\bfetch\(|XMLHttpRequest|WebSocket", text, re.M
    )
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text)
    assert text.count("export default {") == 1
    assert "url(" not in text and "@import" not in text


@pytest.mark.parametrize("name", modules())
def test_bundle_is_a_module_that_renders(name: str) -> None:
    script = """
        import { readFileSync } from "node:fs";
        const source = readFileSync(0, "utf8");
        const module = await import("data:text/javascript;base64," + Buffer.from(source).toString("base64"));
        process.stdout.write(typeof module.default.render);
    """
    command = [shutil.which("node") or "node", "--input-type=module", "-e", script]
    done = subprocess.run(command, input=bundle(name), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "function", "")


def test_modules_share_nothing_but_what_is_shared() -> None:
    for name in modules():
        sources = re.findall(r'from "(.+?)";', (STATIC / f"{name}.js").read_text(encoding="utf-8"))
        assert set(sources) <= {f"./{shared}.js" for shared in SHARED}


@pytest.mark.parametrize("name", ["nothing", "lib", "../diffraction", ""])
def test_unknown_module(name: str) -> None:
    with pytest.raises(ValueError, match="name must be one of built_psf, device_design, "):
        bundle(name)


class Twin(HTMLParser):
    """Reads the attributes and the text of a twin as a browser does."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert (tag, self.attributes) == ("div", {})
        self.attributes = dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_twin_survives_any_text() -> None:
    state = {
        "text": "\"quoted\" <b> & 'single' π",
        "rows": [[1.5, -2]],
        "raw": bytes(range(256)),
        "block": {"shape": [2, 1], "data": bytes(8)},
    }
    read = Twin(twin("diffraction", state))
    assert read.attributes["class"] == "onnlab-explorable"
    assert read.attributes["data-module"] == "diffraction"
    decoded = json.loads(read.attributes["data-state"] or "")
    assert decoded["text"] == state["text"]
    assert decoded["rows"] == state["rows"]
    assert decoded["raw"].keys() == {"__b64__"}
    assert decoded["block"] == {"shape": [2, 1], "data": {"__b64__": "AAAAAAAAAAA="}}
    assert read.text == FALLBACK


@pytest.mark.parametrize(
    "make", [*READY, examples.answers, examples.kernels, examples.lens, examples.masks, examples.quiz]
)
def test_repr_has_the_widget_and_its_twin(make: Callable[[], Explorable]) -> None:
    shown = make()
    bundle_ = shown._repr_mimebundle_()
    assert bundle_["application/vnd.jupyter.widget-view+json"]["model_id"] == shown.model_id
    assert bundle_["text/html"] == shown.twin()
    read = Twin(shown.twin())
    assert read.attributes["data-module"] == shown.module
    state = json.loads(read.attributes["data-state"] or "")
    (widget,) = (one for one in WIDGETS if isinstance(shown, one))
    assert set(state) == set(widget.class_own_traits(sync=True))
    assert len(shown.twin()) < 1500 or make not in READY  # a default needs no data


def test_twin_carries_what_python_set() -> None:
    mask = torch.polar(torch.rand(128, 128), torch.rand(128, 128))
    state = json.loads(Twin(FourierMask(mask=mask).twin()).attributes["data-state"] or "")
    assert set(state) == {"mask", "object", "pitch", "wavelength", "focal_length"}
    assert state["object"] == {"__b64__": ""}
    assert len(state["mask"]["__b64__"]) > 4 * 2 * 128 * 128


def without(modules: list[str], lines: str) -> None:
    """Run Python in which these modules cannot be imported."""
    hidden = f"import sys\nfor name in {modules}: sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", hidden + lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_bundle_needs_neither_jupyter_nor_torch() -> None:
    lines = (
        "from onnlab.widgets._bundle import bundle, modules\nassert all(bundle(name) for name in modules())"
    )
    without(["anywidget", "ipywidgets", "traitlets", "torch"], lines)


def test_questions_need_no_jupyter() -> None:
    lines = "from onnlab.widgets import Choice; assert Choice('yes', right=True).right"
    without(["anywidget", "ipywidgets", "traitlets"], lines)


def test_without_jupyter_the_error_says_what_to_install() -> None:
    lines = """
import onnlab.widgets
try:
    onnlab.widgets.Diffraction
except ImportError as error:
    assert 'pip install "onnlab[lab]"' in str(error), error
else:
    raise SystemExit("no error")
"""
    without(["anywidget", "ipywidgets", "traitlets"], lines)


def test_unknown_widget() -> None:
    import onnlab.widgets

    with pytest.raises(AttributeError, match="it has BuiltPSF, Choice, DeviceDesign, "):
        onnlab.widgets.Nothing  # noqa: B018
    assert dir(onnlab.widgets) == sorted([*(widget.__name__ for widget in WIDGETS), *QUESTIONS])
