"""Clerical review: doubts go out in a workbook or a page of Airflow, verdicts come back by one way, and later fusions obey."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import review_book
from pipelines.errors import NotFound, prove
from pipelines.review_book import Problem
from pipelines.review_journal import (
    DIFFERENT,
    SAME,
    Agreement,
    Case,
    Entry,
    Verdict,
    against,
    agreements,
    append,
    cases,
    entries,
    standing,
    told,
)
from pipelines.review_queue import is_ours, questions, queue, to_ask
from pipelines.run import Run

#: Share of the doubts that a second reviewer sees, unless told otherwise.
SAMPLE = 0.1


@dataclass(frozen=True)
class Exported:
    """`doubts` are in the workbook, `asked` would be, were all their records still in force; `found` by the last fusion in all."""

    path: Path
    doubts: int
    asked: int
    found: int


@dataclass(frozen=True)
class Taken:
    """What became of the answers of one import: answers = new + unchanged, or all refused for the problems."""

    entity: str
    reviewer: str
    new: int = 0
    unchanged: int = 0
    blank: int = 0
    problems: tuple[Problem, ...] = ()
    disputed: int = 0  # of the new ones: they contradict what another reviewer said
    equation: str = ""


@dataclass(frozen=True)
class Status:
    """Where the review of an entity stands. Open, decided and disputed doubts; `in_queue` = open + disputed + decided since the last fusion."""

    entity: str
    found: int
    in_queue: int
    open: int
    unsure: int
    same: int
    different: int
    disputed: int
    overruled: int
    reviewers: Mapping[str, int]
    agreements: tuple[Agreement, ...]
    cases: tuple[Mapping[str, Any], ...]


def export(run: Run, entity_id: str, out: Path | None = None, reviewer: str = "", share: float | None = None) -> Exported:
    """Write the doubts that this reviewer is asked as .xlsx, personal values masked (`pipelines.review_mask`).

    `share`: a sample for a second reviewer, the same for everybody who asks for as large a one.
    Raises NotFound where there is nothing to ask, ValueError where the file exists: it may hold answers.
    """
    entity = run.catalog.entity(entity_id)
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"--sample {share}: a share is more than 0 and at most 1, such as 0.1")
    asked = to_ask(run, entity_id, reviewer, share)
    found = queue(run, entity_id)[1]
    shown = questions(run, entity_id, asked)
    if not shown:
        raise NotFound(
            f"{entity_id}: nothing to decide{' in this sample' if share else ''}; `dmp review status {entity_id}` says why"
        )
    path = out or Path(f"review_{entity_id}{'_' + _in_a_name(reviewer) if reviewer else ''}.xlsx")
    if path.exists():
        raise ValueError(f"{path} exists and may hold answers; import it, then remove it, or name another with --out")
    review_book.write(path, entity_id, entity.title, reviewer, shown, _about(run, entity_id, reviewer, share, len(shown), found))
    return Exported(path, len(shown), len(asked), found)


def _in_a_name(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def _about(run: Run, entity_id: str, reviewer: str, share: float | None, count: int, found: int) -> list[tuple[str, str]]:
    title = run.catalog.entity(entity_id).title
    day = run.now.date().isoformat()
    lines = [(f"{title.zh}：待判定 {count} 对，{day}", f"{title.en}: {count} pairs to decide, {day}")]
    if share is not None:
        lines.append(
            (
                f"第二判定人的抽样：全部疑问的 {share:.0%}，按编号抽取",
                f"Sample for a second reviewer: {share:.0%} of all doubts, chosen by their ids",
            )
        )
    elif found > count:
        lines.append(
            (f"最近一次合并共有 {found} 对疑问，其余以后再问", f"The last fusion found {found} in all; the others come later")
        )
    if reviewer:
        lines.append((f"判定人：{reviewer}", f"Reviewer: {reviewer}"))
    return lines


def take_workbook(run: Run, path: Path, reviewer: str = "") -> Taken:
    """Read a workbook back and keep its verdicts; all of them, or none where a line is wrong, each told by its row.

    Writes   one file of `archive/reviews/<entity>/`, in one step: a kill leaves it there or not
    Rows     doubts of the workbook = new + unchanged + blank
    Again    the same file is nothing new, nor is a verdict that the reviewer has given already
    Raises   NotFound where there is no such file; ValueError where nobody says who the reviewer is
    """
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    data = path.read_bytes()
    found = review_book.read(path)
    if found.entity and found.entity not in run.catalog.entities:
        found.problems.append(Problem(None, f"目录中没有主体 {found.entity}", f"the catalogue has no entity `{found.entity}`"))
    if found.problems:
        return Taken(found.entity, found.reviewer, blank=found.blank, problems=tuple(found.problems))
    if reviewer and found.reviewer and reviewer != found.reviewer:
        raise ValueError(f"the workbook was made for {found.reviewer}, not for {reviewer}; export one of your own")
    who = (reviewer or found.reviewer).strip()
    if not who:
        raise ValueError("the workbook names no reviewer; say who decided with --reviewer NAME")
    taken = take(run, found.entity, who, f"workbook {hashlib.sha256(data).hexdigest()}", found.answers)
    if taken.problems:
        return taken
    parts = {"new": taken.new, "unchanged": taken.unchanged, "blank": found.blank}
    return Taken(
        taken.entity, who, taken.new, taken.unchanged, found.blank, (), taken.disputed,
        prove("review", path.name, found.lines, parts),
    )  # fmt: skip


def take(run: Run, entity_id: str, reviewer: str, brought: str, said: Sequence[tuple[int | None, Verdict]]) -> Taken:
    """Keep verdicts, each with the row it stands in: the one way in, for workbooks and for Airflow.

    Refused, all of them: a doubt that this workspace never asked about these records; same or different without a reason; a verdict from which a
    decision would follow that contradicts the catalogue or what was decided before, told with the file and line, or who and when.
    A verdict that contradicts that of another reviewer is kept: the doubt is disputed from then on.
    """
    with run.workspace.locked(f"review-{entity_id}"):
        before = entries(run.workspace, entity_id)
        if any(e.brought == brought for e in before):
            return Taken(entity_id, reviewer, unchanged=len(said))
        known = cases(before)
        new = [(row, v) for row, v in said if not _said_already(known.get(v.doubt), reviewer, v)]
        problems = list(_wrong(run, entity_id, new))
        after = cases([*before, Entry(len(before) + 1, run.now, reviewer, brought, tuple(v for _, v in new))])
        if not problems:
            problems = list(_contradictions(run, entity_id, new, known, after))
        if problems:
            return Taken(entity_id, reviewer, problems=tuple(problems))
        if new:
            append(run.workspace, entity_id, run.now, reviewer, brought, [v for _, v in new])
    disputed = sum(after[v.doubt].state == "disputed" for _, v in new)
    return Taken(entity_id, reviewer, len(new), len(said) - len(new), disputed=disputed)


def _said_already(case: Case | None, reviewer: str, verdict: Verdict) -> bool:
    return case is not None and reviewer in case.last and case.last[reviewer][0] == verdict


def _wrong(run: Run, entity: str, said: Sequence[tuple[int | None, Verdict]]) -> Sequence[Problem]:
    found = []
    for row, v in said:
        if not is_ours(run, entity, v.doubt, v.left, v.right):
            found.append(
                Problem(
                    row,
                    "不是本平台提出的疑问（标记被改，或来自另一个工作区）",
                    "no doubt of this workspace: its mark was changed, or it is another's",
                )
            )
        elif v.verdict in (SAME, DIFFERENT) and not v.reason.strip():
            found.append(Problem(row, "缺少理由", "the reason is missing"))
    return found


def _contradictions(
    run: Run, entity: str, said: Sequence[tuple[int | None, Verdict]], before: Mapping[str, Case], after: Mapping[str, Case]
) -> Sequence[Problem]:
    catalogue = run.catalog.decisions.get(entity, ())
    _, overruled_before = standing(catalogue, before)
    held, overruled = standing(catalogue, after)
    known = {c.doubt for c in overruled_before}
    rows = {v.doubt: row for row, v in said}
    found = []
    for case in overruled:
        if case.doubt in known and case.doubt not in rows:
            continue
        where = against(run, entity, case, held)
        found.append(Problem(rows.get(case.doubt), f"与已有的判定矛盾：{where}", f"contradicts what is decided already: {where}"))
    return found


def status(run: Run, entity_id: str) -> Status:
    """Counts of open, decided and disputed doubts, and how well reviewers agree."""
    run.catalog.entity(entity_id)
    queued, found = queue(run, entity_id)
    known = cases(entries(run.workspace, entity_id))
    _, overruled = standing(run.catalog.decisions.get(entity_id, ()), known)
    states = Counter(c.state for c in known.values())
    reviewers = Counter(who for c in known.values() for who in c.last)
    return Status(
        entity_id,
        found,
        len(queued),
        sum(q.doubt not in known or known[q.doubt].state == "unsure" for q in queued),
        states["unsure"],
        states[SAME],
        states[DIFFERENT],
        states["disputed"],
        len(overruled),
        dict(sorted(reviewers.items())),
        tuple(agreements(known.values())),
        tuple(told(known.values())),
    )
