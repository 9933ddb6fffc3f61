"""Contradictions: where departments differ, who says what since when, who is believed, and who should mend it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import duckdb
import pytest

from catalog.entity import Entity
from pipelines.contradiction_pages import told, write_contradiction_pages
from pipelines.contradictions import Contradictions, contradictions, write_contradictions
from pipelines.errors import NotFound
from pipelines.report import report
from pipelines.run import Run
from pipelines.said import tell
from tests.contradiction_town import PERSONAL, make
from tests.support import SOURCES, Town, town

NOW = "2026-03-05T10:00:00+08:00"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return make(tmp_path_factory.mktemp("town"))


def found(place: Town, department: str | None = None, limit: int = 20, *, reveal: bool = False) -> Contradictions:
    with place.run(NOW) as run:
        return contradictions(run, "shop", department, limit, reveal=reveal)


def test_each_value_that_lost_is_told_with_its_cell_its_first_day_and_who_should_mend_it(place: Town) -> None:
    told = {
        (r.attribute, r.value, r.golden_value): (r.rule, r.since.date().isoformat(), r.file, r.row, r.mend, r.mend_department)
        for r in found(place, reveal=True).rows
    }
    assert told == {
        # said since the second day, and again on the third
        ("shop_name", "东方店", "东店"): ("authority", "2026-03-04", "payer_20260304.csv", 2, "check_own", "tax"),
        ("shop_name", "西<script>店", "西店"): ("authority", "2026-03-05", "payer_20260304.csv", 3, "check_own", "tax"),
        # something else on the second day, so not since then
        ("fire_grade", "丁", "甲"): ("authority", "2026-03-05", "payer_20260304.csv", 2, "check_own", "tax"),
        # the newest row leaves it empty: what the same key said before stands
        ("phone", PERSONAL[1], PERSONAL[0]): ("authority", "2026-03-03", "payer_20260302.csv", 2, "check_own", "tax"),
    }


def test_counts_are_by_attribute_and_register_and_reach_further_than_the_rows_listed(place: Town) -> None:
    few = found(place, limit=1)
    assert (few.total, few.golden_records, len(few.rows), few.counts) == (4, 2, 1, {"tax": 4})
    assert {(p.attribute, p.golden_source, p.source): p.golden_records for p in few.pairs} == {
        ("shop_name", "market__shop", "tax__payer"): 2,
        ("phone", "market__shop", "tax__payer"): 1,
        ("fire_grade", "fire__permit", "tax__payer"): 1,
    }


def test_a_department_sees_what_it_lost_or_should_mend_and_no_more(place: Town) -> None:
    assert found(place, "tax").total == 4
    assert found(place, "fire").total == 0
    with pytest.raises(NotFound, match="fire, market, tax"):
        found(place, "police")


def test_the_csv_has_every_row_and_no_personal_value(place: Town, tmp_path: Path) -> None:
    with place.run(NOW) as run:
        assert write_contradictions(run, "shop", str(tmp_path / "out.csv")) == 4
        lines = list(told(run, contradictions(run, "shop"), "zh")) + list(told(run, contradictions(run, "shop"), "en"))
    text = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert len(list(csv.DictReader(io.StringIO(text)))) == 4
    for shown in (text, "\n".join(lines)):
        assert not any(value in shown for value in PERSONAL) and "1***2" in shown


def test_what_is_told_is_of_one_fusion_also_where_the_next_is_committed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path)
    before = found(place)
    times = []

    def tell_while_a_fusion_is_committed(run: Run, con: duckdb.DuckDBPyConnection, entity: Entity) -> None:
        if not times:
            place.drop("tax", "payer_20260305.csv", "编号,名称,电话,等级\nS1,东方店,,甲\nS2,西店,,乙\nS3,北店,,丙\n")
            place.run_at("2026-03-06T08:30:00+08:00")
        times.append(con)
        tell(run, con, entity)

    monkeypatch.setattr("pipelines.contradictions.tell", tell_while_a_fusion_is_committed)
    during = found(place)
    assert len(times) == 2
    monkeypatch.undo()
    assert during == found(place) != before
    assert during.fusion == before.fusion + 1


def test_an_authority_that_fell_silent_is_asked_to_say_it_again(tmp_path: Path) -> None:
    sources = SOURCES | {"tax__payer": SOURCES["tax__payer"].replace("to: phone, personal: true", "to: shop_name")}
    place = town(tmp_path, sources)
    head = "编号,名称,成立日期,备注\n"
    place.drop("market", "shop_20260302.csv", head + "S1,东店,2001-05-06,\nS2,,2001-05-06,\n")
    place.drop("tax", "payer_20260302.csv", "编号,电话\nS1,东方店\nS2,西方店\n".encode("gb18030"))
    place.run_at("2026-03-03T08:30:00+08:00")
    place.drop("market", "shop_20260303.csv", head + "S1,,2001-05-06,\n")
    place.run_at("2026-03-04T08:30:00+08:00")
    (row,) = found(place).rows
    assert (row.rule, row.golden_value, row.mend, row.mend_department) == ("stale", "东店", "send_again", "market")
    assert found(place, "tax").total == 1, "whose value lost is told as well"


def test_where_no_authority_has_a_value_its_department_supplies_it_if_it_knows_the_record(tmp_path: Path) -> None:
    sources = {k: v.replace("等级, to: fire_grade", "等级, to: shop_name") for k, v in SOURCES.items()}
    sources["tax__payer"] = sources["tax__payer"].replace("to: phone, personal: true", "to: shop_name")
    place = town(tmp_path, sources)
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,备注\nS1,,2001-05-06,\n")
    place.drop("tax", "payer_20260302.csv", "编号,电话\nS1,东店\nS2,南店\n".encode("gb18030"))
    place.drop("fire", "permit_20260302.txt", "编号|等级\nS1|西店\nS2|北店\n")
    place.run_at("2026-03-03T08:30:00+08:00")
    assert [(r.rule, r.mend, r.mend_department) for r in found(place).rows if r.value in ("东店", "西店")] == [
        ("unconfirmed", "supply", "market")
    ]
    [unknown] = [r for r in found(place).rows if r.value in ("南店", "北店")]
    assert (unknown.rule, unknown.mend, unknown.mend_department) == ("unconfirmed", "check_own", unknown.department)


def test_the_page_of_a_fusion_is_written_once_and_anew_where_a_kill_left_half_of_it(place: Town) -> None:
    with place.run(NOW) as run:
        folder = report(run).parent.parent / "contradictions" / "shop"
        number = write_contradiction_pages(run)["shop"]
        page = folder / f"{number}.zh.html"
        whole = page.read_text(encoding="utf-8")
        assert not any(value in whole for value in PERSONAL) and "<script>" not in whole and "西&lt;script&gt;店" in whole
        written = page.stat().st_mtime_ns
        write_contradiction_pages(run)
        assert page.stat().st_mtime_ns == written
        page.write_text(whole[:3000], encoding="utf-8")
        write_contradiction_pages(run)
        assert page.read_text(encoding="utf-8") == whole
    assert f"contradictions/shop/{number}.en.html" in (folder.parent.parent / "2026-03-05" / "catalogue.en.html").read_text(
        "utf-8"
    )
