"""When a teacher helps: accuracy over the number of labels."""

from dataclasses import replace

from onnlab.experiments.catalogue.rows import distilled
from onnlab.experiments.settings import Experiment, Row


def when_kd_helps(scale: str) -> Experiment:
    """Accuracy of a linear student over the number of its labels, with and without a teacher.

    ``KD`` learns from a teacher that saw *all* images of the data set with their labels, so that it brings
    knowledge from outside. ``KD, own twin`` learns from the electronic twin, the same network with its ReLUs
    and max-pools, that saw the student's images only. All choose epoch and learning rate on the whole
    validation split.
    """
    if scale == "book":
        data, epochs = "mnist-mini", {500: 50, 1000: 35, 2000: 25, 6000: 10}
    else:
        data, epochs = "mnist", {500: 100, 1000: 70, 2000: 50, 6000: 30, 20_000: 20, 55_000: 12}
    with_twin = (2000,) if scale == "book" else tuple(epochs)
    most = max(epochs)
    teacher = Row(
        name="teacher", network="SmallCNN-16", data=data, labels=most, epochs=epochs[most], augment="shift"
    )
    rows = [teacher]
    for labels, count in epochs.items():
        for augment in ("none", "shift"):
            student = Row(
                name="labels", network="LeNet", front="linear", data=data, labels=labels, epochs=count,
                augment=augment,
            )  # fmt: skip
            rows += [student, distilled(student, teacher, "KD")]
            if augment == "none" and labels in with_twin:
                twin = replace(student, name="twin", front="nonlinear")
                rows += [twin, distilled(student, twin, "KD, own twin")]
    return Experiment("when-kd-helps", scale, tuple(rows))
