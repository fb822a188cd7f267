"""Energy and MACs of the systems: counted by hand, and computed at once by the command."""

import math

import pytest

from onnlab import cli
from onnlab.experiments import CONSUMPTIONS, EXPERIMENTS, consumers, consumption, network_cost
from onnlab.experiments.consumption import (
    IMAGES,
    OURS,
    energy_table,
    lasers,
    our_cells,
    paper_energies,
    savings,
)
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
    assert [(one.name, one.data) for one in rows] == [
        ("Hybrid-8 (PSFs)", "mnist"),
        ("Hybrid-8 (4f system)", "mnist"),
        ("LeNet", "mnist"),
        ("Hybrid-16 (PSFs)", "cifar10"),
        ("AlexNet", "cifar10"),
        ("Segmenter (PSFs)", "camvid-cars"),
        ("UNet-16", "camvid-cars"),
    ]
    constants = Constants()
    for one in rows:
        parts = one.cost.capture + one.cost.conversion + one.cost.light + one.cost.computing
        assert parts == pytest.approx(one.cost.energy)
        assert one.cost.computing == pytest.approx(one.cost.macs * constants.mac)
        (teacher,) = (other for other in rows if other.process is None and other.data == one.data)
        if one is teacher:
            assert one.saving is None and one.cost.optical_macs == 0
        else:
            assert one.saving == pytest.approx(teacher.cost.energy / one.cost.energy)


def counted(photons: float) -> float:
    """Signal-to-noise ratio of a reading: half of the photons count, and the read noise is five."""
    return 0.5 * photons / math.sqrt(0.5 * photons + 5**2)


def test_a_laser_pays_for_two_pictures_of_each_kernel() -> None:
    by_psfs, by_4f = network_cost("Hybrid-8", "mnist"), network_cost("Hybrid-8", "mnist", "4f laboratory")
    readings = 2 * 8 * 28 * 28  # with the reference beam in phase and out of phase
    assert by_4f.read == readings and by_4f.optical_macs == 8 * 7 * 7 * 28 * 28
    photon = 1239.84 / 532 * 1.602177e-19  # electronvolts of 532 nm, in joules
    photons = 0.1 * by_4f.light / readings / photon  # a tenth of the laser's energy arrives
    assert counted(photons) == pytest.approx(30, rel=1e-4)
    assert by_psfs.light == 0 and by_4f.energy - by_4f.light == pytest.approx(by_psfs.energy, rel=1e-12)


def test_an_unknown_name_is_told() -> None:
    for names, said in (
        (("VGG", "mnist"), "network must be one of 'LeNet'"),
        (("LeNet", "emnist"), "data must be one of 'mnist-mini'"),
        (
            ("Hybrid-8", "mnist", "garage"),
            "process must be one of 'clean room', '4f laboratory', got 'garage'",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            network_cost(*names)


@pytest.mark.parametrize(("scale", "digits"), [("book", "mnist-mini"), ("full", "mnist")])
def test_digits_alone_have_a_4f_row_and_its_laser_is_told(scale: str, digits: str) -> None:
    rows = consumers(scale)
    (in_4f,) = (one for one in rows if one.cost.light > 0)
    assert (in_4f.name, in_4f.data) == ("Hybrid-8 (4f system)", digits)
    photons = 900 + math.sqrt(900**2 + 900 * 100)  # counted(photons) = 30, solved by hand
    assert counted(photons) == pytest.approx(30)
    light = 2 * 8 * 28 * 28 * photons * 6.62607e-34 * 2.997925e8 / 532e-9 / 0.1
    electronics = 2 * 8 * 28 * 28 * (1e-9 + 256 * 50e-15) + (8 * 7 * 7 * 64 + 64 * 10) * 30.85e-12
    picture = 28 * 28 * (1e-9 + 256 * 50e-15 + 13e-12)  # read, converted, and shown by a modulator
    teacher = 416_520 * 30.85e-12 + 28 * 28 * (1e-9 + 256 * 50e-15)
    text = lasers(scale)
    assert f"on {digits} takes {1e6 * light / (light + electronics):.3g} millionths" in text
    assert f"adds {1e6 * picture:.3g} microjoules" in text
    assert text.endswith(f"× {teacher / (electronics + light + picture):.3g}.")
    (line,) = (line for line in energy_table(scale).splitlines() if "(4f system)" in line)
    cells = dict(zip(OURS, [cell.strip() for cell in line.split("|")[1:-1]], strict=True))
    assert (
        cells["in all"] == f"{1e6 * electronics:.1f}"
    )  # the laser takes less than the digits that are shown


def test_a_table_has_the_numbers_with_their_units() -> None:
    (line,) = (
        line
        for line in energy_table("book").splitlines()
        if line.startswith("| Hybrid-8 (PSFs): mnist-mini, 1×28×28 |")
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
        assert (f"{one.name} on {one.data} (× {one.saving:.3g})" in text) == least
        assert not least or f"takes {100 * one.cost.capture / one.cost.energy:.0f} % of the student's" in text
    monkeypatch.setattr(consumption, "consumers", lambda scale: students[2:3])
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
