"""Columns that come, go, move, change their name or their kind: told, proposed, and treated as the contract says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipelines import drift
from pipelines.batch import is_staged, load
from pipelines.collect import collect
from pipelines.flow import intake
from pipelines.run import Run
from tests.support import Town, town
from tests.unit.test_cli import dmp

SOURCE = "office__company"
CONTRACT = """\
title: {zh: 企业名单, en: Companies}
department: office
load: snapshot
drift: POLICY
period: {from: file_name, pattern: "_(?P<date>\\\\d{8})"}
arrival: {drop: "company_*", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 信用代码, to: uscc, key: true}
  - {from: 企业名称, to: entity_name, personal: true}
  - {from: 注册资本, to: capital}
  - {from: 备注, ignore: free text, optional: true}
"""
ROWS = 40
NOW = "2026-03-02T08:30:00+08:00"  # before anything is due
Cells = dict[str, Callable[[int], object]]
AS_AGREED: Cells = {
    "信用代码": lambda i: f"91440101MA{i:08}",
    "企业名称": lambda i: f"第{i:03}号贸易有限公司",
    "注册资本": lambda i: 1000 * i,
}


def file(cells: Cells) -> str:
    lines = [",".join(cells)] + [",".join(str(make(i)) for make in cells.values()) for i in range(ROWS)]
    return "\n".join(lines) + "\n"


def renamed(old: str, new: str) -> Cells:
    return {new if name == old else name: make for name, make in AS_AGREED.items()}


def without(name: str) -> Cells:
    return {k: v for k, v in AS_AGREED.items() if k != name}


class Office:
    """One source under one policy; each file is that of another day."""

    def __init__(self, root: Path, policy: str = "freeze") -> None:
        self.town: Town = town(root, {SOURCE: CONTRACT.replace("POLICY", policy)})
        self.day = 0

    def drop(self, cells: Cells) -> None:
        self.day += 1
        self.town.drop("office", f"company_202603{self.day:02}.csv", file(cells))

    def take(self) -> list[str]:
        """Read, judge and commit what waits; the verdicts."""
        with self.town.run(NOW) as run:
            return [v.state for v in intake(run, SOURCE)]

    def send(self, *files: Cells) -> list[str]:
        for cells in files:
            self.drop(cells)
        return self.take()

    def read(self, *files: Cells) -> list[str]:
        """Read what waits without committing it; the worst that is said of each file."""
        for cells in files:
            self.drop(cells)
        with self.town.run(NOW) as run:
            batches = [load(run.workspace, b) for b in collect(run, SOURCE)]
        worst = ("hold", "refuse", "warn", "note")
        return [next((s for s in worst if s in {f.severity for f in b.findings}), "pass") for b in batches]

    def told(self, day: int | None = None) -> list[dict[str, Any]]:
        """The findings of a file, committed or not yet."""
        batch = f"{SOURCE}@2026-03-{day or self.day:02}.v1"
        if is_staged(self.town.workspace, batch):
            return [asdict(f) for f in load(self.town.workspace, batch).findings]
        return [r for r in self.town.tables()["quality.finding"] if r["batch"] == batch]

    def codes(self, day: int | None = None) -> set[tuple[str, str | None, str]]:
        """(code, header, severity) of what was said of columns."""
        return {(r["code"], r["header"], r["severity"]) for r in self.told(day) if "column" in r["code"]}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_file_as_agreed_and_as_before_has_nothing_to_tell(office: Office) -> None:
    assert office.read(AS_AGREED, AS_AGREED) == ["pass", "pass"]
    assert office.codes(1) == office.codes(2) == set()


def test_a_new_a_gone_and_a_moved_column_are_told_against_the_file_before(office: Office) -> None:
    first = {**AS_AGREED, "备注": lambda i: ""}
    second = {name: AS_AGREED[name] for name in ("注册资本", "信用代码", "企业名称")}
    third = {**second, "联系电话": lambda i: f"1380013{i:04}"}
    assert office.read(first, second, third) == ["pass", "warn", "warn"]
    assert office.codes(2) == {("column_gone", "备注", "warn"), ("columns_reordered", "注册资本", "note")}
    assert office.codes(3) == {
        ("column_new", "联系电话", "note"),
        ("column_undeclared", "联系电话", "warn"),
        ("column_add_proposed", "联系电话", "note"),
    }
    [proposal] = [r for r in office.told(3) if r["code"] == "column_add_proposed"]
    assert "from: 联系电话, to: phone, optional: true" in proposal["message_en"]


def test_values_of_another_kind_are_told_with_both_kinds(office: Office) -> None:
    assert office.read(AS_AGREED, {**AS_AGREED, "注册资本": lambda i: f"{i}万元"}) == ["pass", "warn"]
    [found] = [r for r in office.told() if r["code"] == "column_retyped"]
    assert found["header"] == "注册资本"
    assert "whole numbers" in found["message_en"] and "text in this one" in found["message_en"]


def test_a_renamed_column_holds_the_file_and_is_proposed_by_its_values_with_yaml_that_then_takes_it(office: Office) -> None:
    other = renamed("信用代码", "登记证照编号")  # nothing of the name is left
    assert office.send(AS_AGREED, other) == ["pass", "hold"]
    [proposal] = [r for r in office.told() if r["code"] == "column_rename_proposed"]
    assert proposal["header"] == "信用代码"
    assert f"100% of the {ROWS} distinct values" in proposal["message_en"].replace(" %", "%")
    line = "from: [信用代码, 登记证照编号]"
    assert line in proposal["message_zh"]
    assert len(office.town.tables()["std.office__company"]) == ROWS, "a held file reaches no table that others read"

    office.town.contract(SOURCE, CONTRACT.replace("POLICY", "freeze").replace("from: 信用代码", line))
    office.drop(other)
    assert office.take() == ["pass"]
    assert office.codes() == {("column_renamed", "登记证照编号", "note")}
    assert len(office.town.tables()["std.office__company"]) == 2 * ROWS


def test_a_new_column_with_other_values_is_not_taken_for_the_missing_one(office: Office) -> None:
    other = {**without("注册资本"), "登记日期": lambda i: f"2020-01-{1 + i % 28:02}"}
    assert office.read(AS_AGREED, other) == ["pass", "hold"]
    codes = {code for code, _, _ in office.codes()}
    assert "column_rename_proposed" not in codes
    [proposal] = [r for r in office.told() if r["code"] == "column_optional_proposed"]
    assert "from: 注册资本, to: capital, optional: true" in proposal["message_en"]


def test_evolve_takes_a_file_without_a_column_but_never_without_its_key(tmp_path: Path) -> None:
    office = Office(tmp_path, "evolve")
    assert office.send(AS_AGREED, without("注册资本"), without("信用代码")) == ["pass", "warn", "hold"]
    rows = [r for r in office.town.tables()["std.office__company"] if r["_batch"].endswith("02.v1")]
    assert len(rows) == ROWS
    assert {r["capital"] for r in rows} == {None}
    assert ("column_missing", "注册资本", "warn") in office.codes(2)


def test_refuse_rows_refuses_the_rows_that_say_something_more_and_no_others(tmp_path: Path) -> None:
    office = Office(tmp_path, "refuse_rows")
    assert office.send({**AS_AGREED, "说明": lambda i: "x" if i in (3, 7) else ""}) == ["warn"]
    refused = {r["row"] for r in office.told() if r["code"] == "value_in_undeclared_column"}
    assert refused == {5, 9}
    tables = office.town.tables()
    assert {r["_row"] for r in tables["quarantine.row"]} == refused
    assert len(tables["std.office__company"]) == ROWS - 2
    assert {r["_row"] for r in tables["raw.office__company"]} == set(range(2, ROWS + 2))


def test_hold_stops_at_any_difference_until_somebody_changed_the_contract(tmp_path: Path) -> None:
    office = Office(tmp_path, "hold")
    moved = {name: AS_AGREED[name] for name in reversed(AS_AGREED)}
    more = {**AS_AGREED, "说明": lambda i: ""}
    assert office.send(AS_AGREED, moved) == ["pass", "hold"]
    assert office.read(moved, more, AS_AGREED) == ["hold", "hold", "pass"]
    assert office.take() == ["hold", "hold", "pass"]
    office.town.contract(SOURCE, CONTRACT.replace("POLICY", "hold").replace("ignore: free text", "ignore: nobody reads it"))
    assert office.read(moved, moved) == ["note", "pass"]


def test_it_makes_no_difference_whether_the_file_before_was_committed_already(tmp_path: Path) -> None:
    files = [AS_AGREED, renamed("企业名称", "单位名称"), without("注册资本")]
    together, singly = Office(tmp_path / "a"), Office(tmp_path / "b")
    together.send(*files)
    for cells in files:
        singly.send(cells)
    keep = ("batch", "code", "severity", "header", "message_zh")
    said = [[[r[k] for k in keep] for r in office.town.tables()["quality.finding"]] for office in (together, singly)]
    assert said[0] == said[1]
    assert any(code == "column_rename_proposed" for _, code, *_ in said[0])


def test_a_profile_holds_counts_and_no_value(office: Office) -> None:
    office.read(AS_AGREED)
    told = load(office.town.workspace, f"{SOURCE}@2026-03-01.v1").profile
    assert told["注册资本"]["kinds"] == {"integer": ROWS}
    assert "贸易" not in str(told) and "91440101" not in str(told)


def test_what_is_said_of_a_file_that_is_no_table_of_the_contract_shows_none_of_its_cells(office: Office) -> None:
    office.town.drop("office", "company_20260309.csv", "张三,440106199001011234,广州\n李四,440106199001015678,深圳\n")
    assert office.read(AS_AGREED) == ["pass", "hold"]
    said = json.dumps(office.told(9), ensure_ascii=False)
    assert "张三" not in said and "440106199001011234" not in said


def test_the_commands_tell_the_history_of_headers_and_what_changed_since_the_newest_batch_was_read(office: Office) -> None:
    office.send(AS_AGREED, AS_AGREED, renamed("企业名称", "单位名称"))
    with office.town.run(NOW) as run:
        found = [(h.batches, h.new, h.gone) for h in drift.history(run, SOURCE)]
    assert found == [(2, (), ()), (1, ("单位名称",), ("企业名称",))]
    shown = dmp(office.town, "contract", "history", SOURCE)
    assert shown.returncode == 0 and "+ 单位名称; - 企业名称" in shown.stdout

    same = dmp(office.town, "contract", "diff", SOURCE)
    assert (same.returncode, same.stdout.strip()) == (0, "no difference")
    office.town.contract(SOURCE, CONTRACT.replace("POLICY", "freeze").replace("to: capital", "to: capital, type: number"))
    changed = dmp(office.town, "contract", "diff", SOURCE, "--lang", "en")
    assert changed.returncode == 1
    assert "BREAKING  columns.capital.type: 注册资本 is number, was text" in changed.stdout


def test_identifiers_that_a_spreadsheet_damaged_are_named_as_such_and_never_mended(tmp_path: Path) -> None:
    contract = (
        CONTRACT.replace("POLICY", "freeze")
        + "  - {from: 法人证件, to: resident_id, clean: resident_id, check: resident_id_valid, grade: G4}\n"
    )
    place = town(tmp_path, {SOURCE: contract})
    good = "11010519491231002X"
    rows = [
        ("A1", good),
        ("1.10105E+17", good),
        ("A3", "1.10105E+17"),
        ("A4", "110105194912310000"),
        ("A5", "110105194912310000.0"),
    ]
    text = "信用代码,企业名称,注册资本,法人证件\n" + "".join(f"{a},公司,1,{b}\n" for a, b in rows)
    place.drop("office", "company_20260301.csv", text)
    with place.run(NOW) as run:
        intake(run, SOURCE)
        assert "undamaged" in _statements(run)
    tables = place.tables()
    said = {(r["row"], r["header"], r["severity"]) for r in tables["quality.finding"] if r["code"] == "identifier_damaged"}
    assert said == {(3, "信用代码", "refuse"), (4, "法人证件", "warn"), (5, "法人证件", "warn"), (6, "法人证件", "warn")}
    others = {r["code"] for r in tables["quality.finding"]} - {"identifier_damaged"}
    assert not {code for code in others if code.startswith("resident_id")}
    assert {r["uscc"]: r["resident_id"] for r in tables["std.office__company"]} == {
        "A1": good,
        "A3": None,
        "A4": None,
        "A5": None,
    }


def _statements(run: Run) -> str:
    from pipelines.statements import statements

    return "\n".join(text for _, _, text in statements(run, SOURCE))
