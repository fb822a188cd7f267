"""States with random numbers for the explorables that show what a chapter has computed."""

import torch

from onnlab.hardware import YieldCurve
from onnlab.widgets import (
    BuiltPSF,
    Choice,
    KernelHeatMap,
    MaskOverlay,
    NumberQuestion,
    Question,
    Quiz,
    Temperature,
    Trap,
)


def answers() -> Temperature:
    """Three digits of noise, with logits."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = 4 * torch.randn(2, 3, 10, generator=generator)
    images = torch.rand(3, 28, 28, generator=generator)
    return Temperature(teacher=teacher, student=student, labels=[4, 7, 1], images=images, temperature=2.0)


def kernels() -> KernelHeatMap:
    """Four kernels that know the classes better and better."""
    labels = torch.arange(18) % 3
    features = torch.randn(18, 30, generator=torch.Generator().manual_seed(0))
    classes = torch.nn.functional.one_hot(labels, 3)
    learnt = [torch.cat([features, size * classes], 1) for size in (0, 1, 3, 9)]
    return KernelHeatMap(torch.stack([some @ some.T for some in learnt]), labels, steps=[0, 10, 20, 40])


def masks() -> MaskOverlay:
    """Two scenes of 12 x 20 pixels, and two models, the first the better one."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(2, 12, 20)
    truth[0, 3:9, 4:12] = truth[1, 1:6, 10:18] = 1
    noise = torch.randn(2, 2, 12, 20, generator=generator)
    probabilities = {
        name: (4 * truth - 2 + spread * noise[i]).sigmoid()
        for i, (name, spread) in enumerate({"teacher": 1.0, "student": 3.0}.items())
    }
    return MaskOverlay(0.4 * truth + 0.3, truth, probabilities)


def lens() -> BuiltPSF:
    """A lens with every error, and curves of all four, of three devices and of one."""
    generator = torch.Generator().manual_seed(0)
    sizes = {
        "noise": (0.0, 0.5, 1.5),
        "levels": (2.0, 4.0, 16.0, 256.0),
        "shift": (-2e-5, 0.0, 4e-5),
        "defocus": (0.0, 2e-3),
    }
    curves = {}
    for name, row in sizes.items():
        shape = len(row), 1 if name == "defocus" else 3
        curves[name] = YieldCurve(row, torch.rand(shape, generator=generator, dtype=torch.float64))
    return BuiltPSF(curves, noise=0.6, levels=7, shift=1.3e-5, defocus=5e-4)


def quiz() -> Quiz:
    """Two questions with all markup in them: one to choose, one with a number."""
    flip = Question(
        name="flip",
        text="What does `conv2d` do with a *kernel* *h*_{c}?",
        explanation="It correlates: 10^{-3} <b>of</b> all know.",
        choices=[
            Choice("It turns it", "Then it would be a convolution."),
            Choice("Nothing", right=True),
            Choice("It transposes it", "Rows stay rows."),
        ],
        section="sec-flip",
        heading="Two flips",
    )
    area = NumberQuestion(
        name="area",
        text="A disc has a radius of 2 mm. What is its area?",
        answer=12.57,
        tolerance=0.02,
        unit="mm²",
        hint="It goes with the square of the radius.",
        explanation="π × 2².",
        traps=[Trap(6.28, "The square is missing."), Trap(-1.5, "An area is positive.")],
    )
    return Quiz(questions=[flip, area])
