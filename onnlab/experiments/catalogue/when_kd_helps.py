"""When a teacher helps: accuracy over the number of labels."""

from dataclasses import replace

from onnlab.experiments.catalogue.rows import RATES, distilled
from onnlab.experiments.settings import SCALES, Experiment, Row
from onnlab.optics._check import one_of


def when_kd_helps(scale: str) -> Experiment:
    """Accuracy of a linear student over the number of its labels, with and without a teacher.

    ``KD`` learns from a teacher that saw *all* images of the data set with their labels, so that it brings
    knowledge from outside. ``KD, own twin`` learns from the electronic twin, the same network with its ReLUs
    and max-pools, that saw the student's images only. All choose epoch and learning rate on the whole
    validation split. At the chapter's scale there are few labels and all, none shifted, a smaller teacher,
    and two trials.
    """
    one_of("scale", scale, SCALES)
    epochs = {
        "chapter": {300: 30, 6000: 4},
        "book": {500: 50, 1000: 35, 2000: 25, 6000: 10},
        "full": {500: 100, 1000: 70, 2000: 50, 6000: 30, 20_000: 20, 55_000: 12},
    }[scale]
    with_twin = {"chapter": {300}, "book": {2000}, "full": set(epochs)}[scale]
    data = "mnist" if scale == "full" else "mnist-mini"
    small = scale == "chapter"
    network, rates = ("SmallCNN-8", RATES[1:]) if small else ("SmallCNN-16", RATES)
    most = max(epochs)
    teacher = Row(
        name="teacher", network=network, data=data, labels=most, epochs=epochs[most], augment="shift",
        learning_rates=rates,
    )  # fmt: skip
    rows = [teacher]
    for labels, count in epochs.items():
        for augment in ("none",) if small else ("none", "shift"):
            student = Row(
                name="labels", network="LeNet", front="linear", data=data, labels=labels, epochs=count,
                augment=augment, learning_rates=rates,
            )  # fmt: skip
            rows += [student, distilled(student, teacher, "KD")]
            if augment == "none" and labels in with_twin:
                twin = replace(student, name="twin", front="nonlinear")
                rows += [twin, distilled(student, twin, "KD, own twin")]
    return Experiment("when-kd-helps", scale, tuple(rows))
