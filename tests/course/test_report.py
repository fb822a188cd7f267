"""The table and the pages of the report: what is in them, and what cannot be."""

import csv
from html.parser import HTMLParser

import pytest

from onnlab.course.grading import Graded, Item, Student
from onnlab.course.report import page, scores, write_report
from tests.site.checks import barriers, choose, visit

EVIL = "<script>document.title = 'forged'</script><img src=x onerror=\"document.title = 'forged'\">"
CHECKED = Item("ch90-double", 1.0, 1.0, printed="Passed.\n", answers=(("code", "def double(x): ..."),))
FAILED = Item("ch90-square", 2.0, 0.0, reason="ValueError: lost", answers=(("code", "raise ValueError"),))
UNREAD = Item("ch90-square-why", 1.0, None, by_hand=True, answers=(("markdown", "It is an area."),))


def student(name="ada", *items, reason="", remarks=()):
    return Student(name, (Graded("ch90", items or (CHECKED, FAILED, UNREAD), reason, remarks),))


def all_of(text):
    """A student all of whose words are this text."""
    item = Item(text, 1.0, 0.0, reason=text, printed=text, answers=(("code", text), ("markdown", text)))
    return Student(text, (Graded(text, (item,), text, (text,)),), (text,))


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.names, self.attributes, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


def test_the_table():
    table = scores([student(), Student("bob", (), ("no notebook was found",))])
    columns = ["ch90-double", "ch90-square", "ch90-square-why"]
    assert table == [
        ["student", *columns, "total", "to be read", "remarks"],
        ["points", 1.0, 2.0, 1.0, 4.0, "", ""],
        ["ada", 1.0, 0.0, "", 1.0, "ch90-square-why", ""],
        ["bob", 0.0, 0.0, 0.0, 0.0, "", "no notebook was found"],
    ]


def test_notebooks_have_their_columns_in_order_whoever_handed_them_in():
    late = Student("ada", (Graded("ch91", (Item("ch91-cube", 2.0, 2.0),)),))
    head, reachable, ada, bob = scores([late, student("bob")])
    assert head[1:5] == ["ch90-double", "ch90-square", "ch90-square-why", "ch91-cube"]
    assert reachable[1:6] == [1.0, 2.0, 1.0, 2.0, 6.0]
    assert (ada[1:6], bob[1:6]) == ([0.0, 0.0, 0.0, 2.0, 2.0], [1.0, 0.0, "", 0.0, 1.0])


def test_remarks_of_notebooks_are_in_the_table():
    row = scores([student(reason="the kernel died", remarks=("x was edited",))])[-1]
    assert row[-1] == "ch90: the kernel died; ch90: x was edited"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_name_is_no_formula(name):
    assert scores([student(name)])[-1][0] == f"'{name}"


def test_files(tmp_path):
    files = write_report([student("Ada Löv"), student("bob")], tmp_path / "report")
    assert [path.name for path in files] == ["scores.csv", "Ada Löv.html", "bob.html"]
    with files[0].open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["student", "points", "Ada Löv", "bob"]
    assert all(path.read_text(encoding="utf-8-sig") for path in files)


def test_half_a_character_is_written(tmp_path):
    item = Item("ch90-double", 1.0, 0.0, printed="\ud800", answers=(("code", "\ud800"),))
    assert "?</pre>" in write_report([student("ada", item)], tmp_path)[-1].read_text(encoding="utf-8")


def test_a_page_shows_what_there_is():
    text = Tags(page(student())).text
    for shown in (
        "ada",
        "1 of 1 points",
        "0 of 2 points",
        "ValueError: lost",
        "def double(x): ...",
        "Passed.",
    ):
        assert shown in text
    assert "It is an area." in text and "Points by hand" in text


def test_what_a_student_wrote_is_text():
    evil, good = Tags(page(all_of(EVIL))), Tags(page(all_of("harmless")))
    assert evil.names == good.names and evil.attributes == good.attributes
    assert evil.text == good.text.replace("harmless", EVIL)
    quoted = Tags(page(all_of("\" onclick='x' ")))
    assert quoted.attributes == good.attributes


def test_a_page_forbids_scripts_and_addresses():
    html = page(student())
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert "<script" not in html and "http://" not in html and "https://" not in html


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_accessible_and_runs_nothing(chromium, tmp_path, scheme):
    long = Item("ch90-long", 1.0, 0.0, reason=EVIL, printed="x" * 1000, answers=(("code", "y" * 1000),))
    one = student("ada", CHECKED, FAILED, UNREAD, long, reason=EVIL, remarks=(EVIL,))
    path = write_report([one], tmp_path)[-1]
    with visit(chromium, path.as_uri()) as (opened, complaints):
        choose(opened, scheme)
        assert opened.title() == "ada: exercises"
        assert complaints == []
    # axe itself is a script: it looks at the same page without the rule that forbids them.
    free = path.with_name("free.html")
    free.write_text(path.read_text(encoding="utf-8").replace("default-src 'none'; ", ""), encoding="utf-8")
    with visit(chromium, free.as_uri()) as (opened, complaints):
        choose(opened, scheme)
        assert opened.title() == "ada: exercises"
        assert barriers(opened) == [] and complaints == []
