"""``{library} package module``: the reference of a module's public names, from their docstrings.

The names are read from ``package.__all__``, so that a new function needs no change in the book; they are
documented under their public path (``onnlab.optics.Grid``, wherever the class is written).
"""

import ast
import importlib
import inspect

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FUNCTION = "```{{eval-rst}}\n.. autofunction:: {name}\n```\n"
CLASS = "```{{eval-rst}}\n.. autoclass:: {name}\n{options}```\n"
CONSTANT = "```{{eval-rst}}\n.. py:data:: {name}\n\n   {text}\n```\n"


def setup(app: Sphinx) -> None:
    app.add_directive("library", Library)
    app.connect("autodoc-process-docstring", read_as_prose, priority=400)  # before napoleon, at 500


def read_as_prose(app: Sphinx, what: str, name: str, one: object, options: object, lines: list[str]) -> None:
    """Begin a property with an empty comment: napoleon takes words before a first colon as a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def reference(package: str, module: str) -> str:
    """Markdown that documents the public names of ``package`` which ``package.module`` defines."""
    public = importlib.import_module(package).__all__
    body = ast.parse(inspect.getsource(importlib.import_module(f"{package}.{module}"))).body
    blocks = []
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef) and statement.name in public:
            blocks.append(FUNCTION.format(name=f"{package}.{statement.name}"))
        elif isinstance(statement, ast.ClassDef) and statement.name in public:
            blocks.append(CLASS.format(name=f"{package}.{statement.name}", options=_options(statement)))
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            text = _docstring_of_constant(after)
            names = [one.id for one in targets if isinstance(one, ast.Name) and one.id in public]
            blocks += [CONSTANT.format(name=f"{package}.{name}", text=text) for name in names]
    return "".join(blocks)


def _options(definition: ast.ClassDef) -> str:
    """Members that are written here and documented: not those that a base class or a decorator adds."""
    members = [
        one.name
        for one in definition.body
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_") and one.name != "extra_repr"
    ]
    options = f"   :members: {', '.join(members)}\n" if members else ""
    return options + ("   :show-inheritance:\n" if definition.bases else "")


def _docstring_of_constant(after: ast.stmt | None) -> str:
    documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    return inspect.cleandoc(str(after.value.value)).replace("\n", "\n   ") if documented else ""


class Library(SphinxDirective):
    """Document the public names of one module."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        package, module = self.arguments
        text = reference(package, module)
        if not text:
            raise self.error(f"{package}.__all__ has no name that is written in {package}.{module}")
        part = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), source=f"{package}.{module}"), 0, part)
        return part.children
