"""A pytest plugin for notebooks under nbval: keep what their cells put out, so that the site shows that run.

Load it with ``-p tests.notebooks.executed --executed FOLDER``. The folder is emptied, and becomes a cache of
``jupyter_cache``, where myst-nb looks for a notebook by its code. One that failed is not in it.
"""

from collections.abc import Generator
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbval.plugin import IPyNbCell, IPyNbFile

PASSED = pytest.StashKey[int]()  # how many cells of a notebook


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("outputs of notebooks")
    group.addoption("--executed", type=Path, help="folder that keeps the notebooks as they were executed")


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("executed")
    if folder and not hasattr(config, "workerinput"):  # before pytest-xdist has workers, which share it
        cache = get_cache(folder)
        cache.clear_cache()
        cache.list_cache_records()  # makes the folder and its index


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the other plugins, which may fail a cell
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if not (item.config.getoption("executed") and isinstance(item, IPyNbCell)):
        return (yield)
    outcome = yield
    item.parent.stash[PASSED] = item.parent.stash.get(PASSED, 0) + 1
    item.cell.execution_count = item.cell_num + 1
    item.cell.outputs = [numbered(one, item.cell_num + 1) for one in item.test_outputs]
    return outcome


def numbered(output: nbformat.NotebookNode, number: int) -> nbformat.NotebookNode:
    """Give a result the number of its cell: nbval runs cells without history, and all results get 0."""
    output = nbformat.from_dict(output)
    if output.output_type == "execute_result":
        output.execution_count = number
    return output


@pytest.hookimpl(tryfirst=True)  # the kernel still lives
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    folder, notebook = item.config.getoption("executed"), item.parent
    if folder and isinstance(notebook, IPyNbFile) and (nextitem is None or nextitem.parent is not notebook):
        keep(notebook, folder)


def keep(notebook: IPyNbFile, folder: Path) -> None:
    """Put a notebook whose cells have all passed into the cache."""
    if notebook.stash.get(PASSED, 0) == sum(cell.cell_type == "code" for cell in notebook.nb.cells):
        kernel = notebook.kernel.kc.kernel_info(reply=True, timeout=60)["content"]
        notebook.nb.metadata.language_info = kernel["language_info"]  # by which its code is coloured
        get_cache(folder).cache_notebook_bundle(
            CacheBundleIn(notebook.nb, str(notebook.path)), overwrite=True
        )
