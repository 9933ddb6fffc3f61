"""Files made to do harm, or by mistake: each gets a verdict, soon, in bounded memory, and never a traceback.

Each one goes the whole way, from the landing folder to the receipt, in a process of its own (`make test-slow`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines.flow import intake
from tests.hostile.files import Hostile, hostile_files
from tests.support import Town, town
from warehouse import lake
from warehouse.layout import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = 10.0
MEGABYTES = 1024

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.crash.child"])

FORM = """\
title: {{zh: 名册, en: Register}}
department: office
load: append
arrival: {{drop: "*", cycle: event}}
format: {form}
columns:
  - {{from: 编号, {first}to: person_no, key: true}}
  - {{from: 姓名, {second}to: person_name, clean: person_name, personal: true}}
  - {{from: 电话, {third}to: phone, clean: phone, grade: G3}}
"""
PLAIN = {"first": "", "second": "", "third": ""}
SOURCES = {
    "delimited": FORM.format(form="{encoding: [utf-8, gb18030]}", **PLAIN),
    "workbook": FORM.format(form="{reader: workbook}", **PLAIN),
    "json": FORM.format(form="{reader: json}", **PLAIN),
    "xml": FORM.format(form="{reader: xml}", **PLAIN),
    "parquet": FORM.format(form="{reader: parquet}", **PLAIN),
    "fixed_width": FORM.format(
        form="{reader: fixed_width, encoding: gbk}", first="at: [1, 4], ", second="at: [5, 8], ", third="at: [13, 11], "
    ),
}


def play(place: Town, source: str, told: Path) -> None:
    """One drop through the whole pipeline; what came of it is written to `told`."""
    os.environ["DMP_THREADS"] = "2"
    start = time.monotonic()
    try:
        with place.run("2026-03-02T20:00:00+08:00") as run:
            verdicts = [(v.state, v.zh, v.en) for v in intake(run, source)]
    except BaseException as error:
        told.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}))
        raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    told.write_text(json.dumps({"verdicts": verdicts, "seconds": time.monotonic() - start, "megabytes": peak}))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty workspace per reader, to be copied."""
    root = tmp_path_factory.mktemp("hostile")
    for reader, text in SOURCES.items():
        place = town(root / reader, {f"office__{reader}": text})
        lake.create(place.workspace)
    return root


def outcome(hostile: Hostile, empty: Path, folder: Path) -> dict[str, Any]:
    shutil.copytree(empty / hostile.reader, folder)
    place = Town(Workspace(folder / "workspace"), folder / "catalog")
    landing = place.workspace.landing / "office"
    landing.mkdir(parents=True)
    (landing / hostile.name).write_bytes(hostile.make())
    process = FORKS.Process(target=play, args=(place, f"office__{hostile.reader}", folder / "told.json"))
    process.start()
    process.join(60)
    alive = process.is_alive()
    process.kill()
    process.join()
    told = folder / "told.json"
    result: dict[str, Any] = json.loads(told.read_text()) if told.is_file() else {"error": f"ended with {process.exitcode}"}
    if alive:
        result = {"error": "no verdict after 60 s"}
    if not result.get("error"):
        result["rows"] = [(b["rows_read"], b["rows_accepted"], b["rows_refused"]) for b in place.tables()["ledger.batch"]]
        if (waiting := [p.name for p in landing.iterdir()]) and not result["verdicts"]:
            result["waiting"] = waiting
    shutil.rmtree(folder)
    return result


def test_hostile_files_get_a_verdict_in_bounded_time_and_memory(empty: Path, tmp_path: Path) -> None:
    files = list(hostile_files())
    assert len(files) >= 200
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda item: outcome(item[1], empty, tmp_path / str(item[0])), enumerate(files)))
    wrong = []
    for hostile, result in zip(files, found, strict=True):
        told = f"{hostile.reader}, {hostile.about}: {result}"
        if (
            result.get("error")
            or len(result["verdicts"]) != 1
            or not result["verdicts"][0][1]
            or result["seconds"] > SECONDS
            or result["megabytes"] > MEGABYTES
        ):
            wrong.append(told)
    slowest = max(r.get("seconds", 0) for r in found)
    largest = max(r.get("megabytes", 0) for r in found)
    for measure in ("seconds", "megabytes"):
        most = sorted(zip(files, found, strict=True), key=lambda pair: -pair[1].get(measure, 0))[:8]
        print(f"\nmost {measure}: " + "; ".join(f"{h.reader}, {h.about}: {r.get(measure, 0):.1f}" for h, r in most))
    held = sum(1 for r in found if r.get("verdicts") and r["verdicts"][0][0] == "hold")
    print(f"\n{len(files)} files: {held} held, {len(files) - held} taken; slowest {slowest:.1f} s, largest {largest} MB")
    assert not wrong, "\n".join(wrong)
