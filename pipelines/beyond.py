"""Beyond one batch: what the gate may compare it with, other sources' rows in force, its own history, what was declared.

What other sources have in force depends on when one looks. The gate notes the moment beside the drop (`Drop.beside`), as the
newest drop of each source that was committed by then; a rebuild replays the drops so that every gate finds the same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import duckdb

from catalog.contract import Contract, Expect
from pipelines import archive
from pipelines.archive import Drop
from pipelines.batch import Batch, chain_tip, folder
from pipelines.compile import SQL_TYPES
from pipelines.current import LAST_DAY, current_sql
from pipelines.run import Run
from quality.expectations import kinds
from quality.expectations.beyond import Beyond, Relation
from warehouse.lake import few_rows, literal, one_moment, quoted, table_columns
from warehouse.tables import CURRENT_BATCHES

#: What makes an earlier period comparable to one that ends on the day `this`.
COMPARABLE: Mapping[str, str] = {
    "previous periods": "TRUE",
    "same weekday": "dayofweek(last_day) = dayofweek({this})",
    "same day of month": "day(last_day) = day({this})",
    "same month": "month(last_day) = month({this}) AND year(last_day) < year({this})",
}

_SQL_TYPE: Mapping[str, str] = {str(name): kind for name, kind in SQL_TYPES.items()}


def other_sources(contract: Contract) -> list[str]:
    """The sources whose rows the checks of a contract read."""
    asked = {str(e.options["source"]) for e in contract.expect if _reads(e) == "source" and "source" in e.options}
    return sorted(asked)


def _reads(line: Expect) -> str | None:
    kind = kinds().get(line.kind)
    return kind.beyond if kind else None


@contextmanager
def looking_beyond(run: Run, con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract) -> Iterator[Beyond]:
    """What the checks of this batch can be told beside its rows; relations stand on `con`, over files in its staging folder.

    Sees one moment of the warehouse. Writes that moment into the archived record of the drop; a second call for a batch that
    was killed before its commit sees the moment that the first one saw.
    """
    asked = {_reads(e) for e in contract.expect} - {None}
    if not asked:
        yield Beyond()
        return
    drop = next((d for d in archive.drops(run.workspace, batch.source) if d.drop_id == batch.drop_id), None)
    with one_moment(run.con):
        with few_rows(run.con):
            moment = _moment(run, drop, batch, other_sources(contract))
        yield _Looking(run, con, batch, moment).beyond(drop)


def _moment(run: Run, drop: Drop | None, batch: Batch, sources: Sequence[str]) -> dict[str, Mapping[str, str] | None]:
    known = drop.beside if drop else {}
    # Its own rows need no note: the drops of one source are judged in one order.
    moment = {s: known[s] if s in known else _newest(run, s) for s in sources if s != batch.source}
    if drop is not None:
        archive.note_beside(run.workspace, drop, moment)
    return moment | ({batch.source: _newest(run, batch.source)} if batch.source in sources else {})


def _newest(run: Run, source: str) -> dict[str, str] | None:
    """The newest committed drop of a source, and up to which arrival the gate has judged; None: it has no batch yet."""
    rows = run.con.execute(
        "SELECT drop_id, hash, previous_hash, arrived_at FROM lake.ledger.batch WHERE source = ? ORDER BY arrived_at, drop_id",
        [source],
    ).fetchall()
    if not rows:
        return None
    tip = chain_tip((own, previous) for _, own, previous, _ in rows)
    newest = next((drop for drop, own, _, _ in rows if own == tip), rows[-1][0])
    return {"drop": newest, "as_of": max(arrived for *_, arrived in rows).astimezone(UTC).isoformat()}


@dataclass
class _Looking:
    run: Run
    con: duckdb.DuckDBPyConnection
    batch: Batch
    moment: Mapping[str, Mapping[str, str] | None]
    made: dict[tuple[Any, ...], Relation | None] = field(default_factory=dict)

    def beyond(self, drop: Drop | None) -> Beyond:
        said = (drop.manifest if drop else None) or {}
        return Beyond(self.rows_in_force, self.history, {k: said[k] for k in ("sums", "keys") if k in said})

    def rows_in_force(self, source: str, columns: Mapping[str, str]) -> Relation | None:
        """The different rows of these columns, as a view over a Parquet file. None: the source has none, or lacks a column."""
        asked = (source, *columns.items())
        if asked not in self.made:
            name = quoted(f"{source} ({', '.join(columns)})")
            self.made[asked] = self._copied(name, sql) if (sql := self._in_force_sql(source, columns)) else None
        return self.made[asked]

    def _in_force_sql(self, source: str, columns: Mapping[str, str]) -> str | None:
        if (at := self.moment.get(source)) is None:
            return None
        found = self.run.con.execute(
            f"SELECT contract_hash FROM ({CURRENT_BATCHES}) WHERE source = ? AND arrived_at <= ? ORDER BY arrived_at DESC, batch DESC",
            [source, datetime.fromisoformat(at["as_of"])],
        ).fetchone()
        stored = table_columns(self.run.con, f"std.{source}")
        if found is None or not stored:
            return None
        theirs = archive.archived_contract(self.run.workspace, found[0])
        if not set(columns) <= set(stored) & {c.name for c in theirs.mapped}:
            return None
        # Theirs may be stored in another type than ours is compared in.
        wanted = [
            quoted(name) if stored[name] == kind else f"TRY_CAST({quoted(name)} AS {kind}) AS {quoted(name)}"
            for name, kind in ((name, _SQL_TYPE[of_type]) for name, of_type in columns.items())
        ]
        rows = current_sql(theirs, datetime.fromisoformat(at["as_of"]), stored)
        return f"SELECT DISTINCT {', '.join(wanted)} FROM (\n{rows}\n)"

    def _copied(self, name: str, sql: str) -> Relation | None:
        path = folder(self.run.workspace, self.batch.batch) / f"beside-{len(self.made)}.parquet"
        [(rows,)] = self.run.con.execute(f"COPY (\n{sql}\n) TO {literal(str(path))} (FORMAT parquet)").fetchall()
        if not rows:
            return None
        self.con.execute(f"CREATE VIEW {name} AS FROM read_parquet({literal(str(path))})")
        return Relation(name, sql, rows)

    def history(self, against: str, last: int) -> Relation | None:
        """`period`, `last_day` and the `rows` sent of comparable periods before that of the batch, as a table of `con`: of each
        the version in force that had come when the batch came. None: its period cannot be read."""
        [(this,)] = self.run.con.execute(f"SELECT {LAST_DAY} FROM (SELECT ? AS period)", [self.batch.period]).fetchall()
        if this is None:
            return None
        day, arrived = f"DATE '{this}'", datetime.fromisoformat(self.batch.arrived_at).astimezone(UTC).isoformat()
        sql = f"""SELECT period, last_day, rows_read AS "rows" FROM (
  SELECT *, {LAST_DAY} AS last_day FROM lake.ledger.batch
  WHERE source = {literal(self.batch.source)} AND verdict IN ('pass', 'warn') AND arrived_at <= TIMESTAMPTZ {literal(arrived)}
  QUALIFY row_number() OVER (PARTITION BY period ORDER BY version DESC) = 1
) WHERE last_day < {day} AND {COMPARABLE[against].format(this=day)}
ORDER BY last_day DESC LIMIT {last}"""
        name = quoted(f"history: {against}, last {last}")
        with few_rows(self.run.con):
            rows = self.run.con.execute(sql).fetchall()
        self.con.execute(f'CREATE OR REPLACE TEMP TABLE {name} (period VARCHAR, last_day DATE, "rows" BIGINT)')
        if rows:
            self.con.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", rows)
        return Relation(name, sql, len(rows))
