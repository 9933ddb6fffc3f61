"""Every `example:` line of every rule, run through the compiler as a contract would."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pipelines.compile import ColumnSpec, RuleCall, compile_select
from pipelines.rules import Example, Rule, RuleError, find_rule, load_folder, load_rule, rule_catalogue

EXAMPLES = [
    pytest.param(rule, example, id=f"{rule.name}:{example.line}") for rule in rule_catalogue() for example in rule.examples
]

CLEAN_HEADER = "-- rule: r\n-- kind: clean\n-- does: x\n-- zh: x\n-- finding: r_unreadable\n-- example: '1' -> '1'\n"


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("CREATE TABLE ref_division (code VARCHAR, name VARCHAR, first_year INTEGER, last_year INTEGER)")
    con.execute(
        """INSERT INTO ref_division VALUES
        ('110105', '朝阳区', 1980, NULL), ('110103', '崇文区', 1980, 2009), ('440309', '龙华区', 2017, NULL),
        ('440524', '潮阳县', 1980, 1992)"""
    )
    con.execute(
        "CREATE TABLE ref_division_successor AS FROM (VALUES ('440524', '440582', 1994, 2003), ('440524', '440513', 2004, 9999)) "
        "AS t(code, successor, first_year, last_year)"
    )
    return con


def outcome(con: duckdb.DuckDBPyConnection, rule: Rule, example: Example) -> str | tuple[str, ...] | None:
    arguments = {name: "'" + text.replace("'", "''") + "'" for name, text in example.arguments.items()}
    call = RuleCall(rule.name, arguments)
    clean, check = ((call,), ()) if rule.kind == "clean" else ((), (call,))
    con.execute(
        "CREATE OR REPLACE TABLE raw AS SELECT 'b' AS _batch, NULL AS _sheet, 1 AS _row, $1::VARCHAR AS sent",
        [example.value],
    )
    compiled = compile_select([ColumnSpec("sent", "v", clean, check)], "raw")
    row = con.execute(f'SELECT "v", "v__failed" FROM ({compiled.judged_sql})').fetchone()
    assert row is not None
    value, failed = row
    if rule.kind == "clean":
        lost = example.value is not None and value is None
        assert failed == ([*rule.findings.values()] if lost and not rule.harmless else None)
        return None if value is None else str(value)
    parts = {code: part for part, code in rule.findings.items()}
    return None if example.value is None else tuple(parts[code] for code in failed or [])


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_the_example_holds(con: duckdb.DuckDBPyConnection, rule: Rule, example: Example) -> None:
    assert outcome(con, rule, example) == example.expected


@pytest.mark.parametrize("rule", rule_catalogue(), ids=lambda rule: rule.name)
def test_a_rule_shows_what_it_does_and_what_it_refuses(rule: Rule) -> None:
    outcomes = [example.expected for example in rule.examples]
    if rule.kind == "check":
        shown = {part for parts in outcomes for part in parts or ()}
        assert shown == set(rule.findings), "every part has an example that fails it"
        assert () in outcomes
    else:
        assert any(text is not None for text in outcomes)
        assert rule.harmless or None in outcomes


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("read_text(value)", "line 7: function 'read_text' is not allowed"),
        ("trim(value)\n|| getenv('HOME')", "line 8: function 'getenv' is not allowed"),
        ("sustr(value, 1, 2)", "did you mean 'substr'"),
        ("(SELECT max(code) FROM secrets)", "'SELECT' is not allowed"),
        ("CASE WHEN CURRENT_DATE > value THEN value END", "'CURRENT_DATE' is not allowed"),
        ("value[1]", r"'\[' is not allowed"),
        ("vlaue", "'vlaue' is unknown here; did you mean 'value'"),
        ("value, value", "line 7"),
        ("DROP TABLE value", "'DROP' is not allowed"),
        ("CASE WHEN", "not an SQL expression"),
        ("value; value", "';' is not allowed"),
        ("-- part: p -> r_wrong\nvalue = '1'", "a clean rule is"),
        ("-- step: value\nvalue\n-- result:\nvalue", "'value' is taken"),
        ("value\n-- does: more", "line 8: 'does:' stands after the SQL began"),
    ],
)
def test_sql_that_is_not_allowed_is_refused_with_file_and_line(tmp_path: Path, sql: str, message: str) -> None:
    path = tmp_path / "r.sql"
    path.write_text(CLEAN_HEADER + sql + "\n", encoding="utf-8")
    with pytest.raises(RuleError, match=message) as error:
        load_rule(path)
    assert str(error.value).startswith("r.sql, line ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- rule: r\n", "-- rule: s\n", "use one name for both"),
        ("-- kind: clean", "-- kind: clena", "should be clean or check"),
        ("-- example: '1' -> '1'\n", "", "at least one `-- example"),
        ("-- example: '1' -> '1'", "-- example: 1 -> 1", "line 6: expected `-- example"),
        ("-- example: '1' -> '1'", "-- example: '1' -> [shape]", "a clean rule's example ends in text"),
        ("-- finding: r_unreadable\n", "", "expected one `-- finding"),
        ("-- does:", "-- doess:", "line 3: 'doess:' is not a header line; did you mean 'does'"),
        ("-- does: x", "-- harmless: yes\n-- does: x", "a harmless rule never fails a value"),
    ],
)
def test_a_wrong_header_is_refused_with_file_and_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "r.sql"
    path.write_text(CLEAN_HEADER.replace(old, new) + "value\n", encoding="utf-8")
    with pytest.raises(RuleError, match=message):
        load_rule(path)


def test_a_lookup_reads_declared_tables_only(tmp_path: Path) -> None:
    header = "-- rule: r\n-- kind: check\n-- does: x\n-- zh: x\n-- lookup: ref_a(code)\n-- example: '1' -> []\n"
    part = "-- part: known -> r_unknown\nvalue IN (SELECT t.code FROM {} AS t)\n"
    path = tmp_path / "r.sql"
    path.write_text(header + part.format("ref_a"), encoding="utf-8")
    assert load_folder(tmp_path)["r"].lookups == ("ref_a",)
    for table in ("ref_b", "other.ref_a"):
        path.write_text(header + part.format(table), encoding="utf-8")
        with pytest.raises(RuleError, match="is not declared"):
            load_rule(path)


def test_an_unknown_rule_names_its_neighbour() -> None:
    with pytest.raises(RuleError, match="there is no rule 'mobile_numbr'; did you mean 'mobile_number'"):
        find_rule("mobile_numbr", "clean")
    with pytest.raises(RuleError, match="'credit_code' is a clean rule; did you mean 'credit_code_valid'"):
        find_rule("credit_code", "check")
