"""A course with the book: exercises without their solutions, and the grading of what comes back.

The exercises are notebooks in the dialect of nbgrader. What is here does its work for a folder of notebooks;
where a course runs nbgrader, the same files go in there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnlab.course.grading import Graded, Item, Student, grade
    from onnlab.course.release import SourceError, release_folder
    from onnlab.course.report import write_report
    from onnlab.course.sandbox import Limits, SandboxError

__all__ = [
    "Graded",
    "Item",
    "Limits",
    "SandboxError",
    "SourceError",
    "Student",
    "grade",
    "release_folder",
    "write_report",
]

_MODULES = {
    "Graded": "grading",
    "Item": "grading",
    "Limits": "sandbox",
    "SandboxError": "sandbox",
    "SourceError": "release",
    "Student": "grading",
    "grade": "grading",
    "release_folder": "release",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    # Looked up when asked for: the command line knows this package, and has to work without Jupyter.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        module = import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        raise ImportError(f'{name} needs {error.name}; install it with pip install "onnlab[lab]"') from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
