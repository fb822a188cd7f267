"""The run of the chapters must fail when a cell is wrong, and mark what is slow."""

import json
from pathlib import Path

import pytest

from tests.notebooks.running import run_notebook

BURN = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.6:\n    pass"


def test_seconds_of_every_cell_are_written(tmp_path: Path) -> None:
    table = tmp_path / "new" / "runtimes.json"
    done = run_notebook(tmp_path, ["x = 1", BURN, "assert x == 1"], "--timings", str(table))
    assert done.returncode == 0, done.stdout
    ((name, rows),) = json.loads(table.read_text())["chapters"].items()
    assert name.rpartition("/")[2] == "chapter"
    assert [row["cell"] for row in rows] == [1, 2, 3]
    assert rows[1]["first"] == "import time"
    assert rows[1]["seconds"] == pytest.approx(0.6, abs=0.2)
    assert rows[0]["seconds"] < 0.3


def test_memory_after_every_cell_is_written(tmp_path: Path) -> None:
    table = tmp_path / "runtimes.json"
    run_notebook(tmp_path, ["x = 1", "big = b'1' * 200_000_000"], "--timings", str(table))
    (rows,) = json.loads(table.read_text())["chapters"].values()
    assert rows[1]["megabytes"] - rows[0]["megabytes"] == pytest.approx(200, abs=20)


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["--cell-budget", "--chapter-budget"])
def test_a_chapter_above_its_budget_is_marked(budget: str, tmp_path: Path) -> None:
    done = run_notebook(tmp_path, ["x = 1", BURN], budget, "0.5")
    assert done.returncode == 0, done.stdout
    assert "(code cell 2), above its budget" in done.stdout
    assert "above its budget" not in run_notebook(tmp_path, ["x = 1", BURN]).stdout


def test_a_failing_assert_fails(tmp_path: Path) -> None:
    done = run_notebook(tmp_path, ["assert 1 + 1 == 2", "assert 1 + 1 == 3"])
    assert done.returncode == 1, done.stdout
    assert "AssertionError" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_a_run_without_cells_fails(tmp_path: Path) -> None:
    done = run_notebook(tmp_path, [])
    assert done.returncode == 5, done.stdout
