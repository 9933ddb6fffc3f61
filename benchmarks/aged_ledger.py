"""A ledger of some years: what a look-up of it costs before and after upkeep, and how long upkeep keeps writers out.

    python -m benchmarks.aged_ledger [--batches 55000] [--golden 1000000]

The rows are those of a year of 151 daily sources, as many per batch as the gate of a small file writes, committed in hundreds
instead of one by one, which stores them the same way. The golden table is one large file, thirty small ones of a thousand rows
each and a deletion of an eighth of all rows, as thirty fusions leave it. Look-ups: processor time, the middle one of nine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import duckdb

from pipelines.run import open_run
from pipelines.upkeep import told, upkeep
from tests.support import town
from warehouse import lake
from warehouse.commit import Commit, commit
from warehouse.layout import Workspace
from warehouse.upkeep import HABITS

LOOK_UPS = {
    "newest batch of a source": "SELECT batch, header, hash FROM lake.ledger.batch WHERE source = 's3' ORDER BY arrived_at DESC LIMIT 1",
    "stages of a batch": "SELECT stage, rows_in FROM lake.ledger.stage WHERE subject = 's3@456'",
    "a golden record": "SELECT name FROM lake.base.aged WHERE _entity = 4711",
}


def age(con: duckdb.DuckDBPyConnection, workspace: Workspace, batches: int, golden: int) -> None:
    text = '{"' + "列" * 100 + '"}'
    for start in range(0, batches, 100):
        names = [(f"s{n % 151}@{n}", f"s{n % 151}", n) for n in range(start, min(batches, start + 100))]
        ledger = [
            {"batch": b, "source": s, "hash": f"{n:064}", "header": text, "profile": text, "verdict": "pass", "rows_read": n}
            for b, s, n in names
        ]
        rows: dict[str, Sequence[dict[str, object]]] = {
            "ledger.batch": ledger,
            "ledger.drop": [{"drop_id": f"{n:064}", "source": s, "batch": b, "outcome": "batch"} for b, s, n in names],
            "ledger.stage": [
                {"subject": b, "stage": stage, "rows_in": n, "rows_out": '{"rows": 5}', "equation": "5 = 5"}
                for b, _, n in names
                for stage in ("collect", "clean", "gate")
            ],
        }
        commit(con, workspace, Commit(None, rows=rows))
    columns = {"_entity": "BIGINT", "name": "VARCHAR", "phone": "VARCHAR"}
    small = 1_000
    for number in range(31):
        first, count = (0, golden) if number == 0 else (golden + number * small, small)
        path = workspace.new_file("base.aged", f"aged#{number}")
        con.execute(
            f"COPY (SELECT i AS _entity, md5(i::VARCHAR) AS name, md5((i * 7)::VARCHAR) AS phone FROM range({first}, {first + count}) r(i)) "
            f"TO {lake.literal(str(path))} {lake.PARQUET}"
        )
        commit(con, workspace, Commit(None, {"base.aged": (columns, path)}))
    with workspace.locked("commit"):
        con.execute("DELETE FROM lake.base.aged WHERE _entity % 8 = 0")


def look(workspace: Workspace) -> dict[str, float]:
    """Milliseconds of processor time of each look-up."""
    found = {}
    with lake.reading(workspace) as con, lake.few_rows(con):
        for name, sql in LOOK_UPS.items():
            spent = []
            for _ in range(9):
                started = time.process_time()
                con.execute(sql).fetchall()
                spent.append(1000 * (time.process_time() - started))
            found[name] = median(spent)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batches", type=int, default=55_000)
    parser.add_argument("--golden", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = town(Path(folder), {})
        lake.create(place.workspace)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start", flush=True)
        with open_run(workspace=place.workspace.root, catalog=place.catalog) as run:
            age(run.con, run.workspace, given.batches, given.golden)
        before, size = look(place.workspace), place.workspace.lake_catalog.stat().st_size
        nights = (HABITS, replace(HABITS, snapshots=timedelta(0)))
        for night, habits in zip(("first night", "two days later"), nights, strict=True):
            with open_run(workspace=place.workspace.root, catalog=place.catalog) as run:
                wall, cpu = time.perf_counter(), time.process_time()
                steps = upkeep(run, habits)
                print(f"{night}: {time.perf_counter() - wall:.1f} s, {time.process_time() - cpu:.1f} s of processor time")
                print("\n".join(f"    {line}" for line in told(steps)), flush=True)
        after = look(place.workspace)
        print(f"catalogue {size / 1e6:.0f} MB{'before ms':>30}{'after ms':>12}")
        for name in LOOK_UPS:
            print(f"    {name:36}{before[name]:>12.1f}{after[name]:>12.1f}")


if __name__ == "__main__":
    main()
