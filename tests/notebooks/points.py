"""A pytest plugin for exercises under nbval: solutions get all points, and what is not attempted gets none.

Load it with ``-p tests.notebooks.points``. A cell that nbgrader's marks call graded must have its points as
its result if the notebook holds solutions, and 0 if they have been taken out.
"""

from collections.abc import Generator

import pytest
from nbval.plugin import IPyNbCell

from onnlab.course.release import BEGIN


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    outcome = yield
    if isinstance(item, IPyNbCell):
        marks = item.cell.metadata.get("nbgrader", {})
        if marks.get("grade"):
            solved = any(BEGIN in cell.source for cell in item.parent.nb.cells)
            expect_points(item, marks["points"] if solved else 0)
    return outcome


def expect_points(item: IPyNbCell, points: float) -> None:
    """Fail the cell unless its result is this number."""
    results = [out.data["text/plain"] for out in item.test_outputs if out.output_type == "execute_result"]
    if results != [f"{points:.1f}"]:
        said = "".join(out.get("text", "") for out in item.test_outputs)
        item.raise_cell_error(f"{item.cell.source}: the result must be {points:.1f}, got {results}: {said}")
