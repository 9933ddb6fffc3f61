"""Report: the day's scores into the warehouse, and a site of plain pages that anyone can open, print and recompute."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.contradiction_pages import contradiction_page, write_contradiction_pages
from pipelines.findings_over_time import over_time
from pipelines.recalculation import recalculation_kit
from pipelines.report_evidence import batch_page, check_evidence, check_page, check_pages, write_batch_pages
from pipelines.report_files import catalogue_json, levels_of, policy_json
from pipelines.report_view import City, SourceView, view
from pipelines.run import Run
from pipelines.scorecard import scorecard
from pipelines.slots import schedule_of
from quality.finding import kinds
from quality.reports.render import LANGUAGES, render, stylesheet
from warehouse.commit import Commit, Rows, commit
from warehouse.layout import sync_folder, write_atomically

#: Missing deliveries on the leader's page; all of them are on the page of deliveries.
MOST_OPEN = 15

#: Calendar months of the trends, the running one included.
MONTHS = 24


def report(run: Run, window: tuple[date, date] | None = None) -> Path:
    """Score every source as of `run.now` and write the site. Returns its Chinese index page; the English one is beside it.

    Reads    the scorecard: ledger, checks, findings, golden tables, contracts
    Writes   quality.slot, quality.score (one commit); reports/batch/ (new batches only), reports/contradictions/ (new fusions
             only), reports/<as-of date>/, reports/index.html
    Again    rows and pages of the same date are replaced; the same warehouse and clock give the same bytes. A page is never
             half written: the folder is swapped in whole. reports/index.html leads to the newest date
    """
    city = view(scorecard(run, window, MONTHS), run.catalog, window)
    _commit(run, city)
    with run.workspace.locked("report"):
        write_batch_pages(run, city)
        return _publish(run, city, write_contradiction_pages(run))


def _commit(run: Run, city: City) -> None:
    rows = {"quality.slot": _slot_rows(city), "quality.score": list(_score_rows(city))}
    commit(run.con, run.workspace, Commit(None, rows=rows, delete=dict.fromkeys(rows, ("as_of", city.as_of))))


def _slot_rows(city: City) -> Rows:
    return [
        {"as_of": city.as_of, "source": source.id, "period": s.slot.period, "due_at": s.slot.due_at, "arrived_at": s.arrived_at,
         "batch": source.card.slot_batches.get(s.slot.period), "state": s.state, "working_days_late": s.working_days_late,
         "points": s.points, "calendar": s.slot.calendar}
        for source in city.sources for s in source.card.slots
    ]  # fmt: skip


def _score_rows(city: City) -> Iterator[dict[str, Any]]:
    for source in city.sources:
        common = {
            "as_of": city.as_of,
            "window_from": source.card.window[0],
            "window_to": source.card.window[1],
            "subject": source.id,
            "policy": source.card.score.policy_version,
        }
        for one in source.card.score.checks:
            yield {
                **common,
                "level": "check",
                "item": one.check.id,
                "a": one.check.a,
                "b": one.check.b,
                "x": one.x,
                "value": one.y,
                "formula": f"{one.formula_x}; {one.formula_y}" if one.applicable else one.formula_x,
            }
        for level, score, _ in levels_of(source):
            yield {**common, "level": level, "item": score.code, "value": score.value, "formula": score.formula}
    for department in city.departments:
        made = department.score
        for score in (made.m, made.r, made.k, made.i):
            yield {
                "as_of": city.as_of,
                "window_from": city.window[0],
                "window_to": city.window[1],
                "level": "department",
                "subject": department.id,
                "item": score.code,
                "value": score.value,
                "formula": score.formula,
                "policy": made.policy_version,
            }


def _publish(run: Run, city: City, fusions: Mapping[str, int]) -> Path:
    """Write the site aside, then swap it in. The reader of an open page may reload a moment too early, never half a site."""
    folder = run.workspace.reports / city.as_of.isoformat()
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        for name, text in _files(run, city, fusions):
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        former = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
        if folder.exists():
            folder.replace(former)
        part.replace(folder)
        sync_folder(folder.parent)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    newest = max(p.name for p in folder.parent.glob("????-??-??") if p.is_dir())
    write_atomically(folder.parent / "index.html", render("latest.html", "zh", newest=newest).encode())
    return folder / "index.zh.html"


def _files(run: Run, city: City, fusions: Mapping[str, int]) -> Iterator[tuple[str, str | bytes]]:
    """Name and content of every file of the site; `fusions`: the last one of each entity, whose contradictions have a page."""
    entities = tuple(run.catalog.entities.values())
    noise = over_time(run)
    waivers = sorted(
        (w for one in noise.values() for w in one.waivers), key=lambda w: (not w.is_urgent, w.waiver.until, w.source)
    )
    affected = Counter(
        code for one in noise.values() for code in {f.code for f in one.findings if f.kind == "finding" and f.last_count}
    )
    common = {"city": city, "page": "", "up": "", "entities": entities, "waivers": waivers, "most_open": MOST_OPEN,
              "check_page": check_page, "batch_page": batch_page, "fusions": fusions, "contradiction_page": contradiction_page}  # fmt: skip
    more: dict[str, dict[str, Any]] = {
        "catalogue": {"departments": sorted(city.departments, key=lambda d: d.id)},
        "codes": {"codes": list(kinds().values()), "affected": affected},
    }
    for language in LANGUAGES:
        for name in ("index", "sources", "deliveries", "catalogue", "codes"):
            page = {"page": name, "here": name, **more.get(name, {})}
            yield f"{name}.{language}.html", render(f"{name}.html", language, **common | page)
        for department in city.departments:
            yield (
                f"department/{department.id}.{language}.html",
                render("department.html", language, **common | {"here": department.id, "up": "../", "department": department}),
            )
        for source in city.sources:
            page = _source_page(source) | {"noise": noise[source.id]}
            yield f"source/{source.id}.{language}.html", render("source.html", language, **common | page)
    yield from check_pages(city, check_evidence(run, city), common)
    yield "site.css", stylesheet()
    yield from recalculation_kit(city)
    yield "policy.json", policy_json(city)
    yield "catalogue.json", catalogue_json(city, entities)


def _source_page(source: SourceView) -> dict[str, Any]:
    return {"here": source.id, "up": "../", "source": source, "schedule": schedule_of(source.contract)}
