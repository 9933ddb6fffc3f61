"""The queue of doubts: what a fusion writes about them, and what a reviewer is shown: two records side by side, personal values masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.entity import Entity
from pipelines.dedupe import digest_sql
from pipelines.review_journal import Case, cases, doubt_id, entries, is_sampled
from pipelines.review_mask import Compared, compared
from pipelines.run import Run
from pipelines.said import tell
from warehouse.lake import literal, table, table_columns

#: Kind of a doubt -> why it is asked, in Chinese and English. `pipelines.link_doubts` says when.
WHY: Mapping[str, tuple[str, str]] = {
    "near": ("相似度略低于阈值，系统未合并", "a little less alike than the threshold asks; left apart"),
    "apart": ("相似度达到阈值，但整组不相似，系统未合并", "as alike as the threshold asks, but their groups are not; left apart"),
    "weak": ("相似度略高于阈值，系统已合并", "a little more alike than the threshold asks; merged"),
    "bridge": ("两组记录仅靠这一对相连，系统已合并", "two groups of records hang together by this pair alone; merged"),
    "clash": ("同一号码，但主要信息互相矛盾，系统未合并", "one identifier on two that contradict each other; left apart"),
    "large": ("合并后的一组记录过多，这两条矛盾最多", "a group of too many records; these two contradict each other most"),
}  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two records: the row a clerk can look up."""

    record: str
    entity: str
    department_zh: str
    department_en: str
    file_name: str
    sheet: str | None
    row: int


@dataclass(frozen=True)
class Question:
    """One doubt as a reviewer sees it. `records` is how many records stand on each side."""

    doubt: str
    kind: str
    probability: float | None
    left: Side
    right: Side
    records: tuple[int, int]
    fields: tuple[Compared, ...]
    disputed: bool = False

    @property
    def why(self) -> tuple[str, str]:
        return WHY.get(self.kind, (self.kind, self.kind))


#: The largest queue of an entity. What is beyond it is counted; it comes up when those before it are decided.
MOST = 1_000

#: Questions about one record in one queue: somebody of a common name is near to hundreds.
PER_RECORD = 3


def queue_sql(entity: Entity) -> str:
    """The rows of quality.review, from `doubts`. Needs the digest key as variables."""
    text = f"{literal(entity.id)} || chr(29) || 'review' || chr(29) || _left || chr(29) || _right"
    return f"""SELECT {literal(entity.id)} AS entity, left({digest_sql(text)}, 32) AS doubt, kind, probability, identifier, priority,
  _left AS left_record, _right AS right_record, l_records AS left_records, r_records AS right_records
FROM doubts ORDER BY priority DESC, doubt"""


@dataclass(frozen=True)
class Queued:
    """A row of quality.review; or a doubt that is in the queue no more, but that a reviewer has spoken of."""

    doubt: str
    kind: str
    probability: float | None
    left: str
    right: str
    records: tuple[int, int] = (1, 1)


def queue(run: Run, entity: str) -> tuple[list[Queued], int]:
    """The doubts that people are asked about, at most `MOST` and `PER_RECORD`, most pressing first; and how many there are in all."""
    first = "row_number() OVER (PARTITION BY {} ORDER BY priority DESC, doubt)"
    rows = run.con.execute(
        "SELECT doubt, kind, probability, left_record, right_record, left_records, right_records, found FROM (\n"
        f"  SELECT *, {first.format('left_record')} AS l, {first.format('right_record')} AS r, count(*) OVER () AS found\n"
        "  FROM lake.quality.review WHERE entity = ?)\n"
        f"WHERE greatest(l, r) <= {PER_RECORD} ORDER BY priority DESC, doubt LIMIT {MOST}",
        [entity],
    ).fetchall()
    return [Queued(d, kind, p, a, b, (n, m)) for d, kind, p, a, b, n, m, _ in rows], rows[0][-1] if rows else 0


def to_ask(run: Run, entity: str, reviewer: str | None, share: float | None = None, *, unsure_last: bool = False) -> list[Queued]:
    """What this reviewer is asked: the doubts nobody settled, in order, and those in dispute.

    `share`: of a second reviewer, who sees a sample of all doubts, those included that others have settled since, but for what he
    answered himself. `unsure_last`: what somebody left unsure comes last.
    """
    found = cases(entries(run.workspace, entity))
    queued, _ = queue(run, entity)
    here = {q.doubt for q in queued}
    others = [Queued(c.doubt, c.kind, None, c.left, c.right) for c in found.values() if c.doubt not in here]
    if share is None:
        disputed = [q for q in others if found[q.doubt].state == "disputed"]  # the next fusion will find them again
        asked = [q for q in queued if (c := found.get(q.doubt)) is None or c.state in ("unsure", "disputed")] + disputed
        return sorted(asked, key=lambda q: q.doubt in found) if unsure_last else asked
    queued += others
    return [q for q in queued if is_sampled(q.doubt, share) and not _answered(found.get(q.doubt), reviewer)]


def _answered(case: Case | None, reviewer: str | None) -> bool:
    return case is not None and reviewer in case.last and case.state != "disputed"


def questions(run: Run, entity_id: str, asked: Sequence[Queued], *, whole: bool = True) -> list[Question]:
    """The doubts with both records as linking saw them; those of which a record is in force no more are left out.
    `whole` as in `pipelines.review_mask`."""
    entity = run.catalog.entity(entity_id)
    sides = _sides(run, entity_id, sorted({r for q in asked for r in (q.left, q.right)}))
    disputed = {d for d, c in cases(entries(run.workspace, entity_id)).items() if c.state == "disputed"}
    shown = _shown(entity)
    values = _values(run, entity, sides, [a.name for a in shown])
    found = []
    for q in asked:
        if q.left not in sides or q.right not in sides:
            continue
        fields = []
        for a in shown:
            (left, old), (right, old_too) = (values.get((r, a.name), (None, False)) for r in (q.left, q.right))
            fields.append(compared(a, left, right, whole=whole, older=(old, old_too)))
        found.append(
            Question(
                q.doubt,
                q.kind,
                q.probability,
                sides[q.left],
                sides[q.right],
                q.records,
                tuple(f for f in fields if f.left or f.right),
                q.doubt in disputed,
            )
        )
    return found


def _shown(entity: Entity) -> list[Any]:
    """What linking looked at, then what is not personal. Personal values that play no part are not shown."""
    looked = [n for i in entity.identifiers for n in i.attributes]
    looked += [c.attribute for c in entity.match.compare] if entity.match else []
    looked += [n for item in entity.clashing for n in item]
    rest = [a.name for a in entity.attributes if not a.is_masked]
    return [entity.attribute(n) for n in dict.fromkeys(looked + rest)]


def _sides(run: Run, entity: str, records: Sequence[str]) -> dict[str, Side]:
    """Record -> its side."""
    if not records or not table_columns(run.con, f"base.{entity}__member"):
        return {}
    rows = run.con.execute(
        f"SELECT m._record, m._entity, m._source, m._sheet, m._row, b.file_name "
        f"FROM {table(f'base.{entity}__member')} AS m JOIN lake.ledger.batch AS b ON b.batch = m._batch "
        "WHERE m._record IN (SELECT unnest($1))",
        [records],
    ).fetchall()
    titles = run.catalog.department_titles()
    found = {}
    for record, golden, source, sheet, row, name in rows:
        contract = run.catalog.contracts.get(source)
        zh, en = titles[contract.department.id] if contract else (source, source)
        found[record] = Side(record, golden, zh, en, name, sheet, row)
    return found


def _values(
    run: Run, entity: Entity, sides: Mapping[str, Side], names: Sequence[str]
) -> Mapping[tuple[str, str], tuple[str, bool]]:
    """(Record, attribute) -> the value that linking went by, and whether the record's newest row leaves it empty."""
    if not sides:
        return {}
    run.con.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS SELECT _entity, unnest($2) AS attribute FROM (SELECT DISTINCT unnest($1) AS _entity)",
        [[side.entity for side in sides.values()], names],
    )
    tell(run, run.con, entity)
    rows = run.con.execute(
        "SELECT _record, attribute, value, stale FROM said WHERE _record IN (SELECT unnest($1))", [list(sides)]
    ).fetchall()
    return {(record, attribute): (value, stale) for record, attribute, value, stale in rows}


def is_ours(run: Run, entity: str, doubt: str, left: str, right: str) -> bool:
    """Whether a doubt that comes back is one that this workspace asked about these two records."""
    return doubt == doubt_id(run.workspace, entity, left, right)
