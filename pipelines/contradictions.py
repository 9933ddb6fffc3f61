"""Contradictions: where departments differ about one golden record, who says what since when, who is believed, and who should mend it.

One value lost against the golden one is one contradiction. Who should mend it follows from why the golden value stands:

- it is the authority's: whoever says otherwise checks and mends its own row (`check_own`);
- it is the authority's last good value, now old: the authority sends the value again (`send_again`);
- no authority has a value, but its department has a row of this golden record and says nothing: it supplies the value (`supply`);
- no authority knows this golden record: whoever says otherwise than the best of the others checks its own row (`check_own`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime

import duckdb

from catalog.entity import Entity
from pipelines.current import write_csv
from pipelines.dedupe import is_fused, last_fusion
from pipelines.errors import NotFound
from pipelines.run import Run
from pipelines.said import tell
from quality.finding import masked_sql
from warehouse.lake import literal, one_moment, quoted, reading

#: What whoever should mend it is asked for.
ASKS: Mapping[str, tuple[str, str]] = {
    "check_own": ("核对本部门这一行，有误则更正", "check this row of yours, and mend it where it is wrong"),
    "send_again": ("本部门最近一行此格为空，请补报现值", "your newest row leaves this cell empty: send the value again"),
    "supply": ("本部门是此项的权威部门而没有此值，请补报", "you are the authority for this and have no value: supply it"),
}


@dataclass(frozen=True)
class Contradiction:
    """One value that lost. `rule`: why the golden one stands (authority, stale, unconfirmed); `*_file`, `*_sheet`, `*_row` where a value was sent."""

    mend_department: str
    mend: str  # see ASKS
    golden_record: str
    attribute: str
    rule: str
    golden_value: str
    golden_source: str
    golden_department: str
    golden_since: datetime
    golden_file: str
    golden_sheet: str | None
    golden_row: int
    value: str
    source: str
    department: str
    since: datetime
    file: str
    sheet: str | None
    row: int
    stale: bool


@dataclass(frozen=True)
class Pair:
    """How often a value of `source` lost against one of `golden_source`, and since when the longest."""

    attribute: str
    rule: str
    golden_source: str
    source: str
    mend_department: str
    golden_records: int
    since: datetime


@dataclass(frozen=True)
class Contradictions:
    """Of one entity as of its last fusion. `counts` is how many each department should mend; `rows` are the first of each."""

    entity: str
    fusion: int
    total: int
    golden_records: int
    pairs: tuple[Pair, ...]
    counts: Mapping[str, int]
    rows: tuple[Contradiction, ...]


def contradictions(
    run: Run, entity_id: str, department: str | None = None, limit: int = 20, *, reveal: bool = False
) -> Contradictions:
    """Counts of all, and for each department that should mend the `limit` oldest. Personal values masked unless `reveal`.

    With `department`: those that it should mend or whose value lost. Raises NotFound before the first fusion.
    """
    with _found(run, entity_id, department, reveal) as (con, fusion):
        [(total, records)] = con.execute("SELECT count(*), count(DISTINCT golden_record) FROM contradiction").fetchall()
        pairs = con.execute(
            "SELECT attribute, rule, golden_source, source, mend_department, count(DISTINCT golden_record) AS n, min(since) "
            "FROM contradiction GROUP BY ALL ORDER BY n DESC, attribute, golden_source, source, rule"
        ).fetchall()
        counts = con.execute("SELECT mend_department, count(*) FROM contradiction GROUP BY ALL ORDER BY ALL").fetchall()
        rows = con.execute(
            f"SELECT {_listed()} FROM contradiction QUALIFY row_number() OVER (PARTITION BY mend_department ORDER BY {ORDER}) <= ? "
            f"ORDER BY mend_department, {ORDER}",
            [limit],
        ).fetchall()
    return Contradictions(
        entity_id, fusion, total, records, tuple(Pair(*p) for p in pairs), dict(counts), tuple(Contradiction(*r) for r in rows)
    )


def write_contradictions(run: Run, entity_id: str, out: str, department: str | None = None, *, reveal: bool = False) -> int:
    """All of them as CSV into file `out` (`-`: standard output), whole or not at all; returns how many."""
    with _found(run, entity_id, department, reveal) as (con, _):
        write_csv(con, f"SELECT {_listed()} FROM contradiction ORDER BY mend_department, {ORDER}", out)
        return int(con.execute("SELECT count(*) FROM contradiction").fetchall()[0][0])


#: The oldest first, then whatever makes the order one.
ORDER = "since, golden_record, attribute, source, file, sheet, row"


def _listed() -> str:
    return ", ".join(quoted(f.name) for f in fields(Contradiction))


@contextmanager
def _found(run: Run, entity_id: str, department: str | None, reveal: bool) -> Iterator[tuple[duckdb.DuckDBPyConnection, int]]:
    """A connection with table contradiction, as of one fusion, and that fusion's number.

    Made again where another fusion was committed meanwhile: what it deleted from a file that had lost rows before is gone for a reader
    who began earlier, too (DuckLake, decision 26).
    """
    entity = run.catalog.entity(entity_id)
    if department is not None and department not in run.catalog.department_titles():
        raise NotFound(f"no department `{department}`; there are {', '.join(sorted(run.catalog.department_titles()))}")
    if not is_fused(run, entity_id):
        raise NotFound(f"no golden records of {entity_id} yet; `dmp run` makes them once one of its sources has been accepted")
    while True:
        fusion = last_fusion(run, entity_id)[1]
        with reading(run.workspace) as con, one_moment(con):
            _make(run, con, entity, department, reveal)
            if last_fusion(run, entity_id)[1] == fusion:
                yield con, fusion
                return


def _make(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity, department: str | None, reveal: bool) -> None:
    con.execute(
        f"CREATE TEMP TABLE wanted AS SELECT _entity, attribute FROM lake.base.{quoted(entity.id + '__origin')} "
        "WHERE values_seen > 1 AND sources_with_value > 1"
    )
    tell(run, con, entity)
    con.execute("CREATE TEMP TABLE sender (source VARCHAR, department VARCHAR)")
    known = [[c.id, c.department.id] for c in run.catalog.contracts.values()]
    con.executemany("INSERT INTO sender VALUES (?, ?)", known)
    con.execute("CREATE TEMP TABLE attributes (attribute VARCHAR, authority VARCHAR, masked BOOLEAN)")
    con.executemany("INSERT INTO attributes VALUES (?, ?, ?)", [[*a, m and not reveal] for *a, m in _attributes(run, entity)])
    con.execute(f"CREATE TEMP TABLE contradiction AS\n{contradiction_sql(entity, department)}")


def _attributes(run: Run, entity: Entity) -> Iterator[tuple[str, str | None, bool]]:
    """Each attribute with the department of the best source that is its authority, and whether any of its columns is masked."""
    sources = sorted(run.catalog.sources_of(entity.id), key=lambda c: c.id)
    for attribute in entity.attributes:
        columns = [(c, m) for c in sources for m in c.mapped if m.name == attribute.name]
        first = next((c.department.id for c, _ in columns if entity.rank(attribute.name, c.id) == 1), None)
        yield attribute.name, first, attribute.is_masked or any(m.is_masked for _, m in columns)


def contradiction_sql(entity: Entity, department: str | None) -> str:
    """The rows, from said, sender and attributes; the cells of a mended file are told by the file that was mended."""
    only = f"\nWHERE {literal(department)} IN (mend_department, department)" if department else ""

    def shown(value: str) -> str:
        return f"CASE WHEN masked THEN {masked_sql(value)} ELSE {value} END"

    return f"""WITH RECURSIVE first AS (
  SELECT batch, file_name, mends FROM lake.ledger.batch
  UNION ALL SELECT f.batch, b.file_name, b.mends FROM first AS f JOIN lake.ledger.batch AS b ON b.batch = f.mends
),
files AS (SELECT batch, file_name FROM first WHERE coalesce(mends, '') = ''),
known AS (SELECT DISTINCT _entity, department FROM asked JOIN sender ON source = _source),
golden AS (
  SELECT o._entity, attribute, o.status, s._source, s.value, s.since, s._batch, s._sheet, s._row
  FROM lake.base.{quoted(entity.id + "__origin")} AS o JOIN said AS s USING (_entity, attribute, _record)
),
lost AS (
  SELECT g._entity AS golden_record, attribute, g.status AS rule, {shown("g.value")} AS golden_value, g._source AS golden_source,
    coalesce(gd.department, g._source) AS golden_department, g.since AS golden_since, gf.file_name AS golden_file,
    g._sheet AS golden_sheet, g._row AS golden_row, {shown("s.value")} AS value, s._source AS source,
    coalesce(sd.department, s._source) AS department, s.since, sf.file_name AS file, s._sheet AS sheet, s._row AS row, s.stale,
    CASE WHEN g.status = 'unconfirmed' AND a.authority <> gd.department AND (g._entity, a.authority) IN (FROM known) THEN a.authority END AS supplier
  FROM golden AS g JOIN said AS s USING (_entity, attribute) JOIN attributes AS a USING (attribute)
  LEFT JOIN sender AS gd ON gd.source = g._source LEFT JOIN sender AS sd ON sd.source = s._source
  JOIN files AS gf ON gf.batch = g._batch JOIN files AS sf ON sf.batch = s._batch
  WHERE s.value <> g.value AND s._source <> g._source
)
SELECT * FROM (
  SELECT * EXCLUDE (supplier), CASE WHEN rule = 'stale' THEN golden_department ELSE coalesce(supplier, department) END AS mend_department,
    CASE WHEN rule = 'stale' THEN 'send_again' WHEN supplier IS NOT NULL THEN 'supply' ELSE 'check_own' END AS mend
  FROM lost
){only}"""
