"""Verify: the archive against its hashes, ledger, receipts and reviews against their chains, the tables against the ledger.

Changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines import archive, receipt, review_journal
from pipelines.compare import adds_up
from pipelines.dedupe import last_fusion
from pipelines.gate import chained_hash
from pipelines.identity import RETIRED
from pipelines.run import Run
from warehouse.lake import one_moment, table_columns
from warehouse.tables import TABLES


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written down. `what` names the file or the row."""

    part: str
    what: str


def verify(run: Run, step: Callable[[str], None] = lambda part: None) -> list[Problem]:
    """Every problem found; an empty list means content. Sees one moment of the warehouse, whoever commits meanwhile.

    What is found is looked for once more, and told when it is still there: a reader whose transaction began before a second
    deletion from one file of a golden table sees other rows than it saw (DuckLake; `warehouse/upkeep.py`).
    """
    problems = _look(run, step)
    again = _look(run, step) if problems else []
    return [p for p in problems if p in again]


def _look(run: Run, step: Callable[[str], None]) -> list[Problem]:
    problems: list[Problem] = []
    with one_moment(run.con):
        run.con.execute("FROM lake.ledger.batch LIMIT 1")  # the first statement decides which moment
        parts = {
            "archive": _archive,
            "chain": _chain,
            "rows": _rows,
            "entities": _entities,
            "receipts": receipt.chain_problems,
            "reviews": review_journal.chain_problems,
        }
        for part, check in parts.items():
            step(part)
            problems += [Problem(part, what) for what in check(run)]
    return problems


def _archive(run: Run) -> Iterator[str]:
    """Every archived file has the bytes its name says; every drop of the ledger arrived as it says, and became a batch."""
    archived = run.workspace.archive
    for path in [*sorted((archived / "objects").glob("*/*")), *sorted((archived / "contracts").glob("*.json"))]:
        if path.name.startswith("."):
            continue  # a killed run had not finished it
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
        if digest.hexdigest() != path.stem:
            yield f"{path}: its bytes have changed (SHA-256 is {digest.hexdigest()} now){_names(run, path.stem)}"
    columns = ("drop_id", "source", "file_name", "sha256", "size_bytes", "arrived_at", "run")
    arrived = {d.drop_id: d for source in archive.sources(run.workspace) for d in archive.drops(run.workspace, source)}
    batches = dict(run.con.execute("SELECT batch, drop_id FROM lake.ledger.batch").fetchall())
    dropped: Counter[str] = Counter()
    for *values, outcome, batch in run.con.execute(
        f"SELECT {', '.join(columns)}, outcome, batch FROM lake.ledger.drop ORDER BY ALL"
    ).fetchall():
        row = dict(zip(columns, values, strict=True))
        drop_id = row["drop_id"]
        dropped[drop_id] += 1
        if drop_id not in arrived:
            yield f"{drop_id}: the ledger knows this drop, the archive has no record of its arrival"
        else:
            drop = arrived[drop_id]
            wrong = [n for n in columns if row[n] != (drop.arrival if n == "arrived_at" else getattr(drop, n))]
            if wrong:
                yield f"ledger.drop {drop_id}: {', '.join(wrong)} differ from the archived record of its arrival"
        if not archive.object_path(run.workspace, row["sha256"]).exists():
            yield f"{row['file_name']}: the archive lacks its bytes ({archive.object_path(run.workspace, row['sha256'])})"
        if batch not in batches or (outcome == "batch" and batches[batch] != drop_id):
            yield f"ledger.drop {drop_id}: its batch {batch} is not in ledger.batch"
    yield from (f"ledger.drop {drop_id}: stands {count} times" for drop_id, count in dropped.items() if count > 1)
    yield from (
        f"ledger.batch {batch}: its drop {drop_id} is not in ledger.drop"
        for batch, drop_id in sorted(batches.items())
        if drop_id not in dropped
    )


def _names(run: Run, sha256: str) -> str:
    rows = run.con.execute("SELECT DISTINCT source, file_name FROM lake.ledger.drop WHERE sha256 = ?", [sha256]).fetchall()
    return "".join(f"; this was {file_name} of {source}" for source, file_name in rows)


def _chain(run: Run) -> Iterator[str]:
    """Each ledger row has the hash its content gives, and names the former row of its source."""
    columns = list(TABLES["ledger.batch"][1])
    rows = run.con.execute(f"SELECT {', '.join(columns)} FROM lake.ledger.batch ORDER BY source, arrived_at, batch").fetchall()
    by_source: dict[str, list[dict[str, Any]]] = {}
    for values in rows:
        row = dict(zip(columns, values, strict=True))
        by_source.setdefault(row["source"], []).append(row)
        if chained_hash(row) != row["hash"]:
            yield f"ledger.batch {row['batch']}: the row was changed after it was written"
    for own in by_source.values():
        hashes = {row["hash"] for row in own}
        after: dict[str | None, list[str]] = {}
        for row in own:
            after.setdefault(row["previous_hash"], []).append(row["batch"])
        for former, batches in after.items():
            if former is not None and former not in hashes:
                yield f"ledger.batch {', '.join(batches)}: the chain is broken; the row before was removed or changed"
            elif len(batches) > 1:
                yield f"ledger.batch {', '.join(batches)}: the chain is broken; both follow the same row, one was added"


def _rows(run: Run) -> Iterator[str]:
    """Row counts of each batch in raw, std and quarantine are those of the ledger; every stage equation holds."""
    for subject, stage, rows_in, rows_out, equation in run.con.execute(
        "SELECT subject, stage, rows_in, rows_out, equation FROM lake.ledger.stage ORDER BY ALL"
    ).fetchall():
        if stage in ("collect", "mend", "clean", "dedupe", "merge") and sum(json.loads(rows_out).values()) != rows_in:
            yield f"{stage} of {subject}: {equation} does not add up"
        if stage == "compare" and not adds_up(rows_in, json.loads(rows_out)):
            yield f"{stage} of {subject}: {equation} does not add up"
    ledger = {
        r[0]: r[1:]
        for r in run.con.execute(
            "SELECT batch, source, rows_read, rows_accepted, rows_refused, verdict FROM lake.ledger.batch"
        ).fetchall()
    }
    counted: dict[str, dict[str, int]] = {"raw": {}, "std": {}, "quarantine": {}}
    for source in sorted({v[0] for v in ledger.values()} | set(archive.sources(run.workspace))):
        for layer in ("raw", "std"):
            if table_columns(run.con, f"{layer}.{source}"):
                counted[layer] |= dict(
                    run.con.execute(f'SELECT _batch, count(*) FROM lake.{layer}."{source}" GROUP BY _batch').fetchall()
                )
    counted["quarantine"] = dict(run.con.execute("SELECT _batch, count(*) FROM lake.quarantine.row GROUP BY _batch").fetchall())
    for batch, (_, read, accepted, refused, verdict) in sorted(ledger.items()):
        wanted = {"raw": read, "std": 0 if verdict == "hold" else accepted, "quarantine": refused}
        for layer, count in wanted.items():
            if counted[layer].get(batch, 0) != count:
                yield f"{layer} of {batch}: {counted[layer].get(batch, 0)} rows, the ledger says {count}"
    for layer, batches in counted.items():
        for batch in sorted(set(batches) - set(ledger)):
            yield f"{layer}: {batches[batch]} rows of {batch}, which the ledger does not know"


def _entities(run: Run) -> Iterator[str]:
    """Each surviving record stands in exactly one golden record, each golden record has one, and none went since the fusion."""
    for entity in run.catalog.entities:
        if not table_columns(run.con, f"base.{entity}"):
            continue
        twice, homeless, empty = run.con.execute(
            f'SELECT (SELECT count(*) - count(DISTINCT _record) FROM lake.base."{entity}__member"), '
            f'(SELECT count(*) FROM lake.base."{entity}__member" WHERE _entity NOT IN (SELECT _entity FROM lake.base."{entity}")), '
            f'(SELECT count(*) FROM lake.base."{entity}" WHERE _entity NOT IN (SELECT _entity FROM lake.base."{entity}__member"))'
        ).fetchall()[0]
        if twice or homeless or empty:
            yield f"base.{entity}: {twice} records stand in two entities, {homeless} in none; {empty} entities have no record"
        yield from _ids(run, entity)
        counts = "SELECT rows_surviving, entities FROM lake.ledger.fusion WHERE fusion = ?"
        fusion = f"{entity}#{last_fusion(run, entity)[1]}"
        [(records, entities)] = run.con.execute(
            f'SELECT (SELECT count(*) FROM lake.base."{entity}__member"), (SELECT count(*) FROM lake.base."{entity}")'
        ).fetchall()
        if run.con.execute(counts, [fusion]).fetchall() != [(records, entities)]:
            yield f"base.{entity}: {records} records in {entities} entities, which is not what the ledger says of {fusion}"


def _ids(run: Run, entity: str) -> Iterator[str]:
    """Every id in the golden table is in force by the ledger and the other way round, and each redirect leads to one that is known."""
    known = """WITH last AS (
  SELECT _entity, change, other FROM lake.ledger.entity_change WHERE entity = ? AND change <> 'changed'
  QUALIFY row_number() OVER (PARTITION BY _entity ORDER BY number DESC) = 1
)"""
    golden = f'SELECT _entity FROM lake.base."{entity}"'
    wrong = run.con.execute(
        f"""{known}
SELECT _entity, 'is golden, the ledger says ' || change FROM last WHERE change IN {RETIRED} AND _entity IN ({golden})
UNION ALL SELECT _entity, 'is in force by the ledger, and has no golden record' FROM last
  WHERE change NOT IN {RETIRED} AND _entity NOT IN ({golden})
UNION ALL SELECT _entity, 'was merged into ' || other || ', which the ledger does not know' FROM last
  WHERE change = 'merged' AND other NOT IN (SELECT _entity FROM last UNION ALL {golden})
ORDER BY ALL LIMIT 100""",
        [entity],
    ).fetchall()
    yield from (f"base.{entity}: {one} {what}" for one, what in wrong)
    for one, times in run.con.execute(
        "SELECT _entity, count(*) FROM lake.ledger.entity_change WHERE entity = ? AND change IN ('created', 'split') "
        "GROUP BY _entity HAVING count(*) > 1 ORDER BY ALL LIMIT 100",
        [entity],
    ).fetchall():
        yield f"ledger.entity_change: {one} of {entity} was minted {times} times"
