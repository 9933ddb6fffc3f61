"""What lands is taken once, in order, whole, and never taken for something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines import archive
from pipelines.archive import Drop
from pipelines.collect import collect
from tests.support import SOURCES, Town, town

FIRST, SECOND, THIRD, FOURTH = (f"2026-03-{day:02}T08:30:00+08:00" for day in (3, 4, 5, 6))
A = "编号,名称,成立日期\n1,甲,2020-01-02\n"
B = "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,2021-03-04\n"


@pytest.fixture
def place(tmp_path: Path) -> Town:
    return town(tmp_path)


def took(place: Town, when: str) -> list[str]:
    """Collect `market__shop` at an instant; the batches it staged."""
    with place.run(when) as run:
        return collect(run, "market__shop")


def drops(place: Town) -> list[Drop]:
    return archive.drops(place.workspace, "market__shop")


def ledger(place: Town) -> list[tuple[str, str]]:
    """(outcome, batch) of every drop, in order of arrival."""
    rows = sorted(place.tables()["ledger.drop"], key=lambda r: (r["arrived_at"], r["file_name"]))
    return [(r["outcome"], r["batch"]) for r in rows]


def test_a_landed_file_is_archived_read_only_and_taken_out_of_the_landing_folder(place: Town) -> None:
    path = place.drop("market", "shop_20260302.csv", A)
    assert took(place, FIRST) == ["market__shop@2026-03-02.v1"]
    [drop] = drops(place)
    kept = archive.object_path(place.workspace, drop.sha256)
    assert not path.exists()
    assert kept.read_text() == A
    assert kept.stat().st_mode & 0o777 == 0o400
    assert drop.arrived_at == "2026-03-03T00:30:00+00:00"


def test_versions_follow_what_was_sent(place: Town) -> None:
    for when, data in ((FIRST, A), (SECOND, A), (THIRD, B), (FOURTH, A)):
        place.drop("market", "shop_20260302.csv", data)
        place.run_at(when)
    versions = [(outcome, batch.removeprefix("market__shop@2026-03-02.")) for outcome, batch in ledger(place)]
    assert versions == [("batch", "v1"), ("unchanged", "v1"), ("batch", "v2"), ("batch", "v3")]
    assert [r["shop_no"] for r in place.tables()["base.shop"]] == ["1"], "the restored first version is in force"


def test_unchanged_bytes_for_a_new_period_are_a_delivery(place: Town) -> None:
    for when, day in ((FIRST, "02"), (SECOND, "03")):
        place.drop("market", f"shop_202603{day}.csv", A)
        place.run_at(when)
    assert ledger(place) == [("batch", "market__shop@2026-03-02.v1"), ("batch", "market__shop@2026-03-03.v1")]


def test_three_versions_within_one_look_are_all_kept(place: Town) -> None:
    for name, data in (("shop_20260302.csv", A), ("shop_20260302_b.csv", B), ("shop_20260302_c.csv", A)):
        place.drop("market", name, data)
    place.run_at(FIRST)
    assert [b for _, b in ledger(place)] == [f"market__shop@2026-03-02.v{n}" for n in (1, 2, 3)]


def test_the_same_name_and_bytes_at_one_instant_are_two_drops_when_others_came_between(place: Town) -> None:
    for data in (A, B, A):
        place.drop("market", "shop_20260302.csv", data)
        took(place, FIRST)
    assert [d.number for d in drops(place)] == [1, 2, 3]
    assert took(place, FIRST) == [f"market__shop@2026-03-02.v{n}" for n in (1, 2, 3)]


def test_bytes_repeated_before_the_first_was_committed_are_recorded_with_it(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", A)
    place.drop("market", "shop_20260302_again.csv", A)
    assert took(place, FIRST) == ["market__shop@2026-03-02.v1"]
    assert place.tables()["ledger.drop"] == [], "nothing may point to a batch that is not there yet"
    place.run_at(FIRST)
    assert ledger(place) == [("batch", "market__shop@2026-03-02.v1"), ("unchanged", "market__shop@2026-03-02.v1")]


def test_links_hidden_and_unfinished_files_are_left(place: Town, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text(A)
    folder = place.drop("market", "shop_20260301.csv.part", A).parent
    place.drop("market", "shop_20260301.csv.FILEPART", A)
    place.drop("market", ".shop_20260301.csv", A)
    (folder / "shop_20260302.csv").symlink_to(tmp_path / "elsewhere.csv")
    (folder / "shop_20260303.csv").mkdir()
    assert took(place, FIRST) == []
    assert drops(place) == []
    assert len(list(folder.iterdir())) == 5


def test_a_link_in_place_of_the_department_folder_is_not_followed(place: Town, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "shop_20260302.csv").write_text(A)
    (place.workspace.landing / "market").symlink_to(tmp_path / "outside")
    assert took(place, FIRST) == []


def test_an_unfinished_name_is_taken_once_it_is_finished(place: Town) -> None:
    part = place.drop("market", "shop_20260302.csv.part", A)
    took(place, FIRST)
    part.rename(part.with_suffix(""))
    assert took(place, SECOND) == ["market__shop@2026-03-02.v1"]


@pytest.fixture
def landing_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system mounted read-only, for root too."""
    unlink = os.unlink

    def refuse(path: str | Path, **options: int | None) -> None:
        if Path(path).parent.parent.name == "landing":
            raise OSError(30, "Read-only file system", str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)


@pytest.mark.usefixtures("landing_is_read_only")
def test_a_landing_folder_that_is_read_only_does_not_give_the_file_twice(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", A)
    place.run_at(FIRST)
    place.drop("market", "shop_20260302_b.csv", B)
    place.run_at(SECOND)
    place.run_at(THIRD)
    assert ledger(place) == [("batch", "market__shop@2026-03-02.v1"), ("batch", "market__shop@2026-03-02.v2")]


@pytest.mark.usefixtures("landing_is_read_only")
def test_a_file_that_is_replaced_in_a_read_only_landing_folder_is_a_new_drop(place: Town) -> None:
    for when, data in ((FIRST, A), (SECOND, B), (THIRD, A)):
        place.drop("market", "shop_20260302.csv", data)
        place.run_at(when)
    assert [b for _, b in ledger(place)] == [f"market__shop@2026-03-02.v{n}" for n in (1, 2, 3)]


def test_a_file_sent_again_with_its_old_date_under_another_name_is_a_delivery(place: Town) -> None:
    """`cp -p`, rsync and unpacked archives keep the time of change, and inode numbers return at once."""
    for when, day in ((FIRST, "02"), (SECOND, "03")):
        os.utime(place.drop("market", f"shop_202603{day}.csv", A), ns=(10**18, 10**18))
        place.run_at(when)
    assert len(ledger(place)) == 2


def test_a_file_that_changes_while_it_is_copied_is_left_for_the_next_run(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.drop("market", "shop_20260302.csv", A)
    fsync = os.fsync

    def still_sending(handle: int) -> None:
        with path.open("a") as file:
            file.write("2,乙,2021-03-04\n")
        fsync(handle)

    with place.run(FIRST) as run, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", still_sending)
        assert archive.take(run, run.catalog.contract("market__shop"), path) is None
    assert drops(place) == []
    assert took(place, SECOND) == ["market__shop@2026-03-02.v1"]
    assert archive.object_path(place.workspace, drops(place)[0].sha256).read_text() == B


def test_a_file_that_takes_the_place_of_one_just_copied_is_not_thrown_away(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    place.drop("market", "shop_20260302.csv", A)
    record = archive._record

    def while_another_comes(*arguments: object) -> Drop:
        place.drop("market", "shop_20260302.csv", B)
        return record(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(archive, "_record", while_another_comes)
        took(place, FIRST)
    place.run_at(SECOND)
    assert [b for _, b in ledger(place)] == ["market__shop@2026-03-02.v1", "market__shop@2026-03-02.v2"]


def test_a_file_that_is_gone_when_its_turn_comes_is_no_error(place: Town) -> None:
    path = place.drop("market", "shop_20260302.csv", A)
    with place.run(FIRST) as run:
        path.unlink()
        assert archive.take(run, run.catalog.contract("market__shop"), path) is None


def test_with_the_real_clock_the_kernel_tells_when_a_file_came_and_which_came_first(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    sooner = place.drop("market", "shop_20260302_b.csv", B)
    later = place.drop("market", "shop_20260302_a.csv", A)
    while later.stat().st_ctime_ns <= sooner.stat().st_ctime_ns:  # the kernel counts in ticks
        later.chmod(0o600)
    came = [p.stat().st_ctime for p in (sooner, later)]
    monkeypatch.setattr(archive, "QUIET", 0.0)
    with place.run(None) as run:
        collect(run, "market__shop")
    found = drops(place)
    assert [d.file_name for d in found] == [sooner.name, later.name]
    assert [d.arrival.timestamp() for d in found] == pytest.approx(came, abs=0.001)


def test_with_the_real_clock_a_file_must_have_been_quiet(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.drop("market", "shop_20260302.csv", A)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        with path.open("a") as file:
            file.write("2,乙,2021-03-04\n")

    monkeypatch.setattr("pipelines.archive.time.sleep", sleep)
    with place.run(None) as run:
        assert archive.take(run, run.catalog.contract("market__shop"), path) is None
    assert len(slept) == 1
    assert 0 < slept[0] <= archive.QUIET


def test_a_drop_that_waited_is_read_under_the_contract_of_the_day_it_is_read(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", A)
    took(place, FIRST)
    before = drops(place)[0].contract_hash
    place.contract("market__shop", SOURCES["market__shop"].replace("to: shop_name, required: true", "to: shop_name"))
    place.run_at(SECOND)
    [drop] = drops(place)
    [batch] = place.tables()["ledger.batch"]
    assert drop.contract_hash == batch["contract_hash"] != before
    assert drop.arrived_at == "2026-03-03T00:30:00+00:00", "arrival is when it came, not when it was read"


def test_what_a_killed_run_read_under_another_contract_does_not_come_back(place: Town) -> None:
    """The file was staged as rows; under the new contract its header is wrong, so it has none."""
    place.drop("market", "shop_20260302.csv", A)
    took(place, FIRST)
    place.contract("market__shop", SOURCES["market__shop"].replace("from: 编号", "from: 店铺编号"))
    place.run_at(SECOND)
    tables = place.tables()
    assert [r["verdict"] for r in tables["ledger.batch"]] == ["hold"]
    assert "raw.market__shop" not in tables


def test_the_same_bytes_under_a_new_contract_are_a_new_version(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", A)
    place.run_at(FIRST)
    place.contract("market__shop", SOURCES["market__shop"].replace("to: shop_name, required: true", "to: shop_name"))
    place.drop("market", "shop_20260302.csv", A)
    place.run_at(SECOND)
    assert [b for _, b in ledger(place)] == ["market__shop@2026-03-02.v1", "market__shop@2026-03-02.v2"]
