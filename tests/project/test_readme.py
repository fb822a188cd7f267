"""The example that a stranger reads first has to run, and to be true."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_example_images_the_opening_upside_down() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    image, grid, circular_aperture = names["image"], names["grid"], names["circular_aperture"]
    # A flat phase changes nothing, and a centred disc is its own mirror image.
    torch.testing.assert_close(image, circular_aperture(grid, radius=0.3e-3) ** 2, atol=1e-5, rtol=0)
