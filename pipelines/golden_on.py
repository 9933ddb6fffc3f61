"""Golden records as they were true on a day: valid time, beside the recorded time of `pipelines.golden`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime

import duckdb

from pipelines import models
from pipelines.clean import working
from pipelines.dedupe import records_in_force
from pipelines.golden import shown_sql
from pipelines.identity import read_before
from pipelines.link import link
from pipelines.merge import choose
from pipelines.review_journal import obeyed
from pipelines.run import Run
from warehouse.lake import quoted


@contextmanager
def golden_on(
    run: Run, entity_id: str, day: date, as_of: datetime | None = None, *, reveal: bool = False
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection, and the SELECT on it of the golden records that were true on `day`: `_entity` and attributes, personal values masked
    unless `reveal`.

    Made anew from every row whose period had ended by then, linked by the model and the decisions in force today: what arrived later
    about that time counts, what speaks of a later time does not. Ids are those of today, or what a fusion would mint. `as_of`: from
    what had arrived by that instant. Cost: a whole fusion. Nothing is kept; a fusion of the entity waits. Raises NotFound where no row is
    of that time.
    """
    entity = run.catalog.entity(entity_id)
    # No fusion in the meantime: of what it deletes, DuckLake would take some away from us, too (decision 26).
    with run.workspace.locked(f"entity-{entity_id}"), working(run) as con:
        records_in_force(run, con, entity, on=day, as_of=as_of)
        link(con, entity, "records", "clusters", "clashes", obeyed(run, entity_id), pinned=models.pinned(run.workspace, entity))
        read_before(run, con, entity, whole=True)
        choose(con, entity, [s for (s,) in con.execute("SELECT DISTINCT _source FROM records").fetchall()])
        values = [shown_sql(entity, a.name, f"{quoted(a.name)}.v", reveal) for a in entity.attributes]
        yield con, f"SELECT _entity, {', '.join(values)}\nFROM chosen\nORDER BY _entity"
