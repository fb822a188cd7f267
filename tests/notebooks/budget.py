"""A pytest plugin for notebooks under nbval: seconds and memory per cell, in a file and within a budget.

Load it with ``-p tests.notebooks.budget``. What counts is the time that the kernel spends on a processor.
Neighbours that share caches and cores make even that longer, twice and more. So a notebook above its budget
is marked in the table, and nothing fails; ``--nbval-cell-timeout`` stops a cell that never ends.
"""

import json
import os
import platform
from collections import defaultdict
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from nbval.plugin import IPyNbCell

CELL_SECONDS = 20.0
CHAPTER_SECONDS = 90.0


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("run-time budget of notebooks")
    group.addoption("--cell-budget", type=float, default=CELL_SECONDS, help="processor seconds of one cell")
    group.addoption("--chapter-budget", type=float, default=CHAPTER_SECONDS, help="those of one notebook")
    group.addoption("--timings", type=Path, help="file for the table of seconds per cell, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with pytest-xdist all reports arrive at the controlling process
        config.pluginmanager.register(Table(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if not isinstance(item, IPyNbCell):
        return (yield)
    kernel = psutil.Process(item.parent.kernel.km.provisioner.pid)
    before = processor_seconds(kernel)
    outcome = yield
    row = {
        "cell": item.cell_num + 1,
        "seconds": round(processor_seconds(kernel) - before, 2),
        "megabytes": round(kernel.memory_info().rss / 1e6),
        "first": item.cell.source.strip().partition("\n")[0],
    }
    notebook_name = Path(item.nodeid.partition("::")[0]).with_suffix("").as_posix()
    item.user_properties.append((notebook_name, row))
    return outcome


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


class Table:
    """The seconds of each cell: a line a chapter on the screen, all in the file that ``--timings`` names."""

    def __init__(self, config: pytest.Config) -> None:
        self.path: Path | None = config.getoption("timings")
        self.cell_budget: float = config.getoption("cell_budget")
        self.chapter_budget: float = config.getoption("chapter_budget")
        self.chapters: dict[str, list[dict[str, object]]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for chapter, row in report.user_properties:
                self.chapters[chapter].append(row)

    def pytest_sessionfinish(self) -> None:
        if self.path is None or not self.chapters:
            return
        threads = os.environ.get("OMP_NUM_THREADS", "all")
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, threads: {threads}, "
        machine += f"Python {platform.python_version()}, PyTorch {version('torch').partition('+')[0]}"
        table = {"machine": machine, "chapters": dict(sorted(self.chapters.items()))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".part")
        partial.write_text(json.dumps(table, indent=1), encoding="utf-8")
        partial.replace(self.path)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("processor seconds")
        for chapter, rows in sorted(self.chapters.items()):
            slowest = max(rows, key=lambda row: row["seconds"])
            total = sum(row["seconds"] for row in rows)
            above = total > self.chapter_budget or slowest["seconds"] > self.cell_budget
            terminalreporter.line(
                f"{chapter}: {total:.1f} s in {len(rows)} cells, the longest {slowest['seconds']:.1f} s "
                f"(code cell {slowest['cell']}){', above its budget' if above else ''}"
            )
