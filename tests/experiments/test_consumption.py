"""Energy and MACs of the systems: counted by hand, and computed at once by the command."""

import pytest

from onnlab import cli
from onnlab.experiments import CONSUMPTIONS, EXPERIMENTS, consumers, consumption, network_cost
from onnlab.experiments.consumption import IMAGES, OURS, energy_table, our_cells, paper_energies, savings
from onnlab.experiments.parts import TASKS
from onnlab.hardware import Constants


def test_macs_are_those_counted_by_hand() -> None:
    hybrid = network_cost("Hybrid-8", "mnist")
    assert hybrid.optical_macs == 8 * 7 * 7 * 28 * 28
    assert hybrid.macs == 8 * 7 * 7 * 64 + 64 * 10  # pooled by 4, one hidden layer
    assert hybrid.read == 2 * 8 * 28 * 28
    lenet = network_cost("LeNet", "mnist")
    convolutions = 6 * 25 * 28 * 28 + 16 * 6 * 25 * 10 * 10
    assert lenet.macs == convolutions + 400 * 120 + 120 * 84 + 84 * 10
    assert network_cost("Segmenter", "camvid-cars").optical_macs == 56 * 3 * 3 * 3 * 180 * 240
    objects = network_cost("Hybrid-16", "cifar10")
    assert objects.macs == 16 * 8 * 8 * 256 + 256 * 64 + 64 * 10


def test_energies_add_up_and_a_student_is_set_against_its_teacher() -> None:
    rows = consumers("full")
    names = [(one.network, one.data) for one in rows]
    assert names[:4] == [
        ("Hybrid-8", "mnist"),
        ("LeNet", "mnist"),
        ("Hybrid-16", "cifar10"),
        ("AlexNet", "cifar10"),
    ]
    assert names[4:] == [("Segmenter", "camvid-cars"), ("UNet-16", "camvid-cars")]
    constants = Constants()
    for student, teacher in zip(rows[::2], rows[1::2], strict=True):
        for one in (student, teacher):
            parts = one.cost.capture + one.cost.conversion + one.cost.computing
            assert parts == pytest.approx(one.cost.energy)
            assert one.cost.computing == pytest.approx(one.cost.macs * constants.mac)
        assert student.saving == pytest.approx(teacher.cost.energy / student.cost.energy)
        assert teacher.saving is None and teacher.cost.optical_macs == 0


def test_a_table_has_the_numbers_with_their_units() -> None:
    (line,) = (
        line
        for line in energy_table("book").splitlines()
        if line.startswith("| Hybrid-8: mnist-mini, 1×28×28 |")
    )
    cells = dict(zip(OURS, [cell.strip() for cell in line.split("|")[1:-1]], strict=True))
    assert cells["MACs: light"] == "307 k" and cells["MACs: digital"] == "25.7 k"
    assert float(cells["digital"]) == pytest.approx(25_728 * 30.85e-6, rel=0.01)
    assert float(cells["capture"]) == pytest.approx(2 * 8 * 28 * 28 * 1e-3, rel=0.01)
    assert all(len(row) == len(OURS) for row in our_cells(consumers("full")))


def test_students_that_hardly_save_are_told_with_what_takes_their_energy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = savings("book")
    students = [one for one in consumers("book") if one.teacher is not None]
    for one in students:
        least = one.teacher.energy - one.cost.energy < 0.1 * one.teacher.energy
        assert (f"{one.network} on {one.data} (× {one.saving:.3g})" in text) == least
        assert not least or f"takes {100 * one.cost.capture / one.cost.energy:.0f} % of the student's" in text
    monkeypatch.setattr(consumption, "consumers", lambda scale: students[1:2])
    assert savings("book") == "At least a tenth of the teacher's energy is saved by all 1 students."


def test_the_paper_has_one_constant_behind_its_energies() -> None:
    assert [round(1e12 * one.per_mac, 1) for one in CONSUMPTIONS] == [30.9, 30.8, 30.9]
    assert "| hybrid | 65 M | 3.82 | 5.83 | 30.9 |" in paper_energies()
    assert "| U-Net | 65.9 G | 2.36 | 2040 | 30.9 |" in paper_energies()


def test_sizes_of_images_are_those_of_the_data() -> None:
    used = {row.data for scale in ("book", "full") for row in EXPERIMENTS["compensation"](scale).rows}
    assert used == set(IMAGES)
    for name in ("mnist-mini", "scenes-24"):
        data = TASKS[name]()
        assert (tuple(data.train.images.shape[1:]), len(data.classes)) == IMAGES[name]


def test_the_command_computes_them_at_once(tmp_path, capsys) -> None:
    assert cli.main(["reproduce", "energy", "--scale", "full", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Segmenter" in shown and "65.9 G" in shown and "30.9" in shown
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["reproduce", "energy", "--dry-run", "--out", str(tmp_path)]) == 0
    assert "0 runs are missing" in capsys.readouterr().out
