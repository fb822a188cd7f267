"""The JavaScript of the explorables as single texts, and their twins in HTML. Needs no Jupyter.

A module of ``static/`` imports what it shares with the others. For browsers all of it is joined into one
self-contained ES module, ``export default { render({ model, el }) }``, where ``render`` returns a function
that cleans up. JupyterLab runs it through anywidget. A static page finds the twin

.. code-block:: html

    <div class="onnlab-explorable" data-module="NAME" data-state="JSON">sentence</div>

imports the module ``NAME`` and calls ``render`` with the ``div`` as ``el`` and a stand-in ``model`` that has
``get(name)``, ``set(name, value)``, ``on("change:name", callback)``, ``off(event, callback)`` and
``save_changes()``. The state is a JSON object. Binary values are written ``{"__b64__": "..."}``; the page
decodes them into a ``DataView``, which is what anywidget passes for bytes. They hold little-endian float32
numbers, or nothing: then the module's default holds. A name that is missing means the default, too. A tensor
without a fixed shape is an object of its ``shape`` and its ``data``.
"""

import base64
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

STATIC = Path(__file__).with_name("static")
SHARED = ("lib", "style", "ui", "charts", "paint", "kernels")  # in this order: each uses only those before it

_IMPORT = re.compile(r'^import [^;]*? from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|function)", re.MULTILINE)
_DIGIT = re.compile(r"export const DIGIT =([^;]*);")

FALLBACK = (
    "A live experiment belongs here. It needs JavaScript: use a browser, or the notebook in JupyterLab."
)


def modules() -> list[str]:
    """Names of all explorables: those of the files in ``static/`` that are not shared."""
    return sorted(path.stem for path in STATIC.glob("*.js") if path.stem not in SHARED)


def bundle(name: str) -> str:
    """Return the explorable ``name`` as the text of one ES module without imports.

    Raises
    ------
    ValueError
        If there is no such module.
    """
    if name not in modules():
        raise ValueError(f"name must be one of {', '.join(modules())}, got {name!r}")
    texts = [_IMPORT.sub("", (STATIC / f"{part}.js").read_text(encoding="utf-8")) for part in (*SHARED, name)]
    shared = [_EXPORT.sub("", text) for text in texts[:-1]]
    return "\n".join([*shared, texts[-1]])


def twin(name: str, state: Mapping[str, Any]) -> str:
    """Return the HTML in which a static page mounts the explorable ``name`` with ``state``.

    Values are JSON types or bytes. The format is described at the top of this module.
    """
    data = json.dumps(_encode(state), separators=(",", ":"))
    attributes = f'class="onnlab-explorable" data-module="{name}" data-state="{html.escape(data)}"'
    return f"<div {attributes}>{FALLBACK}</div>"


def digit() -> np.ndarray:
    """Return the digit that the explorables start with: uint8, shape (28, 28), kept in ``lib.js``."""
    match = _DIGIT.search((STATIC / "lib.js").read_text(encoding="utf-8"))
    assert match is not None
    text = "".join(re.findall(r'"([^"]*)"', match[1]))
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(28, 28)


def _encode(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"__b64__": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {key: _encode(part) for key, part in value.items()}
    return value
