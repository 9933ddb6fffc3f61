"""Compile a contract's columns into one DuckDB SELECT that an auditor can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Literal

import sqlglot
from sqlglot import exp

from pipelines.rules import Rule, RuleError, find_rule, nearest

ColumnType = Literal["text", "integer", "number", "date", "timestamp", "boolean"]

SQL_TYPES: Mapping[ColumnType, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "number": "DECIMAL(38,8)",  # exact; eight decimals keep a coordinate in degrees to a millimetre
    "date": "DATE",
    "timestamp": "TIMESTAMP",  # the clock on the wall in China, which has one zone
    "boolean": "BOOLEAN",
}
TYPE_FINDINGS: Mapping[ColumnType, str] = {
    "integer": "integer_unreadable",
    "number": "number_unreadable",
    "date": "date_unreadable",
    "timestamp": "datetime_unreadable",
    "boolean": "boolean_unreadable",
}
VALUE_MISSING = "value_missing"
PROVENANCE = ("_batch", "_sheet", "_row")

# A type reads one spelling; others are the business of rules. DuckDB's own casts are too kind: '2024-01-3x' becomes
# 3 January, '1.5' the integer 2, '0x1F' 31, 'infinity' a date. And it reads a DECIMAL wider than 18 digits 300 times
# slower than a narrow one (5 us a value), so the narrow one is tried first; both round to the same eight decimals.
_CASTS: Mapping[ColumnType, str] = {
    "text": "value",
    "integer": "CASE WHEN regexp_matches(value, '^[+-]?[0-9]+$') THEN TRY_CAST(value AS BIGINT) END",
    "number": """
        CASE WHEN regexp_matches(value, '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)$') THEN coalesce(
          CAST(TRY_CAST(value AS DECIMAL(18, 8)) AS DECIMAL(38, 8)), TRY_CAST(value AS DECIMAL(38, 8))
        ) END""",
    "date": """
        CASE WHEN regexp_matches(value, '^[0-9]{4}-[0-9]{2}-[0-9]{2}$') AND value >= '0001' THEN TRY_CAST(value AS DATE) END""",
    "timestamp": """
        CASE WHEN regexp_matches(value, '^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+)?$') AND value >= '0001'
        THEN TRY_CAST(value AS TIMESTAMP) END""",
    "boolean": "CASE lower(value) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END",
}
_NOT_BLANK = r"""
    CASE WHEN regexp_matches(value, '[^\x{0009}-\x{000D} \x{0085}\x{00A0}\x{2000}-\x{200D}\x{2060}\x{3000}\x{FEFF}]')
    THEN value END"""


@dataclass(frozen=True)
class RuleCall:
    """One use of a rule. An argument is another column's standard name, or a literal in single quotes."""

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnSpec:
    """One mapped column of a contract.

    `on_fail` says what happens to a given value that a clean rule, a check or the type fails: `null` empties it,
    `keep` keeps it (as given where no rule could read it, if the type allows), `refuse` sends the row to quarantine.
    `on_missing: refuse` does the same where no value was given.
    """

    source: str
    name: str
    clean: tuple[RuleCall, ...] = ()
    check: tuple[RuleCall, ...] = ()
    type: ColumnType = "text"
    on_fail: Literal["null", "keep", "refuse"] = "null"
    on_missing: Literal["keep", "refuse"] = "keep"


@dataclass(frozen=True)
class CompiledStep:
    """One column that the chain adds for a contract column; `rule` is empty for the compiler's own."""

    cte: str
    adds: str
    column: str
    rule: str


@dataclass(frozen=True)
class Compiled:
    """The statements of one contract, each a single SELECT.

    judged_sql      one row per raw row, none dropped: provenance, then per column its clean value, `__given` (TRUE or
                    NULL), `__failed` (finding codes or NULL), `__sent` (the text as sent where it failed); `_refused`
    findings_sql    over the judged relation: one row per failed cell and code
    std_sql         over the judged relation: provenance and clean values of the rows that are not refused
    quarantine_sql  over the judged relation: one row per refused row, with the codes that refused it
    lookups         the reference tables that judged_sql reads
    """

    judged_sql: str
    findings_sql: str
    std_sql: str
    quarantine_sql: str
    lookups: tuple[str, ...]
    steps: tuple[CompiledStep, ...]

    @property
    def lineage_sql(self) -> str:
        """The statement to trace columns through: its first step names every column, so `*` can be resolved."""
        return self.judged_sql


def compile_select(
    columns: Sequence[ColumnSpec],
    raw_relation: str,
    judged_relation: str = "judged",
    lookups: Mapping[str, str] | None = None,
    defect: str | None = None,
) -> Compiled:
    """Compile the columns of a contract.

    `defect` names a raw column that holds a finding code where the row itself is broken (too short, unreadable); such
    a row is refused, whatever its cells say.

    Relations are given as SQL, quoted where they need it; `lookups` says where a reference table is, if not under
    its own name.

    Reads   raw_relation: `_batch`, `_sheet`, `_row`, and every source column as VARCHAR
    Rows    raw = judged = std + quarantine
    Raises  RuleError for an unknown rule, argument or column, for columns whose clean rules wait for each other,
            and for names that are taken or reserved
    """
    _refuse_bad_names(columns)
    chain = _Chain(columns)
    for column in _in_order(columns):
        chain.clean(column)
    for column in columns:
        chain.judge(column)
    places = {name: _relation(relation) for name, relation in (lookups or {}).items()}
    judged = _relation(judged_relation)
    return Compiled(
        judged_sql=_text(chain.select(_relation(raw_relation), places, defect)),
        findings_sql=_text(_findings(columns, judged, defect)),
        std_sql=_text(_std(columns, judged)),
        quarantine_sql=_text(_quarantine(columns, judged, defect)),
        lookups=tuple(sorted(chain.lookups)),
        steps=chain.steps(),
    )


@dataclass
class _Cleaned:
    """What the chain knows of a column once its clean rules stand in it; the names are those of chain columns."""

    given: str
    text: str
    unread: list[tuple[exp.Expr, str]]  # a rule could not read the given value, and its code
    emptied: list[exp.Expr]  # a harmless rule found, late, that there is no value after all


@dataclass(frozen=True)
class _Added:
    level: int
    column: str
    rule: str
    name: str
    expression: exp.Expr


class _Chain:
    """The chain of sub-selects while it grows.

    An expression stands in the first step in which all that it reads is there: the chain is as long as the longest
    list of rules, nothing is computed twice, and nothing is inlined (nested calls that repeat their argument explode).
    """

    def __init__(self, columns: Sequence[ColumnSpec]) -> None:
        self.columns = columns
        self.lookups: set[str] = set()
        self._level = {_sent(column): 0 for column in columns}
        self._added: list[_Added] = []
        self._cleaned: dict[str, _Cleaned] = {}
        self._values: dict[str, str] = {}

    def clean(self, column: ColumnSpec) -> None:
        """Add a column's clean rules; the columns that they read were added before."""
        text, given = _sent(column), ""
        unread: list[tuple[exp.Expr, str]] = []
        emptied: list[exp.Expr] = []
        for place, call in enumerate(column.clean, start=1):
            rule = find_rule(call.name, "clean")
            if not rule.harmless and not given:
                given = text = self._add_given(column, text)
            before, text = text, self._add_rule(column, call, rule, text, str(place))
            lost = exp.and_(_filled(before), _empty(text))
            if not rule.harmless:
                unread.append((lost, rule.findings["unreadable"]))
            elif given:
                emptied.append(lost)
        if not given:
            given = text = self._add_given(column, text)
        self._cleaned[column.name] = _Cleaned(given, text, unread, emptied)

    def judge(self, column: ColumnSpec) -> None:
        """Add a column's typed value, checks, `__given` and `__failed`; every column is clean by now."""
        cleaned = self._cleaned[column.name]
        missing = exp.or_(_empty(cleaned.given), *cleaned.emptied)
        codes = [_when(unread, code) for unread, code in cleaned.unread]
        if column.on_missing == "refuse":
            codes.append(_when(missing, VALUE_MISSING))
        typed = self._add_typed(column, cleaned)
        if column.type != "text":
            codes.append(_when(exp.and_(_filled(cleaned.text), _empty(typed)), TYPE_FINDINGS[column.type]))
        for call in column.check:
            rule = find_rule(call.name, "check")
            codes += [_column(part) for part in self._add_check(column, call, rule, cleaned.text)]
        self._values[column.name] = typed
        self._add(column, f"{column.name}__given", exp.case().when(exp.not_(missing), exp.true()))
        self._add(column, f"{column.name}__failed", _code_list(codes))

    def select(self, raw: exp.Table, places: Mapping[str, exp.Table], defect: str | None) -> exp.Select:
        """The whole statement: `sent`, then one CTE per level, then the output columns in the contract's order."""
        sent = [_column(column.source).as_(_sent(column), quoted=True) for column in self.columns]
        broken = [_column(defect)] if defect else []
        first = exp.select(*_provenance(), *broken, *sent).from_(raw)
        statement = exp.Select().with_("sent", as_=first, copy=False)  # copying at every step would take a second
        last = "sent"
        for level in range(1, max(self._level.values()) + 1):
            adds = [_from(last, a.expression).as_(a.name, quoted=True, copy=False) for a in self._added if a.level == level]
            step = exp.Select(expressions=[exp.Star(), *adds]).from_(exp.to_table(last), copy=False)
            last = f"step_{level}"
            statement = statement.with_(last, as_=step, copy=False)
        for table in list(statement.find_all(exp.Table)):
            if table.name in self.lookups and table.name in places:
                alias = table.alias or table.name
                table.replace(exp.alias_(places[table.name].copy(), alias, table=True))
        outputs = [*_provenance(), *self._outputs(defect)]
        return statement.select(*outputs, copy=False).from_(exp.to_table(last), copy=False)

    def steps(self) -> tuple[CompiledStep, ...]:
        return tuple(
            CompiledStep(f"step_{a.level}", a.name, a.column, a.rule) for a in sorted(self._added, key=lambda a: a.level)
        )

    def _outputs(self, defect: str | None) -> list[exp.Expr]:
        outputs: list[exp.Expr] = [_column(defect)] if defect else []
        for column in self.columns:
            failed, value = f"{column.name}__failed", _column(self._values[column.name])
            kept = exp.case().when(_empty(failed), value) if column.on_fail == "null" else value
            sent = exp.case().when(_filled(failed), _column(_sent(column)))
            outputs += [exp.alias_(kept, column.name, quoted=True), _column(f"{column.name}__given")]
            outputs += [_column(failed), exp.alias_(sent, f"{column.name}__sent", quoted=True)]
        refusals = [_refuses(column) for column in self.columns if _can_refuse(column)]
        if defect:
            refusals.insert(0, _filled(defect))
        outputs.append(exp.alias_(exp.or_(*refusals) if refusals else exp.false(), "_refused", quoted=True))
        return outputs

    def _add(self, column: ColumnSpec, name: str, expression: exp.Expr, rule: str = "") -> str:
        reads = [self._level.get(read.name, 0) for read in expression.find_all(exp.Column) if not read.table]
        self._level[name] = 1 + max(reads, default=0)
        self._added.append(_Added(self._level[name], column.name, rule, name, expression))
        return name

    def _add_given(self, column: ColumnSpec, text: str) -> str:
        return self._add(column, f"{column.name}__text", _fill(_parse(_NOT_BLANK), {"value": _column(text)}))

    def _add_typed(self, column: ColumnSpec, cleaned: _Cleaned) -> str:
        text = cleaned.text
        if column.on_fail == "keep" and cleaned.unread:
            unread = exp.or_(*(lost for lost, _ in cleaned.unread))
            kept = exp.case().when(unread, _column(cleaned.given)).else_(_column(text))
            text = self._add(column, f"{column.name}__kept", kept)
        if column.type == "text":
            return text
        typed = _fill(_parse(_CASTS[column.type]), {"value": _column(text)})
        return self._add(column, f"{column.name}__{column.type}", typed)

    def _add_rule(self, column: ColumnSpec, call: RuleCall, rule: Rule, text: str, place: str) -> str:
        """Add a clean rule's steps; returns the name of the last one, its result."""
        return self._add_steps(column, call, rule, text, place)[1]

    def _add_check(self, column: ColumnSpec, call: RuleCall, rule: Rule, text: str) -> list[str]:
        """Add a check rule's steps and parts; a part becomes its finding code where it fails. Returns the parts."""
        inputs, _ = self._add_steps(column, call, rule, text, "check")
        parts = []
        for part in rule.parts:
            passes = exp.Is(this=exp.paren(_fill(part.expression, inputs)), expression=exp.true())
            fails = _when(exp.and_(_filled(text), exp.not_(passes)), rule.findings[part.name])
            name = f"{column.name}__check_{rule.name}_{part.name}"
            parts.append(self._add(column, name, fails, rule.name))
        return parts

    def _add_steps(
        self, column: ColumnSpec, call: RuleCall, rule: Rule, text: str, place: str
    ) -> tuple[dict[str, exp.Expr], str]:
        inputs = {"value": _column(text), **self._arguments(column, call, rule)}
        self.lookups.update(rule.lookups)
        name = text
        for step in rule.steps:
            name = f"{column.name}__{place}_{rule.name}"
            if step.name != "result":
                name += f"_{step.name}"
            self._add(column, name, _fill(step.expression, inputs), rule.name)
            inputs[step.name] = _column(name)
        return inputs, name

    def _arguments(self, column: ColumnSpec, call: RuleCall, rule: Rule) -> dict[str, exp.Expr]:
        where = f"column '{column.name}', rule '{rule.name}'"
        names = [argument.name for argument in rule.arguments]
        for name in call.arguments:
            if name not in names:
                takes = ", ".join(names) or "none"
                raise RuleError(f"{where}: there is no argument '{name}'{nearest(name, names)} It takes: {takes}.")
        inputs: dict[str, exp.Expr] = {}
        for argument in rule.arguments:
            text = call.arguments.get(argument.name)
            if text is None and argument.required:
                raise RuleError(f"{where}: argument '{argument.name}' is missing: {argument.does}.")
            if text is None:
                inputs[argument.name] = exp.cast(exp.null(), "VARCHAR")
            elif _is_literal(text):
                inputs[argument.name] = exp.Literal.string(text[1:-1].replace("''", "'"))
            else:
                inputs[argument.name] = _column(self._cleaned[text].text)
        return inputs


def _when(condition: exp.Expr, code: str) -> exp.Expr:
    return exp.case().when(condition, exp.Literal.string(code))


def _code_list(codes: Sequence[exp.Expr]) -> exp.Expr:
    """The codes that are not NULL, as a list, NULL when there are none: joined and split, which every engine can do."""
    if not codes:
        return exp.cast(exp.null(), "VARCHAR[]")
    joined = exp.func("concat_ws", _blank(), *codes, dialect="duckdb")
    return exp.func("string_split", exp.func("nullif", joined, exp.Literal.string("")), _blank(), dialect="duckdb")


def _findings(columns: Sequence[ColumnSpec], judged: exp.Table, defect: str | None) -> exp.Select:
    """Failed cells as rows, in one scan: only rows with a failure are unfolded, first by column, then by code.

    A broken row has a finding of its own. Its cells have none: they may stand under the wrong header, and a personal
    value would then be shown as if it were not one.
    """
    cells = [
        exp.Struct(expressions=[
            _entry("column_name", exp.Literal.string(column.name)),
            _entry("codes", _column(f"{column.name}__failed")),
            _entry("sent", _column(f"{column.name}__sent")),
        ])
        for column in columns
    ]  # fmt: skip
    some = exp.or_(*(_filled(f"{column.name}__failed") for column in columns))
    if defect:
        some = exp.and_(_empty(defect), some)
    unfolded = exp.Explode(this=exp.array(*cells)).as_("cell", quoted=True)
    failed = exp.select(*_provenance(), unfolded).from_(judged).where(some)
    return exp.select(
        *_provenance(),
        exp.column("column_name", table="cell", quoted=True),
        exp.Explode(this=exp.column("codes", table="cell", quoted=True)).as_("code", quoted=True),
        exp.column("sent", table="cell", quoted=True),
    ).from_(failed.subquery("failed"))


def _std(columns: Sequence[ColumnSpec], judged: exp.Table) -> exp.Select:
    accepted = exp.not_(exp.Is(this=_column("_refused"), expression=exp.true()))
    return exp.select(*_provenance(), *(_column(column.name) for column in columns)).from_(judged).where(accepted)


def _quarantine(columns: Sequence[ColumnSpec], judged: exp.Table, defect: str | None) -> exp.Select:
    """Refused rows with the codes of the columns that may refuse; other columns' failures are findings only."""
    codes = [
        exp.case().when(_refuses(column), exp.func("array_to_string", _column(f"{column.name}__failed"), _blank()))
        for column in columns
        if _can_refuse(column)
    ]
    if defect:
        codes.insert(0, exp.case().when(_filled(defect), _column(defect)))
    refused = exp.Is(this=_column("_refused"), expression=exp.true())
    return exp.select(*_provenance(), _code_list(codes).as_("codes", quoted=True)).from_(judged).where(refused)


def _can_refuse(column: ColumnSpec) -> bool:
    return "refuse" in (column.on_fail, column.on_missing)


def _refuses(column: ColumnSpec) -> exp.Expr:
    """Whether this column refuses the row; read from its `__failed` and `__given`, in judging and after."""
    reasons = []
    if column.on_fail == "refuse":
        reasons.append(_filled(f"{column.name}__failed"))
    if column.on_missing == "refuse":
        reasons.append(_empty(f"{column.name}__given"))
    return exp.or_(*reasons)


def _in_order(columns: Sequence[ColumnSpec]) -> list[ColumnSpec]:
    """The columns with those first whose cleaned text another column's clean rules read.

    Raises  RuleError for an argument that names no column, and for columns that wait for each other
    """
    by_name = {column.name: column for column in columns}
    waits_for = {column.name: _columns_read(column, column.clean, by_name) for column in columns}
    for column in columns:
        _columns_read(column, column.check, by_name)
    try:
        return [by_name[name] for name in TopologicalSorter(waits_for).static_order()]
    except CycleError as error:
        circle = " <- ".join(error.args[1])
        raise RuleError(f"clean rules wait for each other: {circle}. Drop one of these arguments.") from error


def _columns_read(column: ColumnSpec, calls: Sequence[RuleCall], by_name: Mapping[str, ColumnSpec]) -> list[str]:
    read = [(call, text) for call in calls for text in call.arguments.values() if not _is_literal(text)]
    for call, text in read:
        if text not in by_name:
            raise RuleError(
                f"column '{column.name}', rule '{call.name}': argument '{text}' is no column{nearest(text, by_name)}"
                " Give a column's standard name, or a literal in single quotes."
            )
    return [text for _, text in read]


def _refuse_bad_names(columns: Sequence[ColumnSpec]) -> None:
    if not columns:
        raise RuleError("a contract needs at least one mapped column.")
    taken: dict[str, ColumnSpec] = {}
    for column in columns:
        if not column.name or column.name.startswith("_") or "__" in column.name:
            raise RuleError(f"column '{column.name}': names that begin with _ or contain __ are the pipeline's own.")
        other = taken.setdefault(column.name.casefold(), column)  # DuckDB's names ignore case
        if other is not column:
            raise RuleError(f"column '{column.name}': '{other.source}' is already called so; rename one.")
        checks = [call.name for call in column.check]
        if len(set(checks)) < len(checks):
            raise RuleError(f"column '{column.name}': a check stands twice among {', '.join(checks)}.")


def _sent(column: ColumnSpec) -> str:
    return f"{column.name}__as_sent"


def _is_literal(text: str) -> bool:
    return len(text) >= 2 and text.startswith("'") and text.endswith("'")


def _column(name: str) -> exp.Column:
    return exp.column(name, quoted=True)


def _provenance() -> list[exp.Column]:
    return [_column(name) for name in PROVENANCE]


def _empty(name: str) -> exp.Expr:
    return exp.Is(this=_column(name), expression=exp.null())


def _filled(name: str) -> exp.Expr:
    return exp.not_(_empty(name))


def _blank() -> exp.Expr:
    return exp.Literal.string(" ")


def _entry(key: str, value: exp.Expr) -> exp.PropertyEQ:
    return exp.PropertyEQ(this=exp.to_identifier(key), expression=value)


def _parse(sql: str) -> exp.Expr:
    return sqlglot.parse_one(sql, read="duckdb")


def _relation(sql: str) -> exp.Table:
    return sqlglot.parse_one(sql, read="duckdb", into=exp.Table)


def _fill(expression: exp.Expr, inputs: Mapping[str, exp.Expr]) -> exp.Expr:
    """The expression with its free names replaced; names that belong to a looked-up table stay."""

    def replace(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table and node.name in inputs:
            return inputs[node.name].copy()
        return node

    return expression.transform(replace)


def _from(relation: str, expression: exp.Expr) -> exp.Expr:
    """The expression with its names inside a lookup tied to the outer relation; elsewhere they need no prefix."""
    for lookup in expression.find_all(exp.Select):
        for column in lookup.find_all(exp.Column):
            if not column.table:
                column.set("table", exp.to_identifier(relation))
    return expression


def _text(statement: exp.Expr) -> str:
    return statement.sql(dialect="duckdb", pretty=True, identify=True, copy=False)
