"""In whatever order, split and version files arrive, the golden records are those that thirty lines of plain Python make."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.flow import fuse, intake
from pipelines.verify import verify
from tests.support import SOURCES, town

pytestmark = pytest.mark.slow

TAX = (
    SOURCES["tax__payer"]
    .replace("format: {encoding: gb18030}\n", "")
    .replace("load: increment", "load: increment\nlatest_by: changed_on")
)
TAX += "  - {from: 名称, to: shop_name}\n  - {from: 变更, to: changed_on, type: date}\n"
FIRE = SOURCES["fire__permit"] + "  - {from: 名称, to: shop_name}\n"
TOWN = {"market__shop": SOURCES["market__shop"], "tax__payer": TAX, "fire__permit": FIRE}
#: source -> department, name of the file, header, delimiter
FORMS = {
    "market__shop": ("market", "shop_{day:%Y%m%d}.csv", ["编号", "名称", "成立日期"], ","),
    "tax__payer": ("tax", "payer_{day:%Y%m%d}.csv", ["编号", "电话", "名称", "变更"], ","),
    "fire__permit": ("fire", "permit_{day:%Y%m%d}.txt", ["编号", "等级", "名称"], "|"),
}
ATTRIBUTE = {"编号": "shop_no", "名称": "shop_name", "成立日期": "opened_on", "电话": "phone", "等级": "fire_grade"}
KEY = b"k" * 32

CELL = {
    "编号": st.sampled_from(["S1", "S2", "S3"]),
    "名称": st.sampled_from(["", "甲", "乙", "丙"]),
    "成立日期": st.sampled_from(["", "2020-01-01", "2021-01-01"]),
    "电话": st.sampled_from(["", "13800138000", "13900139000"]),
    "等级": st.sampled_from(["", "A", "B"]),
    "变更": st.sampled_from(["", "2026-03-01", "2026-03-03", "2026-03-09"]),
}


@dataclass(frozen=True)
class File:
    source: str
    day: date
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        _, _, header, delimiter = FORMS[self.source]
        return "".join(delimiter.join(line) + "\n" for line in [header, *self.rows])


@st.composite
def files(draw: st.DrawFn) -> list[File]:
    found = []
    for _ in range(draw(st.integers(1, 5))):
        source = draw(st.sampled_from(sorted(FORMS)))
        row = st.tuples(*(CELL[name] for name in FORMS[source][2]))
        day = date(2026, 3, 2) + timedelta(days=draw(st.integers(0, 2)))
        found.append(File(source, day, tuple(draw(st.lists(row, min_size=1, max_size=4)))))
    return found


Golden = dict[str, dict[str, str]]


def by_hand(arrived: Sequence[File]) -> Golden:
    """shop -> attribute -> value. Last version of a period, latest row of a key, best source of an attribute."""
    current = {(file.source, file.day): file for file in arrived}  # the last that arrived
    latest_day = {source: max(day for s, day in current if s == source) for source, _ in current}
    claims: dict[tuple[str, str], list[tuple[int, bool, int, str]]] = defaultdict(list)
    shops = set()
    for source in latest_day:
        history = defaultdict(list)
        for (own, day), file in current.items():
            if own != source or (source == "fire__permit" and day != latest_day[source]):  # a snapshot is all there is
                continue
            for number, row in enumerate(file.rows):
                cells = dict(zip(FORMS[source][2], row, strict=True))
                said = cells.pop("变更", "")
                when = (said or day.isoformat()) if source == "tax__payer" else ""
                history[cells["编号"]].append((when, day, number, cells))
        for shop, rows in history.items():
            shops.add(shop)
            rows.sort(key=lambda item: item[:3], reverse=True)
            recency = max(day for _, day, _, _ in rows).toordinal()
            for header in rows[0][3]:
                good = next(((place, cells[header]) for place, (_, _, _, cells) in enumerate(rows) if cells[header]), None)
                if good:
                    rank = 1 if source == "market__shop" else 2
                    claims[shop, ATTRIBUTE[header]].append((rank, good[0] > 0, -recency, good[1]))
    golden: Golden = {shop: {} for shop in shops}
    for (shop, attribute), said_by in claims.items():
        golden[shop][attribute] = min(said_by)[3]
    return golden


def digest(text: str) -> str:
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def played(arrived: Sequence[File], *, fuse_each_time: bool) -> Golden:
    """The same through the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        place = town(Path(folder), TOWN, KEY)
        for minute, file in enumerate(arrived):
            department, name, _, _ = FORMS[file.source]
            place.drop(department, name.format(day=file.day), file.text())
            with place.run(f"2026-03-05T08:{minute:02}:00+08:00") as run:
                assert all(v.accepted for v in intake(run, file.source))
                if fuse_each_time:
                    fuse(run, "shop")
        with place.run("2026-03-05T09:00:00+08:00") as run:
            fuse(run, "shop")
            assert verify(run) == []
        tables = place.tables()
    members = tables["base.shop__member"]
    assert len({m["_record"] for m in members}) == len(members), "a record stands in one entity"
    assert {m["_entity"] for m in members} == {g["_entity"] for g in tables["base.shop"]}
    assert "139001" not in str([rows for name, rows in tables.items() if name.startswith("base.")])
    return {g["shop_no"]: {name: str(g[name]) for name in ATTRIBUTE.values() if g[name] is not None} for g in tables["base.shop"]}


def expected(arrived: Sequence[File]) -> Golden:
    golden = by_hand(arrived)
    return {shop: {name: digest(v) if name == "phone" else v for name, v in values.items()} for shop, values in golden.items()}


MARKET_OLD = File("market__shop", date(2026, 3, 2), (("S1", "甲", "2020-01-01"),))
MARKET_NEW = File("market__shop", date(2026, 3, 3), (("S1", "乙", ""),))
TAX_UNDATED = File("tax__payer", date(2026, 3, 2), (("S1", "13800138000", "丙", ""),))
TAX_DATED = File("tax__payer", date(2026, 3, 2), (("S1", "13800138000", "丙", ""), ("S1", "13900139000", "甲", "2026-03-09")))


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(files(), st.booleans())
@example([MARKET_NEW, MARKET_OLD], True)  # an older file that comes late overwrites nothing
@example([TAX_DATED, TAX_UNDATED, TAX_DATED], False)  # the same bytes again, after other ones, are a new version
@example([TAX_DATED], False)  # a row that does not say when it is of does not win for ever
def test_golden_records_are_those_made_by_hand(arrived: list[File], fuse_each_time: bool) -> None:
    assert played(arrived, fuse_each_time=fuse_each_time) == expected(arrived)


def test_order_of_arrival_and_of_rows_between_days_does_not_count() -> None:
    """Three files of three days in all six orders, and a day's rows over one file or two periods."""
    three = [MARKET_OLD, MARKET_NEW, File("fire__permit", date(2026, 3, 2), (("S1", "A", ""), ("S2", "B", "丁")))]
    results = [played(order, fuse_each_time=False) for order in itertools.permutations(three)]
    assert results == [expected(three)] * 6
    assert results[0]["S1"]["shop_name"] == "乙" and results[0]["S1"]["opened_on"] == "2020-01-01"
