"""``{library} package module``: the reference of a module's public names, from their docstrings.

The names are read from ``package.__all__``, so that a new function needs no change in the book; they are
documented under their public path (``onnlab.optics.Grid``, wherever the class is written).
"""

import ast
import importlib
import inspect

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

FUNCTION = "```{{eval-rst}}\n.. autofunction:: {name}\n```\n"
CLASS = "```{{eval-rst}}\n.. autoclass:: {name}\n{options}```\n"
CONSTANT = "```{{eval-rst}}\n.. py:data:: {name}\n\n   {text}\n```\n"


def setup(app: Sphinx) -> None:
    app.add_directive("library", Library)
    app.connect("autodoc-process-docstring", read_as_prose, priority=400)  # before napoleon, at 500
    app.connect("missing-reference", leave_plain)


def read_as_prose(app: Sphinx, what: str, name: str, one: object, options: object, lines: list[str]) -> None:
    """Begin a property with an empty comment: napoleon takes words before a first colon as a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def leave_plain(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.TextElement | None:
    """Leave a name plain that exists without an entry of its own: a parameter, or something private."""
    if node.get("refdomain") != "py":
        return None
    module, _, name = node["reftarget"].rpartition(".")
    if module.startswith("onnlab."):
        places = [importlib.import_module(module)]
    else:
        name, module = node["reftarget"], node.get("py:module")
        places = [importlib.import_module(module)] if module else []
        if places and node.get("py:class"):
            owner = getattr(places[0], node["py:class"])
            if f"self.{name} =" in inspect.getsource(owner) or name in _parameters(owner):
                return text
            places += [owner, importlib.import_module(owner.__module__)]
    return text if any(hasattr(place, name) for place in places) else None


def _parameters(one: type) -> list[str]:
    try:
        return list(inspect.signature(one).parameters)
    except ValueError:  # a class written in C, such as an exception, does not tell
        return []


def reference(package: str, module: str) -> str:
    """Markdown that documents the public names of ``package`` which ``package.module`` defines."""
    namespace = importlib.import_module(package)
    public = namespace.__all__
    body = ast.parse(inspect.getsource(importlib.import_module(f"{package}.{module}"))).body
    blocks = []
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef) and statement.name in public:
            blocks.append(FUNCTION.format(name=f"{package}.{statement.name}"))
        elif isinstance(statement, ast.ClassDef) and statement.name in public:
            options = _members(statement) + _bases(getattr(namespace, statement.name), public)
            blocks.append(CLASS.format(name=f"{package}.{statement.name}", options=options))
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            text = _docstring_of_constant(after)
            names = [one.id for one in targets if isinstance(one, ast.Name) and one.id in public]
            blocks += [CONSTANT.format(name=f"{package}.{name}", text=text) for name in names]
    return "".join(blocks)


def _members(definition: ast.ClassDef) -> str:
    """Members that are written here and documented: not those that a base class or a decorator adds."""
    members = [
        one.name
        for one in definition.body
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_") and one.name != "extra_repr"
    ]
    return f"   :members: {', '.join(members)}\n" if members else ""


def _bases(one: type, public: list[str]) -> str:
    """Show what a class is derived from, unless that is nothing or our own private affair."""
    shown = all(
        base.__name__ in public or not base.__module__.startswith("onnlab.") for base in one.__bases__
    )
    return "   :show-inheritance:\n" if shown and one.__bases__ != (object,) else ""


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
