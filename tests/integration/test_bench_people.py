"""The people that linking is measured on: the truth they come with holds, and the same seed makes the same."""

from __future__ import annotations

from pathlib import Path

import duckdb
from stdnum.cn.ric import calc_check_digit

from benchmarks.people import People, changed, write

PEOPLE = People(records=5000, without_number=0.05)


def test_a_fifth_are_copies_and_a_number_belongs_to_one_person(tmp_path: Path) -> None:
    write(PEOPLE, tmp_path)
    con = duckdb.connect()
    con.execute(f"CREATE VIEW records AS FROM '{tmp_path / 'records.parquet'}'")
    con.execute(f"CREATE VIEW truth AS FROM '{tmp_path / 'truth.parquet'}'")
    rows, named, persons, numbered = con.execute(
        "SELECT count(*), count(DISTINCT _record), count(DISTINCT entity), count(resident_id) FROM records JOIN truth USING (_record)"
    ).fetchall()[0]
    assert (rows, named, persons) == (5000, 5000, 4000)
    assert 0.93 < numbered / rows < 0.97
    shared = "SELECT resident_id FROM records JOIN truth USING (_record) GROUP BY ALL HAVING count(DISTINCT entity) > 1"
    assert not con.execute(f"{shared} AND resident_id IS NOT NULL").fetchall()
    numbers = [n for (n,) in con.execute("SELECT DISTINCT resident_id FROM records WHERE resident_id IS NOT NULL").fetchall()]
    assert [n for n in numbers if calc_check_digit(n) != n[17]] == []


def test_the_same_seed_makes_the_same_people_and_another_seed_others(tmp_path: Path) -> None:
    found = []
    for place, people in (("a", PEOPLE), ("b", PEOPLE), ("c", People(5000, 0.05, seed=2))):
        records, _ = write(people, tmp_path / place)
        found.append(duckdb.execute(f"FROM '{records}' ORDER BY _record").fetchall())
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_day_of_changes_meets_records_that_are_there_and_leaves_people_who_they_are(tmp_path: Path) -> None:
    before, _ = write(PEOPLE, tmp_path / "before")
    records, _ = changed(PEOPLE, 1, 500, tmp_path / "day")
    con = duckdb.connect()
    con.execute(f"CREATE VIEW before AS FROM '{before}'")
    con.execute(f"CREATE VIEW day AS FROM '{records}'")
    rows, named, gone = con.execute("SELECT count(*), count(DISTINCT _record), count(*) FILTER (_gone) FROM day").fetchall()[0]
    assert (rows, named, gone) == (500, 500, 50)
    known, same_person, moved = con.execute(
        "SELECT count(*), count(*) FILTER (d._person = b._person), count(*) FILTER (d.phone IS DISTINCT FROM b.phone OR "
        "d.residence_address IS DISTINCT FROM b.residence_address) FROM day AS d JOIN before AS b USING (_record, _source)"
    ).fetchall()[0]
    assert (known, same_person) == (350, 350)
    assert 250 < moved <= 300
