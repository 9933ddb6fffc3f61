"""What became of golden records: since a fusion or an instant for those who keep copies, and where an old id leads today."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.dedupe import last_fusion
from pipelines.errors import NotFound
from pipelines.identity import RETIRED
from pipelines.run import Run

_COLUMNS = "number, recorded_at, _entity, change, other, attributes, reason_zh, reason_en"


@dataclass(frozen=True)
class Change:
    """One thing that fusion `number` did to a golden record or its id.

    `other` is the id it was merged into, or the one its records stood in before a split; `attributes` are those whose value changed.
    """

    number: int
    recorded_at: datetime
    entity_id: str
    change: str
    other: str | None
    attributes: tuple[str, ...]
    zh: str
    en: str


@dataclass(frozen=True)
class Changes:
    """`upto` is the newest fusion: the `since` of the next question, so that nothing is asked twice or missed."""

    entity: str
    upto: int
    changes: tuple[Change, ...]


def changes(run: Run, entity_id: str, since: int | datetime = 0, limit: int | None = None) -> Changes:
    """What changed after fusion number `since`, or what was recorded after an instant; oldest first, no personal value.

    A number is the better mark: a fusion may commit while the question is on its way, and two may share an instant. With `limit`,
    `upto` is the last fusion that is told whole; at least one is. Raises NotFound for an entity that there is not.
    """
    run.catalog.entity(entity_id)
    later = "number > ?" if isinstance(since, int) else "recorded_at > ?"
    if isinstance(since, datetime) and since.tzinfo is None:
        raise ValueError(f"`{since}` has no time zone; write it as 2026-03-02T08:30:00+08:00")
    upto = last_fusion(run, entity_id)[1]
    known = [entity_id, since if isinstance(since, int) else since.astimezone(UTC), upto]
    where = f"entity = ? AND {later} AND number <= ?"
    if limit is not None:
        whole = run.con.execute(
            f"SELECT number, sum(count(*)) OVER (ORDER BY number) AS rows FROM lake.ledger.entity_change WHERE {where} "
            "GROUP BY number ORDER BY number",
            known,
        ).fetchall()
        fitting = [number for place, (number, rows) in enumerate(whole) if rows <= limit or place == 0]
        if len(fitting) < len(whole):
            upto = known[2] = fitting[-1]
    rows = run.con.execute(
        f"SELECT {_COLUMNS} FROM lake.ledger.entity_change WHERE {where} ORDER BY number, _entity, change", known
    ).fetchall()
    return Changes(entity_id, upto, tuple(_change(row) for row in rows))


def _change(row: tuple[Any, ...]) -> Change:
    number, recorded_at, one, change, other, attributes, zh, en = row
    return Change(number, recorded_at, one, change, other, tuple(attributes or ()), zh, en)


def history(run: Run, entity_id: str, one: str) -> tuple[Change, ...]:
    """Everything that happened to one id, oldest first, with what was merged into it or split from it."""
    rows = run.con.execute(
        f"SELECT {_COLUMNS} FROM lake.ledger.entity_change WHERE entity = ? AND (_entity = ? OR other = ?) "
        "ORDER BY number, _entity, change",
        [entity_id, one, one],
    ).fetchall()
    return tuple(_change(row) for row in rows)


def redirects(run: Run, entity_id: str, old: str) -> tuple[Change, ...]:
    """The merges that lead from a retired id (or its beginning) to the one that stands for it today, in order; empty where no
    retired id begins like that. Raises NotFound where it ended, with the reason, or where several begin like that."""
    retired = {
        str(row[2]): _change(row)
        for row in run.con.execute(
            f"SELECT {_COLUMNS} FROM lake.ledger.entity_change WHERE entity = ? AND change <> 'changed' "
            f"QUALIFY row_number() OVER (PARTITION BY _entity ORDER BY number DESC) = 1 AND change IN {RETIRED}",
            [entity_id],
        ).fetchall()
    }
    found = sorted(i for i in retired if i.startswith(old))
    if len(found) > 1:
        raise NotFound(f"`{old}` fits several former ids: {', '.join(i[:12] for i in found[:5])}; give more of the id")
    way: list[Change] = []
    at: str | None = found[0] if found else None
    while at in retired:
        way.append(retired[at])
        at = way[-1].other
    if way and way[-1].change == "ended":
        last = way[-1]
        raise NotFound(
            f"{entity_id} {found[0]} is no more since {last.recorded_at.isoformat(timespec='seconds')} (fusion {last.number}): "
            f"{last.en}. {last.zh}"
        )
    return tuple(way)
