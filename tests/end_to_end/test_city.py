"""The synthetic city, three days replayed from the landing folders to the scorecard, against the truth its maker kept.

Each drop meets its fate, each fault that a single file can show is found, rows of one person or firm come together, and
everything that was written down can be verified. What is counted is printed: `pytest -s tests/end_to_end/test_city.py`.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.contract import Contract
from catalog.registry import SHIPPED
from examples.city.city import make_city
from pipelines import batch as staged
from pipelines.clean import clean, compile_contract
from pipelines.collect import collect
from pipelines.flow import fuse
from pipelines.gate import Verdict, gate
from pipelines.reference import attach_calendar, attach_code_table, attach_reference
from pipelines.report import report
from pipelines.rules import rule_catalogue
from pipelines.run import Run, open_run
from pipelines.said import tell
from pipelines.scorecard import scorecard
from pipelines.verify import verify
from quality.expectations import Context, prepare
from quality.gx import validate
from quality.timeliness import period_range
from tests.recalculation import Book, differences, recalculated
from warehouse.lake import reading

pytestmark = pytest.mark.timeout(900)

Row = dict[str, str]
AT_THE_END = "2026-03-05T18:00:00+08:00"


@dataclass(frozen=True)
class City:
    """The warehouse after the last wave, and what was dropped."""

    folder: Path
    kept: Path
    run: Run
    #: file as in the truth -> its verdict; None: nothing came of it because the bytes were known
    verdicts: Mapping[str, Verdict | None]

    def truth(self, name: str) -> list[Row]:
        with (self.folder / "truth" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def source(self, file: str) -> Contract:
        return self.run.catalog.contract(next(r["source"] for r in self.truth("files") if r["file"] == file))


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    root = tmp_path_factory.mktemp("city")
    make_city(root / "city", scale=0.15)
    verdicts: dict[str, Verdict | None] = {}
    for wave in json.loads((root / "city" / "schedule.json").read_text(encoding="utf-8")):
        with open_run(now=datetime.fromisoformat(wave["at"]), workspace=root / "workspace", catalog=SHIPPED) as run:
            for drop in wave["drops"]:
                folder = run.workspace.landing / drop["department"]
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / "city" / drop["file"], folder / drop["name"])
            for drop in wave["drops"]:
                verdicts[drop["file"]] = None
                for batch in collect(run, drop["source"]):
                    clean(run, batch)
                    shutil.copytree(staged.folder(run.workspace, batch), root / "kept" / batch)
                    verdicts[drop["file"]] = gate(run, batch)
    with open_run(now=datetime.fromisoformat(AT_THE_END), workspace=root / "workspace", catalog=SHIPPED) as run:
        for entity in run.catalog.entities:
            assert fuse(run, entity)
        yield City(root / "city", root / "kept", run, verdicts)


def test_every_drop_meets_its_fate(city: City) -> None:
    ledger = {
        row[0]: row[1:]
        for row in city.run.con.execute(
            "SELECT batch, verdict, version = max(version) OVER (PARTITION BY source, period) FROM lake.ledger.batch"
        ).fetchall()
    }
    missing = {(card.contract.id, slot.slot.period) for card in scorecard(city.run).sources for slot in card.missing}
    late = {(card.contract.id, s.slot.period) for card in scorecard(city.run).sources for s in card.slots if s.state == "late"}
    unchanged = city.run.con.execute("SELECT file_name, batch FROM lake.ledger.drop WHERE outcome = 'unchanged'").fetchall()
    expected_missing, expected_late = set(), set()
    for drop in city.truth("files"):
        slot = (drop["source"], drop["period"])
        if drop["fate"] == "missing":
            expected_missing.add(slot)
            continue
        verdict = city.verdicts[drop["file"]]
        if drop["fate"] == "unchanged":
            assert verdict is None
            assert unchanged == [(drop["file"].rpartition("/")[2], f"{slot[0]}@{slot[1]}.v1")]
            continue
        assert verdict is not None, drop["file"]
        state, newest = ledger[verdict.batch]
        assert verdict.batch.startswith(f"{slot[0]}@{slot[1]}.v")
        assert (state == "hold") == (drop["fate"] == "held"), (drop["file"], verdict.sentence)
        assert newest == (drop["fate"] != "superseded"), drop["file"]
        if drop["fate"] == "held":
            std = city.run.con.execute(f'SELECT count(*) FROM lake.std."{slot[0]}" WHERE _batch = ?', [verdict.batch]).fetchall()
            assert std == [(0,)]
            expected_missing.add(slot)  # a delivery that was not accepted is none
        if drop["fate"] == "late":
            expected_late.add(slot)
    assert missing == expected_missing
    assert late == expected_late


def test_every_row_is_accounted_for(city: City) -> None:
    """Rows of the truth = rows that were read, and what was no data was not read as data."""
    lines: dict[str, Counter[str]] = defaultdict(Counter)
    for row in city.truth("rows"):
        lines[row["file"]][row["kind"]] += 1
    for file, verdict in city.verdicts.items():
        if verdict is None:
            continue
        rows_read = city.run.con.execute("SELECT rows_read FROM lake.ledger.batch WHERE batch = ?", [verdict.batch]).fetchall()[
            0
        ][0]
        assert rows_read == lines[file].total() - lines[file]["blank"], file


def test_everything_can_be_verified(city: City) -> None:
    assert verify(city.run) == []


# -- faults


@dataclass(frozen=True)
class Seen:
    """What the platform saw in one file."""

    contract: Contract
    con: duckdb.DuckDBPyConnection
    #: kind of check, columns -> rows that fail it
    failing: Mapping[tuple[str, tuple[str, ...]], set[int]]
    #: row (None: the file) -> (code, standard name of the column) of its findings
    findings: Mapping[int | None, set[tuple[str, str | None]]]
    defects: Mapping[int, str | None]


@contextmanager
def seen(city: City, file: str, verdict: Verdict) -> Iterator[Seen]:
    contract = city.source(file)
    place = city.kept / verdict.batch
    drop = next(r for r in city.truth("files") if r["file"] == file)
    with duckdb.connect() as con:
        for name in ("raw", "judged"):
            con.execute(f"CREATE TABLE {name} AS FROM read_parquet('{place / name}.parquet')")
        attach_calendar(con, "cn", date(2025, 1, 1), date(2026, 6, 1))
        context = Context(
            period_range(contract.arrival.cycle, drop["period"]),
            datetime.fromisoformat(drop["at"]).date(),
            lambda name: attach_code_table(con, city.run.catalog, name),
        )
        # What other sources had in force is not here; test_the_same_datum_is_compared_across_sources looks at it.
        checks = [c for c in prepare(contract, context) if c.over == "judged" and c.unevaluated is None]
        failing: dict[tuple[str, tuple[str, ...]], set[int]] = {}
        for check, outcome in zip(checks, validate(con, "judged", [c.expectation for c in checks]), strict=True):
            assert outcome.error is None, (check.id, outcome.error)
            if outcome.failing_rows_sql:
                failing[check.kind, check.columns or (check.id,)] = {
                    r[1] for r in con.execute(outcome.failing_rows_sql).fetchall()
                }
        findings: dict[int | None, set[tuple[str, str | None]]] = defaultdict(set)
        for row, code, column in city.run.con.execute(
            'SELECT "row", code, column_name FROM lake.quality.finding WHERE batch = ?', [verdict.batch]
        ).fetchall():
            findings[row].add((code, column))
        yield Seen(contract, con, failing, findings, dict(con.execute("SELECT _row, _defect FROM raw").fetchall()))


def is_found(what: Seen, fault: Row, city: City) -> bool:
    """Whether what should notice the fault did, at its row and in its column."""
    row = int(fault["row"])
    family, _, how = fault["detection"].partition(":")
    name = how.split(" ")[0]
    column = next((c.name for c in what.contract.mapped if fault["column"] in c.from_), None)
    if family == "expect":
        whole_row = name in ("sql", "key_is_unique", "no_duplicate_rows") or column is None
        return any(
            row in rows for (kind, columns), rows in what.failing.items() if kind == name and (whole_row or column in columns)
        )
    if family in ("check", "unreadable"):
        codes = next(set(r.findings.values()) for r in rule_catalogue() if r.name == name)
        return any(code in codes and column == at for code, at in what.findings[row])
    if family == "repair":
        assert column is not None
        return not any(at == column for _, at in what.findings[row]) and is_as_if_never_broken(what, fault, column, city)
    if name == "blank":
        return row not in what.defects
    if name == "number_in_text_column":
        return (name, column) in what.findings[row]
    if name == "character_private_use":
        return any(code == name for code, _ in what.findings[None])
    return what.defects.get(row) == name and any(code == name for code, _ in what.findings[row])


def is_as_if_never_broken(what: Seen, fault: Row, column: str, city: City) -> bool:
    """Whether cleaning makes of the broken value what it makes of the original."""
    sql = compile_contract(what.contract).judged_sql
    con = what.con.cursor()
    attach_reference(con, city.run.workspace, sql if not _has(con, "ref_division") else "")
    (broken,) = con.execute(f'SELECT "{column}" FROM judged WHERE _row = ?', [int(fault["row"])]).fetchall()
    con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS FROM main.raw WHERE _row = {int(fault['row'])}")
    con.execute(f'UPDATE temp.raw SET "{fault["column"]}" = ?', [fault["original"]])
    (sound,) = con.execute(f'SELECT "{column}" FROM ({sql})').fetchall()
    return broken[0] is not None and broken == sound


def _has(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    return bool(con.execute("SELECT 1 FROM duckdb_views() WHERE view_name = ?", [name]).fetchall())


def test_every_covered_fault_is_found(city: City) -> None:
    """Recall over the faults a single file can show; alarms at rows without a fault are counted and printed."""
    faults: dict[str, list[Row]] = defaultdict(list)
    for fault in city.truth("faults"):
        faults[fault["file"]].append(fault)
    covered = 0
    missed: list[str] = []
    alarms: Counter[str] = Counter()
    sound_rows = 0
    for file, verdict in city.verdicts.items():
        if verdict is None:
            continue
        with seen(city, file, verdict) as what:
            for fault in faults[file]:
                if fault["covered"] != "yes":
                    continue
                covered += 1
                if not is_found(what, fault, city):
                    missed.append(
                        f"{file} row {fault['row']} {fault['column']}: {fault['kind']}, should be seen by {fault['detection']}"
                    )
            broken = {int(f["row"]) for f in faults[file]}
            sound_rows += len(set(what.defects) - broken)
            for (kind, columns), rows in what.failing.items():
                alarms[f"{what.contract.id} {kind} {','.join(columns)}"] += len(rows - broken)
    recall = 1 - len(missed) / covered
    print(f"\nfaults: {covered} covered, recall {recall:.4f}; {sum(alarms.values())} alarms at {sound_rows} rows without a fault")
    for what_failed, count in alarms.most_common():
        if count:
            print(f"  {count:4} {what_failed}")
    assert covered > 200
    assert missed == []


def test_the_same_datum_is_compared_across_sources(city: City) -> None:
    """The holders of licences against the register of enterprises: names are broken in their form only, which cleaning repairs."""
    a, b, missing = city.run.con.execute(
        "SELECT sum(a), sum(b), count(*) FILTER (b = 0) FROM lake.quality.check "
        "WHERE source = 'market_regulation__licence' AND kind = 'same_as_source'"
    ).fetchall()[0]
    print(f"\nholders of licences: {a:.0f} of {b:.0f} agree with the register of enterprises")
    assert b > 50 and missing == 0
    assert a == b


# -- merged records


def test_rows_of_one_person_or_firm_come_together(city: City) -> None:
    truth = {(row["file"], int(row["row"])): row["truth"] for row in city.truth("rows") if row["truth"]}
    file_of = {verdict.batch: file for file, verdict in city.verdicts.items() if verdict}
    floors = {"licence": (0.999, 0.999), "legal_entity": (0.99, 0.97), "person": (0.98, 0.95)}
    print()
    for entity, (least_precision, least_recall) in floors.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for one, batch, row in city.run.con.execute(f"SELECT _entity, _batch, _row FROM lake.base.{entity}__member").fetchall():
            if real := truth.get((file_of[batch], row)):
                groups[one].append(real)
        right = wrong = 0
        total: Counter[str] = Counter()
        for members in groups.values():
            counts = Counter(members)
            together = sum(n * (n - 1) // 2 for n in counts.values())
            right += together
            wrong += len(members) * (len(members) - 1) // 2 - together
            total.update(counts)
        pairs = sum(n * (n - 1) // 2 for n in total.values())
        precision, recall = right / (right + wrong), right / pairs
        f1 = 2 * precision * recall / (precision + recall)
        print(
            f"{entity}: {len(groups)} records of {len(total)} true ones, precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}"
        )
        assert precision >= least_precision, entity
        assert recall >= least_recall, entity


def test_no_identity_number_stands_in_the_base_layer(city: City) -> None:
    numbers = {row["resident_id"] for row in city.truth("people")}
    tables = city.run.con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name IN ('base', 'quality', 'ledger')"
    ).fetchall()
    assert {schema for schema, _ in tables} == {"base", "quality", "ledger"}
    for schema, table in tables:
        for (text,) in city.run.con.execute(f'SELECT CAST(t AS VARCHAR) FROM lake."{schema}"."{table}" AS t').fetchall():
            assert not numbers.intersection(re.findall(r"\d{17}[\dX]", text)), f"{schema}.{table}"


def test_golden_values_are_true(city: City) -> None:
    """The values of the registers of record are the true ones at the end of the three days, where a row was sound."""
    truth = {row["uscc"]: row for row in city.truth("entities") if row["uscc"]}
    asked: Counter[str] = Counter()
    same: Counter[str] = Counter()
    cursor = city.run.con.execute("SELECT * FROM lake.base.legal_entity WHERE uscc IS NOT NULL")
    columns = [d[0] for d in cursor.description]
    for values in cursor.fetchall():
        golden: dict[str, Any] = dict(zip(columns, values, strict=True))
        real = truth.get(golden["uscc"])
        for name in ("entity_name", "established_on", "division_code", "address"):
            if real and golden[name] is not None:
                asked[name] += 1
                same[name] += str(golden[name]) == real[name]
    shares = {name: same[name] / asked[name] for name in asked}
    print(
        "\nlegal_entity, share of golden values that are the true ones: " + ", ".join(f"{n} {s:.3f}" for n, s in shares.items())
    )
    assert min(asked.values()) > 100
    assert min(shares.values()) > 0.98, shares


#: Entity -> its truth, and what that calls an attribute otherwise. Identity numbers are digests in base, so they are not compared.
TRUTHS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "person": ("people", {}),
    "legal_entity": ("entities", {"former_entity_name": "former_name"}),
    "licence": ("licences", {}),
}


def is_true(value: Any, real: str) -> bool:
    return real != "" and value == Decimal(real) if isinstance(value, Decimal) else str(value) == real


@pytest.mark.parametrize("entity_id", TRUTHS)
def test_a_golden_field_is_true_wherever_its_authority_is_right(city: City, entity_id: str) -> None:
    """What the authority's row in force says is read from its own table and held against the truth of that row, without a look at
    how merge chose. Where it is wrong, so is the golden value: how often is printed."""
    entity, (name, called) = city.run.catalog.entity(entity_id), TRUTHS[entity_id]
    truth = {row["truth"]: row for row in city.truth(name)}
    real = {(row["file"], int(row["row"])): row["truth"] for row in city.truth("rows") if row["truth"]}
    file_of = {verdict.batch: file for file, verdict in city.verdicts.items() if verdict}
    columns = {a.name: called.get(a.name, a.name) for a in entity.attributes if not a.digest}
    columns = {a: c for a, c in columns.items() if c in next(iter(truth.values()))}

    def rows(sql: str) -> Iterator[dict[str, Any]]:
        cursor = city.run.con.execute(sql)
        names = [d[0] for d in cursor.description]
        yield from (dict(zip(names, row, strict=True)) for row in cursor.fetchall())

    golden = {row["_entity"]: row for row in rows(f"SELECT * FROM lake.base.{entity_id}")}
    asked: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    untrue = []
    for source in city.run.catalog.sources_of(entity_id):
        ranked = {a: c for a, c in columns.items() if entity.rank(a, source.id) == 1 and any(m.name == a for m in source.mapped)}
        joined = f"lake.std.{source.id} AS s JOIN lake.base.{entity_id}__member AS m ON m._source = '{source.id}' AND m._batch = s._batch"
        for row in rows(f"SELECT m._entity, s.* FROM {joined} AND m._row = s._row AND m._sheet IS NOT DISTINCT FROM s._sheet"):
            who = truth.get(real.get((file_of[row["_batch"]], row["_row"]), ""))
            for attribute, column in ranked.items() if who else ():
                if row[attribute] is None:
                    continue
                asked[attribute] += 1
                if not is_true(row[attribute], who[column]):
                    wrong[attribute] += 1
                elif not is_true(golden[row["_entity"]][attribute], who[column]):
                    untrue.append((row["_entity"], attribute))
    print(
        f"\n{entity_id}: the authority is wrong in {wrong.total()} of {asked.total()} fields ({wrong.total() / asked.total():.4f}): "
        + ", ".join(f"{a} {n} of {asked[a]}" for a, n in wrong.most_common())
    )
    assert asked.total() > 300 and len(asked) > 5
    assert untrue == []


def test_what_every_record_says_is_what_merge_chose_from(city: City) -> None:
    """The rows that trace and contradictions tell of hold each golden value in the cell that it came from, and as many others."""
    with reading(city.run.workspace) as con:
        for entity in city.run.catalog.entities.values():
            con.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS SELECT _entity, attribute FROM lake.base.{entity.id}__origin")
            tell(city.run, con, entity)
            differing = con.execute(
                f"""SELECT count(*) FROM lake.base.{entity.id}__origin AS o
LEFT JOIN (SELECT _entity, attribute, count(DISTINCT value) AS v, count(DISTINCT _source) AS n FROM said GROUP BY ALL) AS c USING (_entity, attribute)
LEFT JOIN said AS s USING (_entity, attribute, _record)
WHERE (c.v, c.n, s._batch, s._sheet, s._row) IS DISTINCT FROM (o.values_seen, o.sources_with_value, o._batch, o._sheet, o._row)"""
            ).fetchall()
            assert differing == [(0,)], entity.id


def test_windows_of_the_scorecard_end_today(city: City) -> None:
    for card in scorecard(city.run).sources:
        assert card.window[1] == datetime.fromisoformat(AT_THE_END).date()
        assert card.window[1] - card.window[0] >= timedelta(days=30)
        assert card.score.o.value is not None


def test_every_score_is_made_again_from_the_files_of_the_report(city: City) -> None:
    folder = report(city.run).parent
    with recalculated(folder) as con:
        assert differences(con) == []
        compared = con.execute("SELECT count(DISTINCT subject) FROM compared WHERE level = 'source'").fetchall()[0][0]
    assert compared == len(city.run.catalog.contracts)
    book = Book((folder / "recalculate.xlsx").read_bytes())
    assert (book.differing(), book.verdict[1]) == ([], 0)
