"""Rows in force, by load mode, now and at any past instant; and how they are shown."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.current import current_sql, rows_sql, write_csv
from pipelines.flow import fuse, intake
from pipelines.run import Run
from tests.support import SOURCES, Town, town

FORM = SOURCES["market__shop"]
DELETING = FORM.replace("load: increment", "load: increment\ndeleted: {column: state, values: [D, 注销]}")
DELETING = DELETING.replace("expect:", "  - {from: 状态, to: state, optional: true}\nexpect:")
MODES = {
    "market__shop": DELETING,
    "tax__payer": SOURCES["tax__payer"].replace("load: increment", "load: append").replace("format: {encoding: gb18030}\n", ""),
    "fire__permit": SOURCES["fire__permit"],
}
HEADER = {"market__shop": "编号,名称,成立日期,状态\n", "tax__payer": "编号,电话\n", "fire__permit": "编号|等级\n"}
NAME = {"market__shop": "shop_{}.csv", "tax__payer": "payer_{}.csv", "fire__permit": "permit_{}.txt"}
START = datetime.fromisoformat("2026-03-09T08:00:00+08:00")


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def send(place: Town, minute: int, source: str, day: str, rows: str) -> None:
    place.drop(source.split("__")[0], NAME[source].format(day), HEADER[source] + rows)
    with place.run(at(minute).isoformat()) as run:
        intake(run, source)


def rows(run: Run, source: str, as_of: datetime | None = None) -> list[tuple[str, ...]]:
    sql = current_sql(run.catalog.contract(source), as_of)
    return run.con.execute(f"SELECT * EXCLUDE (_batch, _sheet, _row) FROM ({sql}) ORDER BY ALL").fetchall()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    place = town(tmp_path_factory.mktemp("modes"), MODES)
    send(place, 1, "market__shop", "20260303", "1,甲,,\n2,乙,,\n")
    send(place, 2, "market__shop", "20260302", "1,旧,,\n3,丙,,\n")  # an older day, late
    send(place, 3, "market__shop", "20260304", "1,,,D\n2,,,注销\n3,丁,,U\n")
    send(place, 4, "market__shop", "20260305", "2,回,,\n")
    send(place, 1, "tax__payer", "20260302", "1,1\n1,1\n1,2\n")
    send(place, 2, "tax__payer", "20260303", "1,1\n")
    send(place, 3, "tax__payer", "20260302", "1,3\n")
    send(place, 1, "fire__permit", "20260303", "1|A\n2|B\n1|C\n")
    send(place, 2, "fire__permit", "20260302", "9|Z\n")
    send(place, 3, "fire__permit", "20260304", "3|D\n")
    send(place, 4, "fire__permit", "20260304", "编号|等级\n")  # held
    yield place


def names(place: Town, source: str, minute: int | None) -> list[str]:
    with place.run(at(60).isoformat()) as run:
        return ["".join(str(c) for c in r[:2]) for r in rows(run, source, None if minute is None else at(minute))]


def test_an_increment_gives_the_newest_row_of_each_key_and_deletions_hold_until_a_later_row(lived: Town) -> None:
    assert [names(lived, "market__shop", m) for m in (0, 1, 2, 3, 4)] == [
        [], ["1甲", "2乙"], ["1甲", "2乙", "3丙"], ["3丁"], ["2回", "3丁"],
    ]  # fmt: skip
    assert names(lived, "market__shop", None) == ["2回", "3丁"]


def test_an_appended_source_keeps_every_row_of_every_period(lived: Town) -> None:
    assert [names(lived, "tax__payer", m) for m in (1, 2, 3, None)] == [
        ["11", "11", "12"],
        ["11"] * 3 + ["12"],
        ["11", "13"],
        ["11", "13"],
    ]


def test_a_snapshot_is_its_newest_period_and_a_held_file_changes_nothing(lived: Town) -> None:
    assert [names(lived, "fire__permit", m) for m in (1, 2, 3, 4, None)] == [["1C", "2B"], ["1C", "2B"], ["3D"], ["3D"], ["3D"]]


def test_golden_records_follow_deletions_and_forget_what_was_before_them(tmp_path: Path) -> None:
    place = town(tmp_path, {"market__shop": DELETING})
    send(place, 1, "market__shop", "20260302", "1,甲,2020-01-01,\n2,乙,2021-01-01,\n3,丙,,\n")
    send(place, 2, "market__shop", "20260303", "1,,,D\n2,,,D\n")
    send(place, 3, "market__shop", "20260304", "2,再,,\n")
    with place.run(at(4).isoformat()) as run:
        fuse(run, "shop")
    shops = {r["shop_no"]: (r["shop_name"], r["opened_on"]) for r in place.tables()["base.shop"]}
    assert shops == {"2": ("再", None), "3": ("丙", None)}


Sent = list[tuple[int, list[tuple[int, str, str]]]]


@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(2, 4),
            st.lists(st.tuples(st.integers(1, 3), st.sampled_from("甲乙丙"), st.sampled_from(["", "D"])), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_past_moment_of_an_increment_is_what_plain_python_says(
    tmp_path_factory: pytest.TempPathFactory, sent: Sent
) -> None:
    place = town(tmp_path_factory.mktemp("past"), {"market__shop": DELETING})
    for minute, (day, content) in enumerate(sent):
        send(place, minute, "market__shop", f"202603{day:02}", "".join(f"{k},{n},,{d}\n" for k, n, d in content))
    with place.run(at(60).isoformat()) as run:
        for minute in range(len(sent)):
            periods = {day: content for day, content in sent[: minute + 1]}  # noqa: C416 - the last of a day wins
            state: dict[int, tuple[str, str]] = {}
            for _, content in sorted(periods.items(), key=lambda item: item[0]):
                for key, name, deleted in content:
                    state[key] = (name, deleted)
            wanted = sorted((str(k), n) for k, (n, d) in state.items() if not d)
            assert [r[:2] for r in rows(run, "market__shop", at(minute))] == wanted


PERSONAL = SOURCES["tax__payer"].replace("format: {encoding: gb18030}\n", "") + "  - {from: 名称, to: payer_name}\n"


def test_rows_are_shown_masked_and_csv_runs_nothing(tmp_path: Path) -> None:
    place = town(tmp_path, {"tax__payer": PERSONAL})
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "　=1", "＝1", "平安"]
    place.drop(
        "tax", "payer_20260302.csv", "编号,电话,名称\n" + "".join(f"{i},1380013800{i},{f}\n" for i, f in enumerate(formulas))
    )
    with place.run(START.isoformat()) as run:
        intake(run, "tax__payer")
        masked = rows_sql(run, "tax__payer")
        assert "13800138000" not in str(run.con.execute(masked).fetchall())
        assert "13800138000" in str(run.con.execute(rows_sql(run, "tax__payer", reveal=True)).fetchall())
        write_csv(run.con, masked, str(tmp_path / "out.csv"))
    found = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"), newline="")))
    assert [r["payer_name"] for r in found] == [*(f"'{f}" for f in formulas[:-1]), "平安"]
    assert {p.name for p in tmp_path.iterdir()} == {"out.csv", "workspace", "catalog"}


def test_the_command_prints_rows_as_of_an_instant(lived: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def dmp(*arguments: str) -> subprocess.CompletedProcess[str]:
        names = {"DMP_WORKSPACE": str(lived.workspace.root), "DMP_CATALOG": str(lived.catalog)}
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "rows", *arguments], env=os.environ | names, capture_output=True, text=True
        )

    done = dmp("market__shop", "--as-of", at(1).isoformat(), "--csv", "-")
    assert [line.split(",")[3:5] for line in done.stdout.splitlines()] == [["shop_no", "shop_name"], ["1", "甲"], ["2", "乙"]]
    assert "2 of 3 rows" in dmp("market__shop", "--as-of", at(2).isoformat(), "--limit", "2").stdout
    assert dmp("market__shop", "--as-of", "2026-03-09T08:00:00").returncode == 12
    monkeypatch.setenv("COLUMNS", "40")
    narrow = dmp("market__shop", "--as-of", at(1).isoformat()).stdout.splitlines()
    assert [line.split("│")[2].strip() for line in narrow if "shop_name" in line] == ["甲", "乙"], "one below the other"
