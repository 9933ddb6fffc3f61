"""What linking remembers of an entity, so that a day's changes are linked without looking at everybody again.

One DuckDB file per entity, worked out from the warehouse and worth nothing without it: where it is missing, or not of the last
fusion, the next fusion links everything and makes it anew. Readers of golden records never see it.

    mark      one row: the fusion it stands at, under what it was made, and the records that decisions of people named then
    input     the batches that were in force
    record    one row per surviving record, as dedupe makes it, with a number of its own: `_id`, and the beginning of `_record` as a number,
              by which it is found without reading the texts of all: `_hash`
    key       what a record can be found by: digests of its identifiers, and of the values that two records must share to be compared
    pair      pairs of records that are alike at all, with their probability
    place     per record: the group it hangs together with, and its cluster
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from warehouse.lake import PARQUET, connect, literal, quoted
from warehouse.layout import Workspace, sync_folder, write_atomically

#: The name under which an index is attached.
ATTACHED = "known"

#: `_hash` of a record, over `_record`: 16 of its 64 hexadecimal digits.
HASH = "CAST('0x' || left(_record, 16) AS UBIGINT)"

TABLES = ("record", "key", "pair", "place")

#: Every so many fusions the space of rows that went is taken back, which rewrites the parts of the file where any did: most of it.
VACUUM_EACH = 16


@dataclass(frozen=True)
class Mark:
    """An index fits when all of it is equal: the fusion before this one, made by the same rules from the same kind of tables."""

    number: int
    rules: str  # digest of all that decides beside rows: entity, model, version of DuckDB
    shapes: Mapping[str, str]  # source -> digest of the statement that makes its records


def rules_digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps([duckdb.__version__, *parts], default=str).encode()).hexdigest()


def path(workspace: Workspace, entity: str) -> Path:
    return workspace.index / f"{entity}.duckdb"


def attach(con: duckdb.DuckDBPyConnection, workspace: Workspace, entity: str, mark: Mark) -> str | None:
    """Attach the index read-only and give its name; None where there is none that fits. Sources may have come since, none gone."""
    file = path(workspace, entity)
    if not mark.number or not file.is_file():
        return None
    try:
        con.execute(f"ATTACH {literal(str(file))} AS {ATTACHED} (READ_ONLY)")
        [(number, rules, shapes)] = con.execute(f"SELECT number, rules, shapes FROM {ATTACHED}.mark").fetchall()
    except duckdb.Error:  # half a file, another version: as good as none
        number, rules, shapes = 0, "", "{}"
    known = json.loads(shapes)
    if (number, rules) == (mark.number, mark.rules) and all(mark.shapes.get(s) == digest for s, digest in known.items()):
        return ATTACHED
    if con.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = ?", [ATTACHED]).fetchall():
        con.execute(f"DETACH {ATTACHED}")
    return None


def stage(
    con: duckdb.DuckDBPyConnection,
    place: Path,
    mark: Mark,
    inputs: Sequence[tuple[str, str]],
    decided: Sequence[str],
    written: str,
    *,
    whole: bool,
) -> None:
    """Write what the fusion in `place` will teach the index, once it is committed: the tables `delta_*` of `pipelines.link`, and the
    records of `written` (new, or other than before in anything)."""
    selects = {
        "record": f"SELECT n._id, {HASH} AS _hash, r.* FROM {quoted(written)} AS r JOIN delta_number AS n USING (_record)",
        "key": "FROM delta_key",
        "pair": "FROM delta_pair",
        "place": "FROM delta_place",
        "subject": "SELECT _n AS _id FROM delta_subject",
        "compared": "SELECT _n AS _id FROM delta_compared",
        "gone": "SELECT _n AS _id FROM delta_gone",
    }
    for name, sql in selects.items():
        con.execute(f"COPY ({sql}) TO {literal(str(place / f'index_{name}.parquet'))} {PARQUET}")
    state = {
        "number": mark.number, "rules": mark.rules, "shapes": dict(mark.shapes), "inputs": list(inputs), "decided": list(decided),
        "whole": whole,
    }  # fmt: skip
    write_atomically(place / "index.json", json.dumps(state).encode(), mode=0o600)


def learn(workspace: Workspace, entity: str, place: Path) -> None:
    """Bring the index to the fusion that was staged in `place` and is committed now. Again: nothing more to learn.

    A kill leaves the index as it was or as it will be. One that does not stand right before the fusion is thrown away.
    """
    if not (place / "index.json").is_file():
        path(workspace, entity).unlink(missing_ok=True)
        return
    state = json.loads((place / "index.json").read_text(encoding="utf-8"))
    file = path(workspace, entity)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    staged = {
        name: f"read_parquet({literal(str(place / f'index_{name}.parquet'))})"
        for name in (*TABLES, "subject", "compared", "gone")
    }
    con = connect(workspace)
    try:
        if state["whole"]:
            part = file.with_name(f".{entity}.new")
            part.unlink(missing_ok=True)
            con.execute(f"ATTACH {literal(str(part))} AS made")
            for name in TABLES:
                con.execute(f"CREATE TABLE made.{name} AS FROM {staged[name]}")
            con.execute("CREATE TABLE made.mark (number INTEGER, rules VARCHAR, shapes VARCHAR, decided VARCHAR[], next BIGINT)")
            con.execute("CREATE TABLE made.input (source VARCHAR, batch VARCHAR)")
            _mark(con, "made", state)
            con.execute("DETACH made")
            part.chmod(0o600)
            part.replace(file)
            sync_folder(file.parent)
        elif file.is_file():
            con.execute(f"ATTACH {literal(str(file))} AS made")
            [(number,)] = con.execute("SELECT number FROM made.mark").fetchall()
            if number == state["number"] - 1:
                if state["number"] % VACUUM_EACH:
                    con.execute("SET max_vacuum_tasks = 0")
                con.execute("BEGIN")
                former = {
                    "record": ("record", "gone"),  # the keys of a record that says the same as before stay
                    "key": ("subject", "gone"),
                    "place": ("place", "gone"),
                }
                for name, by in former.items():
                    ids = " UNION ALL ".join(f"SELECT _id FROM {staged[b]}" for b in by)
                    con.execute(f"DELETE FROM made.{name} WHERE _id IN ({ids})")
                con.execute(
                    f"CREATE TEMP TABLE stale AS SELECT _id FROM {staged['compared']} UNION SELECT _id FROM {staged['gone']}"
                )
                con.execute("DELETE FROM made.pair WHERE l IN (FROM stale) OR r IN (FROM stale)")
                for name in TABLES:
                    con.execute(f"INSERT INTO made.{name} BY NAME FROM {staged[name]}")
                _mark(con, "made", state)
                con.execute("COMMIT")
            con.execute("DETACH made")
            if number not in (state["number"] - 1, state["number"]):
                file.unlink()
    finally:
        con.close()


def _mark(con: duckdb.DuckDBPyConnection, database: str, state: Mapping[str, Any]) -> None:
    con.execute(f"DELETE FROM {database}.mark; DELETE FROM {database}.input")
    con.execute(
        f"INSERT INTO {database}.mark SELECT ?, ?, ?, ?, coalesce((SELECT max(_id) FROM {database}.record), -1) + 1",
        [state["number"], state["rules"], json.dumps(state["shapes"]), state["decided"]],
    )
    con.execute(f"INSERT INTO {database}.input SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[])", [
        [s for s, _ in state["inputs"]], [b for _, b in state["inputs"]]])  # fmt: skip
