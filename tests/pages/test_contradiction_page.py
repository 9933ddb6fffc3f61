"""The page of contradictions in a real browser, at both widths: it loads silently, everyone can read it, its links lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

from tests.contradiction_town import PERSONAL, make
from tests.pages.test_report_pages import ARGUMENTS, CHROMIUM, CONTRAST, opened
from tests.report_town import write_report

pytestmark = pytest.mark.pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make(tmp_path_factory.mktemp("town")), "2026-03-05T10:00:00+08:00").parent / "contradictions" / "shop"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_everyone_can_read_it(browser: Browser, folder: Path, language: str, scheme: Any, width: int) -> None:
    [page] = folder.glob(f"*.{language}.html")
    shown = opened(browser, page.as_uri(), color_scheme=scheme, viewport={"width": width, "height": 800})
    found = Axe().run(shown)
    assert found.violations_count == 0, found.generate_report()
    assert shown.evaluate(CONTRAST) == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width, "tables scroll, never the page"
    text = shown.inner_text("main")
    assert "东方店" in text and not any(value in text for value in PERSONAL)
    for href in shown.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))"):
        file, _, fragment = href.partition("#")
        assert not file or (folder / file).resolve().is_file(), href
        assert not fragment or shown.locator(f"#{fragment}").count() == 1, href
    shown.context.close()


def test_a_department_is_led_from_the_report_to_what_it_should_mend(browser: Browser, folder: Path) -> None:
    start = folder.parent.parent / "2026-03-05" / "department" / "tax.en.html"
    shown = opened(browser, start.as_uri(), java_script_enabled=False)
    shown.get_by_role("link", name="Shop", exact=True).click()
    shown.wait_for_url("**/contradictions/shop/*.en.html#d-tax")
    assert shown.locator("#d-tax").inner_text().startswith("For Tax office")
    shown.context.close()
