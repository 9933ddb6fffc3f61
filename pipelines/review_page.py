"""A doubt as a page of Airflow, and the answer that comes back from there.

What is shown is kept in Airflow's own database, which nobody restricts as the workspace is restricted. So what differs is masked too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.review import take
from pipelines.review_book import CHOICES
from pipelines.review_journal import Verdict
from pipelines.review_queue import Question, Side, questions, to_ask
from pipelines.run import Run


class Refused(Exception):
    """An answer that cannot be taken. The doubt stays open."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(f"{zh} / {en}")
        self.zh, self.en = zh, en


def pages(run: Run, entity_id: str, most: int) -> list[dict[str, Any]]:
    """The doubts of the day, most pressing first, those that somebody left unsure last: subject and body of each page, and what has to come
    back with its answer."""
    asked = to_ask(run, entity_id, None, unsure_last=True)[:most]
    title = run.catalog.entity(entity_id).title
    return [
        {
            "subject": f"[{q.doubt[:8]}] {title.zh}：甲和乙是同一个吗？ {title.en}: are A and B one?",
            "body": body(q),
            "doubt": {"doubt": q.doubt, "left": q.left.record, "right": q.right.record, "kind": q.kind},
        }
        for q in questions(run, entity_id, asked, whole=False)
    ]


def keep(run: Run, entity_id: str, doubt: Mapping[str, str], answer: Mapping[str, Any], brought: str) -> str:
    """Take the answer to one page, as `pipelines.review.take` does; what became of it in a word. Raises Refused."""
    user = answer.get("responded_by_user")
    if not user:
        return "nobody answered"  # time was up, and `unsure` is only what the page says by itself
    reason = str((answer.get("params_input") or {}).get("reason") or "").strip()
    verdict = Verdict(**doubt, verdict=CHOICES[answer["chosen_options"][0]], reason=reason)
    taken = take(run, entity_id, str(user["name"]), f"{brought}/{answer.get('responded_at')}", [(None, verdict)])
    if taken.problems:
        raise Refused("；".join(p.zh for p in taken.problems), "; ".join(p.en for p in taken.problems))
    return "disputed" if taken.disputed else "kept" if taken.new else "known already"


def body(q: Question) -> str:
    """The page in Markdown. Values are escaped: they come from files that anybody may have written."""
    zh, en = q.why
    likeness = "" if q.probability is None else f"  \n匹配概率 probability **{q.probability:.4f}**"
    moved = f"{q.records[0]} + {q.records[1]}" if q.kind != "large" else str(q.records[0])
    rows = [
        ("部门 Department", *(_plain(f"{s.department_zh} {s.department_en}") for s in (q.left, q.right)), ""),
        ("文件与行 File and row", _place(q.left), _place(q.right), ""),
    ]
    for f in q.fields:
        name = f.zh if f.zh == f.en else f"{f.zh} {f.en}"
        told = f"{f.told_zh} {f.told_en}"
        rows.append((_plain(name), _plain(f.left), _plain(f.right), f"**{told}**" if f.verdict == "differs" else told))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    disputed = "**有分歧 disputed**  \n" if q.disputed else ""
    return (
        f"{disputed}{zh}  \n{en}{likeness}  \n涉及记录 records concerned: {moved}\n\n"
        f"| 项目 Field | 甲 A | 乙 B | 比较 Compared |\n|---|---|---|---|\n{table}\n\n"
        "个人信息已隐去中间；号码只显示最后四位。请先写理由，再选判定。\n\n"
        "Personal values are masked; numbers show their last four characters. Write the reason first, then choose."
    )


def _place(side: Side) -> str:
    sheet = f"{side.sheet}, " if side.sheet else ""
    return _plain(f"{side.file_name}, {sheet}第 {side.row} 行 row {side.row}")


def _plain(text: str) -> str:
    """Text that neither Markdown nor Jinja takes for more than text."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$%&])", r"\\\1", " ".join(text.split()))
