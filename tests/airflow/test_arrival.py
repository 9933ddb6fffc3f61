"""A file that lies finished in a landing folder starts the intake of its source: by itself, at once, and only then."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_lowercase
from typing import Any, cast

import pytest
from airflow.sdk import Asset

from catalog.contract import Contract
from catalog.registry import SHIPPED, open_catalog
from dags import _arrival
from dags._arrival import AGAIN, QUIET, Arrival, Look, News, look
from dags._common import hourly, on_arrival
from pipelines import airflow_home, archive, manifest
from pipelines.demo import set_clock
from pipelines.run import open_run
from warehouse.lake import reading
from warehouse.layout import Workspace

from .conftest import NOW, City, source_yaml

GOOD = "编号,名称\n1,东风商店\n2,西街书店\n"


def shops(dataset: str, complete: str, department: str = "market") -> str:
    text = source_yaml(department, dataset, "市监局", "店铺", "Shops").replace("entity: shop\n", "")
    return text.replace("cycle: daily", f"complete: {complete}, cycle: daily")


def seen(**files: int) -> Look:
    """A look: each file's name, with _ for the dots of its ending, and what changes when it is written to."""
    return {name.replace("__", "."): (version, version, version) for name, version in files.items()}


def test_a_file_is_told_once_it_has_been_quiet_and_not_while_it_grows() -> None:
    news = News(["shop_*.csv"], "quiet")
    assert news.among(seen(shop_1__csv=1), 0.0) == []
    assert news.among(seen(shop_1__csv=2), QUIET) == [], "it grew since"
    assert news.among(seen(shop_1__csv=2), 2 * QUIET) == ["shop_1.csv"]
    assert news.among(seen(shop_1__csv=2), 3 * QUIET) == []


def test_a_file_that_is_left_is_told_again_a_few_times_and_then_left_to_the_hourly_look() -> None:
    news, left = News(["shop_*.csv"], "rename"), seen(shop_1__csv=1)
    told = [second for second in range(3600) if news.among(left, float(second))]
    assert told == [0, AGAIN[0], sum(AGAIN)]
    assert news.among(seen(shop_1__csv=2), 3600.0) == ["shop_1.csv"], "another file under the same name"


def test_what_comes_again_after_it_was_taken_is_told_again() -> None:
    news, lies = News(["shop_*.csv"], "rename"), seen(shop_1__csv=1)
    assert [news.among(s, float(at)) for at, s in enumerate((lies, {}, lies))] == [["shop_1.csv"], [], ["shop_1.csv"]]


@pytest.mark.parametrize(("complete", "sign"), [("manifest", "shop_1__csv__manifest__json"), ("marker", "shop_1__csv__ok")])
def test_where_a_sign_is_agreed_a_file_waits_for_it_and_then_for_nothing_else(complete: str, sign: str) -> None:
    news = News(["shop_*"], complete)
    assert news.among(seen(shop_1__csv=1), 0.0) == news.among(seen(shop_1__csv=1), 1000.0) == []
    assert news.among(seen(shop_1__csv=1, **{sign: 1}), 1001.0) == ["shop_1.csv"], "at once, and the sign itself is no file"
    assert news.among(seen(shop_1__csv=1, **{sign: 2}), 1002.0) == ["shop_1.csv"], "its sender mended the sign"


def test_any_workbook_may_be_one_that_was_mended() -> None:
    news = News(["shop_*.csv"], "manifest")
    there = {"改好了.XLSX": (1, 1, 1), "~$改好了.docx": (1, 1, 1)}
    assert news.among(there, 0.0) == []
    assert news.among(there, QUIET) == ["改好了.XLSX"]


def trigger_of(contract: Contract) -> Arrival:
    schedule = on_arrival(contract)
    assert schedule is not None
    (watcher,) = cast(Asset, schedule.asset_condition).watchers
    return cast(Arrival, watcher.trigger)


NAMES = [
    "shop_1.csv", "SHOP_2.csv", "shop_3.csv.part", "shop_4.csv.TMP", ".shop_5.csv", "shop_6.csv.swp", "other.csv", "shop_é.csv",
    "shop_7.csv", "shop_7.manifest.json", "shop_8.csv", "shop_8.csv.manifest.json", "shop_9.csv", "shop_9.csv.ok",
]  # fmt: skip


@pytest.mark.parametrize(
    ("complete", "period"),
    [("quiet", "file_name"), ("rename", "file_name"), ("marker", "file_name"), ("manifest", "file_name"), ("quiet", "manifest")],
)
def test_it_wakes_for_the_files_that_the_intake_takes_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: str, period: str
) -> None:
    """The rules are written twice, because what watches may not import what the intake needs."""
    catalog = tmp_path / "catalog"
    (catalog / "sources").mkdir(parents=True)
    text = shops("shop", complete)
    if period == "manifest":
        text = re.sub("^period:.*$", "period: {from: manifest}", text, flags=re.M)
    (catalog / "sources" / "market__shop.yaml").write_text(text)
    contract = open_catalog(catalog).contract("market__shop")
    with open_run(workspace=tmp_path / "workspace", catalog=catalog) as run:
        folder = run.workspace.landing / "market"
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (folder / unicodedata.normalize("NFD", name)).write_text(GOOD)
        (folder / "shop_link.csv").symlink_to(folder / "other.csv")
        (folder / "shop_folder.csv").mkdir()
        taken = {unicodedata.normalize("NFC", p.name) for p in archive.waiting(run, contract)}
    monkeypatch.setenv("DMP_WORKSPACE", str(tmp_path / "workspace"))
    trigger = trigger_of(contract)
    assert trigger.folder == str(folder)
    news = News(trigger.patterns, trigger.complete)
    told = {*news.among(look(folder), 0.0), *news.among(look(folder), QUIET)}
    assert told == taken
    signs = {"shop_7.csv", "shop_8.csv"} if "manifest" in (complete, period) else {"shop_9.csv"}
    assert signs <= taken and ("shop_1.csv" in taken) == (complete in ("quiet", "rename") and period != "manifest")
    assert (archive.UNFINISHED, manifest.SUFFIXES) == (_arrival.UNFINISHED, _arrival.SIGNS)


def test_a_folder_that_is_absent_or_a_link_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "shop_1.csv").write_text(GOOD)
    (tmp_path / "market").symlink_to(tmp_path / "real")
    assert look(tmp_path / "market") == look(tmp_path / "absent") == {}


def test_the_trigger_is_made_again_from_what_airflow_keeps_of_it() -> None:
    path, kept = Arrival("/landing/market", ["shop_*.csv"], "marker").serialize()
    module, _, name = path.rpartition(".")
    assert (module, getattr(_arrival, name)) == (_arrival.__name__, Arrival)
    assert Arrival(**kept).serialize() == (path, kept)


def test_sources_of_one_department_share_the_looks() -> None:
    shop, stall = Arrival("/landing/market", ["shop_*.csv"], "quiet"), Arrival("/landing/market", ["stall_*.csv"], "marker")
    assert shop.shared_stream_key() == stall.shared_stream_key() != Arrival("/landing/tax", [], "quiet").shared_stream_key()


async def first(events: AsyncIterator[Any]) -> Any:
    async with asyncio.timeout(30):
        return (await anext(events)).payload


def test_the_first_look_tells_what_lies_there_so_that_a_restart_loses_nothing(tmp_path: Path) -> None:
    for name in ("shop_1.csv", "shop_2.csv", "stall_1.csv"):
        (tmp_path / name).write_text(GOOD)
    assert asyncio.run(first(Arrival(str(tmp_path), ["shop_*.csv"], "rename").run())) == {"files": 2}


def test_a_file_that_is_renamed_into_the_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrival, "EVERY", 0.02)
    looks = asyncio.Event()

    class Looking(Arrival):
        @classmethod
        async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Look]:
            async for one in super().open_shared_stream(kwargs):
                yield one
                looks.set()

    async def play() -> Any:
        part = tmp_path / "shop_1.csv.part"
        part.write_text(GOOD)
        told = asyncio.create_task(first(Looking(str(tmp_path), ["shop_*.csv"], "rename").run()))
        for _ in range(3):
            looks.clear()
            await looks.wait()
        assert not told.done(), "the part is nothing to wake for"
        part.rename(tmp_path / "shop_1.csv")
        return await told

    assert asyncio.run(play()) == {"files": 1}


def test_a_folder_that_cannot_be_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop_1.csv").write_text(GOOD)
    failures = iter([OSError(116, "Stale file handle")] * 3)

    def gone_for_a_while(folder: Path) -> Look:
        for failure in failures:
            raise failure
        return look(folder)

    monkeypatch.setattr(_arrival, "look", gone_for_a_while)
    monkeypatch.setattr(_arrival, "EVERY", 0.01)
    assert asyncio.run(first(Arrival(str(tmp_path), ["shop_*.csv"], "rename").run())) == {"files": 1}
    assert caplog.text.count("Stale file handle") == 1


DATASETS = {"shop": "quiet", "stall": "manifest"}


@pytest.fixture(scope="module")
def department() -> str:
    """One whose hourly looks are far off: whatever wakes its intakes while the test runs is the file."""
    soon = {(datetime.now(UTC) + timedelta(minutes=n)).minute for n in range(-5, 15)}
    names = (f"market_{letter}" for letter in ascii_lowercase)
    return next(d for d in names if soon.isdisjoint(int(hourly(f"{d}__{dataset}").split()[0]) for dataset in DATASETS))


@pytest.fixture(scope="module")
def live(department: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """An Airflow by the real clock, on one department with two sources; one file lies there from before it was started."""
    root = tmp_path_factory.mktemp("live")
    workspace, catalog = Workspace(root / "workspace"), root / "catalog"
    (catalog / "sources").mkdir(parents=True)
    for dataset, complete in DATASETS.items():
        (catalog / "sources" / f"{department}__{dataset}.yaml").write_text(shops(dataset, complete, department))
    environment = airflow_home.prepare(workspace, catalog)
    (workspace.landing / department).mkdir(parents=True)
    (workspace.landing / department / "shop_20260301.csv").write_text(GOOD)
    with airflow_home.start(environment) as handle:
        yield City(handle, workspace, catalog)


def drop(folder: Path, name: str, text: str) -> None:
    """As senders should: written under another name, then renamed."""
    (folder / f"{name}.part").write_text(text)
    (folder / f"{name}.part").rename(folder / name)


def committed(city: City) -> dict[str, str]:
    with reading(city.workspace) as con:
        return dict(con.execute("SELECT batch, run FROM lake.ledger.batch WHERE verdict <> 'hold'").fetchall())


def woken_by(city: City, batch: str) -> str:
    """What woke the intake that committed it, as Airflow names it, once it is committed."""
    city.handle.wait(lambda: batch in committed(city), 90, f"{batch} to be committed")
    source = batch.partition("@")[0]
    runs = {f"intake__{source}.{r['dag_run_id']}": r["run_type"] for r in city.handle.api.runs([f"intake__{source}"])}
    return str(runs[committed(city)[batch]])


def test_in_a_simulated_workspace_nothing_wakes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, contract = Workspace(tmp_path), open_catalog(SHIPPED).contract("taxation__taxpayer")
    monkeypatch.setenv("DMP_WORKSPACE", str(tmp_path))
    assert trigger_of(contract).folder == str(workspace.landing / "taxation")
    set_clock(workspace, NOW)
    assert on_arrival(contract) is None


@pytest.mark.airflow
def test_a_file_starts_its_intake_by_itself_when_it_is_finished(live: City, department: str) -> None:
    shop, stall, folder = f"{department}__shop", f"{department}__stall", live.workspace.landing / department
    assert woken_by(live, f"{shop}@2026-03-01.v1") == "asset_triggered", "it came while nobody watched"

    (folder / "shop_20260303.csv.part").write_text(GOOD)
    drop(folder, "stall_20260302.csv", GOOD)
    began = datetime.now(UTC)
    drop(folder, "shop_20260302.csv", GOOD)
    assert woken_by(live, f"{shop}@2026-03-02.v1") == "asset_triggered"
    print(f"\nfrom the file to its committed batch: {(datetime.now(UTC) - began).total_seconds():.1f} s")

    assert live.handle.api.asset_events(f"landing/{stall}") == [], "its manifest has not come"
    assert len(live.handle.api.asset_events(f"landing/{shop}")) == 2, "a part is no news"
    assert (folder / "shop_20260303.csv.part").exists()

    drop(folder, "stall_20260302.csv.manifest.json", '{"rows": 2}')
    assert woken_by(live, f"{stall}@2026-03-02.v1") == "asset_triggered"
