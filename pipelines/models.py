"""Models that an entity is matched by: learned once, numbered, kept in the archive, and watched.

The newest is the one in force. Nobody's golden record changes because other people were added: a pair is as alike as the model
says, until somebody has a new one learned (`dmp model train`), and then everything is linked anew by it. The archive keeps them all,
for what a former fusion did is explained by the model it had, and a rebuilt warehouse shall link as the old one does.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from catalog.entity import Entity
from pipelines.errors import NotFound
from pipelines.link_kinds import digest, looks
from pipelines.link_model import BOUNDS, Figures, Model, read
from pipelines.run import Run
from warehouse.layout import Workspace

#: An attribute filled this much more or less often than where the model learned, as a share of the records, is told.
FILLED_OTHERWISE = 0.10

#: Population stability index from which two distributions are taken as different (0.1 to 0.25 is the usual "look at it").
UNSTABLE = 0.25

#: So many times more or fewer pairs for each record than where the model learned are told.
PAIRS_OTHERWISE = 3.0

#: Fewer records say nothing about drift.
FEWEST_RECORDS = 200


def folder(workspace: Workspace, entity: str, version: int) -> Path:
    return workspace.archive / "models" / entity / str(version)


def in_force(workspace: Workspace, entity: Entity) -> int:
    """The number of the model to link by; 0 where none is pinned, or the newest compares as a former version of the software did."""
    number = newest(workspace, entity.id)
    return number if number and read(folder(workspace, entity.id, number)).looks == looks_digest(entity) else 0


def pinned(workspace: Workspace, entity: Entity) -> Path | None:
    """The folder of the model that linking goes by; None where it learns its own, or compares nothing."""
    version = in_force(workspace, entity)
    return folder(workspace, entity.id, version) if version and entity.match else None


def looks_digest(entity: Entity) -> str:
    return digest(looks(entity, frozenset(a.name for a in entity.attributes)))


def newest(workspace: Workspace, entity: str) -> int:
    """The number of the newest model; 0 where there is none."""
    found = (workspace.archive / "models" / entity).glob("[0-9]*/model.json")
    return max((int(p.parent.name) for p in found), default=0)


@dataclass(frozen=True)
class Drift:
    """How the records of one fusion differ from those that its model learned from."""

    fusion: str
    records: int
    pairs: int
    psi: float | None  # population stability index of the likeness of pairs; None: too few
    told: tuple[tuple[str, str], ...]  # (Chinese, English), what is out of bounds


def model(run: Run, entity: str) -> tuple[int, Model]:
    """The model in force with its number. NotFound where none is pinned."""
    version = in_force(run.workspace, run.catalog.entity(entity))
    if not version:
        raise NotFound(
            f"no model of {entity} is pinned: each fusion learns its own. From 20,000 records on one is kept; "
            f"`dmp model train {entity}` keeps one now"
        )
    return version, read(folder(run.workspace, entity, version))


def weights(known: Model) -> list[tuple[str, str, float]]:
    """Attribute, level of likeness, and the bits it speaks for a match (log2 of m / u)."""
    return [
        (c["output_column_name"], level["label_for_charts"], math.log2(level["m_probability"] / level["u_probability"]))
        for c in known.settings["comparisons"]
        for level in c["comparison_levels"]
        if not level.get("is_null_level")
    ]


def drift(run: Run, entity: str, last: int = 10) -> tuple[Drift, ...]:
    """The last fusions by the model in force, newest first, against what it learned from."""
    version, known = model(run, entity)
    rows = run.con.execute(
        "SELECT fusion, linking FROM lake.ledger.fusion WHERE entity = ? AND linking IS NOT NULL "
        "ORDER BY CAST(split_part(fusion, '#', 2) AS INTEGER) DESC LIMIT ?",
        [entity, last],
    ).fetchall()
    found = []
    for fusion, text in rows:
        data = json.loads(text)
        if data.pop("model") == version and known.figures:
            found.append(compare(fusion, Figures(**{**data, "likeness": tuple(data["likeness"])}), known.figures))
    return tuple(found)


def compare(fusion: str, now: Figures, then: Figures) -> Drift:
    """One fusion against the figures of the training; nothing is told of fewer than FEWEST_RECORDS records."""
    told = []
    enough = now.records >= FEWEST_RECORDS
    for attribute, filled in now.filled.items() if enough else ():
        was, is_ = then.filled.get(attribute, 0) / max(then.records, 1), filled / now.records
        if abs(is_ - was) > FILLED_OTHERWISE:
            told.append(
                (
                    f"`{attribute}` 填写率由 {was:.1%} 变为 {is_:.1%}",
                    f"`{attribute}` is filled in {is_:.1%} of the records, was {was:.1%}",
                )
            )
    was, is_ = then.pairs / max(then.records, 1), now.pairs / max(now.records, 1)
    if enough and was and not 1 / PAIRS_OTHERWISE <= is_ / was <= PAIRS_OTHERWISE:
        told.append(
            (f"每条记录的候选对由 {was:.1f} 变为 {is_:.1f}", f"{is_:.1f} pairs are compared for each record, were {was:.1f}")
        )
    psi = _psi(then.likeness, now.likeness) if enough and sum(now.likeness) >= FEWEST_RECORDS else None
    if psi is not None and psi > UNSTABLE:
        told.append(
            (
                f"匹配概率分布已偏移（PSI {psi:.2f}）",
                f"the likeness of pairs is distributed otherwise (stability index {psi:.2f})",
            )
        )
    return Drift(fusion, now.records, now.pairs, psi, tuple(told))


def _psi(then: tuple[int, ...], now: tuple[int, ...]) -> float:
    """Sum of (share now - share then) * ln(share now / share then); half a pair stands for none."""
    a, b = ([max(n, 0.5) for n in counts] for counts in (then, now))
    shares = [(x / sum(a), y / sum(b)) for x, y in zip(a, b, strict=True)]
    return round(sum((y - x) * math.log(y / x) for x, y in shares), 4)


def steps() -> tuple[str, ...]:
    """What each count of `Figures.likeness` is of."""
    return tuple(f"{low:g}-{high:g}" if high else f">= {low:g}" for low, high in zip(BOUNDS, [*BOUNDS[1:], None], strict=True))
