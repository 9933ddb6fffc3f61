"""What reviewers said about doubts, kept in the archive for ever, and what follows from it.

`archive/reviews/<entity>/<number>.json` is one import: who, when, from which workbook or page, and his verdicts. Files are only added.
Everything else is worked out from them each time: what is settled, what is disputed, which decisions a fusion obeys, how
well reviewers agree. So there is nothing to repair after a kill, and a warehouse that is rebuilt from the archive obeys as before.

A doubt is settled when all who said *same* or *different* say the same; *unsure* settles nothing and stands in nobody's way.
Where they disagree the doubt is disputed: no decision follows from it until one of them changes his mind.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

from catalog.decision import Decision
from catalog.yaml_file import place
from pipelines.errors import StageError
from pipelines.run import Run
from warehouse.layout import Workspace, write_atomically

SAME, DIFFERENT, UNSURE = "same", "different", "unsure"

#: File with the SHA-256 of the newest import, so that one that is taken away is missed.
TIP = "tip"


@dataclass(frozen=True)
class Verdict:
    """What one reviewer says about two records."""

    doubt: str
    left: str
    right: str
    kind: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One import. `brought` is the SHA-256 of the workbook, or the name of the page in Airflow."""

    number: int
    recorded_at: datetime
    reviewer: str
    brought: str
    verdicts: tuple[Verdict, ...]


@dataclass
class Case:
    """All that was said about one doubt. `first` is what each reviewer said without knowing of a dispute, `last` what holds."""

    doubt: str
    left: str
    right: str
    kind: str
    number: int = 0  # of the import that spoke last
    first: dict[str, Verdict] = field(default_factory=dict)
    last: dict[str, tuple[Verdict, datetime]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`same`, `different`, `disputed`, or `unsure` where nobody said either."""
        said = {v.verdict for v, _ in self.last.values()} - {UNSURE}
        return "disputed" if len(said) > 1 else said.pop() if said else UNSURE

    @property
    def decision(self) -> Decision | None:
        """What a fusion has to obey."""
        if self.state not in (SAME, DIFFERENT):
            return None
        spoke = {who: (v, at) for who, (v, at) in sorted(self.last.items()) if v.verdict == self.state}
        reason = "；".join(dict.fromkeys(v.reason for v, _ in spoke.values()))
        records = (self.left, self.right)
        return Decision.model_validate(
            {
                "must_link" if self.state == SAME else "cannot_link": records,
                "reason": {"zh": reason, "en": reason},
                "decided_by": "、".join(spoke),
                "decided_on": max(at for _, at in spoke.values()).date(),
            }
        )


@dataclass(frozen=True)
class Agreement:
    """Two reviewers on the doubts to which both said same or different, each without knowing of the other.

    Four counts: what `a` said, then what `b` said. An auditor has the rest of them with a pocket calculator:
    share = (same_same + different_different) / n, chance = ((ss + sd)(ss + ds) + (ds + dd)(sd + dd)) / n², kappa = (share - chance) / (1 - chance).
    """

    a: str
    b: str
    same_same: int
    same_different: int
    different_same: int
    different_different: int
    unsure: int  # doubts that at least one of them left open; in none of the four

    @property
    def n(self) -> int:
        return self.same_same + self.same_different + self.different_same + self.different_different

    @property
    def share(self) -> Fraction | None:
        return Fraction(self.same_same + self.different_different, self.n) if self.n else None

    @property
    def kappa(self) -> Fraction | None:
        """Cohen's kappa; None where both always gave the one same answer, for which it is not defined."""
        ss, sd, ds, dd = self.same_same, self.same_different, self.different_same, self.different_different
        chance = (ss + sd) * (ss + ds) + (ds + dd) * (sd + dd)
        whole = self.n**2
        return Fraction(self.n * (ss + dd) - chance, whole - chance) if whole != chance else None


def doubt_id(workspace: Workspace, entity: str, left: str, right: str) -> str:
    """The id of the doubt about two records, whichever comes first: the same in every run, as in `review_queue.queue_sql`."""
    text = "\x1d".join((entity, "review", min(left, right), max(left, right)))
    return hmac.new(workspace.digest_key, text.encode(), hashlib.sha256).hexdigest()[:32]


def is_sampled(doubt: str, share: float) -> bool:
    """Whether a doubt belongs to the sample that a second reviewer sees: by its id alone, so the same for everybody."""
    return int(doubt[:8], 16) < share * 2**32


def folder(workspace: Workspace, entity: str) -> Path:
    return workspace.archive / "reviews" / entity


def entries(workspace: Workspace, entity: str) -> list[Entry]:
    """Every import, oldest first. Raises StageError where one is missing or cannot be read."""
    found = []
    for number, path in enumerate(sorted(folder(workspace, entity).glob("[0-9]*.json")), 1):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["number"] != number or path.name != _name(number):
                raise ValueError(f"number {number} is missing before it")
            verdicts = tuple(Verdict(**v) for v in data["verdicts"])
            found.append(Entry(number, datetime.fromisoformat(data["recorded_at"]), data["reviewer"], data["brought"], verdicts))
        except (ValueError, KeyError, TypeError) as error:
            raise StageError(
                f"{path}: the journal of reviews is damaged ({error}); bring this folder of the archive back from the backup"
            ) from None
    return found


def append(
    workspace: Workspace, entity: str, recorded_at: datetime, reviewer: str, brought: str, said: Sequence[Verdict]
) -> Entry:
    """Add one import, whole or not at all, with the SHA-256 of the one before it. The caller holds the lock `review-<entity>`."""
    home, number = folder(workspace, entity), len(entries(workspace, entity)) + 1
    entry = Entry(number, recorded_at, reviewer, brought, tuple(said))
    previous = hashlib.sha256((home / _name(number - 1)).read_bytes()).hexdigest() if number > 1 else None
    data = {**asdict(entry), "entity": entity, "recorded_at": recorded_at.isoformat(), "previous": previous}
    text = json.dumps(data, ensure_ascii=False, indent=1).encode()
    write_atomically(home / _name(number), text, mode=0o600)
    write_atomically(home / TIP, hashlib.sha256(text).hexdigest().encode(), mode=0o600)
    return entry


def chain_problems(run: Run) -> Iterator[str]:
    """Each import of every entity is in its place, readable, and names the one before it; the newest is there."""
    for home in sorted((run.workspace.archive / "reviews").glob("*/")):
        tip = (home / TIP).read_text() if (home / TIP).is_file() else None  # first: an import may come in meanwhile
        try:
            entries(run.workspace, home.name)
        except StageError as error:
            yield str(error)
            continue
        former, hashes = None, set()
        for path in sorted(home.glob("[0-9]*.json")):
            data = path.read_bytes()
            if json.loads(data).get("previous") != former:
                yield f"{path}: the chain of reviews is broken; this import or the one before it was changed"
            former = hashlib.sha256(data).hexdigest()
            hashes.add(former)
        if tip is not None and tip not in hashes:
            yield f"{home}: the newest import of reviews is missing or was changed; its SHA-256 was {tip}"


def _name(number: int) -> str:
    return f"{number:06}.json"


def cases(said: Iterable[Entry]) -> dict[str, Case]:
    """Doubt -> what was said about it."""
    found: dict[str, Case] = {}
    for entry in said:
        for v in entry.verdicts:
            case = found.setdefault(v.doubt, Case(v.doubt, v.left, v.right, v.kind))
            if case.state != "disputed":
                case.first.setdefault(entry.reviewer, v)
            case.last[entry.reviewer] = (v, entry.recorded_at)
            case.number = entry.number
    return found


class _Sides:
    """Decisions that agree so far: who is one with whom, and who may not be."""

    def __init__(self) -> None:
        self.above: dict[str, str] = {}
        self.apart: dict[str, set[str]] = {}

    def group(self, record: str) -> str:
        while (above := self.above.setdefault(record, record)) != record:
            self.above[record] = record = self.above[above]
        return record

    def takes(self, decision: Decision) -> bool:
        """Add a decision; False, and nothing added, where it contradicts the ones before it."""
        groups = [self.group(r) for r in decision.records]
        if decision.must_link:
            if any(b in self.apart.get(a, ()) for a, b in combinations(sorted(set(groups)), 2)):
                return False
            for other in groups[1:]:
                self._join(self.group(groups[0]), self.group(other))
            return True
        if len(set(groups)) < len(groups):
            return False
        for a, b in combinations(groups, 2):
            self.apart.setdefault(a, set()).add(b)
            self.apart.setdefault(b, set()).add(a)
        return True

    def _join(self, a: str, b: str) -> None:
        if a == b:
            return
        if len(self.apart.get(a, ())) < len(self.apart.get(b, ())):
            a, b = b, a
        self.above[b] = a
        for c in self.apart.pop(b, set()):
            self.apart[c].discard(b)
            self.apart[c].add(a)
            self.apart.setdefault(a, set()).add(c)


def standing(catalogue: Sequence[Decision], found: Mapping[str, Case]) -> tuple[list[Case], list[Case]]:
    """Of the settled cases those that hold, and those that are overruled: by the catalogue, which stands above all, or by a case that
    was settled before. In the order in which they were settled."""
    sides = _Sides()
    for decision in catalogue:
        sides.takes(decision)
    held: list[Case] = []
    overruled: list[Case] = []
    for case in sorted(found.values(), key=lambda c: (c.number, c.doubt)):
        if case.decision:
            (held if sides.takes(case.decision) else overruled).append(case)
    return held, overruled


def obeyed(run: Run, entity: str) -> tuple[Decision, ...]:
    """Every decision that a fusion of the entity obeys: those of the catalogue, then those of reviewers that do not contradict them."""
    catalogue = run.catalog.decisions.get(entity, ())
    held, _ = standing(catalogue, cases(entries(run.workspace, entity)))
    return (*catalogue, *(said for c in held if (said := c.decision)))


def against(run: Run, entity: str, case: Case, held: Sequence[Case]) -> str:
    """Where the decision stands that contradicts this case: a line of the catalogue, or who decided when."""
    path = run.catalog.root / "decisions" / f"{entity}.yaml"
    wanted = {case.left, case.right}
    known: list[tuple[Decision, str]] = [
        (d, place(path, "decisions", n)) for n, d in enumerate(run.catalog.decisions.get(entity, ()))
    ]
    known += [(said, f"{said.decided_by} {said.decided_on}") for c in held if (said := c.decision)]
    both = [where for d, where in known if wanted <= set(d.records)]
    either = [where for d, where in known if wanted & set(d.records)]
    return ", ".join(list(dict.fromkeys(both[:1] or either[:2])))


def agreements(found: Iterable[Case]) -> list[Agreement]:
    """One per pair of reviewers who have looked at a doubt in common, by name."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for case in found:
        for a, b in combinations(sorted(case.first), 2):
            said = (case.first[a].verdict, case.first[b].verdict)
            key = "unsure" if UNSURE in said else "_".join(said)
            mine = counts.setdefault((a, b), dict.fromkeys(_COUNTS, 0))
            mine[key] += 1
    return [Agreement(a, b, **mine) for (a, b), mine in sorted(counts.items())]


_COUNTS = ("same_same", "same_different", "different_same", "different_different", "unsure")


def told(found: Iterable[Case]) -> Iterator[Mapping[str, Any]]:
    """Every case with who said what, when and why, for machines."""
    for case in sorted(found, key=lambda c: (c.number, c.doubt)):
        said = [
            {
                "reviewer": who,
                "verdict": v.verdict,
                "reason": v.reason,
                "at": at,
                "first": case.first[who].verdict if who in case.first else None,
            }
            for who, (v, at) in sorted(case.last.items())
        ]
        yield {"doubt": case.doubt, "records": [case.left, case.right], "kind": case.kind, "state": case.state, "said": said}
