"""Write the synthetic city: three business days of extracts in waves, and the truth about every row and fault.

Monday 2 to Wednesday 4 March 2026. A daily extract is due at 09:00 on the next working day; monthly registers of
February at 18:00 on the fifth working day of March. README.md lists what goes wrong and why.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from examples.city import companies as firms
from examples.city import extracts, people, plans
from examples.city.companies import Company, Licence
from examples.city.extracts import HEADERS, LAYOUTS
from examples.city.faults import without_faults
from examples.city.numbers import Numbers
from examples.city.people import Person
from examples.city.table import Row, Table, text_of, to_bytes

SEED = 20260302
DAYS = (dt.date(2026, 3, 2), dt.date(2026, 3, 3), dt.date(2026, 3, 4))
MONTH = dt.date(2026, 2, 28)
SMALLEST = 0.05

#: File name of each source; `{}` is the period. The department's folder is the first half of the source id.
_FILE_NAMES = {
    "police__resident": "resident_{}.txt",
    "police__residence_permit": "residence_permit_{}.csv",
    "civil_affairs__marriage": "婚姻登记_{}.xlsx",
    "civil_affairs__social_organisation": "social_organisation_{}.csv",
    "education__student": "学籍月报_{}.xlsx",
    "human_resources__insured": "insured_{}.csv",
    "market_regulation__enterprise": "enterprise_{}.csv",
    "market_regulation__licence": "licence_{}.xlsx",
    "taxation__taxpayer": "taxpayer_{}.csv",
    "credit_office__permit": "XZXK_{}.csv",
    "utilities__water_account": "water_account_{}.csv",
}
_MONTHLY = (
    "civil_affairs__social_organisation",
    "education__student",
    "human_resources__insured",
    "taxation__taxpayer",
    "utilities__water_account",
)


@dataclass(frozen=True)
class Made:
    """Counts of what was written. `rows` are data rows of all drops, a resent file counted again."""

    waves: int
    drops: int
    rows: int
    faults: int
    people: int
    entities: int
    licences: int


@dataclass(frozen=True)
class Drop:
    """One file in one wave. `fate` is what the pipeline should make of it: accepted, late, unchanged, held, superseded."""

    table: Table
    path: str
    fate: str
    note: str


@dataclass(frozen=True)
class Wave:
    at: str
    id: str
    note_zh: str
    note_en: str
    drops: tuple[Drop, ...]


def make_city(out: Path, seed: int = SEED, scale: float = 1.0) -> Made:
    """Write `schedule.json`, `drops/` and `truth/` under `out`. Same seed and scale, same bytes.

    Raises FileExistsError where `out` holds anything, ValueError for a scale below 0.05 (too few rows).
    """
    if scale < SMALLEST:
        raise ValueError(f"scale {scale} leaves too few rows to put faults into; use {SMALLEST} or more")
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; name a new folder")
    world = _World(seed, scale)
    waves = _waves(world)
    _write_drops(out, waves)
    _write_schedule(out / "schedule.json", waves, seed, scale)
    drops = [drop for wave in waves for drop in wave.drops]
    _write_truth(out / "truth", world, waves)
    return Made(
        waves=len(waves),
        drops=len(drops),
        rows=sum(r.is_data for d in drops for r in d.table.rows),
        faults=sum(len(t.faults) for t in {id(d.table): d.table for d in drops}.values()),
        people=len(world.people),
        entities=len(world.companies),
        licences=len(world.licences),
    )


class _World:
    """The true state, which changes from day to day, and the clean files of each day drawn from it."""

    def __init__(self, seed: int, scale: float) -> None:
        self.seed = seed
        today = DAYS[0]
        numbers = Numbers(self.rng("numbers"))
        self.numbers = numbers
        self.people: list[Person] = people.make_people(self.rng("people"), numbers, round(3000 * scale), today)
        enterprises = firms.make_enterprises(self.rng("enterprises"), numbers, round(800 * scale), today)
        social = firms.make_social_organisations(
            self.rng("social"), numbers, max(8, round(90 * scale)), len(enterprises) + 1, today
        )
        self.companies: list[Company] = enterprises + social
        self.licences: list[Licence] = firms.make_licences(self.rng("licences"), enterprises, max(60, round(900 * scale)), MONTH)
        self._employ(enterprises)
        self._divorce()
        self.clean: dict[tuple[str, dt.date], list[Row]] = {}
        self._february()
        for number, day in enumerate(DAYS):
            self._day(number, day)

    def rng(self, subject: str) -> Random:
        """A stream of its own per subject, so that a change in one leaves the others as they were."""
        return Random(f"{self.seed}:{subject}")

    def by_truth(self) -> dict[str, Company]:
        return {c.truth: c for c in self.companies}

    def _employ(self, enterprises: Sequence[Company]) -> None:
        rng = self.rng("employment")
        living = [c.truth for c in enterprises if c.status == "存续"]
        for i, p in enumerate(self.people):
            if 20 <= p.age(DAYS[0]) <= 66 and rng.random() < 0.75:
                self.people[i] = replace(p, employer=rng.choice(living))

    def _divorce(self) -> None:
        """Couples that register in these days; one in five a divorce."""
        rng = self.rng("marriage")
        self.couples: list[tuple[int, int]] = []
        for i, (a, b) in enumerate(zip(self.people, self.people[1:], strict=False)):
            married = a.head and a.household_no == b.household_no and a.marital == b.marital == "20"
            if married and not a.died and not b.died and rng.random() < 0.16:
                self.couples.append((i, i + 1))
                if rng.random() < 0.2:
                    self.people[i], self.people[i + 1] = replace(a, marital="40"), replace(b, marital="40")

    def _february(self) -> None:
        """The monthly registers, as things stood at the end of February."""
        of, rng = self.clean, self.rng("february")
        by_truth = self.by_truth()
        guardians = {p.household_no: p for p in self.people if p.head}
        of["civil_affairs__social_organisation", MONTH] = extracts.social_organisation(
            rng, [c for c in self.companies if c.kind.startswith("5")]
        )
        of["education__student", MONTH] = extracts.student(rng, [p for p in self.people if p.school], guardians)
        of["human_resources__insured", MONTH] = extracts.insured([p for p in self.people if p.employer], by_truth)
        of["taxation__taxpayer", MONTH] = extracts.taxpayer(
            rng, [c for c in self.companies if (c.uscc or c.old_reg_no) and rng.random() < 0.86]
        )
        of["utilities__water_account", MONTH] = extracts.water_account(
            rng, [p for p in self.people if p.head and not p.died and rng.random() < 0.9]
        )

    def _day(self, number: int, day: dt.date) -> None:
        """The daily extracts. The first day is the first load: police and market regulation send their whole registers."""
        of, rng = self.clean, self.rng(f"day {number}")
        if number == 0:
            residents: Iterable[Person] = [p for p in self.people if p.local]
            enterprises: Iterable[Company] = [c for c in self.companies if c.kind.startswith("9")]
        else:
            residents = people.true_changes(rng, self.numbers, self.people, 0.10, day)
            enterprises = firms.true_changes(rng, self.companies, 0.12)
        migrants = [p for p in self.people if not p.local and p.age(day) >= 16]
        couples = [(self.people[a], self.people[b]) for a, b in self.couples]
        for place, granted in enumerate(self.licences):
            if self._recent(place) == number:
                issued = day - dt.timedelta(days=rng.randrange(0, 4))
                until = issued.replace(year=issued.year + 5) - dt.timedelta(days=1)
                self.licences[place] = replace(granted, issued=issued, valid_from=issued, valid_to=until)
        new = [v for place, v in enumerate(self.licences) if self._recent(place) == number]
        old = [v for place, v in enumerate(self.licences) if self._recent(place) is None] if number == 0 else []
        of["police__resident", day] = extracts.resident(rng, list(residents), day)
        of["police__residence_permit", day] = extracts.residence_permit(rng, migrants[number::3], day)
        of["civil_affairs__marriage", day] = extracts.marriage(rng, couples[number::3], day)
        of["market_regulation__enterprise", day] = extracts.enterprise(rng, list(enterprises), day)
        of["market_regulation__licence", day] = extracts.licence(
            [v for v in old + new if v.type_code in ("SP01", "YX02", "TZ03")]
        )
        of["credit_office__permit", day] = extracts.permit(new, self.by_truth(), day)

    def _recent(self, place: int) -> int | None:
        """Which of the three days the licence was granted for; None for those of earlier years."""
        first = len(self.licences) * 2 // 3
        return (place - first) % 3 if place >= first else None

    def table(self, source: str, day: dt.date, plan: str = "usual") -> Table:
        """The file of `source` for `day`, faults and all. Each call makes the same file again, from clean rows."""
        period = f"{day:%Y%m}" if source in _MONTHLY else f"{day:%Y%m%d}"
        made = Table(
            source,
            _FILE_NAMES[source].format(period),
            HEADERS[source],
            without_faults(self.clean[source, day]),
            period=f"{day:%Y-%m}" if source in _MONTHLY else day.isoformat(),
        )
        rng = self.rng(f"faults {source} {day} {plan}")
        {"usual": plans.inject, "hold": plans.inject_hold, "leftovers": plans.inject_leftovers}[plan](made, rng)
        return made


_DAILY = tuple(source for source in _FILE_NAMES if source not in _MONTHLY)


def _waves(world: _World) -> tuple[Wave, ...]:
    first, second, third = DAYS

    def drop(wave: str, table: Table, fate: str = "accepted", note: str = "") -> Drop:
        department = table.source.split("__")[0]
        return Drop(table, f"drops/{wave}/{department}/{table.name}", fate, note)

    def daily(wave: str, day: dt.date, without: Sequence[str] = ()) -> list[Drop]:
        return [drop(wave, world.table(source, day)) for source in _DAILY if source not in without]

    def monthly(wave: str, *sources: str) -> list[Drop]:
        return [drop(wave, world.table(source, MONTH)) for source in sources]

    late, missing, held = "police__residence_permit", "civil_affairs__marriage", "credit_office__permit"
    resent, corrected = "market_regulation__licence", "market_regulation__enterprise"
    monday = daily("2", first, without=[late])
    monday = [
        replace(d, fate="superseded", note="replaced by the corrected version of Thursday afternoon")
        if d.table.source == corrected
        else d
        for d in monday
    ]
    again = next(d.table for d in monday if d.table.source == resent)
    return (
        Wave(
            "2026-03-02T16:00:00+08:00",
            "1",
            "二月份月报：参保人员、纳税人、社会组织",
            "February registers: insured persons, taxpayers, social organisations",
            tuple(monthly("1", "human_resources__insured", "taxation__taxpayer", "civil_affairs__social_organisation")),
        ),
        Wave(
            "2026-03-03T08:30:00+08:00",
            "2",
            "3月2日日报（居住证未到）",
            "Extracts of Monday 2 March; residence permits do not come",
            tuple(monday),
        ),
        Wave(
            "2026-03-04T08:30:00+08:00",
            "3",
            "3月3日日报（婚姻登记缺报，行政许可文件不合格）；学籍月报",
            "Extracts of Tuesday 3 March; marriages never come, the permit file is unusable; the school register",
            (
                *daily("3", second, without=[missing, held]),
                drop("3", world.table(held, second, "hold"), "held", "decision number, the key, blank in 70 % of rows"),
                *monthly("3", "education__student"),
            ),
        ),
        Wave(
            "2026-03-04T08:50:00+08:00",
            "4",
            "居住证3月2日数据迟到一个工作日；证照目录重复报送",
            "Residence permits of 2 March, one working day late; the licence index of 2 March once more, same bytes",
            (
                drop("4", world.table(late, first), "late", "one working day after it was due"),
                drop("4", again, "unchanged", "same bytes as in wave 2"),
            ),
        ),
        Wave(
            "2026-03-05T08:30:00+08:00",
            "5",
            "3月4日日报；供水月报",
            "Extracts of Wednesday 4 March; water accounts",
            (*daily("5", third), *monthly("5", "utilities__water_account")),
        ),
        Wave(
            "2026-03-05T14:30:00+08:00",
            "6",
            "市场主体3月2日更正版",
            "A corrected version of the enterprises of 2 March",
            (drop("6", world.table(corrected, first, "leftovers"), "accepted", "other bytes, same period: supersedes wave 2"),),
        ),
    )


# --- writing -------------------------------------------------------------------------------------------------------


def _write_drops(out: Path, waves: Sequence[Wave]) -> None:
    for wave in waves:
        for drop in wave.drops:
            path = out / drop.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(to_bytes(drop.table, LAYOUTS[drop.table.source]))


def _write_schedule(path: Path, waves: Sequence[Wave], seed: int, scale: float) -> None:
    data = [
        {
            "at": w.at,
            "note_zh": w.note_zh,
            "note_en": w.note_en,
            "drops": [
                {"file": d.path, "department": d.table.source.split("__")[0], "name": d.table.name, "source": d.table.source}
                for d in w.drops
            ],
        }
        for w in waves
    ]
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
    note = f"合成数据，与任何真实的人、单位、证照无关。\nSynthetic data about nobody. Seed {seed}, scale {scale}.\n"
    (path.parent / "SYNTHETIC.txt").write_text(note, encoding="utf-8", newline="\n")


def _write_truth(out: Path, world: _World, waves: Sequence[Wave]) -> None:
    out.mkdir(parents=True)
    drops = [drop for wave in waves for drop in wave.drops]
    sources: dict[str, set[str]] = {}
    rows: list[tuple[str, ...]] = []
    faults: list[tuple[str, ...]] = []
    for drop in drops:
        table, layout = drop.table, LAYOUTS[drop.table.source]
        sheet = layout.sheet if layout.kind == "workbook" else ""
        numbers = {}
        for number, row in table.numbered(layout.header_row + 1):
            numbers[id(row)] = str(number)
            rows.append((drop.path, sheet, str(number), table.source, row.truth if row.kind != "test" else "", row.kind))
            if row.truth:
                sources.setdefault(row.truth, set()).add(table.source)
        for fault in table.faults:
            faults.append(
                (
                    drop.path,
                    sheet,
                    numbers[id(fault.row)],
                    fault.column,
                    fault.code,
                    fault.kind,
                    fault.original,
                    fault.written,
                    fault.detection,
                    "yes" if fault.covered else "no",
                    fault.reason,
                )
            )
    _csv(out / "rows.csv", ("file", "sheet", "row", "source", "truth", "kind"), rows)
    _csv(
        out / "faults.csv",
        ("file", "sheet", "row", "column", "code", "kind", "original", "written", "detection", "covered", "reason"),
        faults,
    )
    _csv(out / "files.csv", ("wave", "at", "file", "source", "period", "fate", "note"), _fates(waves))
    _csv(
        out / "people.csv",
        (
            "truth",
            "resident_id",
            "person_name",
            "former_name",
            "sex_code",
            "ethnic_code",
            "birth_date",
            "hukou_division",
            "hukou_address",
            "residence_division",
            "residence_address",
            "phone",
            "marital_code",
            "person_status",
            "death_date",
            "employer",
            "school_name",
            "sources",
        ),
        [
            (
                p.truth,
                p.resident_id,
                p.name,
                p.former_name,
                p.sex,
                p.ethnic,
                p.born.isoformat(),
                p.hukou_division,
                p.hukou_address,
                p.residence_division,
                p.residence_address,
                p.phone,
                p.marital,
                "9" if p.died else "0",
                text_of(p.died),
                p.employer,
                p.school,
                " ".join(sorted(sources.get(p.truth, ()))),
            )
            for p in world.people
        ],
    )
    _csv(
        out / "entities.csv",
        (
            "truth",
            "uscc",
            "old_reg_no",
            "entity_name",
            "former_name",
            "legal_rep_name",
            "address",
            "phone",
            "industry_code",
            "capital_10k_cny",
            "established_on",
            "division_code",
            "entity_status",
            "cancelled_on",
            "tax_status",
            "sources",
        ),
        [
            (
                c.truth,
                c.uscc,
                c.old_reg_no,
                c.name,
                c.former_name,
                c.legal_rep,
                c.address,
                c.phone,
                c.industry,
                str(c.capital),
                c.established.isoformat(),
                c.division,
                c.status,
                text_of(c.cancelled),
                c.tax_status,
                " ".join(sorted(sources.get(c.truth, ()))),
            )
            for c in world.companies
        ],
    )
    _csv(
        out / "licences.csv",
        (
            "truth",
            "licence_no",
            "licence_type",
            "holder",
            "holder_name",
            "holder_uscc",
            "issuer_name",
            "decision_no",
            "issued_on",
            "valid_from",
            "valid_to",
            "licence_status",
            "sources",
        ),
        [
            (
                v.truth,
                v.number,
                v.type_name,
                v.holder,
                v.holder_name,
                v.holder_uscc,
                v.issuer,
                v.decision_no,
                v.issued.isoformat(),
                v.valid_from.isoformat(),
                v.valid_to.isoformat(),
                v.status,
                " ".join(sorted(sources.get(v.truth, ()))),
            )
            for v in world.licences
        ],
    )


def _fates(waves: Sequence[Wave]) -> list[tuple[str, ...]]:
    """One line per drop, then one per slot that nobody filled."""
    lines: list[tuple[str, ...]] = [
        (w.id, w.at, d.path, d.table.source, d.table.period, d.fate, d.note) for w in waves for d in w.drops
    ]
    filled = {(line[3], line[4]) for line in lines}
    for source in _FILE_NAMES:
        periods = [f"{MONTH:%Y-%m}"] if source in _MONTHLY else [day.isoformat() for day in DAYS]
        lines += [("", "", "", source, p, "missing", "never delivered") for p in periods if (source, p) not in filled]
    return lines


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
