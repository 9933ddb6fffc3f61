"""The report in a real browser, offline: nothing fails to load, everyone can read it, on any screen and on paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.report_town import make, write_report

pytestmark = pytest.mark.pages

CHROMIUM = os.environ.get("DMP_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NAMES = (
    "index",
    "sources",
    "deliveries",
    "catalogue",
    "codes",
    "source/market__shop",
    "source/fire__permit",
    "department/market",
    "check/market__shop/value_is_present_shop_name",
    "../batch/market__shop/2026-03-02.v1",
    "../batch/fire__permit/2026-03-03.v1",
)
PAGES = [f"{name}.{language}.html" for name in NAMES for language in ("zh", "en")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make(tmp_path_factory.mktemp("town")))


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month on, with one more delivery."""
    town = make(tmp_path_factory.mktemp("later"))
    town.drop("fire", "permit_20260407.txt", "编号|等级\nA1|一\n")
    town.run_at("2026-04-08T08:30:00+08:00")
    return write_report(town, "2026-04-08T10:00:00+08:00")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page in an offline context; fails on any console message or request that leaves the folder."""
    context = browser.new_context(offline=True, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url))
    page.on("requestfailed", lambda request: complaints.append(f"failed {request.url}"))
    page.goto(url)
    assert complaints == []
    return page


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, browser: Browser, site: Path) -> Iterator[Page]:
    shown = opened(browser, (site / request.param).as_uri())
    yield shown
    shown.context.close()


def test_it_loads_silently_says_its_language_and_can_be_looked_at(page: Page, tmp_path: Path) -> None:
    language = "en" if page.url.endswith(".en.html") else "zh-CN"
    assert page.locator("html").get_attribute("lang") == language
    assert page.title()
    picture = tmp_path / "page.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000


def test_headings_form_one_outline(page: Page) -> None:
    levels = page.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(later <= former + 1 for former, later in pairwise(levels)), levels


def test_tables_have_captions_and_headers_that_say_what_they_head(page: Page) -> None:
    wrong = page.evaluate("""() => [...document.querySelectorAll('table')].flatMap(t => [
        ...(t.caption && t.caption.textContent.trim() ? [] : ['no caption: ' + t.className]),
        ...[...t.querySelectorAll('th')].filter(h => !h.scope).map(h => 'no scope: ' + h.textContent.trim()),
        ...[...t.tBodies].flatMap(b => [...b.rows]).filter(r => !r.querySelector('th'))
            .map(r => 'no row header: ' + r.textContent.trim()),
    ])""")
    assert wrong == []


def test_drawings_are_described_or_decoration_and_regions_are_named(page: Page) -> None:
    wrong = page.evaluate("""() => [
        ...[...document.querySelectorAll('svg')].filter(s => s.getAttribute('aria-hidden') !== 'true'
            && !(s.getAttribute('role') === 'img' && s.getAttribute('aria-label'))).map(s => s.outerHTML.slice(0, 90)),
        ...[...document.querySelectorAll('[role=region],nav,section')].filter(r => !(r.getAttribute('aria-label')
            || document.getElementById(r.getAttribute('aria-labelledby')))).map(r => r.outerHTML.slice(0, 90)),
        ...[...document.querySelectorAll('a')].filter(a => !a.textContent.trim()).map(a => 'empty link ' + a.href),
    ]""")
    assert wrong == []


def test_ids_are_unique_and_every_link_leads_somewhere(page: Page, site: Path) -> None:
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    folder = Path(page.url.removeprefix("file://")).parent
    for href in page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))"):
        file, _, fragment = href.partition("#")
        there = folder / file
        assert not fragment or (fragment in ids if not file else f'id="{fragment}"' in there.read_text(encoding="utf-8")), href
        assert not file or (there.resolve().is_relative_to(site.parent) and there.is_file()), href


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = css => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const light = ([r, g, b]) => { const f = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const behind = e => { const layers = []; for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
    return layers.reverse().reduce((under, [r, g, b, a]) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a)),
      [255, 255, 255]); };
  const bad = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest('.vh,.sep,svg,[aria-hidden]') || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const [a, b] = [light(rgba(style.color)), light(behind(e))].sort((x, y) => y - x);
    const needed = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700 ? 3 : 4.5;
    const ratio = (a + .05) / (b + .05);
    if (ratio < needed) bad.add(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2));
  }
  return [...bad];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [f"{name}.{('zh', 'en')[place % 2]}.html" for place, name in enumerate(NAMES)])
def test_text_stands_out_from_its_ground(browser: Browser, site: Path, name: str, scheme: Any) -> None:
    shown = opened(browser, (site / name).as_uri(), color_scheme=scheme)
    shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert shown.evaluate(CONTRAST) == []
    shown.context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser: Browser, site: Path, name: str, scheme: Any, width: int) -> None:
    shown = opened(browser, (site / name).as_uri(), color_scheme=scheme, viewport={"width": width, "height": 800})
    shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(shown)
    assert found.violations_count == 0, found.generate_report()
    shown.context.close()


@pytest.mark.parametrize("name", ["index.zh.html", "source/market__shop.en.html", "department/market.en.html"])
def test_the_trend_of_several_months_is_drawn_told_in_words_and_in_a_table(browser: Browser, later: Path, name: str) -> None:
    shown = opened(browser, (later / name).as_uri(), viewport={"width": 390, "height": 800})
    shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    chart = shown.locator("svg.lines")
    assert "2026-03" in (chart.get_attribute("aria-label") or "") and "2026-04" in (chart.get_attribute("aria-label") or "")
    # What the chart writes at the end of each line stands in the table's first row, the running month.
    ends = {text.split()[0]: text.split()[1] for text in chart.locator("text.name").all_text_contents()}
    row = shown.locator("table.months tbody tr").first
    heads = shown.locator("table.months thead th").all_inner_texts()
    cells = [row.locator("th").inner_text(), *row.locator("td").all_inner_texts()]
    shown_now = {code: cells[heads.index(code)] for code in ends}
    assert shown_now["O"] == ends["O"] and all(value in (ends[code], "—") for code, value in shown_now.items())
    assert Axe().run(shown).violations_count == 0
    shown.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_tables_and_never_the_page(browser: Browser, site: Path, name: str) -> None:
    shown = opened(browser, (site / name).as_uri(), viewport={"width": 360, "height": 740})
    shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    heights = shown.eval_on_selector_all("header nav a, summary", "all => all.map(e => e.getBoundingClientRect().height)")
    assert min(heights) >= 24, "targets are at least 24 pixels high (WCAG 2.2, 2.5.8)"
    shown.context.close()


def test_the_keyboard_reaches_the_content_first_and_every_scrolling_table(browser: Browser, site: Path) -> None:
    shown = opened(browser, (site / "index.en.html").as_uri(), viewport={"width": 700, "height": 740})
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "main"
    unreachable = shown.eval_on_selector_all(
        "*",
        """all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0
        && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => e.className)""",
    )
    assert unreachable == []
    shown.context.close()


def test_it_works_without_scripts_and_switches_the_language(browser: Browser, site: Path) -> None:
    shown = opened(browser, (site.parent / "index.html").as_uri(), java_script_enabled=False)
    shown.wait_for_url("**/index.zh.html")
    shown.get_by_role("link", name="消防许可").first.click()
    shown.wait_for_url("**/source/fire__permit.zh.html")
    shown.get_by_role("link", name="English").click()
    shown.wait_for_url("**/source/fire__permit.en.html")
    assert shown.get_by_role("heading", level=1).inner_text() == "Fire permits"
    shown.context.close()


def test_it_prints(browser: Browser, site: Path, tmp_path: Path) -> None:
    shown = opened(browser, (site / "index.zh.html").as_uri())
    paper = tmp_path / "index.pdf"
    shown.pdf(path=paper, prefer_css_page_size=True)
    assert paper.read_bytes().startswith(b"%PDF")
    shown.emulate_media(media="print")
    assert not shown.locator("header nav").is_visible()
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown.context.close()
