"""A receipt in a real browser: silent, readable on a phone, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.pages.test_report_pages import ARGUMENTS, CHROMIUM, CONTRAST, opened
from tests.support import town

pytestmark = pytest.mark.pages

STATES = ("warn", "unchanged", "hold", "pass")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One receipt of each verdict."""
    place = town(tmp_path_factory.mktemp("town"))
    shops = "编号,名称,成立日期,<b>负责人</b>\n1,甲,2020-01-02,\n2,乙,没有,x\n3,丙\n"
    place.drop("market", "shop_20260302.csv", shops)
    place.drop("fire", "permit_20260302.txt", "编号|等级\n1|A\n")
    place.run_at("2026-03-03T08:30:00+08:00")
    place.drop("market", "shop_20260302.csv", shops)
    place.drop("tax", "payer_20260303.csv", "电话\n057188880004\n".encode("gb18030"))
    place.run_at("2026-03-04T08:30:00+08:00")
    found = {
        "warn": "market/market__shop/2026-03-02.v1", "unchanged": "market/market__shop/2026-03-02.unchanged.*",
        "hold": "tax/tax__payer/2026-03-03.v1", "pass": "fire/fire__permit/2026-03-02.v1",
    }  # fmt: skip
    return {state: next(place.workspace.outbox.glob(f"{folder}/receipt.html")) for state, folder in found.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.mark.parametrize("state", STATES)
def test_it_loads_silently_and_its_headings_form_one_outline(browser: Browser, pages: dict[str, Path], state: str) -> None:
    shown = opened(browser, pages[state].as_uri(), java_script_enabled=True)
    assert shown.locator("html").get_attribute("lang") == "zh-CN"
    levels = shown.eval_on_selector_all("h1,h2,h3,h4,h5,h6", "all => all.map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(later <= former + 1 for former, later in pairwise(levels)), levels
    assert shown.locator(f".stamp.{state}").count() == 1
    assert shown.locator("b").evaluate_all("all => all.every(e => !e.textContent.includes('负责人'))"), "headers are text"
    assert shown.locator("[lang=en]").count() > 5
    shown.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_text_stands_out_from_its_ground(browser: Browser, pages: dict[str, Path], state: str, scheme: Any) -> None:
    shown = opened(browser, pages[state].as_uri(), color_scheme=scheme)
    assert shown.evaluate(CONTRAST) == []
    shown.context.close()


@pytest.mark.parametrize("state", STATES)
def test_a_phone_never_scrolls_the_page_sideways(browser: Browser, pages: dict[str, Path], state: str) -> None:
    shown = opened(browser, pages[state].as_uri(), viewport={"width": 360, "height": 740})
    shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    shown.context.close()


def test_it_prints_on_upright_paper(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    shown = opened(browser, pages["warn"].as_uri())
    paper = tmp_path / "receipt.pdf"
    shown.pdf(path=paper, prefer_css_page_size=True)
    assert paper.read_bytes().startswith(b"%PDF")
    shown.emulate_media(media="print")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shown.context.close()
