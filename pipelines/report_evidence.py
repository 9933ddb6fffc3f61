"""What stands behind a number of the report: for every check its batches and failing rows, for every batch all that was decided.

The page of a check belongs to one day's report. The page of a batch is written once, when a report first speaks of it: a batch
never changes, so the work and the disk of a day follow what arrived, and not how much has arrived so far.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from catalog.contract import Column, Contract
from pipelines import score_facts
from pipelines.report_view import City
from pipelines.run import Run
from pipelines.score_facts import BatchLine
from quality.expectations import prepare
from quality.finding import masked_sql
from quality.reports.render import LANGUAGES, render, stylesheet
from warehouse.lake import literal, one_moment, quoted, table, table_columns
from warehouse.layout import sync_folder

#: Failing rows that a page lists; `quality.failing_row` has all of them.
ROWS = 20
#: What a page ends in that was written to its end.
END = b"</html>"
#: Columns of a failing row that a page shows: the keys, those of the check, then others in the order of the contract.
COLUMNS = 8


@dataclass(frozen=True)
class CheckedBatch:
    """What one check counted in one batch."""

    line: BatchLine
    a: Decimal
    b: Decimal
    x: Decimal | None
    passed: bool
    error: str | None
    failing: int


@dataclass(frozen=True)
class FailingRow:
    """Where a row that breaks a check stands, and its cells as sent; personal ones masked, None where nothing is kept."""

    line: BatchLine
    sheet: str | None
    row: int
    cells: tuple[str | None, ...] | None


@dataclass(frozen=True)
class CheckEvidence:
    """Of one check of a source: its batches of the window, newest first, and rows of the newest batch that has failing ones."""

    batches: tuple[CheckedBatch, ...]
    columns: tuple[Column, ...]
    rows: tuple[FailingRow, ...]

    @property
    def failing(self) -> int:
        return sum(one.failing for one in self.batches)


Evidence = Mapping[tuple[str, str], CheckEvidence]


def check_evidence(run: Run, city: City) -> Evidence:
    """(source, check id) -> its evidence over the window: three statements for the city, one per source with failing rows."""
    lines = {b.batch: (source, b) for source in city.sources for b in source.card.judged}
    given = [list(lines), list(range(len(lines)))]
    asked = "(SELECT unnest($1) AS batch, unnest($2) AS n) AS j"
    with one_moment(run.con):
        counts = run.con.execute(
            f"SELECT c.source, check_id, c.batch, a, b, x, passed, error FROM lake.quality.check AS c JOIN {asked} "
            "ON j.batch = c.batch ORDER BY c.source, check_id, j.n DESC",
            given,
        ).fetchall()
        failing = {
            (check, batch): n
            for check, batch, n in run.con.execute(
                f"SELECT check_id, f.batch, count(*) FROM lake.quality.failing_row AS f JOIN {asked} ON j.batch = f.batch GROUP BY ALL",
                given,
            ).fetchall()
        }
        places = run.con.execute(
            "SELECT source, check_id, arg_min(struct_pack(b := f.batch, s := _sheet, r := _row), "
            f"struct_pack(n := -j.n, s := coalesce(_sheet, ''), r := _row), {ROWS}) "
            f"FROM lake.quality.failing_row AS f JOIN {asked} ON j.batch = f.batch GROUP BY source, check_id",
            given,
        ).fetchall()
        listed: dict[str, dict[str, list[tuple[str, str | None, int]]]] = {}
        for source, check, some in places:
            newest = [(e["b"], e["s"], e["r"]) for e in some if e["b"] == some[0]["b"]]
            listed.setdefault(source, {})[check] = newest
        by_source = {source.id: source for source in city.sources}
        shown = {source: _cells(run.con, by_source[source].contract, checks) for source, checks in listed.items()}
    batches: dict[tuple[str, str], list[CheckedBatch]] = {}
    for source, check, batch, a, b, x, passed, error in counts:
        batches.setdefault((source, check), []).append(
            CheckedBatch(lines[batch][1], a, b, x, passed, error, failing.get((check, batch), 0))
        )
    found = {}
    for (source, check), some in batches.items():
        columns, cells = shown.get(source, {}).get(check, ((), {}))
        rows = tuple(
            FailingRow(lines[batch][1], sheet, row, cells.get((batch, sheet, row)))
            for batch, sheet, row in listed.get(source, {}).get(check, ())
        )
        found[source, check] = CheckEvidence(tuple(some), columns, rows)
    return found


Address = tuple[str, str | None, int]


def _cells(
    con: duckdb.DuckDBPyConnection, contract: Contract, checks: Mapping[str, Sequence[Address]]
) -> dict[str, tuple[tuple[Column, ...], dict[Address, tuple[str | None, ...]]]]:
    """Check -> the columns shown and the cells of its rows, as sent, values that are personal masked."""
    stored = table_columns(con, f"raw.{contract.id}")
    there = [c for c in contract.mapped if c.source in stored]
    if not there:
        return {}
    shown = ", ".join(masked_sql(quoted(c.source)) if c.is_masked else quoted(c.source) for c in there)
    wanted = sorted({a for some in checks.values() for a in some}, key=lambda a: (a[0], a[1] or "", a[2]))
    rows = con.execute(
        f"SELECT _batch, _sheet, _row, {shown} FROM {table(f'raw.{contract.id}')} "
        f"WHERE _batch IN ({', '.join(sorted({literal(a[0]) for a in wanted}))}) AND _row IN ({', '.join(str(a[2]) for a in wanted)})"
    ).fetchall()
    whole = {(batch, sheet, row): dict(zip((c.name for c in there), cells, strict=True)) for batch, sheet, row, *cells in rows}
    of_check = {p.id: p.columns for p in prepare(contract)}
    made = {}
    for check, some in checks.items():
        first = [c for c in there if c.key or c.name in of_check.get(check, ())]
        columns = tuple([*first, *(c for c in there if c not in first)][: max(COLUMNS, len(first))])
        made[check] = (columns, {a: tuple(whole[a][c.name] for c in columns) for a in some if a in whole})
    return made


def check_pages(city: City, evidence: Evidence, common: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path below the folder of the day, and text, of the page of every check in both languages."""
    nothing = CheckEvidence((), (), ())
    for source in city.sources:
        for one in source.card.score.checks:
            values = {
                "up": "../../", "source": source, "one": one, "line": source.card.checks.get(one.check.id),
                "evidence": evidence.get((source.id, one.check.id), nothing),
            }  # fmt: skip
            for language in LANGUAGES:
                path = check_page(source.id, one.check.id, language)
                here = path.rpartition("/")[2].removesuffix(f".{language}.html")
                yield path, render("check.html", language, **{**common, **values, "here": here})


def check_page(source: str, check_id: str, language: str) -> str:
    """Path of a check's page below the folder of the day. Ids that are no file name everywhere get a digest, so that no two share
    a page."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", check_id)[:100]
    name = plain if plain == check_id else f"{plain}-{hashlib.sha256(check_id.encode()).hexdigest()[:8]}"
    return f"check/{source}/{name}.{language}.html"


# --- batches --------------------------------------------------------------------------------------


def batch_page(batch: str, language: str) -> str:
    """Path of a batch's page below reports/, such as batch/market__shop/2026-03-02.v1.zh.html."""
    source, _, label = batch.partition("@")
    return f"batch/{source}/{label}.{language}.html"


def write_batch_pages(run: Run, city: City) -> int:
    """Write the pages of the window's batches that have none yet, into reports/batch/; returns how many batches that were.

    Again: what is there whole stays as it was published. A page half written by a killed run lacks its end and is written anew.
    """
    root = run.workspace.reports
    missing = [
        (source, line)
        for source in city.sources
        for line in {b.batch: b for b in (*source.batches, *source.card.judged)}.values()
        if not all(is_whole(root / batch_page(line.batch, language)) for language in LANGUAGES)
    ]
    for start in range(0, len(missing), 500):
        some = missing[start : start + 500]
        told = _told(run, [line for _, line in some])
        for source, line in some:
            for language in LANGUAGES:
                values = {"source": source, "city": city, "line": line, "here": line.batch.partition("@")[2], **told[line.batch]}
                path = root / batch_page(line.batch, language)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(render("batch.html", language, **values), encoding="utf-8")
    if missing:
        (root / "batch" / "site.css").write_text(stylesheet(), encoding="utf-8")
        sync_folder(root / "batch")
    return len(missing)


def is_whole(path: Path) -> bool:
    """Whether a page was written to its end."""
    try:
        with path.open("rb") as file:
            file.seek(-len(END), 2)
            return file.read() == END
    except OSError:
        return False


def _told(run: Run, lines: Sequence[BatchLine]) -> dict[str, dict[str, Any]]:
    """All that the warehouse keeps about these batches, one statement per table."""
    batches = [line.batch for line in lines]
    told: dict[str, dict[str, Any]] = {
        b: {"ledger": {}, "stages": [], "statements": [], "checks": [], "findings": [], "refused": [], "refused_rows": 0}
        for b in batches
    }
    given = [list(batches)]
    with one_moment(run.con):
        for row in _rows(run, "SELECT * FROM lake.ledger.batch WHERE batch IN (SELECT unnest($1))", given):
            told[row["batch"]]["ledger"] = row
        for name, column, order in (("stage", "stages", "stage"), ("statement", "statements", "seq")):
            sql = f"SELECT * FROM lake.ledger.{name} WHERE subject IN (SELECT unnest($1)) ORDER BY subject, {order}"
            for row in _rows(run, sql, given):
                told[row["subject"]][column].append(row)
        checks = (
            "SELECT c.*, coalesce(f.n, 0) AS failing FROM lake.quality.check AS c LEFT JOIN (SELECT batch, check_id, count(*) AS n "
            "FROM lake.quality.failing_row WHERE batch IN (SELECT unnest($1)) GROUP BY ALL) AS f USING (batch, check_id) "
            "WHERE batch IN (SELECT unnest($1)) ORDER BY batch, sub_indicator, check_id"
        )
        for row in _rows(run, checks, given):
            told[row["batch"]]["checks"].append(row)
        judged = {(line.batch.partition("@")[0], line.batch): [line] for line in lines}
        for (_, batch), found in score_facts.findings(run.con, judged).items():
            told[batch]["findings"] = found
        refused = (
            "SELECT _batch, count(*) AS n, arg_min(struct_pack(sheet := _sheet, line := _row, codes := codes), "
            f"struct_pack(s := coalesce(_sheet, ''), r := _row), {ROWS}) AS some "
            "FROM lake.quarantine.row WHERE _batch IN (SELECT unnest($1)) GROUP BY _batch"
        )
        for row in _rows(run, refused, given):
            told[row["_batch"]] |= {"refused": row["some"], "refused_rows": row["n"]}
    return told


def _rows(run: Run, sql: str, given: Sequence[Any]) -> list[dict[str, Any]]:
    found = run.con.execute(sql, given)
    names = [d[0] for d in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
