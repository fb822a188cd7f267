"""The explorables in a real JupyterLab: they appear, and state crosses both ways."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TOKEN = "open"
PATIENCE = 45.0  # seconds: a busy machine starts slowly
SIZE = 128


class Server(NamedTuple):
    address: str
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A JupyterLab on a free port, in a folder of its own, without the settings of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    private = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    private |= {f"JUPYTERLAB_{name}_DIR": str(folder / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    options = [
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.open_browser=False",
        "--ServerApp.allow_root=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
        "--LabApp.expose_app_in_browser=True",  # so that cells can be run and waited for
    ]
    log = folder / "server.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "jupyterlab", *options]
        process = subprocess.Popen(command, env=os.environ | private, stdout=output, stderr=output)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/api?token={TOKEN}", process, log)
            yield Server(address, folder)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer:\n{log.read_text()}")


RUN = """async (index) => {
    const app = window.jupyterapp;
    const { content, sessionContext } = app.shell.currentWidget;
    await sessionContext.ready;
    content.activeCellIndex = index;
    await app.commands.execute("notebook:run-cell");
}"""


class Notebook:
    """An open notebook, whose cells are run one after the other."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.runs = 0

    def run_next(self) -> Locator:
        """Run the next cell; return its outputs once it is done."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(self.runs)
        self.page.evaluate(RUN, self.runs)
        self.runs += 1
        expect(cell.locator(".jp-InputPrompt")).to_have_text(f"[{self.runs}]:")
        return cell.locator(".jp-OutputArea-output")

    def widget(self) -> Locator:
        """Run the next cell, which shows a widget, and return the element that holds its arrays."""
        shown = self.run_next().locator(".onn").locator("xpath=..")
        shown.locator(".onn").wait_for()
        shown.scroll_into_view_if_needed()
        return shown


@pytest.fixture
def opened(server: Server, chromium: Browser) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook with these cells; nothing may be fetched from outside, and no script may fail."""
    context = chromium.new_context(viewport={"width": 1300, "height": 1400})
    context.set_default_timeout(1000 * PATIENCE)
    expect.set_options(timeout=1000 * PATIENCE)
    outside, errors = [], []

    def open_notebook(*cells: str) -> Notebook:
        first = "import torch; torch.set_num_threads(1)\nfrom onnlab.widgets import *"
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        written = new_notebook(cells=[new_code_cell(c) for c in (first, *cells)], metadata=kernel)
        path = (
            server.folder / f"try{len(list(server.folder.glob('*.ipynb')))}.ipynb"
        )  # a kernel belongs to a path
        nbformat.write(written, path)
        page = context.new_page()
        page.on("request", lambda request: outside.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{server.address}/lab/tree/{path.name}?reset&token={TOKEN}")
        page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.content?.widgets?.length > 0")
        notebook = Notebook(page)
        notebook.run_next()
        return notebook

    yield open_notebook
    context.close()
    expect.set_options(timeout=5000)
    local = (server.address, "data:", "blob:")
    assert [url for url in outside if not url.startswith(local)] == []
    assert errors == []


def array(shown: Locator, name: str) -> list[float]:
    return shown.evaluate("(el, name) => Array.from(el.onnlab[name])", name)


def settled(page: Page) -> None:
    """Let the last message leave: a stroke is sent at most 0.12 s after its last dab."""
    page.wait_for_timeout(400)


def drag(page: Page, canvas: Locator, *places: tuple[float, float]) -> None:
    """Draw through places that are shares of the canvas."""
    box = canvas.bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def test_fourier_mask_both_ways(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "w = FourierMask(); w",
        "print(int((w.mask == 0).sum()), int((w.object == 1).sum()), float(w.image.sum()))",
        "w.mask = torch.polar(torch.full((128, 128), 0.5), torch.arange(128.) / 41)\n"
        "w.object = torch.eye(128)\n"
        "print(float(w.image.sum()))",
        "print(float(w.mask.abs().max()))",
    )
    page, shown = notebook.page, notebook.widget()
    before = shown.evaluate("(el) => el.querySelectorAll('canvas')[3].toDataURL()")
    assert sum(array(shown, "mask")) == SIZE**2

    # From the browser to Python: a stroke across the mask, and one across the object.
    drag(page, shown.locator("canvas").nth(2), (0.2, 0.5), (0.5, 0.5), (0.8, 0.6))
    drag(page, shown.locator("canvas").nth(0), (0.1, 0.05), (0.9, 0.05))
    settled(page)
    blocked, drawn, energy = notebook.run_next().inner_text().split()
    mask, drawing = array(shown, "mask"), array(shown, "object")
    assert int(blocked) == sum(re == im == 0 for re, im in zip(mask[::2], mask[1::2], strict=True)) > 300
    assert int(drawn) == sum(value == 1 for value in drawing) > 300
    assert float(energy) == pytest.approx(sum(array(shown, "image")), rel=1e-5)
    assert shown.evaluate("(el) => el.querySelectorAll('canvas')[3].toDataURL()") != before

    # From Python to the browser, and no echo that would undo it.
    energy = float(notebook.run_next().inner_text())
    settled(page)
    assert array(shown, "object")[: SIZE + 2] == [1.0, *[0.0] * SIZE, 1.0]
    assert max(array(shown, "mask")) == 0.5
    assert energy == pytest.approx(sum(array(shown, "image")), rel=1e-5)
    assert float(notebook.run_next().inner_text()) == pytest.approx(0.5)


def test_paint_kernel_by_keyboard(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "k = PaintKernel(kernel=torch.eye(3)); k",
        "print(k.kernel.tolist(), float(k.difference.abs().sum()))",
        "k.kernel = torch.arange(25.).reshape(5, 5) - 12",
    )
    page, shown = notebook.page, notebook.widget()
    assert array(shown, "kernel") == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    shown.locator("canvas").nth(1).focus()
    for key in ("ArrowRight", "ArrowUp", "Space"):
        page.keyboard.press(key)
    expect(shown.get_by_role("status")).to_contain_text("row 1, column 3: 1")
    settled(page)

    # The keys painted; they did not move JupyterLab on to another cell.
    rows, swing = notebook.run_next().inner_text().rsplit(maxsplit=1)
    assert rows == "[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]"
    assert float(swing) == pytest.approx(sum(map(abs, array(shown, "difference"))), rel=1e-5)

    notebook.run_next()
    settled(page)
    assert array(shown, "kernel") == list(range(-12, 13))


def test_merge_kernels_both_ways(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "w = MergeKernels(object=torch.ones(32, 32)); w",
        "print(w.room, float(w.kernels[0, 2, 2]), float(w.difference.abs().max()))",
        "w.kernels = torch.ones(3, 3, 3); w.room = 'none'",
        "print(float(w.product.sum()))",
    )
    page, shown = notebook.page, notebook.widget()
    canvas = shown.locator("canvas").first
    canvas.focus()
    page.keyboard.press("Space")
    shown.get_by_text("For one kernel", exact=True).click()
    settled(page)
    room, middle, apart = notebook.run_next().inner_text().split()
    assert (room, middle) == ("one", "1.0")
    assert float(apart) == pytest.approx(max(map(abs, array(shown, "difference"))), rel=1e-6)

    notebook.run_next()
    settled(page)
    assert array(shown, "kernels") == [1] * 27
    assert float(notebook.run_next().inner_text()) == pytest.approx(sum(array(shown, "product")))


def test_pool_image_and_temperature(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "p = PoolImage(); p",
        "t = Temperature(teacher=torch.eye(10)[:2] * 5, student=torch.zeros(2, 10), labels=[0, 1],\n"
        "                images=torch.rand(2, 28, 28)); t",
        "print(p.size, float(p.pooled.sum()), t.shown, t.student[1, 0].item(), t.soft_loss)",
        "t.temperature = 20.",
        "print(t.soft_loss)",
    )
    page, pool, answers = notebook.page, notebook.widget(), notebook.widget()
    pool.get_by_role("slider").press("ArrowRight")
    answers.get_by_text("1", exact=True).last.click()
    bars = answers.locator(".onn-pullable").last
    bars.focus()
    for _ in range(4):
        page.keyboard.press("ArrowUp")
    settled(page)
    size, total, shown, logit, loss = map(float, notebook.run_next().inner_text().split())
    assert (size, shown, logit) == (33, 1, 1.0)
    assert total == pytest.approx(sum(array(pool, "pooled")), rel=1e-5)
    assert loss == pytest.approx(array(answers, "losses")[1], rel=1e-6)
    notebook.run_next()
    settled(page)
    assert float(notebook.run_next().inner_text()) == pytest.approx(array(answers, "losses")[1], rel=1e-6)


def test_built_lens_both_ways(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "from onnlab.hardware import YieldCurve\n"
        "curve = YieldCurve((0., 1.), torch.tensor([[0.9, 0.8], [0.5, 0.4]]).double())\n"
        "w = BuiltPSF({'noise': curve}, noise=0.5, levels=4); w",
        "print(w.noise, w.shown, w.strehl, *w.accuracy('noise'))",
        "w.levels, w.shift, w.screen = 3, 2e-5, torch.rand(64, 64)",
        "print(float(w.psf.max()), w.at_place)",
    )
    page, shown = notebook.page, notebook.widget()
    shown.get_by_role("slider", name="Phase noise").press("ArrowRight")
    settled(page)
    noise, name, strehl, *accuracy = notebook.run_next().inner_text().split()
    assert (noise, name) == ("0.51", "noise")
    assert float(strehl) == pytest.approx(array(shown, "ratios")[0], rel=1e-6)
    assert [float(value) for value in accuracy] == pytest.approx(array(shown, "accuracy"), rel=1e-9)

    notebook.run_next()
    settled(page)
    peak, here = map(float, notebook.run_next().inner_text().split())
    assert max(array(shown, "psf")) == pytest.approx(peak, rel=1e-6)
    assert array(shown, "ratios")[1] == pytest.approx(here, rel=1e-6)


def test_quiz_both_ways(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "choices = [Choice('Yes', right=True), Choice('Nothing', 'Why not?')]\n"
        "one = Question(name='one', text='Is it?', explanation='It is.', choices=choices)\n"
        "two = NumberQuestion(\n"
        "    name='two', text='1 + 1?', explanation='Count.', hint='No.', answer=2, tolerance=0.1)\n"
        "q = Quiz(questions=[one, two]); q",
        "print(q.answers, q.score)",
        "q.answers = {'one': [1], 'two': [2.05]}",
        "print(q.score)",
    )
    page, shown = notebook.page, notebook.widget()
    shown.get_by_text("Yes", exact=True).click()
    page.keyboard.press("Enter")
    expect(shown.get_by_role("status").last).to_contain_text("✓ Right.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("2.2")  # letters and digits are no commands of JupyterLab here
    page.keyboard.press("Enter")
    expect(shown.get_by_role("status").last).to_contain_text("✗ Not right. No.")
    settled(page)
    assert notebook.run_next().inner_text().strip() == "{'one': [0], 'two': [2.2]} 1"

    notebook.run_next()
    expect(shown.get_by_role("button", name="1 not right yet")).to_be_visible()
    assert notebook.run_next().inner_text().strip() == "1"


def test_diffraction_in_two_views(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "d = Diffraction(); d",
        "d",
        "print(d.shape, d.distance, float(d.intensity.sum()))",
        "d.shape = 'ring'",
    )
    page, first, second = notebook.page, notebook.widget(), notebook.widget()
    second.get_by_text("Two slits", exact=True).click()
    second.get_by_role("slider", name="Distance z").press("ArrowRight")
    settled(page)
    shape, distance, energy = notebook.run_next().inner_text().split()
    assert shape == "slits"
    assert float(distance) == pytest.approx(0.02 * 10**0.005, rel=0.01)
    for view in (first, second):
        assert sum(array(view, "intensity")) == pytest.approx(float(energy), rel=1e-6)
        assert view.locator("input[value=slits]").is_checked()

    notebook.run_next()
    settled(page)
    for view in (first, second):
        assert view.locator("input[value=ring]").is_checked()
    assert array(first, "aperture") == array(second, "aperture")
    assert array(first, "aperture")[64 * SIZE + 64] == 0  # the middle of a ring is dark


def test_device_both_ways(opened: Callable[..., Notebook]) -> None:
    notebook = opened(
        "d = DeviceDesign(); d",
        "print(d.kernels, d.resolution, d.crossover, *(c.energy for c in d.costs()))",
        "d.side = 2e-3; d.mac = 1.5e-11; d.parallel = False",
        "print(d.kernels, d.resolution, d.crossover)",
    )
    page, shown = notebook.page, notebook.widget()
    for name, key in {"Kernel": "ArrowRight", "Pixel of the sensor": "ArrowLeft"}.items():
        for _ in range(4):
            shown.get_by_role("slider", name=name, exact=True).press(key)
    settled(page)
    *found, hybrid, digital = map(float, notebook.run_next().inner_text().split())
    assert found == array(shown, "result") == [32, 84, 28]  # 8 x 8 sites, room for 92 pixels
    splits = array(shown, "splits")
    assert [hybrid, digital] == pytest.approx([sum(splits[:2]), sum(splits[2:])], rel=1e-6)

    notebook.run_next()
    settled(page)
    kernels, *others = map(float, notebook.run_next().inner_text().split())
    assert [kernels, *others] == array(shown, "result")
    assert kernels == 12
