"""A file is taken when it is finished, with what its sender declared beside it, and what was declared is checked."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import archive, manifest
from pipelines.archive import Drop
from pipelines.batch import load
from pipelines.collect import collect
from pipelines.manifest import MOST
from pipelines.rebuild import rebuild
from pipelines.status import waiting_files
from pipelines.verify import verify
from tests.support import SOURCES, Town, town

SHOP = SOURCES["market__shop"]
DUE = 'due: "09:00 next working day"'
NOW, LATER = "2026-03-03T08:30:00+08:00", "2026-03-03T08:45:00+08:00"
NAME = "shop_20260302.csv"
A = "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,2021-03-04\n"
B = "编号,名称,成立日期\n1,甲,2020-01-02\n"


def agreed(complete: str) -> str:
    return SHOP.replace(DUE, f"{DUE}, complete: {complete}")


@pytest.fixture
def place(tmp_path: Path) -> Town:
    return town(tmp_path, {"market__shop": SHOP})


def took(place: Town, when: str | None = NOW) -> list[str]:
    with place.run(when) as run:
        return collect(run, "market__shop")


def drops(place: Town) -> list[Drop]:
    return archive.drops(place.workspace, "market__shop")


def left(place: Town) -> list[str]:
    return sorted(p.name for p in (place.workspace.landing / "market").iterdir())


def declare(place: Town, name: str = f"{NAME}.manifest.json", **said: Any) -> Path:
    return place.drop("market", name, json.dumps(said, ensure_ascii=False))


def findings(place: Town, batch: str = "market__shop@2026-03-02.v1") -> dict[str, str]:
    """code -> severity of what is wrong with a staged batch."""
    return {f.code: f.severity for f in load(place.workspace, batch).findings}


@pytest.mark.parametrize(("complete", "companion"), [("manifest", ".manifest.json"), ("marker", ".ok")])
def test_a_file_waits_for_its_companion_and_status_says_for_which(place: Town, complete: str, companion: str) -> None:
    place.contract("market__shop", agreed(complete))
    place.drop("market", NAME, A)
    assert took(place) == []
    assert left(place) == [NAME]
    with place.run(NOW) as run:
        assert waiting_files(run) == {"market__shop": [f"{NAME} (waits for {NAME}{companion})"]}
    place.drop("market", NAME + companion, "{}")
    with place.run(NOW) as run:
        assert waiting_files(run) == {"market__shop": [NAME]}
    assert took(place, LATER) == ["market__shop@2026-03-02.v1"]
    assert left(place) == []
    [drop] = drops(place)
    assert drop.handshake == complete
    assert load(place.workspace, "market__shop@2026-03-02.v1").handshake == complete


@pytest.mark.parametrize(("complete", "companion"), [("manifest", ".ok"), ("marker", ".manifest.json")])
def test_the_other_companion_does_not_do(place: Town, complete: str, companion: str) -> None:
    place.contract("market__shop", agreed(complete))
    place.drop("market", NAME, A)
    place.drop("market", NAME + companion, "{}")
    assert took(place) == []
    assert len(left(place)) == 2


def test_what_lies_there_is_used_where_nothing_was_agreed(place: Town) -> None:
    beside = {
        "shop_20260302": ((), "quiet"),
        "shop_20260303": ((".csv.ok",), "marker"),
        "shop_20260304": ((".csv.manifest.json",), "manifest"),
        "shop_20260305": ((".manifest.json",), "manifest"),
        "shop_20260306": ((".csv.ok", ".csv.manifest.json"), "manifest"),
    }
    for stem, (endings, _) in beside.items():
        place.drop("market", f"{stem}.csv", A)
        for ending in endings:
            place.drop("market", stem + ending, '{"rows": 2}')
    took(place)
    assert [d.handshake for d in drops(place)] == [handshake for _, handshake in beside.values()]
    assert left(place) == []


def test_a_manifest_that_agrees_is_archived_with_the_drop_and_costs_nothing(place: Town) -> None:
    digest = hashlib.sha256(A.encode()).hexdigest()
    said: dict[str, Any] = {
        "rows": 2, "columns": ["编号", "名称", "成立日期"], "digest": f"sha256:{digest}", "encoding": "UTF-8", "period": "20260302",
    }  # fmt: skip
    place.drop("market", NAME, A)
    sent = declare(place, **said).read_bytes()
    took(place)
    assert findings(place) == {}
    [drop] = drops(place)
    assert drop.manifest is not None
    assert {k: drop.manifest[k] for k in said} == said
    assert archive.object_path(place.workspace, drop.manifest["object"]).read_bytes() == sent
    place.run_at(LATER)
    assert [r["verdict"] for r in place.tables()["ledger.batch"]] == ["pass"]
    with place.run(LATER) as run:
        assert verify(run) == []


#: What a manifest declares of the two rows of A, and what is said about it.
DECLARED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"rows": 3}, {"manifest_rows_differ": "hold"}),
    ({"rows": "2"}, {}),
    ({"digest": "sha256:" + "0" * 64}, {"manifest_digest_differs": "hold"}),
    ({"sha256": hashlib.sha256(A.encode()).hexdigest().upper()}, {}),
    ({"md5": hashlib.md5(A.encode()).hexdigest()}, {}),
    ({"digest": hashlib.md5(B.encode()).hexdigest()}, {"manifest_digest_differs": "hold"}),
    ({"columns": 3}, {}),
    ({"columns": 4}, {"manifest_columns_differ": "warn"}),
    ({"columns": ["编号", "成立日期", "名称"]}, {"manifest_columns_differ": "warn"}),
    ({"encoding": "gb18030"}, {"manifest_encoding_differs": "warn"}),
    ({"period": "2026-03-02"}, {}),
    ({"period": "2026-03-01"}, {"manifest_period_differs": "hold"}),
    ({"period": "March"}, {"manifest_period_unreadable": "hold"}),
    ({"rows": True}, {"manifest_unreadable": "hold"}),
    ({"rows": 10**30}, {"manifest_unreadable": "hold"}),
    ({"digest": "crc32:12345678"}, {"manifest_unreadable": "hold"}),
    ({"period": ["2026-03-02"]}, {"manifest_unreadable": "hold"}),
]


def test_what_a_manifest_declares_is_checked(place: Town) -> None:
    found = []
    for number, (said, _) in enumerate(DECLARED):
        place.drop("market", f"shop_20260302_{number:02}.csv", A)
        declare(place, f"shop_20260302_{number:02}.csv.manifest.json", **said)
    for batch in took(place):
        found.append(findings(place, batch))
    assert found == [wrong for _, wrong in DECLARED]


#: Contents of a manifest that nobody can understand.
GARBAGE = {
    "empty": b"",
    "cut": b"{",
    "list": b"[]",
    "text": b'"x"',
    "bytes": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "half a character": b'{"rows": 2, "period": "\\ud800"}',
    "huge": b"{" + b" " * MOST + b"}",
    "long number": b"1" * 9_999,
}


def test_a_manifest_that_cannot_be_understood_holds_the_file_with_a_sentence(place: Town) -> None:
    names = [f"shop_202603{day:02}.csv" for day in range(2, 2 + len(GARBAGE))]
    for name, data in zip(names, GARBAGE.values(), strict=True):
        place.drop("market", name, A)
        place.drop("market", f"{name}.manifest.json", data)
    batches = took(place)
    assert [findings(place, batch) for batch in batches] == [{"manifest_unreadable": "hold"}] * len(GARBAGE)
    for name, batch in zip(names, batches, strict=True):
        [wrong] = load(place.workspace, batch).findings
        assert f"{name}.manifest.json" in wrong.message_zh and f"{name}.manifest.json" in wrong.message_en
    assert left(place) == []


def test_a_huge_manifest_is_not_read_into_memory(place: Town) -> None:
    place.drop("market", NAME, A)
    with place.drop("market", f"{NAME}.manifest.json", "{}").open("r+b") as file:
        file.truncate(1 << 40)  # a terabyte of holes
    took(place)
    assert findings(place) == {"manifest_unreadable": "hold"}


def test_a_file_held_for_its_manifest_is_accepted_when_it_comes_with_the_right_one(place: Town) -> None:
    for when, rows in ((NOW, 3), (LATER, 2)):
        place.drop("market", NAME, A)
        declare(place, rows=rows)
        place.run_at(when)
    assert [(r["version"], r["verdict"]) for r in place.tables()["ledger.batch"]] == [(1, "hold"), (2, "pass")]
    place.drop("market", NAME, A)
    declare(place, rows=2)
    place.run_at("2026-03-04T08:30:00+08:00")
    assert sorted(r["outcome"] for r in place.tables()["ledger.drop"]) == ["batch", "batch", "unchanged"]


def test_the_period_can_stand_in_the_manifest(place: Town) -> None:
    text = SHOP.replace('period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}', "period: {from: manifest}")
    assert "from: manifest" in text
    place.contract("market__shop", text)
    place.drop("market", "shop_a.csv", A)
    place.drop("market", "shop_b.csv", A)
    assert took(place) == []
    declare(place, "shop_a.csv.manifest.json", period="2026-03-02")
    declare(place, "shop_b.csv.manifest.json", rows=2)
    assert took(place, LATER) == ["market__shop@2026-03-02.v1", "market__shop@unreadable.v1"]
    assert findings(place) == {}
    assert findings(place, "market__shop@unreadable.v1") == {"manifest_period_missing": "hold"}


def test_manifests_and_markers_are_never_data(place: Town) -> None:
    place.contract("market__shop", SHOP.replace('drop: "shop_*.csv"', 'drop: ["shop_*", "*.json"]'))
    for name in (f"{NAME}.manifest.json", f"{NAME}.ok", "shop_20260303.MANIFEST.JSON", "shop_20260303.csv.OK"):
        place.drop("market", name, A)
    assert took(place) == []
    assert len(left(place)) == 4


def test_a_manifest_named_by_the_stem_alone_belongs_to_nobody_where_two_files_share_it(place: Town) -> None:
    place.contract("market__shop", SHOP.replace('drop: "shop_*.csv"', 'drop: ["shop_*.csv", "shop_*.txt"]'))
    place.drop("market", NAME, A)
    place.drop("market", "shop_20260302.txt", B)
    declare(place, "shop_20260302.manifest.json", rows=9)
    took(place)
    assert [d.handshake for d in drops(place)] == ["quiet", "manifest"], "once the first is gone, it can only mean the second"


def test_a_link_is_no_companion(place: Town, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"rows": 1}')
    path = place.drop("market", NAME, A)
    (path.parent / f"{NAME}.manifest.json").symlink_to(secret)
    (path.parent / f"{NAME}.ok").mkdir()
    took(place)
    assert drops(place)[0].handshake == "quiet"
    assert secret.exists()


def test_a_companion_that_a_killed_run_left_goes_and_joins_no_later_file(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the data file was taken out, before its companions were."""
    place.contract("market__shop", agreed("manifest"))
    place.drop("market", NAME, A)
    declare(place, rows=2)

    class Kill(BaseException):
        pass

    unlink = Path.unlink

    def die(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(".manifest.json"):
            raise Kill
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        with pytest.raises(Kill):
            took(place)
    assert left(place) == [f"{NAME}.manifest.json"]
    place.drop("market", NAME, B)  # the next file comes before its own manifest
    with place.run(LATER) as run:
        assert [p.name for p in archive.waiting(run, run.catalog.contract("market__shop"))] == []
    assert took(place, LATER) == ["market__shop@2026-03-02.v1"], "the first file, taken already"
    assert left(place) == [NAME], "the old manifest is gone"
    declare(place, rows=1)
    place.run_at(LATER)
    assert [(d.number, (d.manifest or {})["rows"]) for d in drops(place)] == [(1, 2), (2, 1)]
    assert [r["verdict"] for r in place.tables()["ledger.batch"]] == ["pass", "pass"]


def test_where_nothing_can_be_taken_out_the_old_manifest_joins_no_later_file(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def refuse(path: str | Path, **options: int | None) -> None:
        if Path(path).parent.parent.name == "landing":
            raise OSError(30, "Read-only file system", str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    place.contract("market__shop", agreed("manifest"))
    place.drop("market", NAME, A)
    declare(place, rows=2)
    place.run_at(NOW)
    place.run_at(LATER)
    place.drop("market", NAME, B)
    place.run_at(LATER)
    assert len(drops(place)) == 1
    with place.run(LATER) as run:
        assert waiting_files(run)["market__shop"] == [f"{NAME} (waits for {NAME}.manifest.json)"]
    declare(place, rows=1)
    place.run_at(LATER)
    assert [(d.manifest or {})["rows"] for d in drops(place)] == [2, 1]


def test_a_file_that_changed_after_its_manifest_was_read_is_left(place: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    place.drop("market", NAME, A)
    declare(place, rows=2)
    store = archive._store

    def meanwhile(*arguments: Any) -> str | None:
        declare(place, rows=7)
        return store(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(archive, "_store", meanwhile)
        took(place)
    assert drops(place) == []
    took(place, LATER)
    assert (drops(place)[0].manifest or {})["rows"] == 7


@pytest.mark.parametrize(("complete", "slept"), [("quiet", True), ("rename", False), ("marker", False), ("manifest", True)])
def test_with_the_real_clock_only_what_may_still_be_written_must_be_quiet(
    place: Town, monkeypatch: pytest.MonkeyPatch, complete: str, slept: bool
) -> None:
    place.contract("market__shop", agreed(complete))
    place.drop("market", NAME, A)
    if complete in manifest.SUFFIXES:
        place.drop("market", NAME + manifest.SUFFIXES[complete], "{}")
    waits: list[float] = []
    monkeypatch.setattr("pipelines.archive.time.sleep", waits.append)
    took(place, None)
    assert [wait > 0 for wait in waits] == [slept]
    assert drops(place)[0].handshake == complete


ODD = [
    b"shop_20260302 \xe2\x80\xae.csv",
    b"shop_20260302;rm -rf $HOME`.csv",
    b"shop_20260302'\".csv",
    b"shop_20260302\n.csv",
    b"shop_20260302\xc6\xf3\xd2\xb5.csv",
    b"shop_20260302\x1b[31m.csv",
    b"shop_20260302..%2f..%2f.csv",
    b"shop_20260302" + b"x" * 230 + b".csv",
]


def test_odd_names_are_taken_and_shown_without_harm(place: Town) -> None:
    folder = place.workspace.landing / "market"
    folder.mkdir(parents=True)
    for number, name in enumerate(ODD):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text(f"{A}{number},丁,2020-01-01\n")
    with place.run(NOW) as run:
        shown = waiting_files(run)["market__shop"]
    assert len(shown) == len(ODD)
    assert not [c for name in shown for c in name if ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000]
    assert "shop_20260302\\x1b[31m.csv" in shown
    place.run_at(NOW)
    assert sorted(r["file_name"] for r in place.tables()["ledger.drop"]) == sorted(shown)
    assert left(place) == []
    with place.run(NOW) as run:
        assert verify(run) == []


def test_only_files_of_the_departments_own_folder_are_taken(place: Town) -> None:
    place.drop("tax", NAME, A)
    inside = place.drop("market", "shop_20260303.csv.part", A).parent
    (inside / "shop_sub.csv").mkdir()
    (inside / "shop_sub.csv" / NAME).write_text(A)
    (inside / "shop_20260304.csv").symlink_to(place.workspace.landing / "tax" / NAME)
    os.mkfifo(inside / "shop_20260305.csv")
    assert took(place) == []
    assert drops(place) == []


def test_a_rebuild_judges_by_the_archived_manifest(place: Town, tmp_path: Path) -> None:
    for when, rows in ((NOW, 3), (LATER, 2)):
        place.drop("market", NAME, A)
        declare(place, rows=rows)
        place.run_at(when)
    with place.run(LATER) as run:
        rebuilt = Town(rebuild(run, tmp_path / "again"), place.catalog).tables()
    first = place.tables()
    for table in ("ledger.batch", "quality.finding", "std.market__shop"):
        assert rebuilt[table] == first[table]
    # Fusions are counted on, so that nobody who asks for changes since the last one misses any; batches keep their names.
    made = ([row for row in tables["ledger.stage"] if "@" in row["subject"]] for tables in (rebuilt, first))
    assert next(made) == next(made) != []
