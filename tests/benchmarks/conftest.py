"""Print every group of benchmarks as ratios to its floor: the first benchmark of the group."""

from itertools import groupby

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Add a table: best time of each benchmark over the best time of the floor of its group."""
    results = config._benchmarksession.benchmarks
    if not results:
        return
    terminalreporter.section("ratios to the first of each group (best of all rounds)")
    for group, members in groupby(results, key=lambda result: result.group):
        timed = list(members)
        terminalreporter.write_line(group)
        for result in timed:
            ratio = result.stats.min / timed[0].stats.min
            notes = "".join(f"; {name}: {value}" for name, value in result.extra_info.items())
            terminalreporter.write_line(f"  {ratio:8.3g}  {result.name}{notes}")
