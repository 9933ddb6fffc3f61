"""Contradictions for people: a page per entity and fusion for the report site, and the lines that `dmp contradictions` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from catalog.entity import Entity
from pipelines.contradictions import ASKS, Contradictions, contradictions
from pipelines.dedupe import is_fused, last_fusion
from pipelines.report_evidence import is_whole
from pipelines.run import Run
from quality.reports.render import LANGUAGES, render, stylesheet
from quality.reports.words import word
from warehouse.layout import sync_folder

#: Rows of each department, and pairs of registers, that a page lists; the CSV has all.
ROWS = 20
PAIRS = 60

Pair = tuple[str, str]


def contradiction_page(entity: str, fusion: int, language: str) -> str:
    """Path of a page below reports/."""
    return f"contradictions/{entity}/{fusion}.{language}.html"


def write_contradiction_pages(run: Run) -> dict[str, int]:
    """Write the page of each entity's last fusion that has none yet; returns the fusion of each entity that has one.

    Again: a page that is there whole stays. So a day without a fusion costs nothing, and half a page of a killed run is written anew.
    """
    numbers = {}
    for entity in run.catalog.entities.values():
        if not is_fused(run, entity.id):
            continue
        numbers[entity.id] = last_fusion(run, entity.id)[1]
        if all(is_whole(path) for path in _paths(run, entity, numbers[entity.id]).values()):
            continue
        found = contradictions(run, entity.id, limit=ROWS)
        numbers[entity.id] = found.fusion
        for language, path in _paths(run, entity, found.fusion).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_page(run, entity, found, language), encoding="utf-8")
        (path.parent.parent / "site.css").write_text(stylesheet(), encoding="utf-8")
        sync_folder(path.parent)
    return numbers


def _paths(run: Run, entity: Entity, fusion: int) -> dict[str, Path]:
    return {language: run.workspace.reports / contradiction_page(entity.id, fusion, language) for language in LANGUAGES}


def _page(run: Run, entity: Entity, found: Contradictions, language: str) -> str:
    sources = run.catalog.sources_of(entity.id)
    titles = run.catalog.department_titles()
    named = {c.department.id for c in sources} | set(found.counts)
    [(recorded_at,)] = run.con.execute(
        "SELECT max(recorded_at) FROM lake.ledger.entity_change WHERE entity = ? AND number <= ?", [entity.id, found.fusion]
    ).fetchall()
    return render(
        "contradictions.html", "en" if language == "en" else "zh", entity=entity, found=found, senders=senders(run, found), asks=ASKS,
        departments={d: titles.get(d, (d, d)) for d in sorted(named)}, most=PAIRS, recorded_at=recorded_at,
        zone=next((c.arrival.zone for c in sources), ZoneInfo("Asia/Shanghai")),
    )  # fmt: skip


def senders(run: Run, found: Contradictions) -> Mapping[str, Pair]:
    """Source -> department and register in both languages, for every source that is told of."""
    titles = run.catalog.department_titles()
    named = {s for p in found.pairs for s in (p.source, p.golden_source)} | {
        s for r in found.rows for s in (r.source, r.golden_source)
    }
    told = {}
    for source in named:
        contract = run.catalog.contracts.get(source)
        if contract is None:
            told[source] = (source, source)
            continue
        zh, en = titles[contract.department.id]
        told[source] = (f"{zh}《{contract.title.zh}》", f"{en} ({contract.title.en})")
    return told


def told(run: Run, found: Contradictions, language: str) -> Iterator[str]:
    """The lines of `dmp contradictions`: counts, then the first rows of each department."""
    en = language == "en"
    entity, who = run.catalog.entity(found.entity), {s: pair[en] for s, pair in senders(run, found).items()}
    titles = {d: pair[en] for d, pair in run.catalog.department_titles().items()}

    def called(attribute: str) -> str:
        return entity.attribute(attribute).called.en if en else entity.attribute(attribute).called.zh

    yield (f"{entity.title.en}, fusion {found.fusion}: {found.total} values lost on {found.golden_records} golden records" if en
           else f"{entity.title.zh}，第 {found.fusion} 次融合：{found.golden_records} 条基准记录上有 {found.total} 个值未被采用")  # fmt: skip
    for p in found.pairs:
        rule = word("rule", p.rule, language)
        yield (f"  {p.golden_records:6}  {called(p.attribute)}: {who[p.source]} differs from {who[p.golden_source]} ({rule})" if en
               else f"  {p.golden_records:6}  {called(p.attribute)}：{who[p.source]}与{who[p.golden_source]}（{rule}）不一致")  # fmt: skip
    for department, count in found.counts.items():
        rows = [r for r in found.rows if r.mend_department == department]
        title = titles.get(department, department)
        yield (
            f"{title}: {count} to mend, the oldest {len(rows)}:" if en else f"{title}：应处理 {count} 条，最早的 {len(rows)} 条："
        )
        for r in rows:
            place = f"{r.file}{' / ' + r.sheet if r.sheet else ''} / {r.row}"
            since = r.since.date().isoformat()
            yield (f"  {r.golden_record[:12]} {called(r.attribute)}: `{r.value}` since {since} ({who[r.source]}, {place}), taken: `{r.golden_value}` "
                   f"({who[r.golden_source]}); please {ASKS[r.mend][1]}" if en
                   else f"  {r.golden_record[:12]} {called(r.attribute)}：自 {since} 起为“{r.value}”（{who[r.source]}，{place}），"
                   f"采用“{r.golden_value}”（{who[r.golden_source]}）；请{ASKS[r.mend][0]}")  # fmt: skip
