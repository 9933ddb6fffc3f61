"""Tables that grow and change with their contracts, names a department may use, a workspace that moves, who may read it."""

from __future__ import annotations

import shutil
import stat
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.registry import Catalog
from pipelines.contract_check import check
from pipelines.run import open_run
from pipelines.verify import verify
from tests.support import ENTITY, SOURCES, Town, tables, town
from warehouse import lake
from warehouse.commit import Commit, commit
from warehouse.layout import Workspace

FIRST, SECOND, THIRD = (f"2026-03-{day:02}T08:30:00+08:00" for day in (3, 4, 5))
SHOP = SOURCES["market__shop"]


@pytest.fixture
def place(tmp_path: Path) -> Town:
    return town(tmp_path, {"market__shop": SHOP})


def content(place: Town, when: str) -> bool:
    with place.run(when) as run:
        return verify(run) == []


def test_a_column_that_a_contract_gains_is_empty_in_older_rows(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    place.contract("market__shop", SHOP.replace("columns:\n", "columns:\n  - {from: 地址, to: address}\n"))
    place.drop("market", "shop_20260303.csv", "编号,名称,成立日期,地址\n2,乙,2020-01-02,人民路\n")
    place.run_at(SECOND)
    found = place.tables()
    assert [(r["shop_no"], r["address"]) for r in found["std.market__shop"]] == [("1", None), ("2", "人民路")]
    assert [(r["编号"], r["地址"]) for r in found["raw.market__shop"]] == [("1", None), ("2", "人民路")]
    assert content(place, SECOND)


def test_a_column_that_a_contract_loses_stays_with_its_older_rows(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    place.contract("market__shop", SHOP.replace("to: shop_name, required: true", "ignore: nobody reads it"))
    place.drop("market", "shop_20260303.csv", "编号,名称,成立日期\n2,乙,2020-01-02\n")
    place.run_at(SECOND)
    assert [(r["shop_no"], r["shop_name"]) for r in place.tables()["std.market__shop"]] == [("1", "甲"), ("2", None)]
    assert content(place, SECOND)


def test_a_header_that_changes_its_case_is_the_same_column(place: Town) -> None:
    for when, day, header in ((FIRST, "02", "Shop_ID"), (SECOND, "03", "shop_id")):
        place.contract("market__shop", SHOP.replace("from: 编号", f"from: {header}"))
        place.drop("market", f"shop_202603{day}.csv", f"{header},名称,成立日期\n{day},甲,2020-01-02\n")
        place.run_at(when)
    assert [r["Shop_ID"] for r in place.tables()["raw.market__shop"]] == ["02", "03"]
    assert content(place, SECOND)


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("integer", "text", ["7", "12", "x"]),
        ("text", "integer", [7, 12, None]),
        ("integer", "number", [7, 12, None]),
        ("text", "date", [None, None, None]),
    ],
)
def test_a_type_that_changes_between_two_batches(place: Town, before: str, after: str, wanted: list[object]) -> None:
    """Older values take the new type where they fit it; the raw rows stay as they were sent."""
    column = "  - {from: 人数, to: staff, type: %s}\n"
    for when, day, kind, rows in ((FIRST, "02", before, "1,甲,,7\n2,乙,,12\n"), (SECOND, "03", after, "3,丙,,x\n")):
        place.contract("market__shop", SHOP.replace("columns:\n", "columns:\n" + column % kind))
        place.drop("market", f"shop_202603{day}.csv", f"编号,名称,成立日期,人数\n{rows}")
        place.run_at(when)
    found = place.tables()
    assert [r["staff"] for r in sorted(found["std.market__shop"], key=lambda r: str(r["shop_no"]))] == wanted
    assert sorted(r["人数"] for r in found["raw.market__shop"]) == ["12", "7", "x"]
    assert [r["verdict"] for r in found["ledger.batch"]] != ["hold", "hold"]
    assert content(place, SECOND)


def test_rows_of_each_batch_stay_in_files_of_their_own_when_a_type_changes(place: Town) -> None:
    for when, day in ((FIRST, "02"), (SECOND, "03")):
        place.drop("market", f"shop_202603{day}.csv", f"编号,名称,成立日期\n{day},甲,2020-01-02\n")
        place.run_at(when)
    place.contract("market__shop", SHOP.replace(", type: date, clean: date_any_format, on_fail: refuse", ""))
    place.drop("market", "shop_20260304.csv", "编号,名称,成立日期\n04,甲,往年\n")
    place.run_at(THIRD)
    with lake.reading(place.workspace) as con:
        files = con.execute("SELECT data_file FROM ducklake_list_files('lake', 'market__shop', schema => 'std')").fetchall()
    assert sorted(Path(f).name.split(".")[0] for (f,) in files) == [f"market__shop@2026-03-0{n}" for n in (2, 3, 4)]


def test_a_type_that_changes_in_an_entity(place: Town) -> None:
    text = SHOP.replace("columns:\n", "columns:\n  - {from: 人数, to: staff, type: integer}\n")
    place.contract("market__shop", text)
    entity = place.catalog / "entities" / "shop.yaml"
    entity.write_text(ENTITY + "  - {name: staff, type: integer}\n")
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,人数\n1,甲,,7\n")
    place.run_at(FIRST)
    entity.write_text(ENTITY + "  - {name: staff, type: text}\n")
    place.run_at(SECOND)
    assert [r["staff"] for r in place.tables()["base.shop"]] == ["7"]
    assert content(place, SECOND)


def test_a_source_with_another_type_than_the_entity_is_reported_and_stops_no_fusion(place: Town) -> None:
    place.contract("market__shop", SHOP.replace(", type: date, clean: date_any_format, on_fail: refuse", ""))
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,往年\n2,乙,2020-01-02\n")
    place.run_at(FIRST)
    assert [str(r["opened_on"]) for r in place.tables()["base.shop"]] == ["None", "2020-01-02"]
    [problem] = check(Catalog(place.catalog))
    assert "market__shop.yaml: `opened_on` is text here and date in entity shop" in problem


def test_a_cycle_that_changes_leaves_the_older_batches_in_force(place: Town) -> None:
    monthly = SHOP.replace("cycle: daily, ", "cycle: monthly, ").replace(', due: "09:00 next working day"', "")
    place.contract("market__shop", monthly)
    place.drop("market", "shop_20260201.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    place.contract("market__shop", SHOP)
    place.drop("market", "shop_20260303.csv", "编号,名称,成立日期\n2,乙,2020-01-02\n")
    place.run_at(SECOND)
    assert [r["shop_no"] for r in place.tables()["base.shop"]] == ["1", "2"]


@pytest.mark.parametrize(
    "header", ["row_id", "rowid", "filename", "begin_snapshot", "_ducklake_internal_row_id", 'a"b', "c.d", "e/f"]
)
def test_a_column_may_be_called(place: Town, header: str) -> None:
    quoted = header.replace('"', '\\"')
    name = header if header.replace("_", "").isalpha() and header[0] != "_" else "odd"
    place.contract("market__shop", SHOP.replace("columns:\n", f'columns:\n  - {{from: "{quoted}", to: {name}}}\n'))
    cell = header.replace('"', '""')
    place.drop("market", "shop_20260302.csv", f'编号,名称,成立日期,"{cell}"\n1,甲,2020-01-02,here\n')
    place.run_at(FIRST)
    found = place.tables()
    assert [r[header] for r in found["raw.market__shop"]] == ["here"]
    assert [r[name] for r in found["std.market__shop"]] == ["here"]
    assert content(place, FIRST)


def test_a_workspace_that_was_moved_goes_on(place: Town, tmp_path: Path) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    before = place.tables()
    shutil.move(place.workspace.root, tmp_path / "elsewhere")
    moved = Town(Workspace(tmp_path / "elsewhere"), place.catalog)
    assert moved.tables() == before
    moved.drop("market", "shop_20260303.csv", "编号,名称,成立日期\n2,乙,2020-01-02\n")
    moved.run_at(SECOND)
    assert [r["shop_no"] for r in moved.tables()["base.shop"]] == ["1", "2"]
    assert content(moved, SECOND)


def test_a_workspace_whose_path_has_spaces_and_quotes(tmp_path: Path) -> None:
    odd = town(tmp_path / "data office's 工作区 (1)", {"market__shop": SHOP})
    odd.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    odd.run_at(FIRST)
    assert content(odd, FIRST)


def test_only_the_owner_may_read_what_departments_sent(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    for folder in ("archive", "lake", "staging", "scratch", "secrets"):
        assert stat.S_IMODE((place.workspace.root / folder).stat().st_mode) == 0o700, folder
    for file in (place.workspace.lake_catalog, *place.workspace.archive.rglob("*.json")):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_making_a_workspace_again_changes_nothing(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    lake.create(place)
    key, made = place.digest_key, tables(place)
    lake.create(place)
    assert (place.digest_key, tables(place)) == (key, made)


def test_a_lake_whose_making_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.create()
    (place.lake / "new.sqlite").write_bytes(b"SQLite format 3\x00 cut off")
    (place.lake / "new.sqlite-wal").write_bytes(b"cut off")
    with open_run(workspace=tmp_path, catalog=town(tmp_path / "town").catalog) as run:
        assert run.con.execute("SELECT count(*) FROM lake.ledger.batch").fetchall() == [(0,)]


def test_reading_a_folder_without_a_lake_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(lake.LakeError, match="dmp init"), lake.reading(Workspace(tmp_path)):
        pass


def test_an_extension_that_its_makers_did_not_sign_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, changed = Workspace(tmp_path), tmp_path / "changed.duckdb_extension"
    place.create()
    content = bytearray(lake._extensions()[1].read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with lake.connect(place) as con, pytest.raises(duckdb.IOException, match="signature"):
        con.execute(f"LOAD '{changed}'")
    monkeypatch.setattr(lake, "_extensions", lambda: (changed,))
    lake._check_signatures.cache_clear()
    with pytest.raises(lake.LakeError, match="make setup"):
        lake.connect(place)


def test_two_connections_spill_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one folder two DuckDBs overwrite each other's pages: wrong rows, or a crash."""
    place = Workspace(tmp_path)
    place.create()
    monkeypatch.setenv("DMP_MEMORY", "60MB")
    monkeypatch.setenv("DMP_THREADS", "1")
    cons = [lake.connect(place) for _ in range(2)]
    wrong: list[object] = []

    def fill_and_read(n: int) -> None:
        text = f"repeat(chr({65 + n}), 20) || i"
        cons[n].execute(f"CREATE TABLE t AS SELECT i, {text} AS s FROM range(3000000) r(i)")
        wrong.extend(cons[n].execute(f"SELECT count(*) FROM t WHERE s <> {text}").fetchall())

    threads = [threading.Thread(target=fill_and_read, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(place.scratch.iterdir())) == 2, "both had to spill"
    for con in cons:
        con.close()
    assert wrong == [(0,), (0,)]
    assert list(place.scratch.iterdir()) == []


def test_a_workspace_of_an_older_version_gains_its_tables_at_the_first_run(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {name: table for name, table in lake.TABLES.items() if name != "quality.waiver"}
    monkeypatch.setattr(lake, "TABLES", older)
    shutil.rmtree(place.workspace.lake)
    with place.run(FIRST) as run:
        assert "quality.waiver" not in tables(run.workspace)
    monkeypatch.undo()
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    assert tables(place.workspace)["quality.waiver"] == []
    assert [r["verdict"] for r in tables(place.workspace)["ledger.batch"]] == ["pass"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.none() | st.decimals(0, 10**9, places=6).map(Decimal.normalize) | st.integers(0, 10**9), min_size=1, max_size=6)
)
def test_numbers_of_a_score_are_kept_however_they_are_written(place: Town, numbers: list[Decimal | int | None]) -> None:
    rows = [{"as_of": date(2026, 3, 5), "subject": "digits", "item": str(n), "a": a} for n, a in enumerate(numbers)]
    with place.run("2026-03-05T08:00:00+08:00") as run:
        commit(
            run.con, run.workspace, Commit(None, rows={"quality.score": rows}, delete={"quality.score": ("subject", "digits")})
        )
        kept = run.con.execute(
            "SELECT a FROM lake.quality.score WHERE subject = 'digits' ORDER BY CAST(item AS INTEGER)"
        ).fetchall()
    assert [one[0] for one in kept] == [None if a is None else Decimal(a) for a in numbers]


def _settings(con: duckdb.DuckDBPyConnection) -> list[tuple[object, ...]]:
    return con.execute("SELECT current_setting('threads'), current_setting('disabled_optimizers')").fetchall()


def test_after_a_look_up_the_connection_has_its_threads_again_even_where_a_transaction_failed(tmp_path: Path) -> None:
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("SET disabled_optimizers = 'top_n'")
        with lake.few_rows(con), lake.few_rows(con):
            assert _settings(con)[0][0] == 1
        assert _settings(con) == [(2, "top_n")]
        con.execute("CREATE TABLE one (number INTEGER PRIMARY KEY)")
        con.begin()
        with pytest.raises(duckdb.ConstraintException), lake.few_rows(con):
            con.execute("INSERT INTO one VALUES (1), (1)")
        con.rollback()
        assert _settings(con) == [(2, "top_n")]


def test_a_look_up_of_the_newest_rows_reads_its_table_once(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n")
    place.run_at(FIRST)
    newest = "EXPLAIN SELECT batch, header, profile FROM lake.ledger.batch WHERE source = 'market__shop' ORDER BY arrived_at DESC LIMIT 9"
    with place.run(FIRST) as run, lake.few_rows(run.con):
        [(_, plan)] = run.con.execute(newest).fetchall()
    assert plan.count("DUCKLAKE_SCAN") == 1


def test_rows_are_erased_by_a_list_and_what_the_lake_wrote_of_it_is_on_the_disk_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    lake.create(workspace)
    synced: list[str] = []
    monkeypatch.setattr("warehouse.commit.sync_file", lambda path: synced.append(path.name))

    def written(con: duckdb.DuckDBPyConnection, sql: str) -> Path:
        path = workspace.new_file("base.thing", "thing-1")
        con.execute(f"COPY ({sql}) TO {lake.literal(str(path))} {lake.PARQUET}")
        return path

    with lake.connect(workspace) as con:
        lake.attach(con, workspace, read_only=False)
        columns = {"_entity": "VARCHAR", "n": "INTEGER"}
        first = written(con, "SELECT 'e' || i AS _entity, i::INTEGER AS n FROM range(9) t(i)")
        commit(con, workspace, Commit(None, files={"base.thing": (columns, first)}))
        gone = tmp_path / "gone.parquet"
        con.execute(f"COPY (SELECT unnest(['e3', 'e5', 'none']) AS _entity) TO {lake.literal(str(gone))} {lake.PARQUET}")
        second = written(con, "SELECT 'e3' AS _entity, 33::INTEGER AS n")
        change = Commit(None, files={"base.thing": (columns, second)}, erase={"base.thing": ("_entity", gone)})
        commit(con, workspace, change)
        assert con.execute("SELECT n FROM lake.base.thing ORDER BY n").fetchall() == [(n,) for n in (0, 1, 2, 4, 6, 7, 8, 33)]
    assert [name for name in synced if name.endswith("-delete.parquet")]
