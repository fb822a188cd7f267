"""How the explorables exchange state with their model, run in Node with a model of our own."""

from collections.abc import Callable
from typing import Any

JavaScript = Callable[..., Any]

# A model as anywidget has it; it notes what is saved. `python` sets a value from the other side.
MODEL = """
const state = { x: 1, y: 1 };
const listeners = new Map();
const saved = [];
const model = {
    get: (name) => state[name],
    set(name, value) { state[name] = value; (listeners.get(`change:${name}`) ?? []).forEach((f) => f()); },
    on(event, f) { listeners.set(event, [...(listeners.get(event) ?? []), f]); },
    off(event, f) { listeners.set(event, listeners.get(event).filter((one) => one !== f)); },
    save_changes: () => saved.push({ ...state }),
};
const python = (name, value) => model.set(name, value);
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const heard = [];
"""


def test_many_changes_are_one_message(javascript: JavaScript) -> None:
    lines = """
        const shared = m.share(model, 20);
        for (let i = 0; i < 50; i++) shared.put("x", () => i);
        shared.put("y", () => 7);
        const early = saved.length;
        await wait(60);
        answer = { early, saved };
    """
    assert javascript("ui", MODEL + lines) == {"early": 0, "saved": [{"x": 49, "y": 7}]}


def test_flush_sends_at_once_and_once(javascript: JavaScript) -> None:
    lines = """
        const shared = m.share(model, 20);
        shared.put("x", () => 2);
        shared.flush();
        shared.flush();
        const early = saved.length;
        await wait(60);
        answer = [early, saved.length];
    """
    assert javascript("ui", MODEL + lines) == [1, 1]


def test_own_changes_are_not_heard_but_those_of_others_are(javascript: JavaScript) -> None:
    lines = """
        const shared = m.share(model, 5);
        shared.on("x", (value) => heard.push(value));
        shared.put("x", () => 2);
        await wait(20);
        python("x", 3);
        python("x", 2);  // the value that we sent once is news all the same
        answer = heard;
    """
    assert javascript("ui", MODEL + lines) == [3, 2]


def test_python_overrules_what_waits(javascript: JavaScript) -> None:
    lines = """
        const shared = m.share(model, 20);
        shared.on("x", (value) => heard.push(value));
        shared.put("x", () => 2);
        python("x", 5);
        await wait(60);
        answer = { heard, x: state.x, messages: saved.length };
    """
    assert javascript("ui", MODEL + lines) == {"heard": [5], "x": 5, "messages": 0}


def test_a_closed_view_sends_its_last_word_and_hears_nothing(javascript: JavaScript) -> None:
    lines = """
        const shared = m.share(model, 20);
        shared.on("x", (value) => heard.push(value));
        shared.put("x", () => 2);
        shared.stop();
        python("x", 9);
        answer = { saved, heard };
    """
    assert javascript("ui", MODEL + lines) == {"saved": [{"x": 2, "y": 1}], "heard": []}


def test_two_views_of_one_model(javascript: JavaScript) -> None:
    lines = """
        const [first, second] = [m.share(model, 5), m.share(model, 5)];
        first.on("x", () => heard.push("first"));
        second.on("x", () => heard.push("second"));
        first.put("x", () => 2);
        await wait(20);
        second.put("x", () => 3);
        await wait(20);
        answer = heard;
    """
    assert javascript("ui", MODEL + lines) == ["second", "first"]


def test_numbers_as_people_read_them(javascript: JavaScript) -> None:
    lines = "answer = given.map(([value, unit]) => m.quantity(value, unit));"
    values = [
        [5.32e-7, "m"],
        [0.1, "m"],
        [1e-6, "m"],
        [0, "m"],
        [-0.00123, "m"],
        [12345, "m"],
        [1.024e-3, "m"],
        [9.999e-7, "m"],
        [9.994e-7, "m"],
        [-0.9996, "m"],
    ]
    expected = ["532 nm", "100 mm", "1 µm", "0 m", "−1.23 mm", "12.3 km", "1.02 mm", "1 µm", "999 nm", "−1 m"]
    assert javascript("ui", lines, values) == expected
    assert javascript("ui", "answer = m.number(given);", -1.234e-7) == "−1.23e−7"
