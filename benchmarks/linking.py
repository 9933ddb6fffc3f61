"""People linked across departments: a million records of which a fifth are copies, beside plain Splink; and a day of changes.

    python -m benchmarks.linking [--records 1000000] [--stores 1000000 10000000] [--changes 100000] [--keep DIR] [--only link|day]

Linking: `pipelines.link` with an entity YAML and nothing more, once on people without any identity number, once where 95 of 100
records have one; and Splink 5 as its own demonstrations set it up, on the same records without number, with blocking rules that give about as
many pairs, and with narrow ones. Each side is a process of its own with two threads; DuckDB has 5 GiB. `seconds` are those of the
linking alone, with what it imports and reads; F1 is pairwise. Splink is given the best of several thresholds, the truth being looked at;
ours is the one that the entity names.
Day: stores of several sizes, brought in as files through the whole intake and fused once; then a day of changed rows arrives
at each. What is told is `dedupe` and `merge` for the first fusion and for the day. The days are compared with the one of the smallest store.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.accuracy import score
from benchmarks.measure import spent
from benchmarks.people import SOURCES, People, changed, write
from catalog.entity import load_entity
from pipelines import flow
from pipelines.dedupe import dedupe
from pipelines.link import link
from pipelines.merge import merge
from pipelines.run import Run, open_run
from warehouse import lake
from warehouse.layout import Workspace

MEMORY, THREADS = "5GiB", "2"

ENTITY = """\
title: {zh: 人口, en: Person}
identifiers: [resident_id]
match:
  compare: [person_name, birth_date, phone, residence_address]
  threshold: 0.95
authority: [police__person, "*"]
attributes:
  - {name: resident_id, kind: code, grade: G4, personal: true, digest: true}
  - {name: person_name, kind: person_name, grade: G3, personal: true}
  - {name: sex_code, kind: code, personal: true}
  - {name: birth_date, type: date, kind: date, grade: G3, personal: true}
  - {name: phone, kind: phone, grade: G3, personal: true}
  - {name: residence_address, kind: address, grade: G3, personal: true}
"""
CONTRACT = """\
title: {{zh: 人员登记, en: People registered}}
department: {{id: {department}, zh: {department}, en: {department}}}
entity: person
load: increment
deleted: {{column: gone, values: ["true"]}}
period: {{from: file_name, pattern: "person_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "person_*.parquet", cycle: daily, calendar: every_day}}
format: {{reader: parquet}}
columns:
  - {{from: _record, to: record_no, key: true}}
  - {{from: resident_id, to: resident_id, grade: G4, personal: true}}
  - {{from: person_name, to: person_name, grade: G3, personal: true}}
  - {{from: sex_code, to: sex_code, personal: true}}
  - {{from: birth_date, to: birth_date, type: date, grade: G3, personal: true}}
  - {{from: phone, to: phone, grade: G3, personal: true}}
  - {{from: residence_address, to: residence_address, grade: G3, personal: true}}
  - {{from: _gone, to: gone}}
"""
DAY = datetime.fromisoformat("2026-03-02T20:00:00+08:00")

Told = dict[str, Any]


def people_of(folder: Path, records: int, without_number: float) -> Path:
    """The folder that holds them, made once."""
    place = folder / f"people_{records}_{without_number:g}"
    if not (place / "truth.parquet").is_file():
        write(People(records, without_number), place)
    return place


def opened(work: Path, people: Path) -> duckdb.DuckDBPyConnection:
    """As the stages open theirs: spilling into a folder of its own, limited by DMP_MEMORY and DMP_THREADS."""
    con = lake.connect(Workspace(work))
    con.execute(f"CREATE TABLE records AS SELECT * EXCLUDE (_gone, _person) FROM '{people / 'records.parquet'}'")
    return con


def judged(con: duckdb.DuckDBPyConnection, people: Path, groups: str) -> Told:
    con.execute(f"CREATE TABLE IF NOT EXISTS truth AS FROM '{people / 'truth.parquet'}'")
    found = score(con, groups)
    return {"precision": found.precision, "recall": found.recall, "f1": found.f1}


def by_dmp(people: Path, work: Path) -> Told:
    path = work / "person.yaml"
    path.write_text(ENTITY, encoding="utf-8")
    con = opened(work, people)
    con.execute("ATTACH ':memory:' AS work; CREATE TABLE work.records AS FROM records; DROP TABLE records; USE work")
    with timed() as told:
        figures = link(con, load_entity(path), "records", "linked", "clashes").figures
    return told | {"pairs": figures.pairs if figures else 0} | judged(con, people, "SELECT _record, _cluster AS g FROM linked")


def by_splink(people: Path, work: Path, narrow: bool = False) -> Told:
    """Splink's own comparisons and way of training, as its demonstrations of people set them up."""
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on
    from splink.blocking_analysis import count_comparisons_from_blocking_rules

    rules = [block_on("phone"), block_on("residence_address"), block_on("person_name", "substr(birth_date, 1, 4)")]
    rules.append(block_on("birth_date", "substr(person_name, 1, 1)") if narrow else block_on("birth_date"))
    con = opened(work, people)
    con.execute("CREATE TABLE people AS SELECT * REPLACE (CAST(birth_date AS VARCHAR) AS birth_date) FROM records")
    with timed() as told:
        settings = SettingsCreator(
            link_type="dedupe_only",
            unique_id_column_name="_record",
            blocking_rules_to_generate_predictions=[*rules],
            comparisons=[
                cl.NameComparison("person_name").configure(term_frequency_adjustments=True),
                cl.DateOfBirthComparison("birth_date", input_is_string=True),
                cl.LevenshteinAtThresholds("phone", [1, 2]),
                cl.LevenshteinAtThresholds("residence_address", [3, 9]).configure(term_frequency_adjustments=True),
                cl.ExactMatch("sex_code"),
            ],
        )
        api = DuckDBAPI(con)
        table = api.register("people", dataset_display_name="people")
        linker = Linker(table, settings, log_level=40)
        linker.training.estimate_probability_two_random_records_match([block_on("person_name", "birth_date")], recall=0.8)
        linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
        for rule in (block_on("birth_date"), block_on("phone")):
            linker.training.estimate_parameters_using_expectation_maximisation(rule)
        predicted = linker.inference.predict(threshold_match_probability=0.01)
        linker.clustering.cluster_pairwise_predictions_at_threshold(predicted, 0.95)
    best: Told = {"f1": -1.0}
    for threshold in (0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999):
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(predicted, threshold)
        found = judged(con, people, f"SELECT _record, cluster_id AS g FROM {clusters.physical_name}")
        best = max(best, found | {"threshold": threshold}, key=lambda one: float(one["f1"]))
    counts = count_comparisons_from_blocking_rules(
        table, blocking_rules=[*rules], link_type="dedupe_only", unique_id_column_name="_record", record_sample_proportion=1.0
    )
    return told | best | {"pairs": max(c["cumulative_comparison_count"] for c in counts)}


class timed:
    """Wall and processor seconds of a block, and the most memory that the process has held by its end (MiB)."""

    def __enter__(self) -> Told:
        self.told: Told = {}
        self.started = time.perf_counter(), time.process_time()
        return self.told

    def __exit__(self, *_: object) -> None:
        self.told["seconds"] = time.perf_counter() - self.started[0]
        self.told["cpu"] = time.process_time() - self.started[1]
        self.told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


#: Name of a side -> the share of records without a number, and what runs.
SIDES: dict[str, tuple[float, Callable[[Path, Path], Told]]] = {
    "plain Splink": (1.0, by_splink),
    "plain Splink, narrow": (1.0, lambda people, work: by_splink(people, work, narrow=True)),
    "dmp": (1.0, by_dmp),
    "dmp, 95 % with number": (0.05, by_dmp),
}


def linked(kept: Path, records: int, sides: list[str]) -> None:
    print(f"{records:,} records of {People(records, 1.0).persons:,} people")
    heads = ("seconds", "cpu s", "peak MiB", "pairs", "precision", "recall", "F1", "time", "memory")
    print(f"{'':26}{heads[0]:>9}{heads[1]:>9}{heads[2]:>10}{heads[3]:>13}" + "".join(f"{h:>10}" for h in heads[4:]))
    base: Told | None = None
    for side in sides:
        people = people_of(kept, records, SIDES[side][0])
        told = asked("--side", side, "--people", str(people), folder=kept)
        base = base or told
        print(
            f"{side:26}{told['seconds']:>9.1f}{told['cpu']:>9.1f}{told['peak']:>10.0f}{told['pairs']:>13,}{told['precision']:>10.4f}"
            f"{told['recall']:>10.4f}{told['f1']:>10.4f}{told['seconds'] / base['seconds']:>10.2f}{told['peak'] / base['peak']:>10.2f}"
            + (f"  at {told['threshold']}" if "threshold" in told else ""),
            flush=True,
        )


def asked(*arguments: str, folder: Path) -> Told:
    """What a process of its own wrote down."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        said = Path(work) / "said.json"
        account = spent("benchmarks.linking", *arguments, "--work", work, "--said", str(said))
        told: Told = json.loads(said.read_text())
    return {"wall": account.wall, "whole_peak": account.peak} | told


def days(kept: Path, stores: list[int], changes: int, count: int) -> None:
    print(
        f"a day of {changes:,} changed rows; 95 of 100 records have an identity number; ratios to the first day of the first store"
    )
    heads = ("dedupe s", "merge s", "cpu s", "peak MiB", "time", "cpu", "entities", "F1")
    print(f"{'':30}" + "".join(f"{h:>12}" for h in heads))
    base: Told | None = None
    for records in stores:
        town = kept / f"store_{records}"
        if not (town / "days").is_file():
            shutil.rmtree(town, ignore_errors=True)
            town.mkdir(parents=True)
            drop(town, people_of(kept, records, 0.05), 0)
            asked("--step", "intake", "--store", str(town), folder=kept)
            show(f"{records:,}, first fusion", asked("--step", "fuse", "--store", str(town), folder=kept), None)
            (town / "days").write_text("0")
        known = int((town / "days").read_text())  # of a store that is kept, the next days
        for day in range(known + 1, known + count + 1):
            sent = kept / f"changed_{records}_{day}"
            changed(People(records, 0.05), day, changes, sent)
            drop(town, sent, day)
            asked("--step", "intake", "--store", str(town), "--day", str(day), folder=kept)
            told = asked("--step", "fuse", "--store", str(town), "--day", str(day), folder=kept)
            (town / "days").write_text(str(day))
            base = base or told
            show(f"{records:,}, day {day}", told, base)


def show(what: str, told: Told, base: Told | None) -> None:
    ratios = [(told["dedupe"] + told["merge"]) / (base["dedupe"] + base["merge"]), told["cpu"] / base["cpu"]] if base else []
    print(
        f"{what:30}{told['dedupe']:>12.1f}{told['merge']:>12.1f}{told['cpu']:>12.1f}{told['peak']:>12.0f}"
        + ("".join(f"{r:>12.2f}" for r in ratios) or " " * 24)
        + f"{told['entities']:>12,}{told['f1']:>12.4f}",
        flush=True,
    )


def drop(town: Path, sent: Path, day: int) -> None:
    """Contracts and entity, and one file of each department in its landing folder. The rows as sent stay in `sent`."""
    for folder, names in (("sources", SOURCES), ("entities", ("person",))):
        (town / "catalog" / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            text = ENTITY if folder == "entities" else CONTRACT.format(department=name.split("__")[0])
            (town / "catalog" / folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    with duckdb.connect(config={"memory_limit": "2GiB"}) as con:
        for source in SOURCES:
            landing = town / "workspace" / "landing" / source.split("__")[0]
            landing.mkdir(parents=True, exist_ok=True)
            columns = "_record, resident_id, person_name, sex_code, birth_date, phone, residence_address, _gone"
            con.execute(
                f"COPY (SELECT {columns} FROM '{sent / 'records.parquet'}' WHERE _source = '{source}' ORDER BY _record)"
                f" TO '{landing / f'person_{DAY + timedelta(days=day):%Y%m%d}.parquet'}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
            )


def intake(run: Run) -> Told:
    with timed() as told:
        states = [verdict.state for source in SOURCES for verdict in flow.intake(run, source)]
    assert sorted(set(states)) == ["pass"] and len(states) == len(SOURCES), states
    return told


def fuse(run: Run) -> Told:
    """First fusion or a day's, as `pipelines.flow.fuse`, stage by stage."""
    with timed() as told:
        started = time.perf_counter()
        assert dedupe(run, "person")
        half = time.perf_counter()
        merge(run, "person")
        told |= {"dedupe": half - started, "merge": time.perf_counter() - half}
    return told


def truth_of(store: Path, day: int) -> Told:
    """How the golden records stand to the truth: a record is known again by the file and row that it survives in."""
    kept = store.parent
    size = store.name.removeprefix("store_")
    sent = [kept / f"people_{size}_0.05", *(kept / f"changed_{size}_{n}" for n in range(1, day + 1))]
    with lake.reading(Workspace(store / "workspace")) as con:
        listed = "[" + ", ".join(f"'{folder / 'records.parquet'}'" for folder in sent) + "]"
        con.execute(
            f"CREATE TABLE known AS SELECT _record AS no, max(_person) AS entity FROM read_parquet({listed}) GROUP BY ALL"
        )
        stored = " UNION ALL ".join(f'SELECT "_batch", "_row", record_no FROM lake.std.{source}' for source in SOURCES)
        con.execute(
            "CREATE TABLE records AS SELECT m._record, m._entity, s.record_no AS no FROM lake.base.person__member AS m"
            f' JOIN ({stored}) AS s ON s."_batch" = m."_batch" AND s."_row" = m."_row"'
        )
        con.execute("CREATE TABLE truth AS SELECT _record, entity FROM records JOIN known USING (no)")
        found = score(con, "SELECT _record, _entity AS g FROM records")
        [(entities,)] = con.execute("SELECT count(*) FROM lake.base.person").fetchall()
    return {"precision": found.precision, "recall": found.recall, "f1": found.f1, "entities": entities}


def one_step(step: str, store: Path, day: int) -> Told:
    now = DAY + timedelta(days=day, hours=1)
    with open_run(now=now, workspace=store / "workspace", catalog=store / "catalog") as run:
        told = intake(run) if step == "intake" else fuse(run)
    return told | (truth_of(store, day) if step == "fuse" else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--stores", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=1, help="so many days in a row for each store")
    parser.add_argument("--only", choices=("link", "day"))
    parser.add_argument(
        "--sides", nargs="*", default=list(SIDES), help="of the linking; the first one is what the others are compared with"
    )
    parser.add_argument("--keep", type=Path, help="a folder for people and stores, so that they are made once")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=("intake", "fuse"), help=argparse.SUPPRESS)
    parser.add_argument("--people", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--day", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--said", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side or given.step:
        told = SIDES[given.side][1](given.people, given.work) if given.side else one_step(given.step, given.store, given.day)
        given.said.write_text(json.dumps(told, default=str))
        return
    os.environ |= {"DMP_MEMORY": os.environ.get("DMP_MEMORY", MEMORY), "DMP_THREADS": os.environ.get("DMP_THREADS", THREADS)}
    with tempfile.TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start, duckdb {duckdb.__version__} on {os.environ['DMP_THREADS']} "
            f"threads with {os.environ['DMP_MEMORY']}"
        )
        if given.only != "day":
            linked(kept, given.records, given.sides)
        if given.only != "link":
            days(kept, given.stores, given.changes, given.days)


if __name__ == "__main__":
    main()
