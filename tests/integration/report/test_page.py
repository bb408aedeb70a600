"""The pages in a real browser: what a reader would stumble over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orrery.measure import record as records
from orrery.report import charts, findings, pages
from orrery.report.pages import Written
from tests.support.bench_record import bench_record
from tests.support.browser import Browser
from tests.support.drill_record import drill_record

MEASURE = (Path(__file__).parent / "measure.js").read_text(encoding="utf-8")
WIDTHS = (360, 768, 1400)
SCHEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
GUESTS = ("bench", "drill", "guest.bench", "guest.cpu")
KINDS = (*GUESTS, "mnist.evaluate", "mnist.latency", "whisk-bench")
NOTHING: dict[str, list[str]] = {
    "overflow": [],
    "contrast": [],
    "overlap": [],
    "outside": [],
    "invisible": [],
}


@pytest.fixture(scope="session")
def written(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Pages of a comparison, of a drill and of the newest record of each kind, and their list."""
    folder = tmp_path_factory.mktemp("report")
    for record in (bench_record(), drill_record()):
        records.save(record, folder / "records")
    for kind in KINDS:
        newest = max((checkout / "docs" / "results").glob(f"{kind}-*.json"))
        shutil.copy2(newest, folder / "records")
    return pages.write_all([folder / "records"], folder / "pages")


def page_of(written: Written, kind: str) -> Path:
    return next(page for page in written.pages if page.name.startswith(f"{kind}-"))


def look(browser: Browser, page: Path, width: int, *, dark: bool, **more: Any) -> Any:
    browser.look(width, dark=dark, **more)
    browser.open(page)
    # What is folded away is read, too.
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    return browser.evaluate(MEASURE)


@SCHEMES
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_can_be_read_at_every_width_in_light_and_dark(
    browser: Browser, written: Written, checkout: Path, kind: str, width: int, dark: bool
) -> None:
    page = page_of(written, kind)
    seen = look(browser, page, width, dark=dark)
    pictures = checkout / ".lab" / "tests" / "report"
    pictures.mkdir(parents=True, exist_ok=True)
    browser.picture(pictures / f"{kind}-{width}-{'dark' if dark else 'light'}.png")
    assert seen["faults"] == NOTHING
    assert seen["plots"] >= 1
    assert seen["labels"] >= 3
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


@SCHEMES
@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_of_pages_can_be_read_at_every_width(
    browser: Browser, written: Written, width: int, dark: bool
) -> None:
    seen = look(browser, written.index, width, dark=dark)
    assert seen["faults"] == NOTHING
    assert browser.complaints() == []


def test_all_plots_of_a_comparison_are_there(browser: Browser, written: Written) -> None:
    record = bench_record()
    expected = len(charts.charts(record)) + len(charts.forests(findings.findings(record)))
    assert look(browser, page_of(written, "bench"), 1400, dark=False)["plots"] == expected


def test_the_scheme_of_the_reader_decides_about_the_colours(
    browser: Browser, written: Written
) -> None:
    page = page_of(written, "bench")
    light, dark = (look(browser, page, 768, dark=dark)["paper"] for dark in (False, True))
    assert min(light[:3]) > 200
    assert max(dark[:3]) < 60


def test_paper_gets_all_plots_and_a_light_page(browser: Browser, written: Written) -> None:
    seen = look(browser, page_of(written, "bench"), 768, dark=False, media="print")
    assert seen["faults"]["invisible"] == []
    assert seen["faults"]["contrast"] == []
    assert min(seen["paper"][:3]) > 200


def test_a_page_without_styles_from_the_network_has_its_fonts_from_the_system(
    browser: Browser, written: Written
) -> None:
    browser.open(page_of(written, "bench"))
    fonts = browser.evaluate(
        "[...new Set([...document.querySelectorAll('p, svg text')]"
        ".map(one => getComputedStyle(one).fontFamily))]"
    )
    assert len(fonts) == 1
    assert browser.evaluate("document.fonts.size") == 0


def test_what_the_measuring_is_for_is_found(browser: Browser, tmp_path: Path) -> None:
    """A measure that finds nothing on a bad page would say nothing about a good one."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><link rel=icon href=data:,>"
        "<body style='background:#fff'><p style='width:3000px'>wide</p>"
        "<p style='color:#999'>pale</p>"
        "<svg class=plot viewBox='0 0 360 100' width=360 height=100>"
        "<defs><path id=m d='M0 0L1 1'/></defs><use href='#m'/>"
        "<text x=10 y=50>one label</text><text x=30 y=52>another</text>"
        "<text x=340 y=90>too far right</text></svg>"
        "<svg class=plot style='display:none'></svg>"
        "<script>console.error('bad'); nothing()</script>"
    )
    faults = look(browser, page, 768, dark=False)["faults"]
    assert any(one.startswith("p 'wide'") for one in faults["overflow"])
    assert any(one.startswith("p 'pale'") for one in faults["contrast"])
    assert faults["overlap"] == ["text 'one label' and text 'another'"]
    assert faults["outside"] == ["text 'too far right'"]
    assert len(faults["invisible"]) == 2
    assert len(browser.complaints()) == 2
