"""32 health commissions, 13 days of January 2020, replayed day by day: what a careful person merged by hand comes out.

The extracts are public bulletins as they were typed then, see their README. Nothing here is invented, missing days included.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.flow import fuse, intake
from pipelines.gate import Verdict
from pipelines.lineage import trace_column
from pipelines.run import Run, open_run
from pipelines.scorecard import scorecard
from pipelines.verify import verify
from tests.real import health
from tests.real.conftest import extracts

pytestmark = [pytest.mark.shared, pytest.mark.timeout(900)]

NATIONAL = "国家卫生健康委员会"


@dataclass(frozen=True)
class Replayed:
    """The warehouse after the last day."""

    data: Path
    run: Run
    departments: dict[str, str]
    verdicts: list[Verdict]
    #: (day, province) -> confirmed in the golden records when fused at noon of the replay, and at its end
    halfway: dict[tuple[str, str], int | None]
    final: dict[tuple[str, str], int | None]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    data = extracts("china-health-commissions-2020-01")
    root = tmp_path_factory.mktemp("health")
    departments = health.write_catalog(data, root / "catalog")
    verdicts: list[Verdict] = []
    halfway: dict[tuple[str, str], int | None] = {}
    for day in health.days():
        for report in sorted((data / "reports").glob(f"{day}*.csv")):
            folder = root / "workspace" / "landing" / departments[report.stem[10:]]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(report, folder / report.name)
        with _run_at(root, f"{day}T23:00:00+08:00") as run:
            for source in run.catalog.contracts:
                verdicts += intake(run, source)
            if day == date(2020, 1, 25):
                assert fuse(run, "epidemic_day")
                halfway = _confirmed(run)
    with _run_at(root, "2020-02-01T09:00:00+08:00") as run:
        assert fuse(run, "epidemic_day")
        yield Replayed(data, run, departments, verdicts, halfway, _confirmed(run))


def _run_at(root: Path, when: str) -> Run:
    return open_run(now=datetime.fromisoformat(when), workspace=root / "workspace", catalog=root / "catalog")


def _confirmed(run: Run) -> dict[tuple[str, str], int | None]:
    rows = run.con.execute(
        "SELECT reported_on, province_name, confirmed FROM lake.base.epidemic_day "
        "WHERE country_name = '中国' AND province_name IS NOT NULL AND city_name IS NULL"
    ).fetchall()
    found = {(str(day), province): confirmed for day, province, confirmed in rows}
    assert len(found) == len(rows), "a province stands twice on one day"
    return found


def test_every_bulletin_is_taken(replayed: Replayed) -> None:
    reports = sorted(p.name for p in (replayed.data / "reports").glob("*.csv"))
    taken = replayed.run.con.execute(
        "SELECT file_name, rows_read, rows_accepted, rows_refused, verdict FROM lake.ledger.batch"
    ).fetchall()
    assert sorted(row[0] for row in taken) == reports and len(reports) == 328
    assert [row for row in taken if row[4] == "hold"] == []
    sent = 0
    for report in reports:
        with (replayed.data / "reports" / report).open(encoding="utf-8-sig", newline="") as file:
            sent += sum(1 for row in csv.reader(file) if any(row)) - 1
    assert sum(row[1] for row in taken) == sent
    assert all(read == accepted + refused for _, read, accepted, refused, _ in taken)
    assert verify(replayed.run) == []


def test_figures_are_those_of_the_careful_person(replayed: Replayed) -> None:
    truth = health.consolidated(replayed.data)
    both = {place for place, figure in replayed.final.items() if figure is not None and truth.get(place)}
    assert len(both) == 344
    assert {place: replayed.final[place] for place in both} == {place: int(truth[place]) for place in both}


def test_what_nobody_said_stays_null(replayed: Replayed) -> None:
    """Blank in a bulletin means "not said"; it must not become 0."""
    truth = health.consolidated(replayed.data)
    silent = {place for place, figure in replayed.final.items() if figure is None}
    unsaid = {place for place, figure in truth.items() if not figure}
    assert len({p for p in truth if p in replayed.final} & (silent | unsaid)) == 21
    for day, province in silent:
        rows = [
            row
            for name in (f"{day}{province}.csv", f"{day}.csv")
            if (replayed.data / "reports" / name).is_file()
            for row in csv.DictReader((replayed.data / "reports" / name).read_text(encoding="utf-8-sig").splitlines())
        ]
        said = [row["confirmed"] for row in rows if row["date"] == day and row["province"] == province and not row["city"]]
        assert said and not any(said), (day, province)


def test_a_province_is_believed_before_the_nation(replayed: Replayed) -> None:
    """Where the commission and the national bulletin differ, the golden figure is the commission's, and says so."""
    own = replayed.run.con.execute(
        "SELECT g.province_name, o._source, o.status FROM lake.base.epidemic_day__origin AS o "
        "JOIN lake.base.epidemic_day AS g USING (_entity) WHERE o.attribute = 'confirmed' AND o.sources_with_value > 1"
    ).fetchall()
    assert own
    assert all(source != "nhc__bulletin" and status == "authority" for _, source, status in own)


def test_the_first_half_did_not_change(replayed: Replayed) -> None:
    """Later bulletins speak of later days: what was merged by the 25th is the same after the 31st."""
    assert len(replayed.halfway) > 100
    assert {place: replayed.final[place] for place in replayed.halfway} == replayed.halfway


def test_the_scorecard_names_the_missing_slots(replayed: Replayed) -> None:
    with (replayed.data / "reports_index.csv").open(encoding="utf-8", newline="") as file:
        index = [(row["source"], row["report_date"]) for row in csv.DictReader(file)]
    commissions = {source for source, _ in index}
    days = [(date(2020, 1, 19) + timedelta(days=n)).isoformat() for n in range(13)]
    expected = {(c, d) for c in commissions for d in days} - set(index)
    assert len(expected) == 88
    commission_of = {f"{department}__bulletin": commission or NATIONAL for commission, department in replayed.departments.items()}
    cards = scorecard(replayed.run).sources
    named = {(commission_of[card.contract.id], slot.slot.period) for card in cards for slot in card.missing}
    assert named == expected
    for card in cards:
        assert sum(s.is_due for s in card.slots) == len(days)
        (punctual,) = [scored.check for scored in card.score.checks if scored.check.kind == "punctuality"]
        assert (punctual.a, punctual.b) == (len(days) - len(card.missing), len(days))


@pytest.mark.parametrize(
    ("commission", "missed", "t"),
    [
        ("广东省", [20], "92.31"),  # 12 / 13 = 0.923077
        ("青海省", [19, 20, 21, 22, 23], "61.54"),  # 8 / 13 = 0.615385
        ("西藏自治区", [19, 20, 21, 22, 23, 24, 25, 26, 27], "30.77"),  # 4 / 13 = 0.307692
    ],
)
def test_timeliness_is_what_the_missing_days_make_it(replayed: Replayed, commission: str, missed: list[int], t: str) -> None:
    """Nothing else is timed here, so T = 100 x days delivered / 13 days due, worked out by hand."""
    source = f"{replayed.departments[commission]}__bulletin"
    card = next(c for c in scorecard(replayed.run).sources if c.contract.id == source)
    assert [slot.slot.period for slot in card.missing] == [f"2020-01-{day}" for day in missed]
    assert str(card.score.t.value) == t


def test_lineage_of_the_golden_figure_is_proved(replayed: Replayed) -> None:
    edges = trace_column(replayed.run, "epidemic_day.confirmed")
    raw = {edge.of for edge in edges if edge.to.startswith("std.")}
    assert raw == {f"raw.{department}__bulletin.confirmed" for department in replayed.departments.values()}
