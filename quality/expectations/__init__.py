"""The short names of `expect:`: one YAML file per kind, the file stem is the name, the folder is the registry.

A kind says how it becomes a Great Expectations expectation (`gx:` with `kwargs:`, or `sql:` that selects the rows
that break it) and how A and B are counted from the result:

    rows      B = rows sent; A = B - unexpected
    given     B = values the department gave; A = B - unexpected
    values    B = values given; A = values that survived cleaning - unexpected (what a rule nulled has failed)
    bad_rows  B = rows sent; A = unexpected, the bad ones (0303, 0305)
    binary    B = 1; A = 1 where it holds
    points    B = slots; A = sum of their points
    evaluated B = what `evaluated:` counts; A = B - unexpected

What looks beyond the rows of the batch says so with `beyond:` (see `beyond.py`); where that is not at hand, A = B = 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

import sqlglot
from pydantic import BaseModel, ConfigDict
from sqlglot import exp

from catalog.contract import Column, Contract, Expect
from catalog.yaml_file import CatalogError, build, nearest, read_mapping
from quality.expectations.beyond import (
    Beyond,
    Words,
    declared_words,
    history_words,
    known,
    parts_words,
    quoted,
    source_words,
    totals_words,
)
from quality.finding import Finding
from quality.gx import Expectation

Over = Literal["judged", "columns", "slots"]
Counts = Literal["rows", "given", "values", "bad_rows", "binary", "points", "evaluated"]


class Kind(BaseModel):
    """One expectation kind as its file declares it. `example` is a line of a contract, for kinds that need more than a column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zh: str
    en: str
    argument: Literal["none", "column", "columns", "several"] = "none"
    options: dict[str, Literal["required", "optional"]] = {}
    over: Over = "judged"
    beyond: Literal["source", "history", "declared"] | None = None
    example: str | None = None
    indicator: str
    weight: int
    gx: str | None = None
    kwargs: dict[str, Any] = {}
    sql: str | None = None
    evaluated: str | None = None
    finding: str | None = None
    counts: Counts


@dataclass(frozen=True)
class Prepared:
    """One check of a contract, ready to run: what GX gets, how A and B are counted, what it weighs.

    `evaluated` counts B where the kind has a query of its own for it, `finding` is told with the row that the failed SQL gives.
    `reads` filled what the check reads beside the batch; `unevaluated` says why it cannot be judged here: it is not run.
    """

    id: str
    kind: str
    zh: str
    en: str
    indicator: str
    weight: int
    severity: str
    floor: float | None
    target: float | None
    major: bool
    over: Over
    counts: Counts
    columns: tuple[str, ...]
    expectation: Expectation
    evaluated: str | None = None
    finding: str | None = None
    reads: tuple[str, ...] = ()
    unevaluated: Finding | None = None


@dataclass(frozen=True)
class Context:
    """What only the batch knows: its period, its day of arrival, where code tables stand on the connection, what lies beyond."""

    period: tuple[date, date] | None = None
    arrived_on: date | None = None
    code_table: Callable[[str], str] = field(default=lambda name: f'"code_{name}"')
    beyond: Beyond = field(default_factory=Beyond)


@cache
def kinds() -> Mapping[str, Kind]:
    """Every short name."""
    return {p.stem: build(Kind, read_mapping(p), p) for p in sorted(Path(__file__).parent.glob("*.yaml"))}


def prepare(contract: Contract, context: Context | None = None) -> list[Prepared]:
    """The checks of a contract: its `expect:` lines, and the usual ones that it need not write.

    Derived unless written: columns_as_declared, no_dirty_rows, punctuality; key_is_unique with a key; value_is_present
    for each required or key column; value_is_valid for each column that has rules, checks or a type.
    Raises CatalogError for an unknown name, column or option, with the nearest valid word; `at` says in which line.
    """
    context = context or Context()
    lines = list(contract.expect)
    written = {(line.kind, str(line.argument)) for line in lines}
    for line in _derived(contract):
        if (line.kind, str(line.argument)) not in written:
            lines.append(line)
    prepared = []
    for number, line in enumerate(lines):
        try:
            prepared.append(_prepare(contract, line, context))
        except CatalogError as error:
            error.at = ("expect", number)
            raise
    ids = [p.id for p in prepared]
    for check in ids:
        if ids.count(check) > 1:
            raise CatalogError(f"{contract.id}: `expect` has two checks `{check}`; give one of them its own `id`")
    return prepared


def _derived(contract: Contract) -> list[Expect]:
    lines = [Expect(kind="columns_as_declared"), Expect(kind="no_dirty_rows")]
    if contract.arrival.cycle != "event":
        lines.append(Expect(kind="punctuality"))
    if contract.keys:
        lines.append(Expect(kind="key_is_unique"))
    for column in contract.mapped:
        if column.required or (column.key and column.refuses_missing):
            lines.append(Expect(kind="value_is_present", argument=column.name))
        if column.clean or column.check or column.type != "text":
            indicator = "0301" if column.check else None
            lines.append(Expect(kind="value_is_valid", argument=column.name, indicator=indicator))
    return lines


def _prepare(contract: Contract, line: Expect, context: Context) -> Prepared:
    if line.kind == "gx":
        return _gallery(contract, line)
    if line.kind == "sql":
        return _own_sql(contract, line, context)
    if line.kind not in kinds():
        raise CatalogError(f"{contract.id}: `expect` has no `{line.kind}`{nearest(line.kind, [*kinds(), 'gx', 'sql'])}")
    kind = kinds()[line.kind]
    columns = _columns(contract, line, kind)
    for option in line.options:
        if option not in kind.options:
            raise CatalogError(f"{contract.id}: `{line.kind}` has no option `{option}`{nearest(option, list(kind.options))}")
    for option, need in kind.options.items():
        if need == "required" and option not in line.options:
            raise CatalogError(f"{contract.id}: `{line.kind}` needs `{option}`, as in {{{line.kind}: ..., {option}: ...}}")
    beyond = _beyond(contract, line, kind, columns, context)
    spelled = {name: _in_chinese(value) for name, value in line.options.items()}
    zh = kind.zh.format(**spelled | {"argument": "、".join(_shown(contract, c) for c in columns), **beyond.zh})
    en = kind.en.format(**line.options | {"argument": ", ".join(columns), **beyond.en})
    check_id = line.id or "_".join([line.kind, *columns, *str(line.options.get("against", "")).split()])
    evaluated = None
    if kind.sql is not None:
        words = {**_words(contract, line, columns, context), **beyond.words}
        query = _filled(kind.sql, words)
        evaluated = _filled(kind.evaluated, words).strip() if kind.evaluated else None
        expectation = Expectation(check_id, "unexpected_rows_expectation", {"unexpected_rows_query": query.strip()})
    else:
        values = {"argument": columns[0] if columns else "", **line.options}
        kwargs = {name: _value(template, values) for name, template in kind.kwargs.items()}
        expectation = Expectation(check_id, kind.gx or "", {k: v for k, v in kwargs.items() if v is not None})
    return Prepared(
        id=check_id, kind=line.kind, zh=zh, en=en,
        indicator=line.indicator or kind.indicator, weight=line.weight or kind.weight, severity=line.severity,
        floor=line.floor, target=line.target, major=line.major, over=kind.over, counts=kind.counts,
        columns=(*columns, *beyond.columns), expectation=expectation, evaluated=evaluated, finding=kind.finding,
        reads=beyond.reads, unevaluated=beyond.unevaluated(zh, en) if beyond.unevaluated else None,
    )  # fmt: skip


def _beyond(contract: Contract, line: Expect, kind: Kind, columns: Sequence[str], context: Context) -> Words:
    if kind.beyond == "source":
        return source_words(contract, line, columns, context.beyond)
    if kind.beyond == "history":
        return history_words(contract, line, columns, context.beyond)
    if kind.beyond == "declared":
        return declared_words(contract, line, columns, context.beyond)
    if "parts" in kind.options:
        return parts_words(contract, line, columns)
    return totals_words(contract, line, columns) if "total" in kind.options else Words()


def _gallery(contract: Contract, line: Expect) -> Prepared:
    """`{gx: expect_..., column: ..., ...}`: anything in GX's gallery, by its own arguments."""
    if line.argument == "unexpected_rows_expectation":
        raise CatalogError(f"{contract.id}: `expect` writes its own SQL as `sql: ...`, not as `gx: unexpected_rows_expectation`")
    options = dict(line.options)
    columns = tuple(v for k in ("column", "column_A", "column_B") if (v := options.get(k)))
    columns += tuple(options.get("column_list") or ())
    known(contract, columns)
    check_id = line.id or "_".join([str(line.argument).removeprefix("expect_"), *columns])
    rowwise = str(line.argument).startswith(
        (
            "expect_column_values_",
            "expect_column_pair_",
            "expect_compound_",
            "expect_multicolumn_",
            "expect_select_column_",
            "expect_column_value_lengths_",
        )
    )
    return Prepared(
        id=check_id, kind="gx", zh=f"{line.argument}（{'、'.join(columns)}）", en=f"{line.argument} ({', '.join(columns)})",
        indicator=line.indicator or "0302", weight=line.weight or 2, severity=line.severity, floor=line.floor,
        target=line.target, major=line.major, over="judged", counts="values" if rowwise else "binary", columns=columns,
        expectation=Expectation(check_id, str(line.argument), options),
    )  # fmt: skip


def _own_sql(contract: Contract, line: Expect, context: Context) -> Prepared:
    """`{sql: "SELECT ... FROM {batch} WHERE ..."}`: rows that break a rule. One SELECT, nothing else.

    {arrived_on}, {period_first} and {period_last} stand for the days of the batch.
    """
    query = str(line.argument)
    if "{batch}" not in query:
        raise CatalogError(f"{contract.id}: `sql` reads `FROM {{batch}}`, the rows of the batch")
    first, last = context.period or (None, None)
    for word, day in (("arrived_on", context.arrived_on), ("period_first", first), ("period_last", last)):
        query = query.replace(f"{{{word}}}", _date(day))
    _guard(contract, query)
    if line.options:
        option = next(iter(line.options))
        raise CatalogError(f"{contract.id}: `sql` has no option `{option}`{nearest(option, ['id', 'indicator', 'weight'])}")
    numbered = [e for e in contract.expect if e.kind == "sql"]
    check_id = line.id or f"sql_{numbered.index(line) + 1}"
    return Prepared(
        id=check_id, kind="sql", zh=f"业务规则 {check_id}", en=f"rule {check_id}", indicator=line.indicator or "0104",
        weight=line.weight or 2, severity=line.severity, floor=line.floor, target=line.target, major=line.major,
        over="judged", counts="rows", columns=(),
        expectation=Expectation(check_id, "unexpected_rows_expectation", {"unexpected_rows_query": query}),
    )  # fmt: skip


def _guard(contract: Contract, query: str) -> None:
    """A contract may come from someone else than its reader: one SELECT over the batch, no files, no other tables."""
    try:
        statements = sqlglot.parse(query.replace("{batch}", "batch_rows"), read="duckdb")
    except sqlglot.ParseError as error:
        raise CatalogError(f"{contract.id}: `sql` cannot be read: {str(error).splitlines()[0]}") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise CatalogError(f"{contract.id}: `sql` must be one SELECT that lists the rows that break the rule")
    own = {cte.alias for cte in statements[0].find_all(exp.CTE)}
    for table in statements[0].find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or table.db or table.name not in {"batch_rows", "calendar", *own}:
            raise CatalogError(f"{contract.id}: `sql` reads `{table.sql()}`; only {{batch}} and calendar can be read")


def _columns(contract: Contract, line: Expect, kind: Kind) -> tuple[str, ...]:
    if kind.argument == "none":
        return ()
    if kind.argument == "column":
        if not isinstance(line.argument, str):
            raise CatalogError(f"{contract.id}: `{line.kind}` needs a column, as in {{{line.kind}: issued_on}}")
        columns: tuple[str, ...] = (line.argument,)
    elif kind.argument == "several":
        names = line.argument if isinstance(line.argument, list) else [line.argument]
        if not names or not all(isinstance(n, str) for n in names):
            raise CatalogError(f"{contract.id}: `{line.kind}` needs a column, or several as in {{{line.kind}: [a, b]}}")
        columns = tuple(names)
    else:
        if not isinstance(line.argument, list) or len(line.argument) != 2:
            raise CatalogError(f"{contract.id}: `{line.kind}` needs two columns, as in {{{line.kind}: [a, b]}}")
        columns = tuple(str(c) for c in line.argument)
    known(contract, columns)
    return columns


def _shown(contract: Contract, name: str) -> str:
    return contract.column(name).source


def _words(contract: Contract, line: Expect, columns: Sequence[str], context: Context) -> dict[str, str]:
    """What stands for each {placeholder} of an `sql:` template. Identifiers quoted, values as literals."""
    keys = contract.keys
    needed = [c for c in keys if c.refuses_missing]
    words = {
        "batch": "{batch}",
        "argument": quoted(columns[0]) if columns else "",
        "keys": ", ".join(quoted(c.name) for c in keys),
        "same_key": " AND ".join(f"{_joined(c)}" for c in keys) or "FALSE",
        "key_incomplete": " OR ".join(f"t.{quoted(c.name)} IS NULL" for c in needed) or "FALSE",
        "all_columns": ", ".join(quoted(c.name) for c in contract.mapped),
        "period_first": _date(context.period[0] if context.period else None),
        "period_last": _date(context.period[1] if context.period else None),
    }
    words |= {str(i): quoted(c) for i, c in enumerate(columns)}
    if "table" in line.options:
        words["code_table"] = context.code_table(str(line.options["table"]))
    if line.kind == "record_lag":
        words |= _within(contract, str(line.options["within"]), context)
    return words


def _joined(column: Column) -> str:
    # Equality lets DuckDB build a hash join; only parts that may be blank need blank to equal blank.
    operator = "=" if column.refuses_missing else "IS NOT DISTINCT FROM"
    return f"t.{quoted(column.name)} {operator} d.{quoted(column.name)}"


def _within(contract: Contract, text: str, context: Context) -> dict[str, str]:
    found = re.fullmatch(r"(\d+) (working )?days?", text)
    if not found:
        raise CatalogError(f"{contract.id}: `within: {text}`; expected `7 working days` or `30 days`")
    number = "working_days" if found.group(2) else "days"
    return {
        "within_days": found.group(1),
        "day_number": number,
        "arrived_number": f"(SELECT {number} FROM calendar WHERE day = {_date(context.arrived_on)})",
    }


def _in_chinese(value: Any) -> Any:
    """A span of days as a Chinese sentence has it; everything else as it stands in the contract."""
    found = re.fullmatch(r"(\d+) (working )?days?", value) if isinstance(value, str) else None
    return f"{found[1]} {'个工作日' if found[2] else '日'}" if found else value


def _filled(template: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: words[m.group(1)], template)


def _value(template: Any, values: Mapping[str, Any]) -> Any:
    """`"{min}"` alone gives the option as it is (a number, a list, or None); inside text it is filled in."""
    if not isinstance(template, str):
        return template
    if found := re.fullmatch(r"\{(\w+)\}", template):
        return values.get(found.group(1))
    return template.format(**values)


def _date(day: date | None) -> str:
    return f"DATE '{day.isoformat()}'" if day else "CAST(NULL AS DATE)"
