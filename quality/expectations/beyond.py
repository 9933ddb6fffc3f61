"""Checks that look beyond the rows of one batch: what their options mean, and the words they put into the SQL of their kind.

Three kinds of things are looked at: rows in force of a source (`source:`), the source's own earlier periods (`against:`), and
what the sender declared in its manifest. Where they come from is not known here: whoever prepares the checks hands in a
`Beyond`. What it cannot give leaves the check not evaluated, with a finding that says why: it counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from catalog.contract import Column, Contract, Expect, plain_header
from catalog.yaml_file import CatalogError, nearest
from quality.finding import Finding, finding, masked

#: What `against:` may say -> how people call it.
AGAINST: Mapping[str, tuple[str, str]] = {
    "previous periods": ("之前各期", "the periods before"),
    "same weekday": ("相同星期几", "the same weekday"),
    "same day of month": ("每月同一天", "the same day of the month"),
    "same month": ("历年同月", "the same month of other years"),
}


@dataclass(frozen=True)
class Relation:
    """A table or view that the checks can read, and the statement that filled it from the warehouse."""

    name: str
    sql: str
    rows: int


@dataclass(frozen=True)
class Beyond:
    """What can be known beside the rows of the batch; by default nothing.

    `rows_in_force(source, columns)`: the rows in force of a source; `columns` tells the type that each is wanted in.
    `history(against, last)`: one row per comparable earlier period, `"rows"`, at most the `last` ones.
    `declared`: `sums` and `keys` of the manifest.
    """

    rows_in_force: Callable[[str, Mapping[str, str]], Relation | None] = field(default=lambda source, columns: None)
    history: Callable[[str, int], Relation | None] = field(default=lambda against, last: None)
    declared: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """For one line of `expect:`: what stands for each {placeholder}, `zh` and `en` for those of the titles, the columns that
    must be filled besides the argument, the statements that filled what is read, and why the check is not evaluated."""

    words: Mapping[str, str] = field(default_factory=dict)
    zh: Mapping[str, str] = field(default_factory=dict)
    en: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    unevaluated: Callable[[str, str], Finding] | None = None


@dataclass(frozen=True)
class Pairing:
    """Which columns of another source are compared: own column -> theirs. `value` are the two that must agree."""

    source: str
    keys: Mapping[str, str]
    value: tuple[str, str] | None

    @property
    def theirs(self) -> Mapping[str, str]:
        """Own column -> theirs, of every column that is read there."""
        return {**self.keys, **dict([self.value] if self.value else [])}


def pairing(contract: Contract, line: Expect, columns: Sequence[str]) -> Pairing:
    """What `source:`, `column:` and `by:` of a line say. Raises CatalogError; columns of the other source are not looked up."""
    source = line.options["source"]
    if not isinstance(source, str):
        raise CatalogError(f"{contract.id}: `{line.kind}` needs the id of a source, as in `source: taxation__taxpayer`")
    if "by" not in line.options:
        partners = _names(contract, line, "column", list(columns))
        if len(partners) != len(columns):
            raise CatalogError(f"{contract.id}: `{line.kind}` compares {len(columns)} columns; `column` must name as many")
        return Pairing(source, dict(zip(columns, partners, strict=True)), None)
    by = line.options["by"]
    keys = (
        {str(k): str(v) for k, v in by.items()} if isinstance(by, Mapping) else {n: n for n in _names(contract, line, "by", [])}
    )
    if not keys:
        raise CatalogError(f"{contract.id}: `{line.kind}` needs `by`: a column, several, or {{own: theirs}}")
    known(contract, list(keys))
    [theirs] = _names(contract, line, "column", [columns[0]], most=1)
    return Pairing(source, keys, (columns[0], theirs))


def known(contract: Contract, columns: Sequence[str]) -> None:
    """Raises CatalogError for a column that the contract does not map."""
    names = [c.name for c in contract.mapped]
    for column in columns:
        if column not in names:
            raise CatalogError(f"{contract.id}: `expect` names column `{column}`{nearest(column, names)}")


def source_words(contract: Contract, line: Expect, columns: Sequence[str], beyond: Beyond) -> Words:
    """Rows of another source in force; not evaluated where it has none that are at hand."""
    pair = pairing(contract, line, columns)
    types = {theirs: str(contract.column(own).type) for own, theirs in pair.theirs.items()}
    there = beyond.rows_in_force(pair.source, types)
    words = {
        "source": there.name if there else quoted(pair.source),
        "same": " AND ".join(f"s.{quoted(theirs)} = t.{quoted(own)}" for own, theirs in pair.keys.items()),
        "filled": " AND ".join(f"t.{quoted(own)} IS NOT NULL" for own in pair.keys),
    }
    if pair.value:
        words |= {"given": f"t.{quoted(pair.value[0] + '__given')}", "theirs": quoted(pair.value[1])}
    return Words(
        words,
        reads=(there.sql,) if there else (),
        unevaluated=None
        if there
        else lambda zh, en: finding("check_without_source", check_zh=zh, check_en=en, source=pair.source),
    )


def history_words(contract: Contract, line: Expect, columns: Sequence[str], beyond: Beyond) -> Words:
    """The source's own earlier periods; not evaluated until there are enough (`least`, 3 or `last` unless given)."""
    against = str(line.options["against"])
    if against not in AGAINST:
        raise CatalogError(f"{contract.id}: `against: {against}`{nearest(against, list(AGAINST))}")
    last = _count(contract, line, "last", 4)
    least = _count(contract, line, "least", min(3, last))
    if least > last:
        raise CatalogError(f"{contract.id}: `least: {least}` of the `last: {last}` periods cannot be; give at most {last}")
    within = _share(contract, line)
    there = beyond.history(against, last)
    periods = there.rows if there else 0
    zh, en = AGAINST[against]
    return Words(
        {"history": there.name if there else "history", "low": f"{max(Decimal(0), 1 - within):f}", "high": f"{1 + within:f}"},
        zh={"against": zh, "last": str(last), "within": f"{_plain(100 * within)}%"},
        en={"against": en, "last": str(last), "within": f"{_plain(100 * within)} %"},
        reads=(there.sql,) if there else (),
        unevaluated=None
        if periods >= least
        else lambda zh, en: finding("check_without_history", check_zh=zh, check_en=en, periods=periods, least=least),
    )


def declared_words(contract: Contract, line: Expect, columns: Sequence[str], beyond: Beyond) -> Words:
    """What the sender declared: the sum of the column, or without a column the number of keys; else not evaluated."""
    if columns:
        column = contract.column(columns[0])
        _numeric(contract, line, columns)
        names = {plain_header(n) for n in (*column.from_, column.name)}
        said = next((v for k, v in (beyond.declared.get("sums") or {}).items() if plain_header(k) in names), None)
        what = f"sums.{column.source}"
    else:
        if not contract.keys:
            raise CatalogError(f"{contract.id}: `{line.kind}` needs a key; mark the identifying columns with `key: true`")
        said, what = beyond.declared.get("keys"), "keys"
    needed = [c for c in contract.keys if c.refuses_missing]
    return Words(
        {
            "declared": "CAST(NULL AS DECIMAL(38, 8))" if said is None else f"CAST({_literal(str(said))} AS DECIMAL(38, 8))",
            "filled": " AND ".join(f"{quoted(c.name)} IS NOT NULL" for c in needed) or "TRUE",
            "within": _tolerance(contract, line),
        },
        unevaluated=None
        if said is not None
        else lambda zh, en: finding("check_without_declaration", check_zh=zh, check_en=en, what=what),
    )


def parts_words(contract: Contract, line: Expect, columns: Sequence[str]) -> Words:
    """`parts: [a, b]`: the columns of the row that make up the total; a row that lacks one is not judged."""
    parts = _names(contract, line, "parts", [])
    known(contract, parts)
    _numeric(contract, line, [*columns, *parts])
    if len(parts) < 2 or columns[0] in parts:
        raise CatalogError(f"{contract.id}: `{line.kind}` needs two other columns or more, as in `parts: [men, women]`")
    return Words(
        {
            "parts": " + ".join(_wide(contract, n) for n in parts),
            "total": _wide(contract, columns[0]),
            "within": _tolerance(contract, line),
        },
        zh={"parts": " + ".join(contract.column(n).source for n in parts)},
        en={"parts": " + ".join(parts)},
        columns=tuple(parts),
    )


def totals_words(contract: Contract, line: Expect, columns: Sequence[str]) -> Words:
    """`total: {district: [合计]}` marks the rows of totals; they stand for the other rows of their sheet, and of their group `by`."""
    total = line.options["total"]
    if not isinstance(total, Mapping) or len(total) != 1:
        raise CatalogError(f"{contract.id}: `{line.kind}` needs `total`: the column and the value(s) that mark a row of totals, "
                           "as in `total: {district: [合计]}`")  # fmt: skip
    [(marker, values)] = total.items()
    by = _names(contract, line, "by", [])
    known(contract, [str(marker), *by])
    if marker in by:
        raise CatalogError(f"{contract.id}: `{marker}` marks the rows of totals, so it cannot be in `by` too")
    _numeric(contract, line, columns)
    listed = [str(v) for v in (values if isinstance(values, list) else [values])]
    marked = f"coalesce(CAST({quoted(str(marker))} AS VARCHAR) IN ({', '.join(_literal(v) for v in listed)}), FALSE)"
    group = ['"_sheet"', *(quoted(n) for n in by)]
    return Words(
        {
            "is_total": marked,
            "group": ", ".join(group),
            "same_group": " AND ".join(f"p.{n} IS NOT DISTINCT FROM t.{n}" for n in group),
            "given": f"t.{quoted(columns[0] + '__given')}",
            "number": _wide(contract, columns[0]),
            "within": _tolerance(contract, line),
        },
        zh={"total": "、".join(listed)},
        en={"total": ", ".join(f"{marker} = {v}" for v in listed)},
    )


def told(code: str, contract: Contract, columns: Sequence[str], facts: Mapping[str, Any], severity: str) -> Finding:
    """The finding of a failed check in the numbers that its SQL gave. A sum of personal values may be one value: masked."""
    column: Column | None = contract.column(columns[0]) if columns else None
    shown: dict[str, Any] = {name: _plain(value) for name, value in facts.items()}
    if column and column.is_masked:
        shown = {name: masked(value) for name, value in shown.items()}
    return finding(code, severity="note" if severity == "note" else None, column_name=column.name if column else None,
                   header=column.source if column else None, **shown)  # fmt: skip


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    # Braces are doubled: what stands in a query is filled in twice, here and where the rows of the batch get their name.
    return "'" + text.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"


def _wide(contract: Contract, name: str) -> str:
    """A column that can be summed up without leaving its type."""
    return f"CAST({quoted(name)} AS HUGEINT)" if contract.column(name).type == "integer" else quoted(name)


def _numeric(contract: Contract, line: Expect, columns: Sequence[str]) -> None:
    for name in columns:
        if contract.column(name).type not in ("integer", "number"):
            raise CatalogError(f"{contract.id}: `{line.kind}` adds up numbers, and `{name}` is {contract.column(name).type}; "
                               "give it `type: integer` or `type: number`")  # fmt: skip


def _names(contract: Contract, line: Expect, option: str, default: list[str], most: int | None = None) -> list[str]:
    value = line.options.get(option)
    if value is None:
        return default
    names = [value] if isinstance(value, str) else value
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(n, str) for n in names)
        or len(names) > (most or len(names))
    ):
        raise CatalogError(
            f"{contract.id}: `{option}` of `{line.kind}` names a column" + ("" if most == 1 else ", or several: [a, b]")
        )
    return names


def _count(contract: Contract, line: Expect, option: str, default: int) -> int:
    value = line.options.get(option, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1000:
        raise CatalogError(
            f"{contract.id}: `{option}` of `{line.kind}` is a number of periods from 1, as in `{option}: {default}`"
        )
    return value


def _tolerance(contract: Contract, line: Expect) -> str:
    """`within:` of sums, what two may differ by; 0 unless given."""
    return f"{_number(contract, line, 'within', Decimal(0)):f}"


def _share(contract: Contract, line: Expect) -> Decimal:
    text = str(line.options["within"]).strip()
    if found := re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text):
        return Decimal(found.group(1)) / 100
    return _number(contract, line, "within", Decimal(0))


def _number(contract: Contract, line: Expect, option: str, default: Decimal) -> Decimal:
    value = line.options.get(option, default)
    try:
        number = Decimal("nan") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number < 0:
        raise CatalogError(f"{contract.id}: `{option}: {value}` of `{line.kind}`; expected a number such as 0.3" +
                           (" or 30%" if line.kind == "rows_against_history" else ""))  # fmt: skip
    return number


def _plain(value: Any) -> str:
    """A number as a person writes it: 350 for 350.0000, no exponent."""
    if not isinstance(value, Decimal):
        return str(value)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
