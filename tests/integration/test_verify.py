"""`dmp verify` is content with what was written, and names what was changed behind its back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines import archive
from pipelines.verify import Problem, verify
from tests.support import Town, town
from warehouse import lake
from warehouse.lake import table
from warehouse.layout import Workspace

FIRST, SECOND, THIRD = (f"2026-03-{day:02}T08:30:00+08:00" for day in (3, 4, 5))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Three batches of one source, the last one held without a row; one each of the others."""
    place = town(tmp_path_factory.mktemp("played"))
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,没有\n3,丙,2021-01-02\n")
    place.drop("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n".encode("gb18030"))
    place.drop("fire", "permit_20260302.txt", "编号|等级\n1|A\n")
    place.run_at(FIRST)
    place.drop("market", "shop_20260303.csv", "编号,名称,成立日期\n4,丁,2020-01-02\n")
    place.run_at(SECOND)
    place.drop("market", "shop_20260304.csv", "编号,名称,成立日期\n5,".encode() + b"\xff\xff\n")
    place.run_at(THIRD)
    return place


@pytest.fixture
def place(played: Town, tmp_path: Path) -> Town:
    """A copy, elsewhere on the disk, that a test may spoil."""
    shutil.copytree(played.workspace.root, tmp_path / "workspace")
    return Town(Workspace(tmp_path / "workspace"), played.catalog)


def problems(place: Town) -> list[Problem]:
    with place.run(THIRD) as run:
        return verify(run)


def tamper(place: Town, *statements: str) -> None:
    with lake.connect(place.workspace) as con:
        lake.attach(con, place.workspace, read_only=False)
        for statement in statements:
            con.execute(statement)


def test_untouched_is_content(place: Town) -> None:
    assert problems(place) == []


def test_a_flipped_byte_in_the_archive_is_named_with_the_file_of_the_department(place: Town) -> None:
    drop = archive.drops(place.workspace, "tax__payer")[0]
    path = archive.object_path(place.workspace, drop.sha256)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    [problem] = problems(place)
    assert problem.part == "archive"
    assert str(path) in problem.what
    assert "payer_20260302.csv of tax__payer" in problem.what


def test_a_lost_file_of_the_archive_is_named(place: Town) -> None:
    drop = archive.drops(place.workspace, "tax__payer")[0]
    archive.object_path(place.workspace, drop.sha256).unlink()
    [problem] = problems(place)
    assert problem.what.startswith("payer_20260302.csv: the archive lacks its bytes")


def test_a_changed_contract_of_the_archive_is_named(place: Town) -> None:
    drop = archive.drops(place.workspace, "tax__payer")[0]
    path = place.workspace.archive / "contracts" / f"{drop.contract_hash}.json"
    path.chmod(0o600)
    path.write_text(path.read_text().replace("纳税人", "别的"))
    [problem] = problems(place)
    assert str(path) in problem.what


def test_a_changed_or_lost_record_of_an_arrival_is_named(place: Town) -> None:
    drop, lost = archive.drops(place.workspace, "market__shop")[:2]
    path = archive.record_path(place.workspace, drop)
    path.write_text(path.read_text().replace("2026-03-03T00:30", "2026-03-02T20:30"))
    archive.record_path(place.workspace, lost).unlink()
    found = {p.what for p in problems(place)}
    assert found == {
        f"ledger.drop {drop.drop_id}: arrived_at differ from the archived record of its arrival",
        f"{lost.drop_id}: the ledger knows this drop, the archive has no record of its arrival",
    }


BATCH = "market__shop@2026-03-02.v1"
HELD = "market__shop@2026-03-04.v1"


@pytest.mark.parametrize(
    ("statement", "part", "named"),
    [
        (f"DELETE FROM {table('ledger.batch')} WHERE batch = '{BATCH}'", "chain", "market__shop@2026-03-03.v1"),
        (f"DELETE FROM {table('ledger.batch')} WHERE batch = '{HELD}'", "archive", HELD),
        (f"DELETE FROM {table('ledger.batch')} WHERE source = 'tax__payer'", "archive", "tax__payer@2026-03-02.v1"),
        (f"UPDATE {table('ledger.batch')} SET verdict = 'pass' WHERE batch = '{HELD}'", "chain", HELD),
        (f"UPDATE {table('ledger.batch')} SET arrived_at = arrived_at - INTERVAL 1 DAY WHERE batch = '{BATCH}'", "chain", BATCH),
        (f"INSERT INTO {table('ledger.batch')} FROM {table('ledger.batch')} WHERE batch = '{BATCH}'", "chain", BATCH),
        (f"DELETE FROM {table('ledger.drop')} WHERE batch = '{BATCH}'", "archive", BATCH),
        (f"INSERT INTO {table('ledger.drop')} FROM {table('ledger.drop')} WHERE batch = '{BATCH}'", "archive", "stands 2 times"),
        (f"UPDATE {table('ledger.stage')} SET rows_in = 9 WHERE subject = '{BATCH}' AND stage = 'clean'", "rows", BATCH),
        (
            f"INSERT INTO {table('std.market__shop')} FROM {table('std.market__shop')} WHERE shop_no = '1'",
            "rows",
            f"std of {BATCH}",
        ),
        (f"DELETE FROM {table('raw.market__shop')} WHERE _row = 2 AND _batch = '{BATCH}'", "rows", f"raw of {BATCH}"),
        (f"DELETE FROM {table('quarantine.row')}", "rows", f"quarantine of {BATCH}"),
        (f"DELETE FROM {table('base.shop__member')} WHERE _source = 'fire__permit'", "entities", "base.shop"),
        (f"DELETE FROM {table('base.shop')} WHERE shop_no = '1'", "entities", "base.shop"),
    ],
)
def test_what_was_changed_in_a_table_is_named(place: Town, statement: str, part: str, named: str) -> None:
    tamper(place, statement)
    found = problems(place)
    assert any(p.part == part and named in p.what for p in found), found


def test_a_forged_row_with_a_hash_of_its_own_breaks_the_chain_after_it(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.gate import chained_hash

    row = next(r for r in place.tables()["ledger.batch"] if r["batch"] == BATCH) | {"rows_refused": 0}
    tamper(place, f"UPDATE {table('ledger.batch')} SET rows_refused = 0, hash = '{chained_hash(row)}' WHERE batch = '{BATCH}'")
    assert any("market__shop@2026-03-03.v1" in p.what for p in problems(place) if p.part == "chain")


def test_verify_of_a_source_whose_contract_is_gone(place: Town, tmp_path: Path) -> None:
    shutil.copytree(place.catalog, tmp_path / "catalog")
    (tmp_path / "catalog" / "sources" / "tax__payer.yaml").unlink()
    left = Town(place.workspace, tmp_path / "catalog")
    assert problems(left) == []
    tamper(left, f"DELETE FROM {table('raw.tax__payer')}")
    assert [p.what for p in problems(left)] == ["raw of tax__payer@2026-03-02.v1: 0 rows, the ledger says 1"]


def test_verify_writes_nothing(place: Town) -> None:
    def stamps() -> dict[Path, int]:
        return {
            p: p.stat().st_mtime_ns for p in place.workspace.root.rglob("*") if p.is_file() and "catalog.sqlite-" not in p.name
        }

    before = stamps()
    problems(place)
    assert stamps() == before
