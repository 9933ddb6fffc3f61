"""Every drop gets one receipt, chained to the one before; a kill costs none, and a receipt that was tampered with is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import archive, receipt
from pipelines.rebuild import rebuild
from pipelines.receipt import deliver, receipt_path, receipts
from pipelines.verify import verify
from tests.support import Town, town
from warehouse.layout import Workspace

FIRST, SECOND, THIRD = (f"2026-03-{day:02}T08:30:00+08:00" for day in (3, 4, 5))
SHOPS = "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,没有\n3,丙,2021-01-02\n"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A batch, the same bytes once more, a held batch; another department whose refused row holds a telephone number."""
    place = town(tmp_path_factory.mktemp("played"))
    place.drop("market", "shop_20260302.csv", SHOPS)
    place.drop("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n,057188880004\n".encode("gb18030"))
    place.run_at(FIRST)
    place.drop("market", "shop_20260302.csv", SHOPS)
    place.run_at(SECOND)
    place.drop("market", "shop_20260304.csv", "编号,名称\n5,戊\n")
    place.run_at(THIRD)
    return place


@pytest.fixture
def place(played: Town, tmp_path: Path) -> Town:
    """A copy, elsewhere on the disk, that a test may spoil."""
    shutil.copytree(played.workspace.root, tmp_path / "workspace")
    return Town(Workspace(tmp_path / "workspace"), played.catalog)


def given(place: Town, source: str) -> list[dict[str, Any]]:
    paths = [receipt_path(place.workspace, d) for d in archive.drops(place.workspace, source)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def problems(place: Town) -> list[str]:
    with place.run(THIRD) as run:
        return [p.what for p in verify(run) if p.part == "receipts"]


def test_a_receipt_says_what_came_how_it_was_read_and_what_was_decided(played: Town) -> None:
    first = given(played, "market__shop")[0]
    assert first["file"]["name"] == "shop_20260302.csv" and first["file"]["size_bytes"] == len(SHOPS.encode())
    assert first["reading"]["encoding"] == "utf-8" and first["reading"]["dialect"]["delimiter"] == ","
    rows = first["rows"]
    assert (rows["records"], rows["read"], rows["accepted"], rows["refused"]) == (4, 3, 2, 1)
    assert rows["not_data"] == {"header": 1}
    assert first["verdict"]["state"] == "warn"
    assert [f["code"] for f in first["findings"]] == ["date_unreadable"]
    assert "第 3 行" in first["findings"][0]["examples"][0]["zh"] and "Row 3" in first["findings"][0]["examples"][0]["en"]
    assert first["score"]["T"]["value"] == "100.00", "it came half an hour before it was due"
    assert any(c["a"] == "2" and c["b"] == "3" for c in first["checks"]), "two of three dates are valid"
    assert first["handshake"]["how"] == "quiet"


def test_bytes_that_are_known_already_get_a_receipt_that_says_so(played: Town) -> None:
    second = given(played, "market__shop")[1]
    assert (second["outcome"], second["verdict"]["state"]) == ("unchanged", "unchanged")
    assert "market__shop@2026-03-02.v1" in second["verdict"]["zh"] and second["rows"] is None
    folder = next((played.workspace.outbox / "market" / "market__shop").glob("*.unchanged.*"))
    assert {p.name for p in folder.iterdir()} == {"receipt.json", "receipt.html"}


def test_a_held_file_without_rows_gets_no_empty_workbook(played: Town) -> None:
    third = given(played, "market__shop")[2]
    assert third["verdict"]["state"] == "hold" and third["rows"]["accepted"] == 0 and third["workbook"] is None
    assert not list((played.workspace.outbox / "market" / "market__shop" / "2026-03-04.v1").glob("*.xlsx"))


def test_each_receipt_names_the_one_before(played: Town) -> None:
    own = [receipt_path(played.workspace, d) for d in archive.drops(played.workspace, "market__shop")]
    told = given(played, "market__shop")
    assert [t["number"] for t in told] == [1, 2, 3]
    assert [t["previous"] for t in told] == [None, receipt._digest(own[0]), receipt._digest(own[1])]
    assert {p.stat().st_mode & 0o777 for p in own} == {0o400}


def test_personal_values_stand_in_no_receipt_and_only_in_the_workbook_of_their_sender(played: Town) -> None:
    folder = played.workspace.outbox / "tax" / "tax__payer" / "2026-03-02.v1"
    texts = [p.read_text(encoding="utf-8") for p in (folder / "receipt.json", folder / "receipt.html")]
    assert all("057188880004" not in text and "057188880001" not in text for text in texts)
    assert list(folder.glob("*.xlsx"))
    assert not list((played.workspace.outbox / "market").rglob("tax*"))


def test_what_is_listed_is_what_was_given_newest_first(played: Town) -> None:
    with played.run(THIRD) as run:
        found = receipts(run, "market__shop")
    assert [g.verdict for g in found] == ["hold", "unchanged", "warn"]
    assert all((g.outbox / "receipt.html").is_file() for g in found)


def test_a_run_that_dies_between_commit_and_receipt_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = town(tmp_path)
    place.drop("market", "shop_20260302.csv", SHOPS)
    place.drop("tax", "payer_20260302.csv", "编号,电话\n,057188880004\n".encode("gb18030"))
    with monkeypatch.context() as patch:
        # The archived receipt is the last thing written: the copies lie there, the mark that they do is missing.
        patch.setattr(receipt, "receipt_path", _fail_after_the_first(receipt.receipt_path))
        with pytest.raises(OSError, match="killed"):
            place.run_at(FIRST)
    assert not list((place.workspace.archive / "receipts").rglob("*.json"))
    place.run_at(SECOND)
    [told] = given(place, "market__shop")
    assert told["arrived_at"].startswith("2026-03-03T00:30"), "the receipt is of the arrival, not of the repair"
    assert given(place, "tax__payer") and problems(place) == []


def _fail_after_the_first(call: Any) -> Any:
    calls = []

    def called(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 2:  # looked for twice, then it would be written
            raise OSError("killed")
        return call(*arguments)

    return called


def test_a_second_delivery_writes_nothing(place: Town) -> None:
    before = {p: p.stat().st_mtime_ns for p in place.workspace.outbox.rglob("*") if p.is_file()}
    with place.run(THIRD) as run:
        assert [deliver(run, source) for source in run.catalog.contracts] == [[], [], []]
    assert before == {p: p.stat().st_mtime_ns for p in place.workspace.outbox.rglob("*") if p.is_file()}


def test_a_department_may_move_its_copies(place: Town) -> None:
    shutil.rmtree(place.workspace.outbox)
    assert problems(place) == []


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_changed_receipt_is_named(place: Town, which: int) -> None:
    path = receipt_path(place.workspace, archive.drops(place.workspace, "market__shop")[which])
    path.chmod(0o600)
    path.write_text(path.read_text(encoding="utf-8").replace("逐字节", "大致").replace("2 行", "9 行"), encoding="utf-8")
    if which == 2:
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert len(problems(place)) == 1


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_missing_receipt_is_named_and_made_again(place: Town, which: int) -> None:
    path = receipt_path(place.workspace, archive.drops(place.workspace, "market__shop")[which])
    before = path.read_bytes()
    path.unlink()
    assert len(problems(place)) == 1 and "missing" in problems(place)[0]
    with place.run(THIRD) as run:
        assert deliver(run, "market__shop") == [path]
    assert path.read_bytes() == before and problems(place) == []


def test_receipts_in_each_others_place_are_named(place: Town) -> None:
    one, other = (receipt_path(place.workspace, d) for d in archive.drops(place.workspace, "market__shop")[:2])
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    assert [w for w in problems(place) if "another's place" in w]


def test_the_same_receipts_come_out_of_the_archive(place: Town, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in (place.workspace.archive / "receipts").rglob("*.json")}
    shutil.rmtree(place.workspace.archive / "receipts")
    with place.run(THIRD) as run:
        made = rebuild(run, tmp_path / "again")
    assert {p.name: p.read_bytes() for p in (made.archive / "receipts").rglob("*.json")} == before


def test_a_link_in_the_outbox_leads_our_writing_nowhere(tmp_path: Path) -> None:
    place = town(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (place.workspace.outbox / "market").symlink_to(elsewhere)
    place.drop("market", "shop_20260302.csv", SHOPS)
    place.run_at(FIRST)
    assert not list(elsewhere.iterdir())
    assert (place.workspace.outbox / "market" / "market__shop" / "2026-03-02.v1" / "receipt.html").is_file()
