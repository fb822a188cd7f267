"""The numbers of the papers: declared once, bound to our rows, and beside them on the pages."""

import ast
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from onnlab.experiments import CONSUMPTIONS, REPORTED, findings, place, reported
from onnlab.experiments.findings import beside_tables
from onnlab.experiments.papers import CARS, DIGITS, OBJECTS
from onnlab.experiments.report import readme_tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"


def cells(text: str, row: str, system: str) -> list[str]:
    (part,) = (part for part in text.split("{cite:t}") if f", {system};" in part)
    (line,) = (line for line in part.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_number_is_declared_once_and_is_beside_one_row_of_a_table() -> None:
    where = [(one.paper, one.table, one.system, one.row) for one in REPORTED]
    assert len(set(where)) == len(where)
    for one in REPORTED:
        spots = [(p.experiment.name, p.experiment.scale, p.row.data) for p in one.beside]
        assert len(set(spots)) == len(spots)
        assert reported(one.table, one.system, one.row) is one
    with pytest.raises(ValueError, match="must name one number of REPORTED, got 'table 9'"):
        reported("table 9", DIGITS, "KD")


def test_numbers_are_bound_to_the_rows_of_the_same_kind() -> None:
    assert reported("table 3", DIGITS, "KD").places("ntkd") == (
        place("ntkd", "book", "mnist-mini", "KD", labels=6000),
        place("ntkd", "full", "mnist", "KD"),
    )
    for system, network in ((DIGITS, "Hybrid-8"), (OBJECTS, "Hybrid-16"), (CARS, "Segmenter")):
        mine = [one for one in REPORTED if one.system == system and "teacher" not in one.row]
        assert {spot.row.network for one in mine for spot in one.beside} == {network}
    for one in REPORTED:
        if one.table == "table 4":
            assert {spot.row.process for spot in one.beside} == {"clean room"}


@pytest.mark.parametrize(
    ("experiment", "row", "system", "article", "ours", "name"),
    [
        ("sclc", "student, after distillation", "HIGH-10", "79.84", ("full", "cifar10"), "ReLU in pool, KD"),
        ("segmentation", "KD", CARS, "86.7 ± 0.4 (5 seeds)", ("book", "scenes-24"), "KD"),
        ("compensation", "as fabricated", DIGITS, "89.2", ("book", "mnist-mini"), "as built"),
    ],
)
def test_our_mean_stands_beside_the_number(
    experiment: str, row: str, system: str, article: str, ours: tuple[str, str], name: str
) -> None:
    """From the raw lines, without the functions under test."""
    raw = [json.loads(text) for text in (RESULTS / f"{experiment}.jsonl").read_text().splitlines()]
    mine = [x for x in raw if (x["scale"], x["settings"]["data"], x["row"]) == (*ours, name)]
    mine = [x for x in mine if x["settings"].get("process") in (None, "clean room")]

    def score(line: dict, split: str) -> float:
        return line.get(f"{split}_miou", line[f"{split}_accuracy"])

    best = max((x for x in mine if x["seed"] == 0), key=lambda x: score(x, "validation"))["settings"]
    tuned = ("learning_rate", "temperature")
    alike = [x for x in mine if all(x["settings"][what] == best[what] for what in tuned)]
    values = [100 * score(x, "test") for x in alike]
    found = cells(beside_tables(experiment, RESULTS), row, system)
    assert found[2:4] == [article, name]
    labels = "" if best["labels"] is None else f", {best['labels']} labels"
    if best["teacher"] and best["teacher"]["labels"] != best["labels"]:
        labels += f", teacher: {best['teacher']['labels'] or 'all'}"
    shown = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} ({len(values)} seeds{labels})"
    assert shown in found[4:]


def test_a_cell_is_empty_where_there_are_no_runs(tmp_path: Path) -> None:
    found = cells(beside_tables("ntkd", tmp_path), "NTKD", DIGITS)
    assert found == ["NTKD", "table 3", "97.3 ± 0.6 (5 seeds)", "NTKD", "", ""]


def test_an_experiment_without_numbers_of_the_papers_has_no_table() -> None:
    with pytest.raises(ValueError, match="experiment must be one of sclc, .* got 'sclk'"):
        beside_tables("sclk", RESULTS)


def test_a_number_without_a_row_of_ours_leaves_its_cells_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely = replace(reported("table 3", DIGITS, "KD"), row="lonely", beside=())
    monkeypatch.setattr(findings, "REPORTED", (*REPORTED, lonely))
    assert cells(beside_tables("ntkd", tmp_path), "lonely", DIGITS)[3:] == ["", "", ""]


def test_every_number_is_on_a_page_and_none_is_typed() -> None:
    """What a page says of scores comes from the declared numbers and the lines."""
    tables = "".join(beside_tables(name, RESULTS) for name in {one.experiment for one in REPORTED})
    assert [one for one in REPORTED if f"| {one}" not in tables] == []
    pages = {name: (ROOT / f"book/{name}.md").read_text(encoding="utf-8") for name in ("results", "held")}
    for name in {one.experiment for one in REPORTED}:
        shown = [f"```{{{what}}} {name}\n" in pages["results"] for what in ("results", "beside")]
        assert shown[0] == shown[1], (
            f"{name}: results.md must show both the lines and the article, or neither"
        )
    typed = {name: re.findall(r"\d\d\.\d", text) for name, text in pages.items()}
    assert typed == {"results": [], "held": []}


def test_the_readme_has_the_column_of_the_article() -> None:
    text = readme_tables(RESULTS)
    (table,) = (part for part in text.split("\n\n") if "The article, on HIGH-10 (%)" in part)
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip("| ") for line in table.splitlines()
    }
    assert rows["ReLU in pool, KD"] == "79.84" and rows["teacher"] == "93.96" and rows["linear, KD"] == ""


def test_chapter_10_has_the_declared_energies() -> None:
    notebook = json.loads((ROOT / "book/ch10_design.ipynb").read_text(encoding="utf-8"))
    sources = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    (source,) = (text for text in sources if text.startswith("published = "))
    typed = list(ast.literal_eval(ast.parse(source).body[0].value).values())
    assert typed == [(one.energy, one.capture, one.macs) for one in CONSUMPTIONS]
