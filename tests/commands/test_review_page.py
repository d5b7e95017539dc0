"""A person at a real browser who reviews labels."""

import threading

import pytest

from darkroom.commands.review import command as review
from darkroom.core.files import write_csv
from darkroom.core.paths import DECISIONS
from darkroom.download import ledger
from tests.helpers.accessibility import violations
from tests.helpers.pictures import CLASSES
from tests.helpers.review import md5, report, served


@pytest.mark.full
@pytest.mark.parametrize("width", [1200, 390])
def test_a_person_decides_by_keys_and_nothing_is_lost_when_the_server_is_killed(width, tuning, names, window):
    from playwright.sync_api import expect

    def path(number):
        expect(tab.locator("#path")).to_contain_text(f"{number}. data/split/")
        return tab.locator("#path").text_content().partition(". ")[2]

    with served(tuning) as (process, address):
        tab, problems, asked = window(width)
        tab.goto(f"{address}/#uncertain")
        paths = [path(1)]
        tab.keyboard.press("Enter")
        paths.append(path(2))
        tab.keyboard.press("3")
        paths.append(path(3))
        tab.keyboard.press("x")
        paths.append(path(4))
        tab.keyboard.press("/")
        tab.keyboard.type("<b>new")
        tab.keyboard.press("Enter")
        paths.append(path(5))
        tab.keyboard.press("ArrowRight")
        path(6)
        tab.keyboard.press("x")
        path(7)
        tab.keyboard.press("u")
        path(6)
        expect(tab.locator("#progress")).to_have_text("4 of 35 decided")
        tab.keyboard.press("g")
        expect(tab.locator("#grid li")).to_have_count(24)
        tab.locator("#grid li button").nth(0).click()
        tab.locator("#grid li button").nth(1).click()
        tab.keyboard.press("x")
        expect(tab.locator("#progress")).to_have_text("6 of 35 decided")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert problems == []
        assert {url.split("/")[2] for url in asked} == {address.removeprefix("http://")}
        process.kill()
        process.wait()
        tab.keyboard.press("g")
        tab.keyboard.press("x")
        expect(tab.locator("#error")).to_contain_text("is python -m darkroom review still running?")
    lines = ledger.read(tuning / DECISIONS)
    labels = [name.split("/")[3] for name in paths]
    assert [(line.decision, line.label) for line in lines[:4]] == [
        ("confirm", labels[0]),
        ("confirm" if labels[1] == CLASSES[2] else "relabel", CLASSES[2]),
        ("drop", ""),
        ("relabel", "<b>new"),
    ]
    assert [line.md5 for line in lines[:4]] == [md5(tuning / name) for name in paths[:4]]
    assert [line.decision for line in lines[4:]] == ["drop", "revert", "drop", "drop"]
    with served(tuning) as (_, address):
        tab, _, _ = window(width)
        tab.goto(f"{address}/#uncertain")
        expect(tab.locator("#progress")).to_have_text("6 of 35 decided")
        path(5)
        tab.keyboard.press("ArrowLeft")
        path(4)
        expect(tab.locator("#state")).to_have_text("<b>new, decided by Ada")
        tab.keyboard.press("ArrowRight")
        path(5)
        tab.keyboard.press("Enter")
        path(8)  # 6 and 7 are decided


@pytest.mark.full
def test_decisions_do_not_wait_for_similar_pictures(desk, window, monkeypatch):
    """Which take long at first; a browser makes no more than six requests at a time."""
    from playwright.sync_api import expect
    from werkzeug.serving import make_server

    found = threading.Event()
    surroundings = desk.surroundings
    monkeypatch.setattr(desk, "surroundings", lambda *picture: found.wait(60) and surroundings(*picture))
    server = make_server("127.0.0.1", 0, review.create(desk), threaded=True)
    threading.Thread(target=server.serve_forever).start()
    try:
        tab, problems, _ = window(1200)
        tab.goto(f"http://127.0.0.1:{server.port}/#uncertain")
        for number in range(1, 13):
            expect(tab.locator("#path")).to_contain_text(f"{number}. data/split/")
            expect(tab.locator("#around")).to_have_text("Looking for similar pictures…")
            tab.keyboard.press("x")
        expect(tab.locator("#progress")).to_have_text("12 of 35 decided")
        assert len(ledger.read(DECISIONS)) == 12
        found.set()
        expect(tab.locator("#around")).to_have_text("")
        assert problems == []
        expect(tab.locator("#error")).to_be_hidden()
    finally:
        found.set()
        server.shutdown()


@pytest.mark.full
def test_the_page_helps_a_person(tuning, names, window):
    """Zoom, keys, completion of a class, notes and what others decided, the next picture in advance, and the grid."""
    from playwright.sync_api import expect

    write_csv(tuning / ".cache/review.csv", ("decisions", "accuracy"), [(0, 0.9), (60, 0.95)])
    first, second = (md5(tuning / "data/split" / name) for name in names[60:62])
    ledger.append(tuning / DECISIONS, ledger.Decision(first, "drop", "", "Grace", "2026-01-02T10:00:00Z", "blurred"))
    ledger.append(tuning / DECISIONS, ledger.Decision(first, "revert", "", "Grace", "2026-01-02T10:01:00Z", ""))
    with served(tuning) as (_, address):
        tab, problems, asked = window(1200)
        tab.goto(f"{address}/#suspicious")
        expect(tab.locator("#history li")).to_have_text(
            ["2026-01-02 10:00, Grace: drop  (blurred)", "2026-01-02 10:01, Grace: revert  "]
        )
        expect(tab.locator(".hint")).to_contain_text(
            "The last 60 decisions changed the accuracy on validation by +0.0500"
        )
        assert f"{address}/picture/{second}/large.png" in asked
        small = tab.locator("#picture").bounding_box()
        for key, state in (("z", True), ("z", False)):
            tab.keyboard.press(key)
            assert tab.evaluate("document.body.classList.contains('zoomed')") is state
        assert tab.locator("#picture").bounding_box() == small
        tab.keyboard.press("?")
        expect(tab.locator("#keys")).to_be_visible()
        tab.keyboard.press("x")
        tab.keyboard.press("Escape")
        expect(tab.locator("#keys")).to_be_hidden()
        assert tab.locator("#names option").evaluate_all("all => all.map(each => each.value)") == sorted(CLASSES)
        tab.locator("#note").fill("half of a bag")
        tab.keyboard.press("Escape")
        tab.keyboard.press("/")
        tab.keyboard.type("bAG")
        tab.keyboard.press("Enter")
        expect(tab.locator("#progress")).to_have_text("1 of 2 decided")
        line = ledger.read(tuning / DECISIONS)[-1]
        assert (line.md5, line.decision, line.label, line.note) == (first, "relabel", "Bag", "half of a bag")
        tab.goto(f"{address}/#unlikely")
        tab.reload()
        tab.keyboard.press("g")
        expect(tab.locator("#grid li")).to_have_count(3)
        shown = [md5(tuning / "data/split" / name) for name in names[40:43]]
        own = [name.split("/")[1] for name in names[40:43]]
        for key, labels in (("e", ["Sandal"] * 3), ("u", []), ("Enter", own)):
            tab.keyboard.press("a")
            expect(tab.locator("#grid [aria-pressed=true]")).to_have_count(3)
            tab.keyboard.press(key)
            expect(tab.locator("#progress")).to_have_text(f"{len(labels)} of 3 decided")
            holding = ledger.holding(ledger.read(tuning / DECISIONS))
            assert [holding[each].label for each in shown if each in holding] == labels
        assert problems == []


@pytest.mark.full
def test_the_page_begins_where_something_is_undecided(tuning, window):
    from playwright.sync_api import expect

    report(tuning)  # no suspicious label
    with served(tuning) as (_, address):
        tab, _, _ = window(1200)
        tab.goto(address)
        expect(tab.locator("#queues [aria-pressed=true]")).to_have_text("Unlikely labels")
        expect(tab.locator("#path")).to_contain_text("1. data/split/")


@pytest.mark.full
def test_the_page_is_accessible(tuning, names, window):
    with served(tuning) as (_, address):
        assert violations(window, address, "#confirm") == []
