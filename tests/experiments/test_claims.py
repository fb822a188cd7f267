"""Claims: what they point at, and verdicts on lines made by hand."""

import json
import math
import re
from pathlib import Path

import pytest
from scipy import stats

from onnlab.experiments import (
    CLAIMS,
    Claim,
    Gain,
    Pair,
    Place,
    claim,
    outcome,
    place,
    read,
    reported,
    scores,
    tables_of,
    verdict,
)
from onnlab.experiments.findings import claim_scores, claim_text, figure_of, luck, verdicts_table
from onnlab.experiments.papers import DIGITS, MNIST, OBJECTS, PART
from onnlab.experiments.tables import gain, paired
from tests.experiments.helpers import KD, LINEAR, TEACHER, TINY, lines_of

ROOT = Path(__file__).parents[2]
PAIR = Pair(Place(TINY, KD), Place(TINY, LINEAR))


def found_for(kd: list[float], linear: list[float]) -> dict[Place, object]:
    rows = tables_of(TINY, lines_of(TEACHER, [0.9]) + lines_of(KD, kd) + lines_of(LINEAR, linear))
    return {Place(TINY, row): one for row, one in rows.items()}


@pytest.mark.parametrize(
    ("kd", "linear", "margin", "says"),
    [
        ([0.95, 0.96, 0.97], [0.90, 0.91, 0.92], 0.0, "held"),
        ([0.95, 0.96, 0.97], [0.90, 0.91, 0.92], 0.06, "did not hold"),
        ([0.90, 0.91, 0.92], [0.95, 0.96, 0.98], 0.0, "did not hold"),
        ([0.90, 0.91, 0.92], [0.95, 0.96, 0.98], -0.10, "held"),
        ([0.90, 0.95, 0.91], [0.91, 0.90, 0.92], 0.0, "no difference seen"),
        ([0.95], [0.90], 0.0, "not enough seeds"),
        ([], [0.90], 0.0, "no runs yet"),
    ],
)
def test_verdicts(kd: list[float], linear: list[float], margin: float, says: str) -> None:
    assert verdict(outcome(PAIR, found_for(kd, linear)), margin) == says


def test_an_interval_that_ends_at_the_margin_shows_nothing() -> None:
    assert verdict(Gain(0.1, 0.0, 0.2, 3)) == verdict(Gain(-0.1, -0.2, 0.0, 3)) == "no difference seen"
    assert verdict(Gain(0.1, -math.inf, math.inf, 1)) == "not enough seeds"


def test_a_row_that_is_not_there_cannot_be_named() -> None:
    with pytest.raises(ValueError, match="row must be .* got 'NTDK' .* fits 0; rows there: teacher, labels"):
        place("ntkd", "full", "mnist", "NTDK")
    with pytest.raises(ValueError, match="got 'KD' .* which fits 3"):
        place("ntkd", "book", "mnist-mini", "KD")
    with pytest.raises(ValueError, match="experiment must be one of sclc"):
        place("sclk", "book", "mnist-mini", "KD")
    assert place("ntkd", "book", "mnist-mini", "KD", labels=500).row.labels == 500


def test_two_rows_of_one_table_are_compared() -> None:
    other = place("ntkd", "full", "cifar10", "KD")
    with pytest.raises(ValueError, match="must be two rows of one experiment and data set, got 'KD' of"):
        Pair(place("ntkd", "full", "mnist", "KD"), other)
    with pytest.raises(ValueError, match="must be two rows"):
        Pair(other, other)


def test_every_claim_can_be_found_and_no_pair_is_counted_twice() -> None:
    assert [claim(one.name) for one in CLAIMS] == list(CLAIMS)
    with pytest.raises(ValueError, match="name must be one of nonlinearity"):
        claim("magic")
    pairs = [pair for one in CLAIMS for pair in one.shown]
    assert all(set(one.shown) == {*one.pairs, *one.beside} for one in CLAIMS)
    assert len(set(pairs)) == len(pairs) > 50


def test_the_page_has_every_claim_once_in_order_and_results_has_its_tables() -> None:
    page = (ROOT / "book/held.md").read_text(encoding="utf-8")
    names = [one.name for one in CLAIMS]
    assert re.findall(r"```\{claim\} (\S+)", page) == re.findall(r"\(claim-(\S+)\)=", page) == names
    results = (ROOT / "book/results.md").read_text(encoding="utf-8")
    shown = re.findall(r"```\{results\} (\S+)\n:scale: (\S+)\n:data: (\S+)", results)
    linked = {figure_of(spot) for spot in claim_scores(ROOT / "results")}
    assert linked <= {f"fig-results-{'-'.join(names)}" for names in shown}


def test_a_claim_shows_the_article_and_then_what_the_lines_say() -> None:
    """From the raw lines: one gain of the page, its interval, and the verdict."""
    raw = [json.loads(text) for text in (ROOT / "results/ntkd.jsonl").read_text().splitlines()]

    def accuracies(row: str) -> dict[int, float]:
        mine = [line for line in raw if line["row"] == row and line["settings"]["labels"] == 500]
        best = max((x for x in mine if x["seed"] == 0), key=lambda x: x["validation_accuracy"])
        what = ("learning_rate", "label_smoothing", "temperature", "beta")
        alike = [x for x in mine if all(x["settings"].get(w) == best["settings"].get(w) for w in what)]
        return {x["seed"]: 100 * x["test_accuracy"] for x in alike}

    kernels, answers = accuracies("NTKD"), accuracies("KD")
    seeds = sorted(kernels.keys() & answers.keys())
    test = stats.ttest_rel([kernels[s] for s in seeds], [answers[s] for s in seeds])
    low, high = test.confidence_interval(0.95)
    says = "held" if low > 0 else "did not hold" if high < 0 else "no difference seen"
    text = claim_text(claim("kernels-answers"), claim_scores(ROOT / "results"))
    (line,) = (x for x in text.splitlines() if "500 labels" in x)
    mean = sum(kernels[s] - answers[s] for s in seeds) / len(seeds)
    shown = f"| {mean:+.2f} ({low:+.2f} to {high:+.2f}) | {len(seeds)} | **{says}** |"
    assert shown.replace("-", "−") in line and "(#fig-results-ntkd-book-mnist-mini)" in line
    assert "| article, MNIST | 97.3 ± 0.6 | 95.9 ± 0.6 | +1.4 | 5 | reported |" in text
    alone = claim_text(claim("fabrication"), claim_scores(ROOT / "results"))
    assert "| article, MNIST | 97.3 ± 0.6 | 89.2 | +8.1 |  | reported |" in alone  # one number has no seeds
    assert "In the article, *NTKD* against *KD*. In our rows of `ntkd` and `segmentation`, *NTKD*" in text


def test_the_means_of_a_claim_are_over_the_seeds_of_its_gain() -> None:
    one = Claim("made-up", "It is so.", "ch01_waves", (PAIR,))
    text = claim_text(one, found_for([0.95, 0.96, 0.97], [0.90, 0.92]))
    assert "| 95.50 ± 0.71 | 91.00 ± 1.41 | +4.50 (" in text and "| 2 | **" in text


def test_a_bound_is_the_distance_that_the_article_reports() -> None:
    near = claim("rescue-near")
    rescued, design = (
        reported("table 4", DIGITS, "back end tuned with NTKD"),
        reported("table 3", DIGITS, "NTKD"),
    )
    assert near.pairs[0].margin == pytest.approx((rescued.score - design.score) / 100)
    assert "; claimed: above −2.2 |" in claim_text(near, claim_scores(ROOT / "results"))


def test_what_else_would_do_as_much_stands_beside_a_claim_and_does_not_count_for_it() -> None:
    near = claim("rescue-near")
    for pair, other in zip(near.pairs, near.beside, strict=True):
        assert (pair.worse, pair.margin) == (other.worse, other.margin)
        assert pair.better.row.process == other.better.row.process
    text = claim_text(near, claim_scores(ROOT / "results"))
    assert "*NTKD* against *as designed*. Beside each of them, *labels* against *as designed*, to" in text
    cells = [line.split("|")[1].strip() for line in text.splitlines() if "; claimed" in line]
    names = [cell.partition("), *")[2].partition("*")[0] for cell in cells]
    assert names == ["NTKD", "labels"] * (len(cells) // 2) and len(cells) >= 6
    found = {
        Place(TINY, row): one
        for row, one in tables_of(
            TINY, [*lines_of(TEACHER, [0.99, 0.98]), *lines_of(LINEAR, [0.9, 0.9]), *lines_of(KD, [0.9, 0.9])]
        ).items()
    }
    other = Pair(Place(TINY, TEACHER), Place(TINY, LINEAR))
    one = Claim("made-up", "It is so.", "ch01_waves", (PAIR,), beside=(other,))
    shown = [line for line in claim_text(one, found).splitlines() if line.startswith("| [")]
    assert [", *KD* |" in shown[0], ", *teacher* |" in shown[1]] == [True, True] and len(shown) == 2


def test_verdicts_are_counted_and_luck_is_told() -> None:
    found = claim_scores(ROOT / "results")
    pairs = [(one, pair) for one in CLAIMS for pair in (*one.pairs, *one.beside)]
    verdicts = [verdict(outcome(pair, found), pair.margin) for _, pair in pairs]
    judged = [v for v in verdicts if v in ("held", "did not hold", "no difference seen")]
    seen = len(judged) - judged.count("no difference seen")
    text = luck(found)
    (expected,) = re.findall(r"([\d.]+) of these intervals", text)
    assert f"{len(judged)} comparisons" in text and abs(float(expected) - len(judged) / 20) < 0.0501
    assert f"{seen} leave out their bound" in text
    stay = 0
    for _, pair in pairs:
        if pair.better in found and pair.worse in found:
            first, second = dict(found[pair.better].scores), dict(found[pair.worse].scores)
            gains = [first[s] - second[s] - pair.margin for s in first.keys() & second.keys()]
            stay += stats.ttest_1samp(gains, 0).pvalue < 0.05 / len(judged)
    assert text.endswith(f"{stay} of the {seen} stay.")
    lines = verdicts_table(found).splitlines()[2:]
    counts = [[int(cell or 0) for cell in map(str.strip, line.split("|")[2:-1])] for line in lines]
    order = ("held", "did not hold", "no difference seen", "not enough seeds", "no runs yet")
    own = [verdict(outcome(pair, found), pair.margin) for one in CLAIMS for pair in one.pairs]
    assert [sum(column) for column in zip(*counts, strict=True)] == [own.count(v) for v in order]


def test_without_lines_there_are_no_verdicts(tmp_path: Path) -> None:
    found = claim_scores(tmp_path)
    assert found == {}
    text = claim_text(CLAIMS[0], found)
    assert text.endswith("No runs yet: " + "; ".join(map(str, CLAIMS[0].pairs)) + ".") and "|" not in text
    assert "0 comparisons" in luck(found)


def test_what_the_page_says_of_the_rows() -> None:
    """Reasons that stand in held.md hold for the lines that are here."""
    results = ROOT / "results"
    found = claim_scores(results, [claim("answers")])
    ahead = {
        (pair.worse.row.data, pair.worse.row.labels, pair.worse.row.name): 100 * found[pair.worse].mean
        - reported("table 3", DIGITS if "mnist" in pair.worse.row.data else OBJECTS, "no transfer").score
        for pair in claim("answers").pairs
        if pair.worse.experiment.name == "ntkd" and pair.worse in found
    }
    digits = {labels: value for (data, labels, _), value in ahead.items() if "mnist" in data}
    assert digits.keys() == {500, 2000, 6000, None}
    assert all((value > 0) == (labels != 500) for labels, value in digits.items())
    assert ahead["cifar10", 5000, "labels"] < -5 < -1.9 < ahead["cifar10", None, "labels, 8 epochs"] < 1.9
    some, every = (
        pair for pair in claim("answers").pairs if pair.better.row.data == "cifar10" and pair.better in found
    )
    assert (some.worse.row.labels, every.worse.row.labels) == (5000, None)
    first, second = outcome(some, found), outcome(every, found)
    assert first is not None and first.low > 0 and second is not None and not second.clear and second.n >= 3
    teacher = place("ntkd", "full", "cifar10", "teacher, small teacher")
    behind = (
        reported("table 3", OBJECTS, "teacher: AlexNet").score
        - 100 * scores([teacher], results)[teacher].mean
    )
    assert 6.5 < behind < 7.5
    found = claim_scores(results, [claim("both-answers"), claim("kernels")])
    added = {pair: outcome(pair, found) for pair in claim("both-answers").pairs}
    (clear,) = (pair for pair, one in added.items() if one is not None and one.clear)
    assert (clear.better.row.data, clear.better.row.labels) == ("cifar10", 5000)
    assert 0 < added[clear].low < 0.0005
    small = next(pair for pair in claim("kernels").pairs if "small" in pair.better.row.name)
    lost, reports = outcome(small, found), [a.score - b.score for a, b in claim("kernels").reported]
    assert lost is not None and -0.03 < lost.low < lost.high < 0 and -0.02 < lost.mean < -0.015
    assert max(reports) == reports[1]  # that of photographs
    assert all(one < other for one, other in zip(*(
        [accuracy for _, accuracy in row.scores] for row in paired(found[small.better], found[small.worse])
    ), strict=True))  # fmt: skip
    found = claim_scores(results, [claim("kernels-answers")])
    other = next(pair for pair in claim("kernels-answers").pairs if "small" in pair.better.row.name)
    lost = outcome(other, found)
    assert lost is not None and lost.high < 0 and lost.mean > -0.02
    names = {small.better.row.name, small.better.row.name.replace("NTKD", "KD + NTKD")}
    tried = [x for x in read(results / "ntkd.jsonl") if x["row"] in names and x["seed"] == 0]
    weighed = {(x["row"], *(x["settings"][what] for what in ("learning_rate", "beta"))): x for x in tried}
    assert len(weighed) == 12 and {beta for *_, beta in weighed} == {1.0, 5.0}
    assert all(
        weighed[*trial, 1.0]["validation_accuracy"] > weighed[*trial, 5.0]["validation_accuracy"]
        for *trial, _ in weighed
    )
    limit = claim("random-limit")
    found = claim_scores(results, [limit])
    seen = [outcome(pair, found) for pair in limit.pairs]
    assert len(seen) == 3 and all(one is not None and not one.clear and abs(one.mean) < 0.005 for one in seen)
    mnist, photographs = (first.score - second.score for first, second in limit.reported)
    assert photographs > 10 > 1 > mnist
    student = claim("linear-student")
    _, mnist, photographs = student.pairs
    found = claim_scores(results, [student])
    gained, lost = outcome(mnist, found), outcome(photographs, found)
    assert gained is not None and gained.low > 0 and gained.high < 0.01
    assert lost is not None and lost.high < 0 and -lost.mean > gained.mean
    lines = [line for line in read(results / "sclc.jsonl") if line["settings"]["data"] == "cifar10"]
    rates = {x["settings"]["learning_rate"]: x for x in lines if (x["row"], x["seed"]) == ("linear, KD", 0)}
    chosen = found[photographs.better].trial.learning_rate
    assert rates[round(3 * chosen, 4)]["validation_accuracy"] < 0.11  # of ten classes: by chance
    found = claim_scores(results, [claim("many-labels")])
    many = {
        (pair.better.row.data, pair.better.row.augment): outcome(pair, found)
        for pair in claim("many-labels").pairs
    }
    assert len(many) == 4 and all(one is not None and 0.002 < one.mean < 0.004 for one in many.values())
    assert [where for where, one in many.items() if one is not None and one.clear] == [("mnist", "none")]
    rescued, simulated = (
        [first.score - second.score for first, second in claim(name).reported]
        for name in ("rescue-kernels", "kernels")
    )
    assert rescued[2] > simulated[2]  # cars
    assert all(device < simulation / 2 for device, simulation in zip(rescued[:2], simulated, strict=False))
    digits, photographs = (
        scores([place("sclc", "full", data, row) for row in ("ReLU in pool, labels", "teacher")], results)
        for data in ("mnist", "cifar10")
    )
    gaps = [max(x.mean for x in f.values()) - min(x.mean for x in f.values()) for f in (digits, photographs)]
    assert gaps[0] < 0.01 < 0.1 < gaps[1]
    for spot, missing in ((PART, True), (MNIST, False)):
        places = [place("sclc", *spot, row) for row in ("twin, labels", "ReLU in pool, labels")]
        left = gain(*map(scores(places, results).__getitem__, places))
        assert left.clear == missing and 0 < left.mean < 0.005
    places = [
        place("sclc", "full", "cifar10", row)
        for row in ("twin without BatchNorm, labels", "ReLU in pool, labels")
    ]
    left = gain(*map(scores(places, results).__getitem__, places))
    assert 0.085 < left.low < left.high < 0.115
    found = claim_scores(results, [claim("random-trained")])
    behind = {
        (pair.better.row.network.split()[-1], pair.better.row.data): outcome(pair, found)
        for pair in claim("random-trained").pairs
    }
    assert all(
        one is not None and (one.low > 0) == (camera == "rectified" or data == "mnist")
        for (camera, data), one in behind.items()
    )
    rows = (f"{name}, labels" for name in ("twin", "twin without BatchNorm", "linear"))
    places = [place("sclc", "full", "cifar10", row) for row in rows]
    whole, bare, linear = map(scores(places, results).__getitem__, places)
    norms, bends = gain(whole, bare), gain(bare, linear)
    assert norms.low > 0 and bends.low > norms.high  # BatchNorm buys some points, nonlinearities more
