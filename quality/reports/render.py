"""From values to pages: the template environment, how numbers and dates are written, the language switch.

Every page exists once per language. In templates `say("中文", "English")` picks the language, so that both stand side
by side. Everything is escaped unless a function here returns Markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from quality.dimensions import DIMENSIONS, SUB_INDICATORS
from quality.finding import kinds
from quality.reports import charts
from quality.reports.words import word
from quality.rounding import half_up
from quality.scoring import as_typed

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

FOLDER = Path(__file__).with_name("templates")

#: What stands where there is no value: not applicable is neither 0 nor 100.
NONE = "—"

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def render(template: str, language: Language, **values: Any) -> str:
    """One page. The same values give the same text."""
    return environment(language).get_template(template).render(**values)


def stylesheet() -> str:
    """The style of every page: written into most, and beside those that number in the thousands."""
    return (FOLDER / "site.css").read_text(encoding="utf-8")


@lru_cache(maxsize=4)
def environment(language: Language) -> Environment:
    """Templates of one language. A name a template uses and nobody gave is an error, not a blank."""
    made = Environment(
        loader=FileSystemLoader(FOLDER, encoding="utf-8"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    en = language == "en"
    made.globals.update(
        lang=language,
        other="zh" if en else "en",
        say=lambda zh, english: english if en else zh,
        word=lambda group, code: word(group, code, language),
        style=Markup(stylesheet()),  # noqa: S704 - our own file
        charts=charts,
        dimensions=DIMENSIONS,
        indicators=SUB_INDICATORS,
        name_of=lambda thing: thing.en if en else thing.zh,
        NONE=NONE,
        kind_of=lambda code: kinds().get(code),
    )
    made.filters.update(
        count=count, score=score, percent=percent, ratio=ratio, typed=lambda v: NONE if v is None else as_typed(v), day=iso_day,
        instant=instant, long_day=lambda v: long_day(v, language), long_instant=lambda v, zone: long_instant(v, zone, language),
        blanks=blanks, sql=check_text, steward=lambda v: steward(v, language),
    )  # fmt: skip
    return made


def count(value: int | Decimal | None) -> str:
    """1,234,567; the points of punctuality may have decimals: 4.5."""
    if value is None:
        return NONE
    whole, _, rest = as_typed(Decimal(value)).partition(".")
    return f"{int(whole):,}" + (f".{rest}" if rest else "")


def score(value: Decimal | None) -> str:
    """Two places, as scored."""
    return NONE if value is None else f"{value:.2f}"


def percent(part: int | Decimal | None, whole: int | Decimal | None = Decimal(1)) -> str:
    """93.75%; — where there is no whole."""
    if part is None or not whole:
        return NONE
    return f"{half_up(100 * Decimal(part) / Decimal(whole), Decimal('0.01'))}%"


def ratio(value: Decimal | None) -> str:
    """Six places, as scored."""
    return NONE if value is None else f"{value:.6f}"


def iso_day(value: date | None) -> str:
    return NONE if value is None else value.isoformat()


def instant(value: datetime | None, zone: ZoneInfo) -> str:
    """2026-03-05 14:30 on the wall clock of `zone`."""
    return NONE if value is None else value.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def long_day(value: date, language: Language) -> str:
    if language == "en":
        return f"{value.day} {MONTHS[value.month - 1]} {value.year}"
    return f"{value.year}年{value.month}月{value.day}日"


def long_instant(value: datetime, zone: ZoneInfo, language: Language) -> str:
    local = value.astimezone(zone)
    return f"{long_day(local.date(), language)}{', ' if language == 'en' else ' '}{local:%H:%M}"


def steward(text: str | None, language: Language) -> str:
    """`人口科 / population office`: a contract may name the steward once per language, Chinese first."""
    if not text:
        return NONE
    zh, _, en = text.partition(" / ")
    return (en or zh) if language == "en" else zh


def blanks(sentence: str) -> str:
    """The sentence of a finding code with … where its {placeholders} stand."""
    return re.sub(r"\{\w+\}", "…", sentence)


def check_text(stored: str) -> str:
    """The expectation of a check as an auditor reads it: its SQL where it is SQL, else its settings, one a line."""
    try:
        told = json.loads(stored)
    except ValueError:
        return stored
    if not isinstance(told, Mapping):
        return stored
    if query := told.get("unexpected_rows_query"):
        return f"{told.get('type', '')}\n{query}"
    rest = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items() if key != "type"]
    return "\n".join([str(told.get("type", "")), *rest])
