"""The report in a real browser: on a phone, on A4 and in the dark; needs the extra ``browser`` and a Chromium."""

from __future__ import annotations

import os
import shutil

import pytest
from mcnet_analysis import report

import mcnet
from tests.analysis.test_report import TINY

playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "tiny"
    mcnet.run(TINY, path, quiet=True)
    return report.write(path).as_uri()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield found
        found.close()


@pytest.fixture
def opened(browser, address):
    """Opens the report at a width and a colour scheme; what the console said must be nothing."""
    pages, said = [], []

    def open_at(width: int, scheme: str = "light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        pages.append(page)
        return page

    yield open_at
    assert said == []
    for page in pages:
        page.close()


@pytest.mark.parametrize("width", [320, 400, 794, 1280])
def test_nothing_is_wider_than_the_page(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_print_keeps_every_column(opened):
    page = opened(688)  # A4 less its margins, in pixels
    page.emulate_media(media="print")
    wider = """[...document.querySelectorAll('table, figure, pre')].filter(
        e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""
    assert page.evaluate(wider) == 0


def test_every_link_leads_somewhere(opened):
    page = opened(1280)
    links = page.eval_on_selector_all("nav a", "links => links.map(a => a.getAttribute('href').slice(1))")
    assert {"figures", "families", "provenance", "scenario"} <= set(links)
    assert [link for link in links if page.locator(f"[id='{link}']").count() != 1] == []


def test_a_click_enlarges_a_figure_and_another_puts_it_back(opened):
    page = opened(400)
    drawing = page.locator(".plate svg").first
    small = drawing.bounding_box()["width"]
    page.locator(".plate").first.click()
    assert drawing.bounding_box()["width"] > 1.8 * small
    page.locator(".plate").first.click()
    assert drawing.bounding_box()["width"] == pytest.approx(small)


def _brightness(colour: str) -> float:
    """Mean of red, green and blue of ``rgb(r, g, b)``."""
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


def test_dark_mode_has_light_letters_on_dark_paper_and_figures_on_white(opened):
    page = opened(1280, "dark")
    styles = {"body": "color", "main": "backgroundColor", ".plate": "backgroundColor"}
    ink, paper, plate = (
        _brightness(page.eval_on_selector(place, f"e => getComputedStyle(e).{style}"))
        for place, style in styles.items()
    )
    assert ink > 200 > 60 > paper
    assert plate == 255


def test_headings_are_explained(opened):
    page = opened(1280)
    assert "standard error" in (page.locator("th", has_text="z").last.get_attribute("title") or "")
    page.locator("summary").click()
    assert page.locator("details dd").first.is_visible()
