"""Where every source stands: last batch, what is due, score. For the terminal and for machines (`--json`)."""

from __future__ import annotations

from typing import Any

from pipelines import archive
from pipelines.manifest import companions
from pipelines.run import Run
from pipelines.scorecard import SourceCard, scorecard


def scoreboard(run: Run) -> list[dict[str, Any]]:
    """One entry per source, worst overall score first; scores None where nothing could be scored yet."""
    policy = scorecard(run)
    rows = [_line(card, policy.policy) for card in policy.sources]
    return sorted(rows, key=lambda r: (r["O"] is None, r["O"] or 0, r["source"]))


def _line(card: SourceCard, policy: Any) -> dict[str, Any]:
    overall = card.score.o.value
    grade = policy.grade(overall) if overall is not None else None
    last = card.batches[-1] if card.batches else None
    return {
        "source": card.contract.id, "title": card.contract.title.zh, "title_en": card.contract.title.en,
        "T": card.score.t.value, "Q": card.score.q.value, "O": overall,
        "grade": grade.zh if grade else None, "grade_en": grade.en if grade else None,
        "rows_in": card.rows_read, "rows_refused": card.rows_refused, "merged": card.merged,
        "due": sum(s.is_due for s in card.slots), "late": sum(s.state == "late" for s in card.slots),
        "missing": len(card.missing), "last_batch": last.batch if last else None,
        "verdict": last.verdict if last else None,
    }  # fmt: skip


def waiting_files(run: Run) -> dict[str, list[str]]:
    """Files in the landing folders: by the source that expects them, with what each still waits for, and under `` those
    that no contract expects."""
    found: dict[str, list[str]] = {}
    expected = set()
    for contract in run.catalog.contracts.values():
        missing = archive.unready(run, contract)
        for path in [*archive.waiting(run, contract), *missing]:
            expected |= {path, *(c.path for c in companions(path))}
            waits = f" (waits for {missing[path]})" if path in missing else ""
            found.setdefault(contract.id, []).append(archive.plain_name(path) + waits)
    for path in sorted(run.workspace.landing.glob("*/*")):
        if path.is_file() and not path.name.startswith(".") and path not in expected:
            found.setdefault("", []).append(f"{path.parent.name}/{archive.plain_name(path)}")
    return found
