"""Italy's civil protection, spring 2020: 1,094 versions of three daily extracts, each as it was published, one after the other.

Every number the platform gives is compared with one that this file works out from the extracts with Python's csv alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.current import current_sql
from pipelines.flow import intake
from pipelines.run import Run, open_run
from pipelines.scorecard import scorecard
from pipelines.verify import verify
from tests.real.conftest import extracts

ROME = ZoneInfo("Europe/Rome")

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(1800)]

FORM = """\
title: {title}
department: protezione_civile
load: append
period: {{from: file_name, pattern: "(?P<date>\\\\d{{4}}-\\\\d{{2}}-\\\\d{{2}})__"}}
arrival: {{drop: "{feed}-*.csv", cycle: daily, due: "18:00 same day", calendar: every_day, timezone: Europe/Rome}}
format: {{encoding: [utf-8, cp1252], delimiter: ","}}
clean: [trim_text]
drift: evolve
columns:
  - {{from: data, to: reported_at, type: timestamp, required: true}}
  - {{from: stato, ignore: always ITA}}
{columns}"""
REGION = """\
  - {from: codice_regione, to: region_code}
  - from: denominazione_regione
    to: region
    key: true
    clean:
      - map_values: {spellings: "'Friuli V. G. => Friuli Venezia Giulia; Bolzano => P.A. Bolzano; Trento => P.A. Trento; Emilia Romagna => Emilia-Romagna'"}
  - {from: [lat, latitudine], to: latitude, type: number}
  - {from: [long, longitudine], to: longitude, type: number}
"""
COUNTS = """\
  - {from: [ricoverati_con_sintomi], to: in_hospital, type: integer, optional: true}
  - {from: terapia_intensiva, to: intensive_care, type: integer, optional: true}
  - {from: [totale_ospedalizzati, ospedalizzati], to: hospitalised, type: integer}
  - {from: isolamento_domiciliare, to: at_home, type: integer}
  - {from: [totale_positivi, totale_attualmente_positivi, attualmente_positivi], to: positive, type: integer}
  - {from: [variazione_totale_positivi, nuovi_attualmente_positivi], to: change, type: integer}
  - {from: nuovi_positivi, to: new_cases, type: integer, optional: true}
  - {from: dimessi_guariti, to: recovered, type: integer}
  - {from: deceduti, to: deaths, type: integer}
  - {from: casi_da_sospetto_diagnostico, to: cases_by_suspicion, type: integer, optional: true}
  - {from: casi_da_screening, to: cases_by_screening, type: integer, optional: true}
  - {from: totale_casi, to: cases, type: integer, required: true}
  - {from: tamponi, to: swabs, type: integer, optional: true}
  - {from: casi_testati, to: people_tested, type: integer, optional: true}
"""
NOTES = """\
  - {from: [note, note_it], to: note, optional: true}
  - {from: note_en, ignore: the Italian note in English, optional: true}
"""
PROVINCE = """\
  - {from: codice_provincia, to: province_code, key: true}
  - {from: denominazione_provincia, to: province}
  - {from: sigla_provincia, to: province_sign}
  - {from: [totale_casi, casi_totali], to: cases, type: integer, required: true}
"""
FEEDS = {
    "regioni": FORM.format(title="Regioni", feed="regioni", columns=REGION + COUNTS + NOTES),
    "province": FORM.format(
        title="Province", feed="province", columns=REGION.replace("key: true", "required: true") + PROVINCE + NOTES
    ),
    "andamento-nazionale": FORM.format(title="Andamento nazionale", feed="andamento-nazionale", columns=COUNTS + NOTES),
}
SOURCE = {feed: f"protezione_civile__{feed.split('-')[0]}" for feed in FEEDS}
Table = list[dict[str, str]]


@dataclass(frozen=True)
class Version:
    """One published file, and what csv alone reads in it."""

    feed: str
    day: str
    number: int
    path: Path
    published: datetime
    header: tuple[str, ...]
    table: Table
    is_utf8: bool


def published(data: Path) -> list[Version]:
    found = []
    for feed in FEEDS:
        with (data / f"{feed}-arrivals.csv").open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                content = (data / line["file"]).read_bytes()
                try:
                    text, is_utf8 = content.decode("utf-8-sig"), True
                except UnicodeDecodeError:
                    text, is_utf8 = content.decode("cp1252"), False
                rows = list(csv.reader(io.StringIO(text, newline="")))
                table = [dict(zip(rows[0], row, strict=False)) for row in rows[1:] if row]
                found.append(
                    Version(
                        feed, line["report_date"], int(line["version"]), data / line["file"],
                        datetime.fromisoformat(line["committed_at_utc"]), tuple(rows[0]), table, is_utf8,
                    )
                )  # fmt: skip
    return sorted(found, key=lambda v: (v.published, v.path.name))


@dataclass(frozen=True)
class Replay:
    versions: list[Version]
    run: Run


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    versions = published(extracts("italy-civil-protection-2020-spring"))
    root = tmp_path_factory.mktemp("italy")
    (root / "catalog" / "sources").mkdir(parents=True)
    for feed, text in FEEDS.items():
        (root / "catalog" / "sources" / f"{SOURCE[feed]}.yaml").write_text(text, encoding="utf-8")
    landing = root / "workspace" / "landing" / "protezione_civile"
    landing.mkdir(parents=True)
    for now, together in groupby(versions, key=lambda v: v.published):
        for version in together:
            (landing / version.path.name).write_bytes(version.path.read_bytes())
        with open_run(now=now, workspace=root / "workspace", catalog=root / "catalog") as run:
            for source in SOURCE.values():
                intake(run, source)
    with open_run(now=versions[-1].published, workspace=root / "workspace", catalog=root / "catalog") as run:
        yield Replay(versions, run)


def test_every_version_is_accounted_for_once(replay: Replay) -> None:
    assert len(replay.versions) == 1094
    drops = replay.run.con.execute("SELECT file_name, outcome, source FROM lake.ledger.drop").fetchall()
    assert sorted(name for name, _, _ in drops) == sorted(v.path.name for v in replay.versions)
    assert {outcome for _, outcome, _ in drops} == {"batch"}, "no version repeats the one before it"
    found = replay.run.con.execute(
        "SELECT source, period, version, file_name, rows_read, arrived_at FROM lake.ledger.batch"
    ).fetchall()
    assert {(s, p, n): (name, rows, arrived) for s, p, n, name, rows, arrived in found} == {
        (SOURCE[v.feed], v.day, v.number): (v.path.name, len(v.table), v.published) for v in replay.versions
    }
    assert verify(replay.run) == []


def test_lateness_is_that_of_the_first_version_against_18_00_in_rome(replay: Replay) -> None:
    """From 15 March: what was published before was committed together on the 7th, so its arrival says nothing."""
    first: dict[tuple[str, str], datetime] = {}
    for version in replay.versions:  # in order of publication
        first.setdefault((SOURCE[version.feed], version.day), version.published.astimezone(ROME))
    begin, end = date(2020, 3, 15), max(date.fromisoformat(v.day) for v in replay.versions)
    wanted: dict[tuple[str, str], tuple[str, int]] = {}
    for (source, day), came in first.items():
        if date.fromisoformat(day) >= begin:
            due = datetime.combine(date.fromisoformat(day), time(18), ROME)
            wanted[source, day] = ("on_time", 0) if came <= due else ("late", math.ceil((came - due) / timedelta(days=1)))
    found = {
        (card.contract.id, slot.slot.period): (slot.state, slot.working_days_late)
        for card in scorecard(replay.run, (begin, end)).sources
        for slot in card.slots
        if slot.is_due and slot.slot.period >= begin.isoformat()
    }
    late = sum(state == "late" for state, _ in wanted.values())
    print(f"\n{len(wanted)} deliveries due at 18:00 in Rome since {begin}: {len(wanted) - late} in time, {late} late")
    assert found == wanted


def test_the_header_of_every_file_is_kept(replay: Replay) -> None:
    kept = {
        name: json.loads(header)
        for name, header in replay.run.con.execute("SELECT file_name, header FROM lake.ledger.batch").fetchall()
    }
    for version in replay.versions:
        assert kept[version.path.name] == [h or f"column {i}" for i, h in enumerate(version.header, 1)]
    distinct = {feed: {tuple(kept[v.path.name]) for v in replay.versions if v.feed == feed} for feed in FEEDS}
    assert {feed: len(headers) for feed, headers in distinct.items()} == {"regioni": 7, "province": 4, "andamento-nazionale": 6}


def test_every_change_of_the_columns_is_named_and_no_other(replay: Replay) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    for name, code, message in replay.run.con.execute(
        "SELECT file_name, code, message_en FROM lake.quality.finding WHERE code LIKE 'column%'"
    ).fetchall():
        found.setdefault(name, []).append((code, message))
    changes = 0
    for feed in FEEDS:
        versions = [v for v in replay.versions if v.feed == feed]
        for former, version in pairwise(versions):
            told = [m for code, m in found.get(version.path.name, []) if code in ("column_new", "column_gone", "column_renamed")]
            differ = set(filter(None, former.header)) ^ set(filter(None, version.header))
            changes += bool(differ)
            for header in differ:
                assert any(f"`{header}`" in message for message in told), (version.path.name, header, told)
            if former.header == version.header:
                assert not told, (version.path.name, told)
    print(f"\n{changes} changes of columns, each named")
    assert changes >= 14, "seven, four and six headers follow one another"


def test_files_that_are_not_utf8_are_read_under_the_declared_fallback_and_told(replay: Replay) -> None:
    found = dict(replay.run.con.execute("SELECT file_name, encoding FROM lake.ledger.batch").fetchall())
    other = {name for name, encoding in found.items() if encoding == "cp1252"}
    assert other == {v.path.name for v in replay.versions if not v.is_utf8}
    assert len(other) == 25
    names = replay.run.con.execute(
        "SELECT DISTINCT s.province FROM lake.std.protezione_civile__province AS s JOIN lake.ledger.batch AS b ON b.batch = s._batch "
        "WHERE b.encoding = 'cp1252' AND s.province LIKE 'Forl%'"
    ).fetchall()
    assert {n for (n,) in names} <= {"Forlì-Cesena", "Forlì"} and names


#: Column of the platform -> the headers it had, for those that are compared cell by cell.
COMPARED = {
    "regioni": {"region_code": ["codice_regione"], "hospitalised": ["totale_ospedalizzati"], "deaths": ["deceduti"],
                "positive": ["totale_positivi", "totale_attualmente_positivi"], "cases": ["totale_casi"], "swabs": ["tamponi"],
                "people_tested": ["casi_testati"], "note": ["note", "note_it"]},
    "province": {"province_code": ["codice_provincia"], "province": ["denominazione_provincia"],
                 "cases": ["totale_casi", "casi_totali"], "note": ["note", "note_it"]},
    "andamento-nazionale": {"hospitalised": ["totale_ospedalizzati", "ospedalizzati"], "at_home": ["isolamento_domiciliare"],
                            "positive": ["totale_positivi", "totale_attualmente_positivi", "attualmente_positivi"],
                            "cases": ["totale_casi"], "swabs": ["tamponi"], "note": ["note", "note_it"]},
}  # fmt: skip


def sent(version: Version) -> list[tuple[str, ...]]:
    """The rows of one file by csv alone, as text; the columns are those of COMPARED, with the day first."""
    found = []
    for row in version.table:
        cells = [next((row[h] for h in headers if h in row), "") or "" for headers in COMPARED[version.feed].values()]
        found.append((version.day, *(" ".join(c.split()) for c in cells)))
    return found


def had(replay: Replay, feed: str, as_of: datetime | None) -> list[tuple[str, ...]]:
    """The same from the platform."""
    columns = ", ".join(f"coalesce(CAST({c} AS VARCHAR), '')" for c in COMPARED[feed])
    sql = current_sql(replay.run.catalog.contract(SOURCE[feed]), as_of)
    rows = replay.run.con.execute(
        f"SELECT b.period, {columns} FROM ({sql}) AS s JOIN lake.ledger.batch AS b ON b.batch = s._batch"
    ).fetchall()
    return sorted((day, *(" ".join(c.split()) for c in cells)) for day, *cells in rows)


def test_no_file_is_held(replay: Replay) -> None:
    """Two have a column without a name; it is kept aside."""
    held = replay.run.con.execute("SELECT file_name FROM lake.ledger.batch WHERE verdict = 'hold'").fetchall()
    assert held == []
    aside = replay.run.con.execute(
        "SELECT DISTINCT file_name FROM lake.quality.finding WHERE code = 'column_undeclared' AND header LIKE 'column %'"
    ).fetchall()
    assert {n for (n,) in aside} == {v.path.name for v in replay.versions if "" in v.header}
    assert len(aside) == 2


def test_the_final_tables_are_the_last_versions(replay: Replay) -> None:
    for feed in FEEDS:
        last = {v.day: v for v in sorted(replay.versions, key=lambda v: v.number) if v.feed == feed}
        assert len(last) == 67
        assert had(replay, feed, None) == sorted(row for v in last.values() for row in sent(v))


def test_any_past_moment_gives_what_was_valid_then(replay: Replay) -> None:
    """Fifteen instants between the first publication and the last, and the minute before the first."""
    first, last = replay.versions[0].published, replay.versions[-1].published
    chance = random.Random(2020)
    instants = [first - (last - first) / 9999, first, *(first + (last - first) * chance.random() for _ in range(8))]
    instants += chance.sample(sorted({v.published for v in replay.versions}), 5)
    for instant in instants:
        valid = {(v.feed, v.day): v for v in replay.versions if v.published <= instant}
        for feed in FEEDS:
            assert had(replay, feed, instant) == sorted(row for (f, _), v in valid.items() if f == feed for row in sent(v)), (
                instant
            )


def failing(replay: Replay, versions: str) -> tuple[int, int]:
    """Region-days whose provinces do not add up to the region, and all region-days; `versions` picks the batches."""
    total = (
        "SELECT b.period, s.region, sum(s.cases) AS cases FROM lake.std.{} AS s JOIN ({}) AS b ON b.batch = s._batch GROUP BY ALL"
    )
    region, province = (total.format(SOURCE[feed], versions) for feed in ("regioni", "province"))
    return replay.run.con.execute(
        "SELECT count(*) FILTER (r.cases IS DISTINCT FROM p.cases), count(*) "
        f"FROM ({region}) AS r FULL JOIN ({province}) AS p USING (period, region) WHERE r.region IS NOT NULL OR p.region IS NOT NULL"
    ).fetchall()[0]


def test_provinces_add_up_to_their_region_but_for_the_known_days(replay: Replay) -> None:
    first = "SELECT batch, period FROM lake.ledger.batch WHERE version = 1"
    assert failing(replay, first) == (45, 1407)
    newest = "SELECT batch, period FROM lake.ledger.batch QUALIFY row_number() OVER (PARTITION BY source, period ORDER BY version DESC) = 1"
    assert failing(replay, newest) == (5, 1407)
