"""Explorables on static pages: alive without a server, and equal to ``onnlab.optics`` sample by sample."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from onnlab_book import explorables
from playwright.sync_api import Browser, Locator, Page, expect

from onnlab.optics import ComplexMask, FourF, Grid, image_incoherent, propagate
from onnlab.widgets import (
    BuiltPSF,
    DeviceDesign,
    Diffraction,
    FourierMask,
    MergeKernels,
    PaintKernel,
    PoolImage,
    Quiz,
    Temperature,
)
from onnlab.widgets._bundle import bundle, modules
from onnlab.widgets._explorable import Explorable
from tests.site import checks
from tests.widgets import examples

SIZE = 128
TOLERANCE = 1e-6  # of the peak
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title>
    <link rel="icon" href="data:,"><script defer src="live.js"></script></head><body>{}</body></html>"""


@pytest.fixture
def alive(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a bare page from disk with some widgets on it; it must live without a complaint."""
    script = explorables.packed({name: bundle(name) for name in modules()})
    (tmp_path / "live.js").write_text(script, encoding="utf-8")
    seen: list[checks.Visit] = []
    with ExitStack() as visits:

        def opened(*widgets: Explorable) -> Page:
            twins = "".join(widget.twin() for widget in widgets)
            (tmp_path / "page.html").write_text(PAGE.format(twins), encoding="utf-8")
            visited = visits.enter_context(checks.visit(chromium, (tmp_path / "page.html").as_uri()))
            seen.append(visited)
            visited.page.wait_for_function(
                "(n) => document.querySelectorAll('[data-live]').length === n", arg=len(widgets)
            )
            return visited.page

        yield opened
        assert [visited.complaints for visited in seen if visited.complaints] == []


def array(explorable: Locator, name: str) -> torch.Tensor:
    """Numbers that an explorable shows on its element."""
    return torch.tensor(
        explorable.evaluate("(el, name) => Array.from(el.onnlab[name])", name), dtype=torch.float64
    )


def state(explorable: Locator, name: str) -> float | str | list:
    """Value in the model of an explorable, once all that it has to tell is told."""
    explorable.page.wait_for_timeout(200)
    return explorable.evaluate("(el, name) => el.model.get(name)", name)


def drag(page: Page, canvas: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a straight stroke; places are shares of the canvas."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    (x0, y0), (x1, y1) = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)
    )
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=8)
    page.mouse.up()


def slide(slider: Locator, keys: list[str]) -> None:
    """Move a slider as a reader without a mouse does."""
    slider.focus()
    for key in keys:
        slider.press(key)


def assert_equal(shown: torch.Tensor, expected: torch.Tensor) -> None:
    expected = expected.to(torch.float64)
    assert expected.max() > 0
    assert (shown.reshape(expected.shape) - expected).abs().max() <= TOLERANCE * expected.abs().max()


def image_of(explorable: Locator) -> torch.Tensor:
    """What the library makes of the object and the mask that a page shows."""
    grid = Grid((SIZE, SIZE), pitch=8e-6, wavelength=532e-9)
    mask = torch.view_as_complex(array(explorable, "mask").reshape(SIZE, SIZE, 2))
    field = array(explorable, "object").reshape(SIZE, SIZE).to(torch.complex128)
    return FourF(grid, 0.1, mask=ComplexMask(mask))(field).abs() ** 2


def test_painting_a_mask_changes_the_image_as_the_library_says(chromium: Browser, site: Path) -> None:
    with checks.visit(chromium, (site / "book/intro.html").as_uri()) as visited:
        explorable = visited.page.locator(".onnlab-explorable").first
        visited.page.wait_for_selector(".onnlab-explorable[data-live]")
        picture = "(el) => el.querySelectorAll('canvas')[3].toDataURL()"
        seen, image, mask = (
            explorable.evaluate(picture),
            array(explorable, "image"),
            array(explorable, "mask"),
        )
        assert_equal(image, image_of(explorable))

        drag(visited.page, explorable.locator("canvas").nth(2), (0.3, 0.45), (0.7, 0.6))

        assert (array(explorable, "mask") != mask).sum() > 200
        assert (array(explorable, "image") - image).abs().max() > 0.01
        assert_equal(array(explorable, "image"), image_of(explorable))
        visited.page.wait_for_timeout(50)
        assert explorable.evaluate(picture) != seen
        assert visited.complaints == []


@pytest.mark.parametrize("preset", ["Low", "High", "Band", "Half-plane π", "Vortex", "Defocus"])
def test_preset_masks(alive: Callable[..., Page], preset: str) -> None:
    explorable = alive(FourierMask()).locator(".onnlab-explorable")
    explorable.get_by_role("radio", name=preset, exact=True).check(force=True)
    assert_equal(array(explorable, "image"), image_of(explorable))


def test_mask_and_object_from_python(alive: Callable[..., Page]) -> None:
    generator = torch.Generator().manual_seed(0)
    given = FourierMask(
        mask=torch.polar(*torch.rand(2, SIZE, SIZE, generator=generator)),
        object=torch.rand(SIZE, SIZE, generator=generator),
    )
    explorable = alive(given).locator(".onnlab-explorable")
    assert_equal(array(explorable, "object"), given.object)
    assert_equal(array(explorable, "mask"), torch.view_as_real(given.mask))
    assert_equal(array(explorable, "image"), image_of(explorable))


def test_keyboard_paints(alive: Callable[..., Page]) -> None:
    explorable = alive(FourierMask()).locator(".onnlab-explorable")
    before = array(explorable, "mask")
    canvas = explorable.locator("canvas").nth(2)
    canvas.focus()
    for key in ["ArrowRight", "ArrowDown", " ", "Shift+ArrowLeft", " "]:
        canvas.press(key)
    assert (array(explorable, "mask") != before).sum() > 50
    assert_equal(array(explorable, "image"), image_of(explorable))


def test_drawing_an_object(alive: Callable[..., Page]) -> None:
    page = alive(FourierMask())
    explorable = page.locator(".onnlab-explorable")
    before = array(explorable, "object")
    drag(page, explorable.locator("canvas").first, (0.1, 0.1), (0.9, 0.2))
    assert (array(explorable, "object") != before).sum() > 100
    assert_equal(array(explorable, "image"), image_of(explorable))


@pytest.mark.parametrize("shape", ["circle", "square", "slits", "ring"])
@pytest.mark.parametrize("distance", [0.0004, 0.02, 2.0])
def test_diffraction(alive: Callable[..., Page], shape: str, distance: float) -> None:
    given = Diffraction(shape=shape, distance=distance)
    explorable = alive(given).locator(".onnlab-explorable")
    assert_equal(array(explorable, "aperture"), given.aperture)
    field = array(explorable, "aperture").reshape(SIZE, SIZE).to(torch.complex128)
    assert_equal(array(explorable, "intensity"), propagate(field, given.grid, distance).abs() ** 2)


def test_sliders_of_diffraction(alive: Callable[..., Page]) -> None:
    explorable = alive(Diffraction()).locator(".onnlab-explorable")
    before = array(explorable, "intensity")
    for slider in explorable.locator("input[type=range]").all():
        slide(slider, ["ArrowRight"] * 3)
    moved = {name: state(explorable, name) for name in ("shape", "radius", "distance", "wavelength", "pitch")}
    assert moved["distance"] != Diffraction().distance
    expected = Diffraction(**moved).intensity
    assert_equal(array(explorable, "intensity"), expected)
    assert (array(explorable, "intensity") - before).abs().max() > 0.01


def test_painting_a_kernel(alive: Callable[..., Page]) -> None:
    page = alive(PaintKernel())
    explorable = page.locator(".onnlab-explorable")
    before = array(explorable, "kernel")
    canvas = explorable.locator("canvas[role=application]").last
    canvas.focus()
    for key in ["ArrowLeft", " ", "ArrowDown", "ArrowDown", " "]:
        canvas.press(key)
    kernel = array(explorable, "kernel")
    assert (kernel != before).sum() >= 1

    side = int(kernel.numel() ** 0.5)
    intensity = array(explorable, "object").reshape(SIZE, SIZE)
    signed = kernel.reshape(side, side)
    linear = image_incoherent(intensity, signed.clamp(min=0)) - image_incoherent(
        intensity, (-signed).clamp(min=0)
    )
    assert_equal(array(explorable, "difference"), linear)


@pytest.mark.parametrize(("other", "name"), [("average", "Average"), ("maximum", "Maximum")])
def test_pooling(alive: Callable[..., Page], other: str, name: str) -> None:
    explorable = alive(PoolImage(object=torch.rand(SIZE, SIZE))).locator(".onnlab-explorable")
    before = array(explorable, "pooled")
    explorable.get_by_role("radio", name=name, exact=True).check(force=True)
    slide(explorable.get_by_role("slider"), ["ArrowRight"] * 5)
    expected = PoolImage(
        size=state(explorable, "size"),
        other=state(explorable, "other"),
        object=array(explorable, "object").reshape(SIZE, SIZE),
    )
    assert (expected.size, expected.other) == (37, other)
    assert_equal(array(explorable, "pooled"), expected.pooled)
    assert_equal(array(explorable, "compared"), expected.compared)
    assert len(array(explorable, "pooled")) > len(before)


def test_merging_painted_kernels(alive: Callable[..., Page]) -> None:
    given = MergeKernels(object=torch.rand(32, 32, generator=torch.Generator().manual_seed(0)))
    explorable = alive(given).locator(".onnlab-explorable")
    canvas = explorable.locator("canvas[role=application]").nth(1)
    canvas.focus()
    for key in ["ArrowLeft", " ", "ArrowDown", " "]:
        canvas.press(key)
    assert explorable.get_by_role("radio", name="2", exact=True).is_checked()  # painting chooses the kernel
    for room in ("For one kernel", "None", "For all kernels"):
        explorable.get_by_role("radio", name=room).check(force=True)
        expected = MergeKernels(
            kernels=state(explorable, "kernels"),
            room=state(explorable, "room"),
            object=array(explorable, "object").reshape(32, 32),
        )
        assert torch.equal(expected.object, given.object)
        assert (expected.kernels[1] != given.kernels[1]).sum() == 2
        assert_equal(array(explorable, "steps"), expected.steps)
        assert_equal(array(explorable, "product"), expected.product)
        apart = array(explorable, "difference").abs().max().item()
        assert (apart < 1e-12) == (room == "For all kernels")
        shown = explorable.locator("dd").first.inner_text().replace("−", "-")
        assert float(shown) == pytest.approx(apart, rel=0.1)


def assert_equal_answers(explorable: Locator) -> Temperature:
    names = ("teacher", "student", "labels", "temperature", "shown")
    expected = Temperature(**{name: state(explorable, name) for name in names})
    assert_equal(array(explorable, "shares"), expected.shares)
    assert (array(explorable, "gradient") - expected.gradient).abs().max() <= TOLERANCE
    values = [expected.divergence, expected.soft_loss, expected.cross_entropy, expected.limit]
    assert array(explorable, "losses").tolist() == pytest.approx(values, rel=TOLERANCE)
    return expected


def test_pulling_logits(alive: Callable[..., Page]) -> None:
    page, given = alive(examples.answers()), examples.answers()
    explorable = page.locator(".onnlab-explorable")
    assert_equal_answers(explorable)

    explorable.get_by_role("radio", name="7", exact=True).check(force=True)
    teacher, student = explorable.locator(".onn-pullable").all()
    drag(page, teacher, (0.5, 0.5), (0.52, 0.2))
    student.focus()
    for key in ["ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowUp", "ArrowDown"]:
        student.press(key)
    slide(explorable.get_by_role("slider"), ["ArrowRight"] * 30)

    now = assert_equal_answers(explorable)
    assert now.shown == 1 and now.temperature == pytest.approx(2 * 2**0.3)
    assert (now.teacher != given.teacher).sum() == 1  # one bar was held, although the pointer went aside
    moved = (now.student - given.student).nonzero().tolist()
    assert moved == [[1, 2]]
    assert (now.student - given.student)[1, 2].item() == pytest.approx(1, abs=0.06)
    explorable.get_by_role("button", name="Reset").click()
    again = assert_equal_answers(explorable)
    assert torch.equal(again.teacher, given.teacher) and again.temperature == 2


@pytest.mark.parametrize("name", ["As it was", "As the teacher", "Knows nothing", "Sure of the label"])
def test_students(alive: Callable[..., Page], name: str) -> None:
    explorable = alive(examples.answers()).locator(".onnlab-explorable")
    explorable.get_by_role("radio", name="Knows nothing").check(force=True)
    explorable.get_by_role("radio", name=name).check(force=True)
    now = assert_equal_answers(explorable)
    if name == "As the teacher":
        assert now.soft_loss == 0
    if name == "Sure of the label":
        assert now.cross_entropy < 1e-3 < now.soft_loss
    if name == "As it was":
        assert torch.equal(now.student, examples.answers().student)


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("order", ["class", "given"])
def test_kernel_heat_map(alive: Callable[..., Page], step: int, centre: bool, order: str) -> None:
    explorable, expected = alive(examples.kernels()).locator(".onnlab-explorable"), examples.kernels()
    expected.shown, expected.centre, expected.order = step, centre, order
    slide(explorable.get_by_role("slider"), ["ArrowRight"] * step)
    explorable.get_by_role("checkbox").set_checked(centre)
    explorable.get_by_role("radio", name={"class": "By class", "given": "As given"}[order]).check(force=True)
    assert_equal(array(explorable, "kernel"), expected.kernel)
    assert_equal(array(explorable, "alignment"), expected.alignment)
    assert [state(explorable, name) for name in ("shown", "centre", "order")] == [step, centre, order]
    told = float(explorable.locator("dd").first.inner_text())
    assert told == pytest.approx(expected.alignment[step].item(), abs=0.006)


def test_mask_overlay(alive: Callable[..., Page]) -> None:
    explorable, expected = alive(examples.masks()).locator(".onnlab-explorable"), examples.masks()
    pictures = "(el) => [...el.querySelectorAll('canvas')].map((one) => one.toDataURL())"
    assert_equal(array(explorable, "scores"), expected.scores)
    seen = explorable.evaluate(pictures)
    explorable.get_by_role("radio", name="2", exact=True).check(force=True)
    slide(explorable.get_by_role("slider"), ["ArrowRight"] * 20)
    expected.threshold = 0.7
    assert (state(explorable, "threshold"), state(explorable, "shown")) == (0.7, 1)
    assert_equal(array(explorable, "scores"), expected.scores)
    assert not set(explorable.evaluate(pictures)) & set(seen)
    curves = []
    for level in torch.linspace(0, 1, 101, dtype=torch.float64).tolist():
        expected.threshold = level
        curves.append(expected.scores[:, 1])
    assert_equal(array(explorable, "curves"), torch.stack(curves, 1))


def test_designing_a_device(alive: Callable[..., Page]) -> None:
    explorable = alive(DeviceDesign()).locator(".onnlab-explorable")
    plan = "(el) => el.querySelector('canvas').toDataURL()"
    seen, before = explorable.evaluate(plan), array(explorable, "energies")
    for slider, steps in zip(explorable.get_by_role("slider").all(), (10, 6, 4, 2, 40), strict=True):
        slide(slider, ["ArrowRight"] * steps)
    explorable.get_by_role("checkbox").set_checked(False)
    lengths = {name: state(explorable, name) for name in ("side", "kernel_size", "gap", "pixel")}
    assert lengths == pytest.approx({"side": 3.5e-3, "kernel_size": 0.33e-3, "gap": 0.07e-3, "pixel": 5.5e-6})
    expected = DeviceDesign(mac=state(explorable, "mac"), parallel=False, **lengths)
    assert expected.mac == pytest.approx(30.85e-12 * 10**0.4, rel=0.02)
    assert_equal(array(explorable, "rectangles"), expected.layout.rectangles)
    assert_equal(array(explorable, "pairs"), expected.layout.pairs)
    assert array(explorable, "result").tolist() == [expected.kernels, expected.resolution, expected.crossover]
    energies = array(explorable, "energies").reshape(2, -1)
    for size in (expected.sizes[0], expected.resolution, expected.sizes[-1]):
        known = [cost.energy for cost in expected.costs(size)]
        assert energies[:, expected.sizes.index(size)].tolist() == pytest.approx(known, rel=TOLERANCE)
    assert explorable.evaluate(plan) != seen
    explorable.get_by_role("button", name="Reset").click()
    assert torch.equal(array(explorable, "energies"), before)
    assert explorable.evaluate(plan) == seen


@pytest.mark.parametrize(
    "make",
    [
        PoolImage,
        MergeKernels,
        Temperature,
        BuiltPSF,
        DeviceDesign,
        lambda: DeviceDesign(side=1e-3, kernel_size=1e-3, gap=0, pixel=20e-6),  # no pair
        lambda: DeviceDesign(kernel_size=0.2e-3, pixel=20e-6),  # pictures too coarse
        examples.answers,
        examples.kernels,
        examples.lens,
        examples.masks,
        examples.quiz,
        lambda: Quiz("ch02"),
    ],
)
def test_explorable_is_well(alive: Callable[..., Page], make: Callable[[], Explorable]) -> None:
    page = alive(make())
    assert checks.dead_explorables(page) == []
    for scheme in ("light", "dark"):
        checks.choose(page, scheme)
        assert checks.barriers(page) == []
    page.set_viewport_size({"width": 320, "height": 700})
    assert checks.too_wide(page) == []


def test_quiz_by_keyboard(alive: Callable[..., Page]) -> None:
    page, quiz = alive(examples.quiz()), examples.quiz()
    explorable, keys = page.locator(".onnlab-explorable"), page.keyboard
    flip = quiz.questions[0]
    wrong, right = flip.order.index(0), flip.order.index(1)
    verdict = explorable.get_by_role("status").last

    explorable.get_by_role("radio").first.focus()
    keys.press("Space")
    for _ in range(wrong):
        keys.press("ArrowDown")
    keys.press("Enter")  # checks, as the button does
    expect(verdict).to_have_text("✗ Not right. Then it would be a convolution.Read again: Two flips.")
    assert explorable.locator("label", has_text="✗ tried").count() == 1
    assert state(explorable, "answers") == {"flip": [0]}

    keys.press("Tab")
    expect(explorable.get_by_role("button", name="Try again")).to_be_focused()
    keys.press("Enter")
    expect(verdict).to_be_empty()
    expect(explorable.get_by_role("radio").first).to_be_focused()
    keys.press("Space")
    for _ in range(right):
        keys.press("ArrowDown")
    keys.press("Enter")
    expect(verdict).to_have_text("✓ Right. It correlates: 10-3 <b>of</b> all know.")
    assert verdict.locator("sup").inner_text() == "-3" and verdict.locator("b").count() == 0
    expect(explorable.get_by_role("button", name="1 right at a later try")).to_be_visible()

    keys.press("Tab")
    keys.press("Enter")  # next question, and the reader is taken there
    expect(explorable.locator("legend")).to_be_focused()
    keys.press("Tab")
    expect(explorable.get_by_role("textbox", name="Your answer, in mm²")).to_be_focused()
    for text, said in {
        "": "Type a number first",
        "6,28": "✗ Not right. The square is missing.",
        "−1.5": "✗ Not right. An area is positive.",
        "12": "✗ Not right. It goes with the square of the radius.",
        "12.57": "✓ Right. π × 2².",
    }.items():
        keys.press("Control+a")
        keys.type(text)
        keys.press("Enter")
        expect(verdict).to_contain_text(said)
    assert state(explorable, "answers") == {"flip": [0, 1], "area": [6.28, -1.5, 12, 12.57]}

    keys.press("Enter")
    expect(explorable.locator(".onn-asked")).to_be_focused()
    expect(explorable.locator(".onn-asked")).to_have_text("0 of 2 right at the first try.")
    expect(explorable.locator("li").last).to_have_text("Two flips")
    quiz.answers = state(explorable, "answers")
    assert quiz.score == 0
    keys.press("Tab")
    keys.press("Enter")
    assert state(explorable, "answers") == {}
    expect(explorable.get_by_text("Question 1 of 2")).to_be_visible()


def test_quiz_points_to_a_section_of_the_page(alive: Callable[..., Page]) -> None:
    page = alive(examples.quiz())
    page.evaluate("() => document.body.append(Object.assign(document.createElement('h2'), {id: 'sec-flip'}))")
    explorable = page.locator(".onnlab-explorable")
    explorable.get_by_text("It turns it").click()
    explorable.get_by_role("button", name="Check").dblclick()  # the second click does not take the words away
    assert explorable.get_by_role("link", name="Two flips").get_attribute("href") == "#sec-flip"


@pytest.mark.parametrize("chapter", ["ch02", "ch03"])
def test_quiz_of_a_chapter(chromium: Browser, site: Path, chapter: str) -> None:
    (path,) = (site / "book").glob(f"{chapter}_*.html")
    with checks.visit(chromium, path.as_uri()) as visited:
        visited.page.wait_for_selector(".onnlab-explorable[data-module=quiz][data-live]")
        for one in Quiz(chapter).questions:
            assert visited.page.locator(f"#{one.section}").count() == 1
        assert visited.complaints == []


def assert_equal_lens(explorable: Locator) -> BuiltPSF:
    expected = examples.lens()
    for name in ("noise", "levels", "shift", "defocus", "shown"):
        setattr(expected, name, state(explorable, name))
    assert_equal(array(explorable, "psf"), expected.psf)
    assert array(explorable, "ratios").tolist() == pytest.approx(
        [expected.strehl, expected.at_place], rel=TOLERANCE
    )
    accuracy = [value for name in expected.table for value in expected.accuracy(name)]
    assert array(explorable, "accuracy").tolist() == pytest.approx(accuracy, rel=1e-9, nan_ok=True)
    return expected


def test_built_lens(alive: Callable[..., Page]) -> None:
    explorable, given = alive(examples.lens()).locator(".onnlab-explorable"), examples.lens()
    curve = "(el) => el.querySelector('svg').innerHTML"
    seen = explorable.evaluate(curve)
    before = assert_equal_lens(explorable)
    assert explorable.locator("dt").all_inner_texts()[4:] == [
        "Noise, interpolated", "Levels, interpolated", "Shift, interpolated", "Defocus, interpolated",
    ]  # fmt: skip
    for slider in explorable.get_by_role("slider").all():
        slide(slider, ["ArrowLeft"] * 4)
    now = assert_equal_lens(explorable)
    assert now.shown == "defocus" and explorable.evaluate(curve) != seen
    assert (now.psf - before.psf).abs().max() > 0.01
    slide(explorable.get_by_role("slider", name="Phase noise"), ["Home"])
    assert state(explorable, "noise") == 0
    assert explorable.locator("dt").nth(4).inner_text() == "Noise, measured"
    assert explorable.locator("dd").nth(4).inner_text() == "{:.1f} ± {:.1f} %".format(
        *(100 * value for value in assert_equal_lens(explorable).accuracy("noise"))
    )
    explorable.evaluate("(el) => el.model.set('levels', 11)")  # between two steps of the slider
    assert explorable.get_by_role("slider", name="Phase levels").get_attribute("aria-valuetext") == "11"
    assert_equal_lens(explorable)
    explorable.get_by_role("button", name="Reset").click()
    again = assert_equal_lens(explorable)
    assert (again.noise, again.levels, again.shown) == (given.noise, given.levels, given.shown)


def test_python_sets_the_state(alive: Callable[..., Page]) -> None:
    explorable = alive(Diffraction()).locator(".onnlab-explorable")
    explorable.evaluate("(el) => el.model.set('distance', 0.05)")
    assert_equal(array(explorable, "intensity"), Diffraction(distance=0.05).intensity)


def test_all_kinds_on_one_page(alive: Callable[..., Page]) -> None:
    page = alive(
        Diffraction(), FourierMask(), PaintKernel(), FourierMask(), PoolImage(), MergeKernels(), Temperature()
    )
    ids = page.eval_on_selector_all("[id]", "(all) => all.map((one) => one.id)")
    assert len(ids) == len(set(ids))
    second, fourth = page.locator(".onnlab-explorable").nth(1), page.locator(".onnlab-explorable").nth(3)
    second.get_by_role("radio", name="Low", exact=True).check(force=True)
    assert second.locator("input:checked[value=low]").count() == 1
    assert fourth.locator("input:checked[value=open]").count() == 1
    assert array(second, "mask").ne(array(fourth, "mask")).any()


def test_finger_paints(chromium: Browser, site: Path) -> None:
    context = chromium.new_context(has_touch=True, viewport=checks.PHONE, offline=True)
    page = context.new_page()
    page.goto((site / "book/intro.html").as_uri())
    page.wait_for_selector(".onnlab-explorable[data-live]")
    explorable = page.locator(".onnlab-explorable")
    before = array(explorable, "mask")
    explorable.locator("canvas").nth(2).tap()
    assert (array(explorable, "mask") != before).sum() > 20
    context.close()


@pytest.mark.parametrize(
    ("twin", "complaint"),
    [
        ('<div class="onnlab-explorable" data-module="nothing" data-state="{}">Sentence.</div>', "nothing"),
        (
            '<div class="onnlab-explorable" data-module="diffraction" data-state="{">Sentence.</div>',
            "diffraction",
        ),
    ],
)
def test_dead_explorable_keeps_its_sentence_and_complains(
    chromium: Browser, tmp_path: Path, twin: str, complaint: str
) -> None:
    script = explorables.packed({"diffraction": bundle("diffraction")})
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>Page</title>{twin}<script>{script}</script>", encoding="utf-8")
    with checks.visit(chromium, page.as_uri()) as visited:
        visited.page.wait_for_timeout(100)
        assert visited.page.locator(".onnlab-explorable").inner_text() == "Sentence."
        assert any(complaint in one for one in visited.complaints)
        assert f"dead explorable: {complaint}" in checks.dead_explorables(visited.page)
