"""The parts of the book's Sphinx extension that can be tested without building a book."""

import importlib
import re
from pathlib import Path

import pytest
from docutils import nodes
from onnlab_book import accessibility, findings, glossary, library, offline, results, runtimes
from sphinx.addnodes import pending_xref

from onnlab.experiments import CLAIMS, EXPERIMENTS, REPORTED, LineError, Speed, read, tables_of, write_speeds
from onnlab.experiments.report import part
from tests.site.conftest import ROOT

PACKAGES = sorted(page.stem for page in (ROOT / "book/reference").glob("*.md") if page.stem != "index")
RECORD = {
    "machine": "two cores",
    "chapters": {
        "ch01_waves": [
            {"cell": 1, "seconds": 0.5, "megabytes": 310, "first": "import torch"},
            {"cell": 4, "seconds": 2.25, "megabytes": 290, "first": "inside = (r < a) | (r > b)"},
        ],
        "ch02_fourf": [{"cell": 2, "seconds": 10.0, "megabytes": 400, "first": "learn()"}],
    },
}


def test_runtimes_add_up_and_rank() -> None:
    table = runtimes.markdown(RECORD, {"ch01_waves": "[](ch01_waves.ipynb)"})
    assert "Measured on two cores." in table
    assert "| [](ch01_waves.ipynb) | 2 | 2.8 | 2.2 | 310 |" in table
    assert "| ch02_fourf | 1 | 10.0 | 10.0 | 400 |" in table
    slowest = table[table.index("slowest cells") :].splitlines()[4:]
    assert slowest[0] == "| ch02_fourf | 2 | `learn()` | 10.00 |"
    assert slowest[1] == r"| [](ch01_waves.ipynb) | 4 | `inside = (r < a) \| (r > b)` | 2.25 |"
    assert slowest[2].endswith("| `import torch` | 0.50 |")


def test_runtimes_show_the_slowest_only() -> None:
    timed = [{"cell": i, "seconds": i / 10, "megabytes": 1, "first": "x"} for i in range(1, 40)]
    table = runtimes.markdown({"machine": "m", "chapters": {"a": timed}}, {})
    assert "| a | 39 | `x` | 3.90 |" in table
    assert "| a | 30 | `x` | 3.00 |" in table
    assert "| a | 29 | `x` | 2.90 |" not in table


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '<a href="x.html">Library</a><details><summary><span',
            '<a href="x.html">Library</a><details><summary aria-label="Pages of Library"><span',
        ),
        (
            '<div id="pst-primary-sidebar" class="bd-sidebar">',
            '<div role="region" aria-label="Book" id="pst-primary-',
        ),
        (
            '<button class="btn search-button-field x" title="Search" aria-label="Search" data-x>',
            '" title="Search" data-x>',
        ),
        ('<div role="list" class="citation-list">', '<div class="citation-list">'),
        ('<div class="citation" id="id2" role="doc-biblioentry">', '<div class="citation" id="id2">'),
        ('<summary aria-label="Toggle hidden content">\n<p>Show', "<summary>\n<p>Show"),
        ('<i class="theme-switch fa-solid" data-mode="light" title="Light"></i>', 'data-mode="light"></i>'),
    ],
)
def test_repairs(before: str, after: str) -> None:
    assert after in accessibility.repaired(before)
    assert accessibility.repaired(accessibility.repaired(before)) == accessibility.repaired(before)


def test_repairs_leave_our_text_alone() -> None:
    ours = (
        '<article><details><summary>Solution</summary><ul role="list"><li>one</li></ul></details></article>'
    )
    assert accessibility.repaired(ours) == ours


def test_mathjax_comes_from_the_installed_package() -> None:
    files = offline.mathjax_files()
    assert all(path.is_file() for path in files.values())
    assert sum(name.endswith(".woff") for name in files) > 10
    assert sum(path.stat().st_size for path in files.values()) < 3e6


def test_library_lists_by_module_in_order_of_writing() -> None:
    text = library.reference("onnlab.optics", "propagation")
    assert ".. autoclass:: onnlab.optics.Propagator\n   :members: forward\n   :show-inheritance:\n" in text
    assert text.index("autofunction:: onnlab.optics.propagate\n") < text.index("onnlab.optics.choose_method")
    assert "fast_length" not in text


def test_library_documents_constants() -> None:
    text = library.reference("onnlab.viz", "style")
    assert ".. py:data:: onnlab.viz.PALETTE\n\n   Eight colours" in text


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("wavelength", True),  # a parameter of the class
        ("nyquist", True),
        ("wavelenght", False),
        ("centred_index", True),  # private, in the same module
        ("onnlab.optics.grid.centred_index", True),
        ("onnlab.optics.grid.Gird", False),
    ],
)
def test_docstrings_may_name_what_exists(name: str, known: bool) -> None:
    node = pending_xref(refdomain="py", reftype="attr", reftarget=name)
    node["py:module"], node["py:class"] = "onnlab.optics", "Grid"
    text = nodes.literal()
    assert library.leave_plain(None, None, node, text) is (text if known else None)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(site: Path, package: str) -> None:
    page = (site / f"book/reference/{package}.html").read_text(encoding="utf-8")
    names = importlib.import_module(f"onnlab.{package}").__all__
    assert [name for name in names if f'id="onnlab.{package}.{name}"' not in page] == []


def test_glossary_hints_are_whole_sentences(site: Path) -> None:
    page = (site / "book/notation.html").read_text(encoding="utf-8")
    assert 'href="glossary.html#term-unitary" title="Said of a transform that keeps' in page
    assert glossary.FORMULA not in page


def test_results_say_what_is_missing_and_show_the_rest() -> None:
    experiment = part(EXPERIMENTS["sclc"]("full"), "mnist")
    found = tables_of(experiment, read(ROOT / "results/sclc.jsonl"))
    seeds = min(one.n for one in found.values())
    whole = results.markdown(experiment, found, seeds, "/p.png")
    assert "Incomplete" not in whole and "```{figure} /p.png" in whole and "| linear, KD |" in whole
    assert all(f"About the data: {note}." in whole for one in found.values() for note in one.notes)
    partly = {row: one for row, one in found.items() if row.name != "linear, KD"}
    text = results.markdown(experiment, partly, seeds + 1)
    assert f"linear, KD (0 of {seeds + 1} seeds)" in text and "```{figure}" not in text
    assert "`onnlab reproduce sclc --scale full" in results.markdown(experiment, {}, 3) and "|" not in (
        results.markdown(experiment, {}, 3)
    )


@pytest.mark.parametrize("name", ["when-kd-helps", "compensation"])
def test_the_figure_of_results_has_every_seed_and_is_told_in_words(name: str) -> None:
    experiment = part(EXPERIMENTS[name]("book"), "mnist-mini")
    found = tables_of(experiment, read(ROOT / f"results/{name}.jsonl"))
    (ax,) = results.dot_plot(found).axes
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == [results.title(row, list(found)) for row in found] and len(set(names)) == len(found)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    for place, (line, one) in enumerate(zip(dots, found.values(), strict=True)):
        assert line.get_xdata().tolist() == [100 * accuracy for _, accuracy in one.scores]
        assert set(line.get_ydata()) == {place}
    assert all(
        f"{name} {100 * one.mean:.2f}" in results.alt(found)
        for name, one in zip(names, found.values(), strict=True)
    )


def test_the_results_page_shows_the_means_of_the_lines(site: Path) -> None:
    page = (site / "book/results.html").read_text(encoding="utf-8").replace("\xa0", " ")
    for scale, data in (("book", "mnist-mini"), ("full", "mnist")):
        experiment = part(EXPERIMENTS["sclc"](scale), data)
        found = tables_of(experiment, read(ROOT / "results/sclc.jsonl"))
        assert found
        for one in found.values():
            assert f"{100 * one.mean:.2f} ± {100 * one.std:.2f}" in page
        assert f'id="fig-results-sclc-{scale}-{data}"' in page


def test_tables_break_lines_around_an_interval_and_not_inside() -> None:
    text = results.kept_together(
        "Gains (a few).\n| KD (an end) | 97.3 ± 0.6 | +1.4 (0.2 to 2.6) | −1 to +2 | (5 seeds, 8 of 9) |"
    )
    assert text.splitlines()[0] == "Gains (a few)."
    assert re.split("[ |]+", text.splitlines()[1])[1:-1] == [
        "KD", "(an", "end)", "97.3\xa0±\xa00.6", "+1.4", "(0.2\xa0to\xa02.6)", "−1\xa0to\xa0+2",
        "(5\xa0seeds,", "8\xa0of\xa09)",
    ]  # fmt: skip


def test_the_pages_show_every_number_of_the_papers_and_every_claim(site: Path) -> None:
    page = (site / "book/results.html").read_text(encoding="utf-8").replace("\xa0", " ")
    text = re.sub(r"<[^>]+>", "", page)
    shown = [one for one in REPORTED if f"onnlab reproduce {one.experiment}" in text]
    assert shown and [one for one in shown if f"<p>{one}" not in page] == []
    assert all(f"onnlab trace {one.experiment} --scale" in text for one in shown)
    held = (site / "book/held.html").read_text(encoding="utf-8")
    assert [one.name for one in CLAIMS if f'id="claim-{one.name}"' not in held] == []
    assert held.count("</table>") == len(CLAIMS) + 1
    assert all(f"results.html#fig-results-{name}" in held for name in ("sclc-full-mnist", "ntkd-book-"))


def test_results_say_how_their_runs_are_found() -> None:
    experiment = part(EXPERIMENTS["sclc"]("full"), "mnist")
    text = results.markdown(experiment, tables_of(experiment, read(ROOT / "results/sclc.jsonl")), 5)
    assert "`onnlab trace sclc --scale full --data mnist`" in text
    assert "{download}`sclc.jsonl </results/sclc.jsonl>`" in text


def test_the_speed_of_each_method_is_shown_from_the_lines_of_one_measurement(tmp_path: Path) -> None:
    assert findings.TEXTS["speed"]("", tmp_path) == (
        "There is no measurement yet: `onnlab speed --out results/speed.jsonl` makes it."
    )
    line = Speed("digits", "labels", "A to B", 100, [2.0], None, "wall time", "0123abc", {}, "cpu")
    write_speeds(tmp_path / "speed.jsonl", [line])
    text = findings.TEXTS["speed"]("", tmp_path)
    assert "| labels | 50 | 1.00 | 1.00 to 1.00 |" in text and "on cpu, commit 0123abc" in text
    assert "{download}`speed.jsonl </results/speed.jsonl>`" in text
    (tmp_path / "speed.jsonl").write_text("{}")
    with pytest.raises(LineError, match=r"speed\.jsonl, line 1"):
        findings.TEXTS["speed"]("", tmp_path)
