"""SIGKILL at random moments while files of every format come in, with manifests, resends and corrections; `make kills`.

Nothing is lost, nothing counts twice, and the receipts are those of an undisturbed city, in one unbroken chain each.
`DMP_KILLS` says how many processes are killed (default 60; `make kills` asks for 500).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.run import open_run
from pipelines.verify import verify
from tests.crash.child import Death
from tests.crash.days import undisturbed
from tests.crash.test_kill import Killed
from tests.support import Town, town

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("DMP_KILLS", "60"))
FORM = """\
title: {{zh: {name}, en: {name}}}
department: {{id: {department}, zh: {department}, en: {department}}}
load: increment
period: {{from: file_name, pattern: "_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "{name}_*", cycle: daily, due: "09:00 next working day"{complete}}}
format: {form}
columns:
  - {{from: 编号, {first}to: item_no, key: true}}
  - {{from: 名称, {second}to: item_name, required: true}}
  - {{from: 日期, {third}to: made_on, type: date, clean: date_any_format, on_fail: refuse}}
"""


def contract(name: str, form: str, complete: str = "", places: tuple[str, str, str] = ("", "", "")) -> str:
    first, second, third = places
    return FORM.format(
        name=name, department=f"d_{name}", form=form, complete=complete, first=first, second=second, third=third
    )  # fmt: skip


SOURCES = {
    "d_text__text": contract("text", "{encoding: gb18030}"),
    "d_book__book": contract("book", "{reader: workbook}"),
    "d_lines__lines": contract("lines", "{reader: json}"),
    "d_marks__marks": contract("marks", "{reader: xml}"),
    "d_cut__cut": contract(
        "cut", "{reader: fixed_width, encoding: gbk}", places=("at: [1, 3], ", "at: [4, 6], ", "at: [10, 10], ")
    ),
    "d_arrow__arrow": contract("arrow", "{reader: parquet}"),
    "d_packed__packed": contract("packed", "{}"),
    "d_told__told": contract("told", "{}", ", complete: manifest"),
}
HEADER = ("编号", "名称", "日期")
Row = tuple[str, str, str]


def rows_of(day: int, version: int) -> list[Row]:
    """A few rows; some of them bad, some mended in the second version, keys that come back the next day."""
    dice = random.Random(f"{day} {version}")
    made = [(f"{i:03}", f"第{day}", f"2026-0{1 + i % 9}-1{i % 10}") for i in range(day * 5, day * 5 + 20)]
    made[3] = (made[3][0], made[3][1], "没有" if version == 1 else "2026-01-01")
    made[dice.randrange(10, 20)] = ("", "无号", "2026-01-01")
    return made


def text_of(rows: list[Row]) -> str:
    return "\n".join([",".join(HEADER), *(",".join(row) for row in rows)]) + "\n"


def book_of(rows: list[Row]) -> bytes:
    book = openpyxl.Workbook()
    for row in (HEADER, *rows):
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def arrow_of(rows: list[Row]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({h: [row[i] for row in rows] for i, h in enumerate(HEADER)}), out)
    return out.getvalue()


def marks_of(rows: list[Row]) -> bytes:
    body = "".join("<r>" + "".join(f"<{h}>{v}</{h}>" for h, v in zip(HEADER, row, strict=True)) + "</r>" for row in rows)
    return f'<?xml version="1.0" encoding="GB18030"?><x>{body}</x>'.encode("gb18030")


def cut_of(rows: list[Row]) -> bytes:
    def padded(text: str, width: int) -> bytes:
        return text.encode("gbk").ljust(width)[:width]

    return b"".join(padded(a, 3) + padded(b, 6) + padded(c, 10) + b"\n" for a, b, c in rows)


FORMATS: dict[str, tuple[str, Callable[[list[Row]], bytes]]] = {
    "text": ("csv", lambda rows: text_of(rows).encode("gb18030")),
    "book": ("xlsx", book_of),
    "lines": ("json", lambda rows: "\n".join(json.dumps(dict(zip(HEADER, r, strict=True))) for r in rows).encode()),
    "marks": ("xml", marks_of),
    "cut": ("dat", cut_of),
    "arrow": ("parquet", arrow_of),
    "packed": ("csv.gz", lambda rows: gzip.compress(text_of(rows).encode(), mtime=0)),
    "told": ("csv", lambda rows: text_of(rows).encode()),
}


def drops(day: int) -> Iterator[tuple[str, str, bytes]]:
    """(department, name, bytes): each format's file of the day; next day the same again, corrected, and one that is broken."""
    for name, (ending, make) in FORMATS.items():
        today, data = f"{name}_202603{day:02}", make(rows_of(day, 1))
        yield f"d_{name}", f"{today}.{ending}", data
        if name == "told":
            told = {"rows": 20, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}
            yield f"d_{name}", f"{today}.{ending}.manifest.json", json.dumps(told).encode()
        elif day > 1:
            yesterday = f"{name}_202603{day - 1:02}"
            yield f"d_{name}", f"{yesterday}_again.{ending}", DROPPED[f"{yesterday}.{ending}"]
            yield f"d_{name}", f"{yesterday}_new.{ending}", make(rows_of(day - 1, 2))
            yield f"d_{name}", f"{today}_broken.{ending}", data[: len(data) // 2]


#: Workbooks hold the time of their making, so every file is made once.
DROPPED: dict[str, bytes] = {}


#: Day -> department and name of each file, in order.
ORDER: dict[int, list[tuple[str, str]]] = {}


def at(day: int) -> str:
    return f"2026-03-{day + 1:02}T08:30:00+08:00"


def make(day: int) -> None:
    """The files of a day; those of the days before are made already."""
    for department, name, data in drops(day):
        DROPPED[name] = data
        ORDER.setdefault(day, []).append((department, name))


def land(place: Town, day: int, department: str | None = None) -> None:
    for owner, name in ORDER[day]:
        if department in (None, owner):
            place.drop(owner, name, DROPPED[name])


def receipts(place: Town) -> dict[str, bytes]:
    folder = place.workspace.archive / "receipts"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.json"))}


def strike(place: Town, killed: Killed, seed: int, kills: int) -> int:
    """Days of the city, each source struck while it has something to do, until so many processes have died; their number."""
    dice = random.Random(seed)
    day = 0
    while kills > 0:
        day += 1
        for source in SOURCES:
            land(place, day, source.split("__")[0])
            idle = 0
            while kills > 0 and idle < 2:
                if dice.random() < 0.85:
                    death = Death("any", dice.randint(1, 60), dice.choice(("before", "after")))
                    died = killed.step(place, at(day), death, source)
                else:
                    died = killed.moment(place, at(day), dice.uniform(0, 1.5), "--source", source)
                kills -= died
                idle += not died
        undisturbed(place, at(day))
    return day


def test_every_format_survives_kills_and_keeps_its_receipts(tmp_path: Path) -> None:
    for day in range(1, 29):
        make(day)
    killed = Killed()
    places = [town(tmp_path / f"struck{i}", SOURCES) for i in range(2)]
    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(strike, place, killed, 11 + i, -(-KILLS // 2)) for i, place in enumerate(places)]
        lived = [work.result() for work in works]
    last = max(lived)
    quiet = town(tmp_path / "quiet", SOURCES)
    for place, days in ((quiet, 0), *zip(places, lived, strict=True)):
        for day in range(days + 1, last + 1):
            land(place, day)
            undisturbed(place, at(day))

    wanted = quiet.tables()
    dropped = sum(1 for day in range(1, last + 1) for _, name in ORDER[day] if not name.endswith(".manifest.json"))
    for place in places:
        found = place.tables()
        assert found.keys() == wanted.keys()
        for table, rows in wanted.items():
            assert found[table] == rows, f"{place.workspace.root}: {table}"
        ids = [d["drop_id"] for d in found["ledger.drop"]]
        assert len(ids) == len(set(ids)) == dropped, "no drop is lost, none is taken twice"
        assert receipts(place) == receipts(quiet)
        assert len(receipts(place)) == dropped
        for folder in (place.workspace.archive, place.workspace.outbox):
            assert list(folder.rglob(".*.part")) == [], "what killed processes left has been written over"
        with open_run(now=datetime.fromisoformat(at(last)), workspace=place.workspace.root, catalog=place.catalog) as run:
            assert verify(run) == []
    print(
        f"\n{killed['any']} processes killed over {last} days, {killed['in a commit']} of them inside a commit; "
        f"{dropped} drops in {len(FORMATS)} formats: 0 lost, 0 doubled"
    )
    assert killed["any"] >= KILLS
