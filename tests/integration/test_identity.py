"""Ids of golden records: kept, redirected, restored, never given to another; and what consumers learn of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.changes import changes
from pipelines.cli import app
from pipelines.dedupe import dedupe
from pipelines.errors import NotFound
from pipelines.flow import fuse, intake
from pipelines.golden import golden_sql
from pipelines.golden_on import golden_on
from pipelines.merge import merge
from pipelines.rebuild import rebuild
from pipelines.run import Run, open_run
from pipelines.trace import trace
from pipelines.verify import verify
from tests.support import Town, tables, town

#: Two sources whose keys are numbers of their own, so that a mended shop number is a change of the same record.
SOURCES = {
    "market__shop": """\
title: {zh: 店铺, en: Shops}
department: {id: market, zh: 市监局, en: Market office}
entity: shop
load: snapshot
period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}
arrival: {drop: "shop_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 登记号, to: register_no, key: true}
  - {from: 编号, to: shop_no}
  - {from: 名称, to: shop_name}
""",
    "tax__payer": """\
title: {zh: 纳税人, en: Payers}
department: {id: tax, zh: 税务局, en: Tax office}
entity: shop
load: snapshot
period: {from: file_name, pattern: "payer_(?P<date>\\\\d{8})"}
arrival: {drop: "payer_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 税号, to: tax_no, key: true}
  - {from: 编号, to: shop_no}
  - {from: 电话, to: phone, personal: true}
""",
}
SHOP, PAYER = "登记号,编号,名称\n", "税号,编号,电话\n"


class Street:
    """A town, one day after the other: each names the rows of both files, market's and the tax office's."""

    def __init__(self, root: Path) -> None:
        self.place = town(root, SOURCES)
        self.day = 1

    def at(self) -> str:
        return f"2026-03-{self.day:02}T20:00:00+08:00"

    def next(self, shops: Sequence[str], payers: Sequence[str] = ()) -> Mapping[str, str]:
        """Shop number (where there is none: the name) -> id."""
        self.land(shops, payers)
        self.place.run_at(self.at())
        return self.ids()

    def land(self, shops: Sequence[str], payers: Sequence[str]) -> None:
        self.day += 1
        self.place.drop("market", f"shop_202603{self.day:02}.csv", SHOP + "".join(f"{s}\n" for s in shops))
        if payers:
            self.place.drop("tax", f"payer_202603{self.day:02}.csv", PAYER + "".join(f"{p}\n" for p in payers))

    def ids(self) -> Mapping[str, str]:
        with self.run() as run:
            rows = run.con.execute("SELECT coalesce(shop_no, shop_name), _entity FROM lake.base.shop").fetchall()
            assert verify(run) == []
        assert len({one for _, one in rows}) == len(rows)
        return dict(rows)

    def run(self) -> Any:
        return self.place.run(self.at())

    def told(self, since: int | datetime = 0) -> list[tuple[str, str, str | None]]:
        with self.run() as run:
            return [(c.entity_id, c.change, c.other) for c in changes(run, "shop", since).changes]


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


def test_a_mended_number_leaves_the_id_alone_and_the_wrong_one_is_free_for_nobody(street: Street) -> None:
    was = street.next(["R1,S1,甲店", "R2,S2,乙店"])
    mended = street.next(["R1,S9,甲店", "R2,S2,乙店"])
    assert mended == {"S9": was["S1"], "S2": was["S2"]}
    assert street.told(1) == [(was["S1"], "changed", None)]
    later = street.next(["R1,S9,甲店", "R2,S2,乙店", "R3,S1,丙店"])  # the true owner of S1
    assert later["S9"] == was["S1"] and later["S1"] not in was.values()


def test_ids_that_turn_out_to_be_one_are_merged_and_the_younger_redirects(street: Street) -> None:
    one = street.next(["R1,S1,甲店"])["S1"]
    two = street.next(["R1,S1,甲店"], ["T1,S2,1"])["S2"]
    assert street.next(["R1,S1,甲店"], ["T1,S1,1"]) == {"S1": one}
    with street.run() as run:
        found = trace(run, "shop", two[:20])
        assert (found.entity_id, [c.other for c in found.redirected]) == (one, [one])
        assert "1 of its 1 record(s)" in found.redirected[0].en and "same shop_no" in found.redirected[0].en
        assert {c.change for c in found.history} == {"created", "merged", "changed"}


def test_records_that_part_again_get_back_the_id_they_had(street: Street) -> None:
    street.next(["R1,S1,甲店"])
    apart = street.next(["R1,S1,甲店"], ["T1,S2,1", "T2,S2,1"])
    street.next(["R1,S1,甲店"], ["T1,S1,1", "T2,S1,1"])
    assert street.next(["R1,S1,甲店"], ["T1,S2,1", "T2,S2,1"]) == apart
    assert (apart["S2"], "restored", apart["S1"]) in street.told(3)


def test_records_that_never_had_an_id_of_their_own_get_a_new_one(street: Street) -> None:
    whole = street.next(["R1,S1,甲店", "R2,S1,甲店"], ["T1,S1,1"])["S1"]
    parted = street.next(["R1,S1,甲店", "R2,S2,甲店"], ["T1,S1,1"])
    assert parted["S1"] == whole and parted["S2"] != whole
    assert (parted["S2"], "split", whole) in street.told(1)


def test_an_id_ends_with_its_records_and_comes_back_with_them(street: Street) -> None:
    was = street.next(["R1,S1,甲店", "R2,S2,乙店"])
    street.next(["R1,S1,甲店"])
    with street.run() as run, pytest.raises(NotFound, match="none of its 1 record"):
        trace(run, "shop", was["S2"])
    assert street.next(["R1,S1,甲店", "R2,S3,乙店"])["S3"] == was["S2"], "R2 is R2, whatever its number"
    assert [c for i, c, _ in street.told() if i == was["S2"]] == ["created", "ended", "restored"]


def test_rows_without_a_key_are_known_by_their_number_when_a_file_is_sent_again(tmp_path: Path) -> None:
    sources = {name: text.replace(", key: true", "").replace("snapshot", "append") for name, text in SOURCES.items()}
    place = town(tmp_path, sources)
    place.drop("market", "shop_20260302.csv", SHOP + "R1,S1,甲店\nR2,S2,乙店\n")
    place.run_at("2026-03-03T08:30:00+08:00")
    was = {s["shop_no"]: s["_entity"] for s in place.tables()["base.shop"]}
    place.drop("market", "shop_20260302.csv", SHOP + "R0,S0,新店\nR1,S1,甲店改\nR2,S2,乙店\n")
    place.run_at("2026-03-03T09:30:00+08:00")
    now = {s["shop_no"]: s["_entity"] for s in place.tables()["base.shop"]}
    assert now.items() >= was.items() and len(set(now.values())) == 3


def test_consumers_ask_from_where_they_stopped(street: Street) -> None:
    one = street.next(["R1,S1,甲店"])["S1"]
    with street.run() as run:
        first = changes(run, "shop")
        assert changes(run, "shop", first.upto).changes == ()
    before = datetime.fromisoformat(street.at())
    two = street.next(["R1,S1,甲店改", "R2,S2,乙店"])["S2"]
    with street.run() as run:
        then = changes(run, "shop", first.upto)
        assert {(c.entity_id, c.change, c.attributes) for c in then.changes} == {
            (one, "changed", ("shop_name",)),
            (two, "created", ()),
        }
        assert changes(run, "shop", before).changes == then.changes
        assert changes(run, "shop", 0, limit=1) == first, "whole fusions only, and where to go on"
        assert "甲店" not in str(then)


def played(street: Street) -> None:
    street.next(["R1,S1,甲店", "R3,S3,丙店"])
    street.next(["R1,S1,甲店", "R3,S3,丙店"], ["T1,S2,1"])
    street.next(["R1,S1,甲店", "R3,S8,丙店"], ["T1,S1,1"])


def test_a_rebuilt_warehouse_has_the_same_ids_and_knows_what_became_of_the_old_ones(street: Street, tmp_path: Path) -> None:
    played(street)
    wanted = street.place.tables()
    with street.run() as run:
        target = rebuild(run, tmp_path / "new")
    found = tables(target)
    for name in ("base.shop", "base.shop__origin", "base.shop__member", "ledger.entity_change", "quality.clash"):
        assert found[name] == wanted[name], name
    again = Town(target, street.place.catalog)
    with again.run(street.at()) as run:
        assert verify(run) == []
        upto = changes(run, "shop").upto
        assert upto > 3, "who asks from where it stopped misses nothing"
    street.place, old = again, street.ids()
    assert street.next(["R1,S1,甲店", "R3,S3,丙店"], ["T1,S2,1"]).keys() == {"S1", "S2", "S3"}
    assert street.ids()["S3"] == old["S8"]


def test_an_id_that_is_not_what_the_ledger_says_is_found(street: Street) -> None:
    one = street.next(["R1,S1,甲店", "R2,S2,乙店"])["S1"]
    with street.run() as run:
        run.con.execute(
            "INSERT INTO lake.ledger.entity_change BY NAME "
            "SELECT * REPLACE (2 AS number, 'merged' AS change, 'nobody' AS other) FROM lake.ledger.entity_change WHERE _entity = ?",
            [one],
        )
        told = " ".join(p.what for p in verify(run))
    assert f"{one} is golden, the ledger says merged" in told and "nobody, which the ledger does not know" in told


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "first"),
    [
        ("pipelines.merge.keep", False),
        ("pipelines.merge.commit", False),
        ("pipelines.merge.commit", True),
        ("pipelines.merge.tidy", True),
    ],
)
def test_a_merge_that_dies_before_or_after_its_commit_is_done_once(
    tmp_path: Path, where: str, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, struck = Street(tmp_path / "quiet"), Street(tmp_path / "struck")
    for street in (quiet, struck):
        if not first:
            street.next(["R1,S1,甲店", "R2,S2,乙店"], ["T1,S3,1"])
        street.land(["R1,S1,甲店", "R2,S9,乙店"], ["T1,S1,1"])
        with street.run() as run:
            for source in run.catalog.contracts:
                intake(run, source)
            assert dedupe(run, "shop")
            if street is struck:
                with monkeypatch.context() as patch, pytest.raises(Killed):
                    patch.setattr(where, _die)
                    merge(run, "shop")
        with street.run() as run:
            merge(run, "shop")  # as a scheduler tries a task again
            fuse(run, "shop")
    assert struck.place.tables() == quiet.place.tables()
    assert _journal(struck) == _journal(quiet)
    with struck.run() as run:
        assert rebuild(run, tmp_path / "new")
    assert tables_of(tmp_path / "new", run) == quiet.place.tables()["ledger.entity_change"]


def _die(*_: object, **__: object) -> None:
    raise Killed


def _journal(street: Street) -> dict[str, str]:
    folder = street.place.workspace.archive / "entities" / "shop"
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def tables_of(root: Path, run: Run) -> list[dict[str, Any]]:
    from warehouse.layout import Workspace

    return tables(Workspace(root))["ledger.entity_change"]


@pytest.mark.slow
def test_the_number_of_threads_changes_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("DMP_THREADS", threads)
        street = Street(tmp_path / threads)
        played(street)
        found.append(json.dumps(street.place.tables()["ledger.entity_change"], default=str))
    assert found[0] == found[1]


def test_golden_records_as_they_stood_after_each_fusion_also_in_a_rebuilt_warehouse(street: Street, tmp_path: Path) -> None:
    def names(run: Run, as_of: int | datetime | None) -> list[str]:
        return [
            str(r[0]) for r in run.con.execute(f"SELECT shop_name FROM ({golden_sql(run, 'shop', as_of)}) ORDER BY 1").fetchall()
        ]

    street.next(["R1,S1,甲店", "R2,S2,乙店"])
    street.next(["R1,S1,甲店新名", "R2,S2,乙店"])
    street.next(["R1,S1,甲店新名", "R3,S3,丙店"])
    expected = {1: ["乙店", "甲店"], 2: ["乙店", "甲店新名"], 3: ["丙店", "甲店新名"], 0: []}
    with street.run() as run:
        for number, stood in expected.items():
            assert names(run, number) == stood
        assert names(run, None) == expected[3]
        assert names(run, datetime.fromisoformat("2026-03-03T23:00:00+08:00")) == expected[2]
        again = rebuild(run, tmp_path / "again")
    with open_run(now=run.now, workspace=again.root, catalog=street.place.catalog) as new:
        for number, stood in expected.items():
            assert names(new, number) == stood


def test_golden_records_as_they_were_true_on_a_day_by_all_that_is_known_now_or_was_known_then(
    street: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def true_on(run: Run, day: str, as_of: str | None = None) -> dict[str, str]:
        then = datetime.fromisoformat(as_of) if as_of else None
        with golden_on(run, "shop", date.fromisoformat(day), then) as (con, sql):
            return dict(con.execute(f"SELECT shop_name, _entity FROM ({sql})").fetchall())

    first = street.next(["R1,S1,甲店", "R2,S2,乙店"], ["T1,S1,1", "T2,S2,2"])
    street.next(["R1,S1,甲店新名"], ["T1,S1,1"])  # 乙店 is no more
    street.day += 1
    street.place.drop("market", "shop_20260302.csv", SHOP + "R1,S1,甲店真名\nR2,S2,乙店\n")  # late: what was true two days ago
    street.place.run_at(street.at())
    with street.run() as run:
        assert true_on(run, "2026-03-02") == {"甲店真名": first["S1"], "乙店": first["S2"]}
        assert true_on(run, "2026-03-02", "2026-03-03T23:00:00+08:00") == {"甲店": first["S1"], "乙店": first["S2"]}
        assert true_on(run, "2026-03-03") == true_on(run, "2026-03-09") == {"甲店新名": first["S1"]}
        with pytest.raises(NotFound, match="of that time"):
            true_on(run, "2026-03-01")
    monkeypatch.setenv("DMP_WORKSPACE", str(street.place.workspace.root))
    monkeypatch.setenv("DMP_CATALOG", str(street.place.catalog))
    told = CliRunner().invoke(app, ["golden", "shop", "--on", "2026-03-02", "--csv", str(tmp_path / "shops.csv")])
    assert told.exit_code == 0 and "甲店真名" in (tmp_path / "shops.csv").read_text()
    assert CliRunner().invoke(app, ["golden", "shop", "--on", "2026-03-02", "--as-of", "1"]).exit_code == 2
