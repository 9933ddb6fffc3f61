"""`dmp rebuild`: the archive alone gives the same warehouse again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines import archive
from pipelines.errors import NotFound
from pipelines.rebuild import rebuild
from pipelines.verify import verify
from tests.support import SOURCES, Tables, Town, tables, town

FIRST, SECOND, THIRD, FOURTH = (f"2026-03-{day:02}T08:30:00+08:00" for day in (3, 4, 5, 6))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Corrections, restorals, repetitions, a held file, a contract that changed twice and a file that came too early."""
    place = town(tmp_path_factory.mktemp("played"))
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,没有\n")
    place.drop("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n3,057188880003\n".encode("gb18030"))
    place.drop("fire", "permit_20260302.txt", "编号|等级\n1|3\n2|无\n")
    place.drop("fire", "early_20260302.txt", "编号|等级\n1|4\n")
    place.run_at(FIRST)
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,2021-01-02\n")
    place.drop("tax", "payer_20260302_again.csv", "编号,电话\n1,057188880001\n3,057188880003\n".encode("gb18030"))
    place.drop("fire", "permit_20260303.txt", "编号|级别\n1|3\n")
    place.run_at(SECOND)
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,没有\n")
    text = SOURCES["fire__permit"].replace("to: fire_grade", "to: fire_grade, type: integer")
    place.contract("fire__permit", text)
    place.drop("fire", "permit_20260304.txt", "编号|等级\n1|5\n")
    place.run_at(THIRD)
    text = text.replace('drop: "permit_*.txt"', 'drop: ["permit_*.txt", "early_*.txt"]')
    place.contract("fire__permit", text.replace("permit_(", "(permit|early)_("))
    place.run_at(FOURTH)
    return place


def comparable(found: Tables) -> Tables:
    """Without fusions that a later one replaced, and without their numbers: a rebuild makes the last one only, and makes it whole:
    how it was done, and how many records were at hand, is another matter."""
    newest = {r["entity"]: r["fusion"] for r in sorted(found["ledger.fusion"], key=lambda r: int(r["fusion"].split("#")[1]))}

    def kept(row: dict[str, object], column: str) -> bool:
        fused = "#" in str(row[column])
        return not fused or (row[column] in newest.values() and row.get("stage") != "merge" and "sql" not in row)

    for table, column in (("ledger.fusion", "fusion"), ("ledger.stage", "subject"), ("ledger.statement", "subject")):
        found[table] = [r | {column: str(r[column]).split("#")[0]} for r in found[table] if kept(r, column)]
    return found


def test_the_same_tables_come_out(played: Town, tmp_path: Path) -> None:
    wanted = comparable(played.tables())
    assert {r["outcome"] for r in wanted["ledger.drop"]} == {"batch", "unchanged"}
    assert {r["verdict"] for r in wanted["ledger.batch"]} >= {"warn", "hold", "pass"}
    with played.run(FOURTH) as run:
        target = rebuild(run, tmp_path / "new")
    found = comparable(tables(target))
    assert found.keys() == wanted.keys()
    for table, rows in wanted.items():
        assert found[table] == rows, table
    written, again = ({p.name: p.read_bytes() for p in place.validations.rglob("*.json")} for place in (played.workspace, target))
    assert again == written
    assert {f"{r['batch']}.json" for r in wanted["ledger.batch"]} == set(written)
    with Town(target, played.catalog).run(FOURTH) as run:
        assert verify(run) == []


def test_a_drop_is_replayed_in_its_turn_even_where_its_file_is_older(tmp_path: Path) -> None:
    """The file lay there first, but no contract expected it until the other one was committed."""
    place = town(tmp_path)
    place.drop("market", "early_20260302.csv", "编号,名称,成立日期\n1,早,2020-01-02\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "QUIET", 0.0)
        later = place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,晚,2020-01-02\n")
        early = later.with_name("early_20260302.csv")
        while later.stat().st_ctime_ns <= early.stat().st_ctime_ns:
            later.chmod(0o600)
        place.run_at(None)
        text = SOURCES["market__shop"].replace('drop: "shop_*.csv"', 'drop: ["shop_*.csv", "early_*.csv"]')
        place.contract("market__shop", text.replace("shop_(", "(shop|early)_("))
        place.run_at(None)
        with place.run(None) as run:
            target = rebuild(run, tmp_path / "new")
    one, two = archive.drops(place.workspace, "market__shop")
    assert one.arrived_at > two.arrived_at
    assert [r["shop_name"] for r in place.tables()["base.shop"]] == ["早"]
    assert tables(target)["ledger.batch"] == place.tables()["ledger.batch"]
    assert tables(target)["base.shop"] == place.tables()["base.shop"]


def test_a_source_whose_contract_is_gone_has_its_rows_again_and_feeds_nothing(played: Town, tmp_path: Path) -> None:
    left = Town(played.workspace, tmp_path / "catalog")
    shutil.copytree(played.catalog, left.catalog)
    (left.catalog / "sources" / "tax__payer.yaml").unlink()
    with left.run(FOURTH) as run:
        target = rebuild(run, tmp_path / "new")
    before, after = played.tables(), tables(target)
    for table in ("raw.tax__payer", "std.tax__payer", "ledger.batch", "ledger.drop", "quality.check", "quality.finding"):
        assert after[table] == before[table], table
    assert "tax__payer" in {r["_source"] for r in before["base.shop__member"]}
    assert "tax__payer" not in {r["_source"] for r in after["base.shop__member"]}
    with Town(target, left.catalog).run(FOURTH) as run:
        assert verify(run) == []


def test_the_old_workspace_is_not_touched_by_what_happens_in_the_new_one(played: Town, tmp_path: Path) -> None:
    def files() -> dict[Path, tuple[int, bytes]]:
        paths = (p for p in played.workspace.archive.rglob("*") if p.is_file())
        return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}

    before = files()
    with played.run(FOURTH) as run:
        new = Town(rebuild(run, tmp_path / "new"), played.catalog)
    new.drop("market", "shop_20260305.csv", "编号,名称,成立日期\n9,新,2020-01-02\n")
    new.run_at("2026-03-07T08:30:00+08:00")
    assert files() == before


def test_a_folder_with_something_in_it_is_refused(played: Town, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("mine")
    with played.run(FOURTH) as run, pytest.raises(NotFound, match="not empty"):
        rebuild(run, tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["notes.txt"]
