"""From which day on a source owes deliveries."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.contract import Contract, load_contract
from pipelines.slots import owed_since

ARRIVED = datetime(2026, 4, 7, 17, 30, tzinfo=UTC)  # 8 April in Shanghai


def contract(path: Path, cycle: str, **more: str) -> Contract:
    arrival = "".join(f", {name}: {value}" for name, value in more.items())
    path.write_text(
        "title: {zh: 店铺, en: shops}\ndepartment: {id: market, zh: 市监局, en: market}\nload: snapshot\n"
        f'arrival: {{drop: "shop_*.csv", cycle: {cycle}{arrival}}}\ncolumns: [{{from: 编号, to: shop_no, key: true}}]\n',
        encoding="utf-8",
    )
    return load_contract(path)


@pytest.mark.parametrize(
    ("cycle", "more", "periods", "expected"),
    [
        ("daily", {"since": "2026-01-05"}, ["2026-03-02"], date(2026, 1, 5)),
        ("daily", {}, ["2026-03-04", "2026-03-02"], date(2026, 3, 2)),
        ("monthly", {}, ["2026-03-02", "2026-04"], date(2026, 4, 1)),  # it was daily before
        ("monthly", {}, ["2026-03-02", "none"], date(2026, 4, 1)),  # nothing of the new cycle yet: the month of the arrival
        ("daily", {}, [], date(2026, 4, 8)),
    ],
)
def test_it_is_the_contract_s_day_or_the_earliest_period_or_the_first_arrival(
    tmp_path: Path, cycle: str, more: dict[str, str], periods: list[str], expected: date
) -> None:
    assert owed_since(contract(tmp_path / "market__shop.yaml", cycle, **more), periods, ARRIVED) == expected


def test_who_never_sent_anything_and_named_no_day_owes_nothing_yet(tmp_path: Path) -> None:
    empty: list[Any] = []
    assert owed_since(contract(tmp_path / "market__shop.yaml", "daily"), empty, None) is None
