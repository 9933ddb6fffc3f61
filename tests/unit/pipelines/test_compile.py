"""What a contract author, a department and an auditor rely on when columns become one SELECT."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from sqlglot.lineage import lineage

from pipelines.compile import SQL_TYPES, ColumnSpec, Compiled, RuleCall, compile_select
from pipelines.rules import RuleError

Row = dict[str, Any]


def calls(*names: str) -> tuple[RuleCall, ...]:
    return tuple(RuleCall(name) for name in names)


def run(columns: Sequence[ColumnSpec], *rows: Sequence[str | None]) -> tuple[Compiled, duckdb.DuckDBPyConnection]:
    """Judge rows of one value per column; raw has the sources as VARCHAR columns."""
    con = duckdb.connect()
    con.execute("CREATE TABLE ref_division AS SELECT '110105' AS code, '朝阳区' AS name, 1980 AS first_year, 2010 AS last_year")
    sources = ", ".join('"' + column.source.replace('"', '""') + '" VARCHAR' for column in columns)
    con.execute(f'CREATE TABLE "raw 甲" (_batch VARCHAR, _sheet VARCHAR, _row BIGINT, {sources})')
    for number, row in enumerate(rows, start=1):
        marks = ", ".join("?" for _ in row)
        con.execute(f"INSERT INTO \"raw 甲\" VALUES ('b1', 's1', {number}, {marks})", list(row))
    compiled = compile_select(columns, '"raw 甲"')
    con.execute(f"CREATE TABLE judged AS {compiled.judged_sql}")
    return compiled, con


def table(con: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    result = con.execute(sql)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def one(column: ColumnSpec, sent: str | None) -> Row:
    _, con = run([column], [sent])
    row = table(con, "FROM judged")[0]
    return {key.removeprefix(f"{column.name}__"): value for key, value in row.items() if not key.startswith("_b")}


def test_a_clean_value_a_lost_one_and_a_missing_one_are_told_apart() -> None:
    phone = ColumnSpec("联系电话", "phone", calls("trim_text", "null_tokens", "mobile_number"))
    compiled, con = run([phone], ["+86 138-0013-8000"], ["12345"], ["无"], [None], ["  "])
    rows = table(con, "FROM judged ORDER BY _row")
    assert [row["phone"] for row in rows] == ["13800138000", None, None, None, None]
    assert [row["phone__given"] for row in rows] == [True, True, None, None, None]
    assert [row["phone__failed"] for row in rows] == [None, ["phone_unreadable"], None, None, None]
    assert [row["phone__sent"] for row in rows] == [None, "12345", None, None, None]
    assert [row["_refused"] for row in rows] == [False] * 5
    assert table(con, compiled.findings_sql) == [
        {
            "_batch": "b1", "_sheet": "s1", "_row": 2,
            "column_name": "phone", "code": "phone_unreadable", "sent": "12345",
        }
    ]  # fmt: skip


def test_output_columns_stand_in_the_contracts_order() -> None:
    _, con = run([ColumnSpec("乙", "b"), ColumnSpec("甲", "a")], ["1", "2"])
    names = [row["column_name"] for row in table(con, "DESCRIBE judged")]
    assert names == [
        "_batch", "_sheet", "_row",
        "b", "b__given", "b__failed", "b__sent",
        "a", "a__given", "a__failed", "a__sent",
        "_refused",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "sent", "value"),
    [
        ("integer", "12", 12),
        ("integer", "1.5", None),
        ("integer", "0x1F", None),
        ("integer", "1_000", None),
        ("integer", "99999999999999999999", None),
        ("number", "-1200.50", Decimal("-1200.5")),
        ("number", "123456789012345678901.12345678", Decimal("123456789012345678901.12345678")),
        ("number", "1e5", None),
        ("number", "nan", None),
        ("date", "2024-02-29", datetime.date(2024, 2, 29)),
        ("date", "2024-02-30", None),
        ("date", "2024-01-3x", None),
        ("date", "infinity", None),
        ("date", "0000-01-01", None),
        ("timestamp", "2024-01-31 10:11:12", datetime.datetime(2024, 1, 31, 10, 11, 12)),
        ("timestamp", "2024-01-31 10:11:12+00:00", None),
        ("boolean", "true", True),
        ("boolean", "Y", None),
    ],
)
def test_a_type_reads_one_spelling_exactly_and_reports_the_rest(type_: Any, sent: str, value: object) -> None:
    row = one(ColumnSpec("x", "x", type=type_), sent)
    assert row["x"] == value
    finding = "datetime_unreadable" if type_ == "timestamp" else f"{type_}_unreadable"
    assert row["failed"] == (None if value is not None else [finding])


def test_the_judged_columns_have_the_documented_types() -> None:
    columns = [ColumnSpec(f"s{i}", f"c{i}", type=type_) for i, type_ in enumerate(SQL_TYPES)]
    _, con = run(columns, [None] * len(columns))
    types = {row["column_name"]: row["column_type"] for row in table(con, "DESCRIBE judged")}
    assert [types[column.name] for column in columns] == list(SQL_TYPES.values())
    assert types["c0__given"] == "BOOLEAN"
    assert types["c0__failed"] == "VARCHAR[]"


def test_on_fail_decides_about_the_value_and_the_row() -> None:
    def judged(on_fail: Any, sent: str) -> Row:
        return one(ColumnSpec("x", "x", calls("trim_text", "mobile_number"), on_fail=on_fail), sent)

    assert [judged("null", " 12a ")[key] for key in ("x", "_refused")] == [None, False]
    assert [judged("keep", " 12a ")[key] for key in ("x", "_refused")] == ["12a", False]
    assert [judged("refuse", " 12a ")[key] for key in ("x", "_refused")] == [None, True]
    for on_fail in ("null", "keep", "refuse"):
        assert judged(on_fail, " 12a ")["failed"] == ["phone_unreadable"]
        assert judged(on_fail, "13800138000")["_refused"] is False


def test_a_failed_check_keeps_the_clean_value_unless_told_to_empty_it() -> None:
    def judged(on_fail: Any) -> Row:
        return one(ColumnSpec("x", "x", calls("upper"), calls("credit_code_valid"), on_fail=on_fail), "91350100m000100y44")

    assert [judged(on_fail)["x"] for on_fail in ("null", "keep", "refuse")] == [None] + ["91350100M000100Y44"] * 2
    assert judged("keep")["failed"] == ["credit_code_checksum_wrong"]
    assert judged("keep")["sent"] == "91350100m000100y44"


def test_a_cell_can_fail_on_several_counts_and_each_is_a_finding() -> None:
    rid = ColumnSpec("身份证号", "rid", calls("resident_id"), calls("resident_id_valid"), on_fail="refuse")
    compiled, con = run([rid], ["990105194902310021"], ["11010519491231002X"])
    codes = ["resident_id_date_impossible", "resident_id_division_unknown", "resident_id_checksum_wrong"]
    assert [row["code"] for row in table(con, compiled.findings_sql)] == codes
    assert table(con, compiled.quarantine_sql) == [{"_batch": "b1", "_sheet": "s1", "_row": 1, "codes": codes}]
    assert [row["rid"] for row in table(con, compiled.std_sql)] == ["11010519491231002X"]


def test_a_missing_key_refuses_the_row() -> None:
    key = ColumnSpec("编号", "key", calls("trim_text", "null_tokens"), on_missing="refuse")
    compiled, con = run([key, ColumnSpec("x", "x", type="integer")], ["1", "a"], ["-", "a"], [None, "1"])
    assert [(row["_row"], row["key"], row["x"]) for row in table(con, compiled.std_sql)] == [(1, "1", None)]
    assert [(row["_row"], row["codes"]) for row in table(con, compiled.quarantine_sql)] == [
        (2, ["value_missing"]),
        (3, ["value_missing"]),
    ]
    sent = {(row["_row"], row["column_name"]): row["sent"] for row in table(con, compiled.findings_sql)}
    assert sent == {(1, "x"): "a", (2, "key"): "-", (2, "x"): "a", (3, "key"): None}


def test_a_placeholder_found_after_reading_the_value_counts_as_not_given() -> None:
    day = ColumnSpec("日期", "day", calls("date_any_format", "null_dates"), type="date")
    assert [one(day, "1900年1月1日")[key] for key in ("day", "given", "failed")] == [None, None, None]
    assert [one(day, "soon")[key] for key in ("day", "given", "failed")] == [None, True, ["date_unreadable"]]


def test_later_rules_see_null_after_a_failure_and_only_the_first_reports() -> None:
    row = one(ColumnSpec("x", "x", calls("integer", "postcode"), type="integer"), "abc")
    assert row["failed"] == ["integer_unreadable"]


def test_an_argument_reads_another_columns_clean_text_wherever_it_stands() -> None:
    known = ColumnSpec("区划", "division", calls("division_code"), (RuleCall("division_known", {"as_of": "day"}),))
    day = ColumnSpec("日期", "day", calls("date_any_format"), type="date")
    _, con = run([known, day], ["110105", "2005/1/1"], ["110105", "2020/1/1"], ["110105", "?"])
    assert [row["division__failed"] for row in table(con, "FROM judged")] == [None, ["division_unknown"], None]


def test_a_clean_rule_waits_for_the_column_it_reads() -> None:
    phone = ColumnSpec("电话", "phone", (RuleCall("fixed_phone", {"area_code": "area"}),))
    area = ColumnSpec("区号", "area", calls("trim_text"))
    _, con = run([phone, area], ["83331234", " 020 "], ["83331234", None])
    assert [row["phone"] for row in table(con, "FROM judged")] == ["020-83331234", None]


def test_strange_names_and_quotes_survive() -> None:
    column = ColumnSpec('备"注 (1)', "memo", (RuleCall("fixed_phone", {"area_code": "'o''k'"}),))
    compiled, con = run([column], ["8333-1234"])
    assert '"备""注 (1)"' in compiled.judged_sql
    assert "'o''k'" in compiled.judged_sql
    assert table(con, compiled.findings_sql)[0]["sent"] == "8333-1234"


def test_a_reference_table_can_live_elsewhere() -> None:
    known = ColumnSpec("x", "x", (), calls("division_known"))
    compiled = compile_select([known], "raw", lookups={"ref_division": "lake.main.divisions"})
    assert compiled.lookups == ("ref_division",)
    assert '"lake"."main"."divisions" AS "listed"' in compiled.judged_sql
    assert "ref_division" not in compiled.judged_sql


def test_a_row_that_is_broken_itself_is_refused_with_its_own_code() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE raw AS SELECT 'b' AS _batch, 's' AS _sheet, 1 AS _row, '1' AS x, 'row_too_short' AS _defect")
    compiled = compile_select([ColumnSpec("x", "x")], "raw", defect="_defect")
    con.execute(f"CREATE TABLE judged AS {compiled.judged_sql}")
    assert table(con, compiled.std_sql) == []
    assert [row["codes"] for row in table(con, compiled.quarantine_sql)] == [["row_too_short"]]


def test_every_column_can_be_traced_to_its_source() -> None:
    known = RuleCall("division_known", {"as_of": "day"})
    compiled = compile_select(
        [ColumnSpec("区划", "division", calls("trim_text", "division_code"), (known,)), ColumnSpec("日期", "day", type="date")],
        "raw",
    )

    def leaves(column: str) -> set[str]:
        root = lineage(column, compiled.lineage_sql, {}, dialect="duckdb")
        return {node.name for node in root.walk() if not node.downstream and not node.name.startswith("listed.")}

    assert leaves("day") == {'raw."日期"'}
    assert 'raw."区划"' in leaves("division")


def test_the_statement_stays_as_long_as_its_rules() -> None:
    """Each rule stands in the statement once per call: doubling the chain must not square the text."""
    short = compile_select([ColumnSpec("x", "x", calls(*["entity_name"] * 4))], "raw").judged_sql
    long = compile_select([ColumnSpec("x", "x", calls(*["entity_name"] * 8))], "raw").judged_sql
    assert len(long) < 2.2 * len(short)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([ColumnSpec("x", "x", calls("trim_txt"))], "there is no rule 'trim_txt'; did you mean 'trim_text'"),
        ([ColumnSpec("x", "x", (), calls("upper"))], "'upper' is a clean rule"),
        ([ColumnSpec("x", "x", (RuleCall("phone", {"area": "'020'"}),))], "no argument 'area'; did you mean 'area_code'"),
        ([ColumnSpec("x", "x", (RuleCall("phone", {"area_code": "y"}),))], "argument 'y' is no column"),
        ([ColumnSpec("x", "x", (RuleCall("phone", {"area_code": "x"}),))], "wait for each other"),
        ([ColumnSpec("x", "a"), ColumnSpec("y", "A")], "'x' is already called so"),
        ([ColumnSpec("x", "a__given")], "are the pipeline's own"),
        ([ColumnSpec("x", "_batch")], "are the pipeline's own"),
        ([ColumnSpec("x", "x", (), calls("credit_code_valid", "credit_code_valid"))], "a check stands twice"),
        ([], "at least one mapped column"),
    ],
)
def test_a_wrong_contract_is_an_error_that_names_the_way_out(columns: list[ColumnSpec], message: str) -> None:
    with pytest.raises(RuleError, match=message):
        compile_select(columns, "raw")
