"""Drift: how the columns of a file differ from the contract and from the file before; what a person could change in the
contract is proposed with numbers and never done in silence."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import yaml

from catalog.contract import Column, Contract
from catalog.contract import plain_header as plain
from catalog.registry import SHIPPED
from pipelines import archive
from pipelines.archive import Drop
from pipelines.batch import Batch, folder
from pipelines.errors import NotFound
from pipelines.readers import read
from pipelines.readers.rows import SPELLED_OUT, Reading, not_spelled_out
from pipelines.run import Run
from quality.finding import Finding, finding
from warehouse import lake
from warehouse.lake import PARQUET, literal, quoted
from warehouse.layout import Workspace

#: What a profile looks at: the first rows, fewer where the file is very wide.
SAMPLE_ROWS, SAMPLE_CELLS, SAMPLE_COLUMNS = 20_000, 2_000_000, 1_000
#: A column is of a kind when this share of its values is; fewer values than this say nothing.
MOSTLY, ENOUGH = 0.95, 20
#: A rename is proposed from this score on; it is half name and half values, and values alone where many are the same.
LIKELY = 0.5

_BLANKS = "' \t\r\n' || chr(12288) || chr(160)"
_KINDS = (
    ("integer", r"^[+-]?[0-9]+$"),
    ("number", r"^[+-]?([0-9][0-9,]*[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"),
    ("date", r"^[0-9]{4}[-/.年][0-9]{1,2}[-/.月][0-9]{1,2}日?([ T][0-9:.]+)?$"),
)
_WORDS = {
    "integer": ("整数", "whole numbers"),
    "number": ("数值", "numbers"),
    "date": ("日期", "dates"),
    "text": ("文本", "text"),
}


@dataclass(frozen=True)
class Former:
    """The newest batch before this one whose columns were taken; the measure for the next file."""

    number: int
    batch: str
    contract_hash: str
    header: tuple[str, ...]
    profile: Mapping[str, Any]
    staged: bool = False


def apply(
    run: Run, contract: Contract, reading: Reading, original: Path, raw: Path, former: Former | None
) -> tuple[Reading, dict[str, Any]]:
    """The reading with everything that is to be said of its columns, what the contract's `drift` asks for done, and the
    profile with which the next file is compared; empty for a file that is held.

    Reads    raw (the raw rows of this file), raw rows of the former batch where a rename is to be judged
    Writes   raw again, where rows with a value in an undeclared column are refused
    Rows     conserved: refusing marks a row, it never drops one
    A file that was held for its columns is read once more with them optional, to compare its values; nothing of it is kept.
    """
    if 2 * sum(reading.present.values()) < sum(not c.optional for c in contract.columns):
        return reading, {}  # no table of this contract: what stands in its header may be data
    undeclared = _undeclared(reading)
    missing = [c for c in contract.columns if not c.optional and not reading.present.get(c.source)]
    told = profile(run, raw, contract, reading) if reading.rows else {}
    found = list(_differences(contract, reading, former, told)) if former else []
    if former and contract.drift == "hold" and former.contract_hash == contract.hash:
        # Under a contract that was changed since, somebody has looked: its first file sets the measure.
        found = [replace(f, severity="hold") for f in found]
    known = {plain(h) for h in former.header} if former else set()
    fresh = [u for u in undeclared if plain(u) not in known]
    if missing or fresh:
        found += _proposals(run, contract, reading, missing, undeclared, fresh, told, original, raw, former)
    said = [
        replace(f, severity="hold") if contract.drift == "hold" and f.code == "column_undeclared" else f for f in reading.findings
    ]
    if contract.drift == "refuse_rows" and undeclared and reading.rows:
        found += _refuse_rows(raw, SPELLED_OUT - len(said))
    reading = replace(reading, findings=(*said, *found))
    return reading, {} if reading.held else told


def former_batches(run: Run, source: str) -> list[Former]:
    """The newest committed batches whose columns were taken, by the number of their drop."""
    rows = run.con.execute(
        "SELECT drop_id, batch, contract_hash, header, profile FROM lake.ledger.batch "
        "WHERE source = ? AND coalesce(profile, '{}') <> '{}' ORDER BY arrived_at DESC, drop_id DESC LIMIT 10",
        [source],
    ).fetchall()
    found = [
        Former(_number(run.workspace, drop_id), batch, contract_hash, tuple(json.loads(header)), json.loads(told))
        for drop_id, batch, contract_hash, header, told in rows
    ]
    return sorted(found, key=lambda f: f.number)


def former_of(formers: Sequence[Former], drop: Drop) -> Former | None:
    """The one to compare a drop with: the last one taken before it."""
    return max((f for f in formers if f.number < drop.number), key=lambda f: f.number, default=None)


def as_former(batch: Batch, drop: Drop) -> Former | None:
    """What the next file is compared with, where this one was taken."""
    if not batch.profile:
        return None
    return Former(drop.number, batch.batch, batch.contract_hash, batch.header, batch.profile, staged=True)


def _number(workspace: Workspace, drop_id: str) -> int:
    source, name = drop_id.split("/")
    record = json.loads((workspace.archive / "drops" / source / f"{name}.json").read_text(encoding="utf-8"))
    return int(record["number"])


# -- the profile


def profile(run: Run, raw: Path, contract: Contract, reading: Reading) -> dict[str, Any]:
    """Per header what kind of values came: counts of kinds and of lengths over the first rows. No value stands in it."""
    if not raw.is_file():
        return {}
    wanted = _cells(contract, reading)
    rows = max(1_000, min(SAMPLE_ROWS, SAMPLE_CELLS // max(1, len(wanted))))
    with run.con.cursor() as con:  # another DuckDB takes longer to start than this to run
        counts = ", ".join(f"histogram(kind_{i}), histogram(size_{i})" for i in range(len(wanted)))
        sent = ", ".join(f"trim({cell}, {_BLANKS}) AS v_{i}" for i, cell in enumerate(wanted.values()))
        looked = ", ".join(f"{_kind_sql(f'v_{i}')} AS kind_{i}, {_size_sql(f'v_{i}')} AS size_{i}" for i in range(len(wanted)))
        row = con.execute(f"SELECT {counts} FROM (SELECT {looked} FROM (SELECT {sent} FROM ({_head(raw, rows)})))").fetchall()[0]
    return {
        header: {"kinds": dict(sorted((row[2 * i] or {}).items())), "lengths": dict(sorted((row[2 * i + 1] or {}).items()))}
        for i, header in enumerate(wanted)
    }


def _cells(contract: Contract, reading: Reading) -> dict[str, str]:
    """Header -> SQL of its cells in the raw rows: declared columns that came, then undeclared ones."""
    declared = {c.source: quoted(c.source) for c in contract.columns if reading.present.get(c.source)}
    extra = {name: _extra_cell(name) for name in _undeclared(reading) if name not in declared}
    return dict(list({**declared, **extra}.items())[:SAMPLE_COLUMNS])


def _extra_cell(name: str) -> str:
    return f'TRY_CAST(TRY_CAST("_extra" AS JSON) AS MAP(VARCHAR, VARCHAR))[{literal(name)}]'


def _head(raw: Path, rows: int = SAMPLE_ROWS) -> str:
    """The first sound rows, the same in every run."""
    read = f"read_parquet({literal(str(raw))}, file_row_number = true)"
    return f'SELECT * FROM {read} WHERE file_row_number < {rows} AND "_defect" IS NULL'


def _kind_sql(value: str) -> str:
    kinds = " ".join(f"WHEN regexp_matches({value}, {literal(pattern)}) THEN '{kind}'" for kind, pattern in _KINDS)
    return f"CASE WHEN coalesce({value}, '') = '' THEN 'blank' {kinds} ELSE 'text' END"


def _size_sql(value: str) -> str:
    size = f"length({value})"
    return f"CASE WHEN coalesce({value}, '') = '' THEN NULL WHEN {size} < 5 THEN '1-4' WHEN {size} < 12 THEN '5-11' WHEN {size} < 19 THEN '12-18' ELSE '19-' END"


def kind_of(told: Mapping[str, Any] | None) -> str | None:
    """integer, number, date or text: what nearly all filled values are. None: too few to tell."""
    kinds = {k: n for k, n in (told or {}).get("kinds", {}).items() if k != "blank"}
    filled = sum(kinds.values())
    if filled < ENOUGH:
        return None
    for kind, counted in (("integer", ("integer",)), ("number", ("integer", "number")), ("date", ("date",))):
        if sum(kinds.get(k, 0) for k in counted) >= MOSTLY * filled:
            return kind
    return "text"


def _filled(told: Mapping[str, Any] | None) -> float:
    kinds = (told or {}).get("kinds", {})
    return float(1 - kinds.get("blank", 0) / max(1, sum(kinds.values())))


# -- differences from the file before


def _differences(contract: Contract, reading: Reading, former: Former, now: Mapping[str, Any]) -> Iterator[Finding]:
    """What the header and the kinds of values say, compared with the former batch of the source."""
    spelled = {plain(alias): column.source for column in contract.columns for alias in column.from_}
    before, after = _by_meaning(spelled, former.header), _by_meaning(spelled, reading.header)
    sheet = reading.dialect.get("sheet")
    declared = {c.source for c in contract.columns}
    optional = {c.source for c in contract.columns if c.optional}
    for name in after:
        if name not in before:
            zh, en = ("，约定里有它", ", the contract has it") if name in declared else ("", "")
            yield finding("column_new", sheet=sheet, header=after[name][1], former=former.batch, known_zh=zh, known_en=en)
        elif plain(before[name][1]) != plain(after[name][1]):
            yield finding("column_renamed", sheet=sheet, header=after[name][1], before=before[name][1], former=former.batch)
    for name in before:
        if name not in after:
            severity = "warn" if name in optional else None
            yield finding("column_gone", severity=severity, sheet=sheet, header=before[name][1], former=former.batch)
    was, stands = [n for n in before if n in after], [n for n in after if n in before]
    if was != stands:
        name = next(n for i, n in enumerate(stands) if was[i] != n)
        yield finding(
            "columns_reordered", sheet=sheet, header=after[name][1], former=former.batch,
            before=before[name][0] + 1, now=after[name][0] + 1,
        )  # fmt: skip
    for name in stands:
        header = name if name in declared else after[name][1]
        kinds = kind_of(former.profile.get(name, former.profile.get(before[name][1]))), kind_of(now.get(name, now.get(header)))
        column = next((c for c in contract.columns if c.source == name), None)
        if (
            None in kinds
            or kinds[0] == kinds[1]
            or ({*kinds} == {"integer", "number"} and (not column or column.type == "number"))
        ):
            continue
        (zh_before, en_before), (zh_now, en_now) = (_WORDS[str(k)] for k in kinds)
        yield finding(
            "column_retyped", sheet=sheet, header=after[name][1], column_name=column.to if column else None, former=former.batch,
            before_zh=zh_before, before_en=en_before, now_zh=zh_now, now_en=en_now,
        )  # fmt: skip


def _by_meaning(spelled: Mapping[str, str], header: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Column -> (position, header as sent), by what it is declared as, else by its own text."""
    found: dict[str, tuple[int, str]] = {}
    for position, cell in enumerate(header):
        if cell.strip():
            found.setdefault(spelled.get(plain(cell), plain(cell)), (position, cell.strip()))
    return found


# -- proposals


def _proposals(
    run: Run,
    contract: Contract,
    reading: Reading,
    missing: Sequence[Column],
    undeclared: Sequence[str],
    fresh: Sequence[str],
    told: Mapping[str, Any],
    original: Path,
    raw: Path,
    former: Former | None,
) -> Iterator[Finding]:
    """What a person could write into the contract: a new spelling, a column that may be absent, a column to add."""
    sheet = reading.dialect.get("sheet")
    probe = raw.with_name("probe.parquet")
    if not reading.rows and undeclared:
        columns = tuple(c if reading.present.get(c.source) else c.model_copy(update={"optional": True}) for c in contract.columns)
        read(original, contract.model_copy(update={"columns": columns}), "probe", probe)
        told = profile(run, probe, contract, reading)
    renamed: dict[str, str] = {}
    for like in _likenesses(run, contract, missing, undeclared, told, probe if probe.is_file() else raw, former):
        column, header = like.column, like.header
        if like.score < LIKELY or column.source in renamed.values() or header in renamed:
            continue
        renamed[header] = column.source
        values_zh, values_en = like.words()
        yield finding(
            "column_rename_proposed", sheet=sheet, header=column.source, column_name=column.to, candidate=header,
            name=f"{like.name:.2f}", values_zh=values_zh, values_en=values_en, yaml=_yaml({"from": [*column.from_, header]}),
        )  # fmt: skip
    probe.unlink(missing_ok=True)
    for column in missing:
        if column.source not in renamed.values():
            text = _yaml({"from": list(column.from_) if len(column.from_) > 1 else column.source, **_target(column)})
            yield finding(
                "column_optional_proposed",
                sheet=sheet,
                header=column.source,
                column_name=column.to,
                yaml=f"{text}, optional: true",
            )
    taken = {c.to for c in contract.columns if c.to}
    for header in (h for h in fresh if h not in renamed):
        kind_zh, kind_en = _WORDS[kind_of(told.get(header)) or "text"]
        yield finding(
            "column_add_proposed", sheet=sheet, header=header, filled=f"{100 * _filled(told.get(header)):.0f}%",
            kind_zh=kind_zh, kind_en=kind_en, yaml=_yaml({"from": header, "to": _name(header, taken), "optional": True}),
            ignored=_yaml({"from": header, "ignore": "?", "optional": True}),
        )  # fmt: skip


@dataclass(frozen=True)
class Likeness:
    """How much a new header is like a missing column. `shape` and `same` are None where there is nothing to compare."""

    column: Column
    header: str
    name: float
    shape: float | None = None
    same: float | None = None
    distinct: int = 0

    @property
    def score(self) -> float:
        if self.shape is None:
            return self.name if self.name >= 0.6 else 0.0
        # Two columns of ones and twos are alike without being the same: few distinct values are little evidence.
        evidence = (self.same or 0.0) * min(1.0, self.distinct / ENOUGH)
        values = 0.5 * self.shape + 0.5 * evidence
        return max(0.5 * self.name + 0.5 * values, values if evidence >= 0.5 else 0.0)

    def words(self) -> tuple[str, str]:
        if self.shape is None:
            return "没有可比的内容", "no values to compare"
        same = "" if self.same is None else f"{100 * self.same:.0f} %"
        return (
            f"内容形式相似 {self.shape:.2f}" + (f"，{same} 的不同值在上一批见过（{self.distinct} 个）" if same else ""),
            f"shape of values {self.shape:.2f}"
            + (f", {same} of the {self.distinct} distinct values stood in the former batch" if same else ""),
        )


def _likenesses(
    run: Run,
    contract: Contract,
    missing: Sequence[Column],
    undeclared: Sequence[str],
    told: Mapping[str, Any],
    raw: Path,
    former: Former | None,
) -> list[Likeness]:
    """Every missing column with every new header, the likest pair first."""
    found = []
    for column in missing:
        before = former.profile.get(column.source) if former else None
        for header in undeclared:
            name = max(_alike(alias, header) for alias in (*column.from_, *((column.to,) if column.to else ())))
            shape = _overlap(before, told.get(header)) if before else None
            same, distinct = None, 0
            if former and shape is not None and shape >= 0.5 and raw.is_file():
                same, distinct = _same_values(run, contract, column, header, raw, former)
            found.append(Likeness(column, header, name, shape, same, distinct))
    return sorted(found, key=lambda x: (-x.score, x.column.source, x.header))


def _alike(one: str, other: str) -> float:
    """Likeness of two headers from 0 to 1: common synonyms, characters, and how they sound."""
    groups = _synonyms()
    if groups.get(plain(one), 0) == groups.get(plain(other), 1):
        return 1.0
    ratio = difflib.SequenceMatcher(None, plain(one), plain(other), autojunk=False).ratio()
    sound = difflib.SequenceMatcher(None, _spoken(one), _spoken(other), autojunk=False).ratio()
    # Pinyin has few letters, so unlike words sound a little alike.
    return max(ratio, sound if one.isascii() != other.isascii() else 0.9 * sound if not one.isascii() else 0.0)


@cache
def _synonyms() -> Mapping[str, str]:
    fields = yaml.safe_load((SHIPPED / "standards" / "fields.yaml").read_text(encoding="utf-8"))
    return {plain(header): name for name, field in fields.items() for header in (name, *field["headers"])}


def _spoken(header: str) -> str:
    from pypinyin import lazy_pinyin

    text = plain(header)
    return re.sub(r"[^a-z0-9]", "", text if text.isascii() else "".join(lazy_pinyin(text)))


def _overlap(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> float:
    """The part that two profiles share, from 0 to 1: of the kinds of values and of their lengths."""

    def common(part: str) -> float:
        a, b = (dict((told or {}).get(part, {})) for told in (one, other))
        a.pop("blank", None), b.pop("blank", None)
        if not a or not b:
            return 0.0
        return float(sum(min(a.get(k, 0) / sum(a.values()), b.get(k, 0) / sum(b.values())) for k in a))

    return (common("kinds") + common("lengths")) / 2


def _same_values(
    run: Run, contract: Contract, column: Column, header: str, raw: Path, former: Former
) -> tuple[float | None, int]:
    """Share of distinct values in the first rows of the new column that stood in the old one, and how many there are."""
    if former.staged:
        path = folder(run.workspace, former.batch) / "raw.parquet"
        relation = f"read_parquet({literal(str(path))})"
    else:
        table = f"raw.{contract.id}"
        if column.source not in lake.table_columns(run.con, table):
            return None, 0
        relation = f'(SELECT * FROM {lake.table(table)} WHERE "_batch" = {literal(former.batch)})'
    old = f"SELECT DISTINCT trim({quoted(column.source)}) AS v FROM {relation}"
    new = f"SELECT DISTINCT trim({_extra_cell(header)}) AS v FROM ({_head(raw)})"
    seen, distinct = run.con.execute(
        f"SELECT count(*) FILTER (v IN (FROM ({old}) WHERE v IS NOT NULL)), count(*) FROM ({new}) WHERE v <> ''"
    ).fetchall()[0]
    return (seen / distinct, distinct) if distinct else (None, 0)


def _target(column: Column) -> dict[str, str]:
    return {"to": column.to} if column.to else {"ignore": column.ignore or ""}


def _yaml(value: Mapping[str, Any]) -> str:
    """One line of a contract without the braces, ready to paste."""
    text: str = yaml.safe_dump(dict(value), allow_unicode=True, default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip().removeprefix("{").removesuffix("}")


def _name(header: str, taken: set[str]) -> str:
    known = _synonyms().get(plain(header))
    if known and known not in taken:
        return known
    from pypinyin import lazy_pinyin

    text = header if header.isascii() else "_".join(lazy_pinyin(header))
    name = re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")[:40].strip("_")
    return name if name and name[0].isalpha() else f"column_{name}".strip("_")


# -- what the policy asks for


def _undeclared(reading: Reading) -> list[str]:
    """Headers that no column declares, as the raw rows name them, in the order of the file."""
    return list(dict.fromkeys(f.header for f in reading.findings if f.code == "column_undeclared" and f.header))


def _refuse_rows(raw: Path, room: int) -> list[Finding]:
    """Mark the sound rows that have a value in an undeclared column as broken, and name them; no value is shown."""
    code = "value_in_undeclared_column"
    bad = '"_defect" IS NULL AND "_extra" IS NOT NULL'
    part = raw.with_suffix(".part")
    with duckdb.connect() as con:
        relation = f"read_parquet({literal(str(raw))})"
        count = con.execute(f"SELECT count(*) FROM {relation} WHERE {bad}").fetchall()[0][0]
        if not count:
            return []
        listed = con.execute(
            f'SELECT "_sheet", "_row", json_keys("_extra") FROM {relation} WHERE {bad} LIMIT {max(0, room)}'
        ).fetchall()
        con.execute(
            f'COPY (SELECT * REPLACE (CASE WHEN {bad} THEN {literal(code)} ELSE "_defect" END AS "_defect") FROM {relation}) '
            f"TO {literal(str(part))} {PARQUET}"
        )
    part.replace(raw)
    said = [finding(code, sheet=sheet, row=row, header="、".join(headers)) for sheet, row, headers in listed]
    return said + not_spelled_out(None, count, len(said))


# -- the history of headers and contracts


def newest_contract(run: Run, source: str) -> Contract:
    """The contract under which the newest batch of a source was read, from the archive."""
    run.catalog.contract(source)  # an unknown name has a nearest one
    rows = run.con.execute(
        "SELECT contract_hash FROM lake.ledger.batch WHERE source = ? ORDER BY arrived_at DESC, batch DESC LIMIT 1", [source]
    ).fetchall()
    if not rows:
        raise NotFound(f"no batch of {source} yet; name two files: dmp contract diff OLD.yaml NEW.yaml")
    return archive.archived_contract(run.workspace, rows[0][0])


@dataclass(frozen=True)
class Header:
    """One form of the header, for as long as it came without a change."""

    first: str
    last: str
    arrived: str
    batches: int
    columns: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    reordered: bool


def history(run: Run, source: str) -> list[Header]:
    """The forms the header of a source has had, oldest first, held files included; files without one are left out."""
    run.catalog.contract(source)  # an unknown name has a nearest one
    rows = run.con.execute(
        "SELECT batch, drop_id, strftime(arrived_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ'), header FROM lake.ledger.batch "
        "WHERE source = ? AND coalesce(header, '[]') <> '[]'",
        [source],
    ).fetchall()
    numbers = {d.drop_id: d.number for d in archive.drops(run.workspace, source)}
    rows.sort(key=lambda row: numbers.get(row[1], 0))
    found: list[Header] = []
    for text, group in groupby(rows, key=lambda row: row[3]):
        members = list(group)
        columns = tuple(json.loads(text))
        before = found[-1].columns if found else columns
        known, here = {plain(c) for c in before}, {plain(c) for c in columns}
        found.append(
            Header(
                members[0][0], members[-1][0], members[0][2], len(members), columns,
                tuple(c for c in columns if plain(c) not in known), tuple(c for c in before if plain(c) not in here),
                [plain(c) for c in before if plain(c) in here] != [plain(c) for c in columns if plain(c) in known],
            )
        )  # fmt: skip
    return found
