"""Gate: may this batch go on? Great Expectations judges the rows as sent, then one commit records batch and verdict."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.contract import Contract
from pipelines import archive, waivers
from pipelines.batch import Batch, chain_tip, folder, is_staged, load, source_of
from pipelines.beyond import looking_beyond
from pipelines.clean import clean_staged, working
from pipelines.collect import NO_PERIOD, drop_row
from pipelines.compare import compare
from pipelines.compile import SQL_TYPES
from pipelines.readers.rows import SPELLED_OUT
from pipelines.reference import attach_calendar, attach_code_table
from pipelines.run import Run
from pipelines.slots import schedule_of
from pipelines.waivers import Cover
from quality.expectations import Context, Prepared, prepare
from quality.expectations.beyond import told
from quality.finding import Finding, finding
from quality.gx import Outcome, validate
from quality.gx_result import validation_result
from quality.timeliness import Arrival, judge, period_range
from warehouse.commit import Commit, commit
from warehouse.lake import PARQUET, few_rows, literal, one_moment, quoted
from warehouse.layout import write_atomically
from warehouse.tables import TABLES, Columns


@dataclass(frozen=True)
class Verdict:
    """`state` is pass, warn or hold; the sentence says what was wrong and what to do next."""

    batch: str
    state: str
    zh: str
    en: str

    @property
    def accepted(self) -> bool:
        return self.state != "hold"

    @property
    def sentence(self) -> str:
        return f"{self.zh} / {self.en}"


@dataclass(frozen=True)
class Counted:
    """A and B of one check, with what Great Expectations said. `findings` name the first rows that break it; of a check about
    the whole batch they tell its numbers, of one that was not evaluated why. `waived_by`: the waivers
    for which a failing one is no news."""

    check: Prepared
    outcome: Outcome
    a: float
    b: float
    findings: tuple[Finding, ...] = ()
    waived_by: tuple[str, ...] = ()

    @property
    def x(self) -> float | None:
        if not self.b:
            return None
        return 1 - self.a / self.b if self.check.counts == "bad_rows" else self.a / self.b

    @property
    def holds_back(self) -> bool:
        """A check with `severity: hold` holds the batch when its share falls below its floor (1 unless given)."""
        if self.check.severity != "hold":
            return False
        return self.outcome.error is not None or (
            self.x is not None and self.x < (1 if self.check.floor is None else self.check.floor)
        )


def gate(run: Run, batch_id: str) -> Verdict:
    """Judge one cleaned batch and commit it, whatever the verdict.

    Reads    staging/<batch>/; of sources that its checks name the rows in force, as of the moment noted beside the drop
    Writes   raw, quarantine, finding, check, ledger; std only where the verdict is pass or warn: a held batch never
             reaches std or base, and the last good data stay; before the commit, the result as Great Expectations writes it
    Rows     judged = accepted + refused, proved by clean and written to ledger.stage
    Again    a committed batch is not judged again; its recorded verdict is returned
    """
    with run.workspace.locked(f"source-{source_of(batch_id)}"):
        if not is_staged(run.workspace, batch_id) and (known := recorded(run, batch_id)) is not None:
            return known
        batch = load(run.workspace, batch_id)
        if not any(s["stage"] == "clean" for s in batch.stages):
            batch = clean_staged(run, batch)  # another run has collected the same drop again since
        contract = archive.archived_contract(run.workspace, batch.contract_hash)
        counted = judge_batch(run, batch, contract)
        covered = _cover(run, batch, contract)  # before the findings of the checks: those go with their checks
        batch = replace(batch, findings=(*batch.findings, *(f for c in counted for f in c.findings)))
        verdict = _verdict(batch, counted, covered)
        std = folder(run.workspace, batch_id) / "std.parquet"
        with one_moment(run.con):
            if verdict.accepted and (compared := compare(run, batch, contract, std)):
                stages, statements = (
                    (*batch.stages, compared[0]),
                    (*batch.statements, ("gate", "rows before and after", compared[1])),
                )
                batch = replace(batch, stages=stages, statements=statements)
            change = _commit(run, batch, contract, counted, covered, verdict)
        checked = [(c.check.expectation, c.outcome) for c in counted]
        result = validation_result(checked, batch.source, {"batch": batch.batch, "period": batch.period})
        write_atomically(run.workspace.validations / batch.source / f"{batch.batch}.json", result.encode())
        done = commit(run.con, run.workspace, change)
        if not done and (known := recorded(run, batch_id)) is not None:
            verdict = known
        shutil.rmtree(folder(run.workspace, batch_id), ignore_errors=True)
    return verdict


def recorded(run: Run, batch_id: str) -> Verdict | None:
    """The verdict of a committed batch."""
    rows = run.con.execute(
        "SELECT batch, verdict, reason_zh, reason_en FROM lake.ledger.batch WHERE batch = ?", [batch_id]
    ).fetchall()
    return Verdict(*rows[0]) if rows else None


def judge_batch(run: Run, batch: Batch, contract: Contract) -> list[Counted]:
    """Run the contract's suite: one Great Expectations validation per relation (rows, columns, delivery slot).

    Every row that breaks a check is written to `failing.parquet`; the first of each check are named in findings.
    """
    arrived_on = datetime.fromisoformat(batch.arrived_at).astimezone(contract.arrival.zone).date()
    period = None if batch.period == NO_PERIOD else period_range(contract.arrival.cycle, batch.period)
    with working(run) as con:
        with looking_beyond(run, con, batch, contract) as beyond:
            code_table = partial(attach_code_table, con, run.catalog)
            checks = prepare(contract, Context(period, arrived_on, code_table, beyond))
        relations = {"columns": _columns_relation(con, batch, contract)}
        judged = folder(run.workspace, batch.batch) / "judged.parquet"
        if judged.is_file():
            con.execute(f"CREATE VIEW judged AS FROM read_parquet({literal(str(judged))})")
            relations["judged"] = "judged"
        if slots := _slot_relation(con, batch, contract):
            relations["slots"] = slots
        attach_calendar(
            con, contract.arrival.calendar, _earliest(con, contract, relations, arrived_on), arrived_on + timedelta(days=400)
        )
        # From here on the contract's own SQL may run: it sees this batch and nothing else of the machine.
        con.execute(
            f"SET allowed_directories = [{literal(str(folder(run.workspace, batch.batch)))}, {literal(str(run.workspace.scratch))}]"
        )
        con.execute("SET enable_external_access = false")
        counted: list[Counted] = []
        for over, relation in relations.items():
            asked = [c for c in checks if c.over == over and c.unevaluated is None]
            outcomes = validate(con, relation, [c.expectation for c in asked]) if asked else []
            counts = _counts(con, relation, asked) if over == "judged" else {}
            points = _points(con) if over == "slots" else 0.0
            for check, outcome in zip(asked, outcomes, strict=True):
                done = _count(check, outcome, counts, points, batch, contract)
                counted.append(_looked_beyond(con, relation, done, contract))
            counted += [_unevaluated(c) for c in checks if c.over == over and c.unevaluated is not None]
        counted = waivers.excused(con, batch, contract, counted, folder(run.workspace, batch.batch))
        return _with_failing_rows(run, con, batch, contract, counted)


def _with_failing_rows(
    run: Run, con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract, counted: Sequence[Counted]
) -> list[Counted]:
    """Write the address of every row that breaks a check, and name those of which cleaning has not spoken yet."""
    place = folder(run.workspace, batch.batch)
    listed = [c for c in counted if c.outcome.failing_rows_sql and c.outcome.unexpected_count]
    if not listed:
        return list(counted)
    parts = " UNION ALL ".join(
        f'SELECT {literal(c.check.id)} AS check_id, "_sheet", "_row" FROM ({c.outcome.failing_rows_sql})' for c in listed
    )
    failing = literal(str(place / "failing.parquet"))
    con.execute(
        f"COPY (SELECT {literal(batch.batch)} AS batch, {literal(batch.source)} AS source, * FROM ({parts})) TO {failing} {PARQUET}"
    )
    # Of a refused row cleaning has said why; of the others it has spoken cell by cell.
    refused, said = (f"read_parquet({literal(str(place / f'{name}.parquet'))})" for name in ("quarantine", "finding"))
    spoken = f'SELECT _sheet, _row, NULL AS column_name FROM {refused} UNION ALL SELECT sheet, "row", column_name FROM {said}'
    named: dict[str, list[tuple[str | None, int]]] = {}
    for c in listed:  # the first of each by itself: bounded memory, however many there are
        named[c.check.id] = con.execute(
            f"SELECT f._sheet, f._row FROM read_parquet({failing}) AS f WHERE f.check_id = ? AND NOT EXISTS (FROM ({spoken}) AS k "
            "WHERE k._row = f._row AND k._sheet IS NOT DISTINCT FROM f._sheet "
            "AND (k.column_name IS NULL OR list_contains(?, k.column_name))) "
            f"ORDER BY f._sheet NULLS FIRST, f._row LIMIT {SPELLED_OUT}",
            [c.check.id, list(c.check.columns)],
        ).fetchall()
    return [
        replace(c, findings=(*c.findings, *(_breaks(c.check, contract, *at) for at in named.get(c.check.id, ()))))
        for c in counted
    ]


def _breaks(check: Prepared, contract: Contract, sheet: str | None, row: int) -> Finding:
    name = check.columns[0] if check.columns else None
    return finding(
        "check_failed", severity="note" if check.severity == "note" else None, sheet=sheet, row=row, column_name=name,
        header=contract.column(name).source if name else None, check_zh=check.zh, check_en=check.en,
    )  # fmt: skip


def _count(
    check: Prepared, outcome: Outcome, counts: Mapping[Any, tuple[int, int]], points: float, batch: Batch, contract: Contract
) -> Counted:
    """A and B by the counting mode of the check; see quality/expectations."""
    unexpected = outcome.unexpected_count or 0
    given, kept = counts.get(check.columns, (0, 0))
    rows = outcome.element_count if outcome.element_count is not None else batch.rows
    if outcome.error is not None:
        return Counted(check, outcome, 0, max(1, given or rows))
    if check.counts == "points":
        return Counted(check, outcome, points, 1)
    if check.counts == "binary":
        return Counted(check, outcome, int(outcome.success), 1)
    if check.counts == "bad_rows":
        return Counted(check, outcome, unexpected, rows)
    if check.counts == "given":
        # In a column that refuses blanks every row that is not given has failed too, without being a given value.
        blank = rows - given if contract.column(check.columns[0]).refuses_missing else 0
        return Counted(check, outcome, given - (unexpected - blank), given)
    if check.counts == "values":
        if "row_condition" in check.expectation.kwargs:
            present = rows - (outcome.missing_count or 0)
            return Counted(check, outcome, present - unexpected, present)
        return Counted(check, outcome, max(0, kept - unexpected), given)
    return Counted(check, outcome, rows - unexpected, rows)


def _looked_beyond(con: duckdb.DuckDBPyConnection, relation: str, counted: Counted, contract: Contract) -> Counted:
    """The same with B as the check's own query counts it, the finding that tells the numbers of a failed one, and the statements
    that filled what was read beside the batch."""
    check, outcome = counted.check, counted.outcome
    if outcome.error is not None:
        return counted
    if check.evaluated:
        sql = check.evaluated.format(batch=relation)
        [(b,)] = con.execute(sql).fetchall()
        outcome = replace(outcome, statements=(*outcome.statements, sql))
        counted = replace(counted, a=b - (outcome.unexpected_count or 0), b=b)
    said: tuple[Finding, ...] = ()
    if check.finding and not outcome.success:
        found = con.execute(check.expectation.kwargs["unexpected_rows_query"].format(batch=relation))
        names = [d[0] for d in found.description]
        facts = dict(zip(names, found.fetchall()[0], strict=True))
        said = (told(check.finding, contract, check.columns, facts, check.severity),)
    return replace(counted, outcome=replace(outcome, statements=(*check.reads, *outcome.statements)), findings=said)


def _unevaluated(check: Prepared) -> Counted:
    """Nothing to be judged with: no elements, neither good nor bad."""
    why = (check.unevaluated,) if check.unevaluated else ()
    return Counted(check, Outcome(check.id, check.expectation.type, success=True, statements=check.reads), 0, 0, why)


def _counts(con: duckdb.DuckDBPyConnection, relation: str, checks: Sequence[Prepared]) -> dict[tuple[str, ...], tuple[int, int]]:
    """For each set of columns that a check looks at: rows where all were given, rows where all survived cleaning."""
    wanted = sorted({c.columns for c in checks if c.columns})
    if not wanted:
        return {}
    given = [" AND ".join(f"{quoted(n + '__given')}" for n in names) for names in wanted]
    kept = [" AND ".join(f"{quoted(n)} IS NOT NULL" for n in names) for names in wanted]
    select = ", ".join(f"count(*) FILTER ({g}), count(*) FILTER ({k})" for g, k in zip(given, kept, strict=True))
    row = con.execute(f"SELECT {select} FROM {relation}").fetchall()[0]
    return {names: (row[2 * i], row[2 * i + 1]) for i, names in enumerate(wanted)}


def _points(con: duckdb.DuckDBPyConnection) -> float:
    return float(con.execute("SELECT coalesce(sum(points), 0) FROM slots").fetchall()[0][0])


def _columns_relation(con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract) -> str:
    """One row per declared column; `present` is NULL for one that the file lacks. Optional ones stand only where they came."""
    optional = {c.source for c in contract.columns if c.optional}
    declared = {header: there for header, there in batch.present.items() if there or header not in optional}
    table = pa.table(
        {
            "header": pa.array(list(declared), pa.string()),
            "present": pa.array([True if p else None for p in declared.values()], pa.bool_()),
        }
    )
    con.register("_columns", table)
    con.execute("CREATE TEMP TABLE declared_columns AS FROM _columns")
    con.unregister("_columns")
    return "declared_columns"


def _slot_relation(con: duckdb.DuckDBPyConnection, batch: Batch, contract: Contract) -> str | None:
    """The slot this batch fills, judged on its own arrival; None where no slot is due for its period."""
    schedule = schedule_of(contract)
    if batch.period == NO_PERIOD or not (slots := schedule.slots(batch.period, batch.period)):
        return None
    arrived = datetime.fromisoformat(batch.arrived_at)
    as_of = max(arrived, slots[0].due_at)
    judged = judge(slots, [Arrival(batch.period, arrived)], as_of, schedule.horizon, schedule.calendar)
    con.execute("CREATE TEMP TABLE slots (period VARCHAR, points DECIMAL(9,6))")
    con.executemany("INSERT INTO slots VALUES (?, ?)", [[s.slot.period, s.points] for s in judged])
    return "slots"


def _earliest(con: duckdb.DuckDBPyConnection, contract: Contract, relations: Mapping[str, str], arrived_on: date) -> date:
    """First day the calendar must know: that of the oldest event a lag is measured from, not before 1990."""
    lags = [str(e.argument) for e in contract.expect if e.kind == "record_lag"]
    if not lags or "judged" not in relations:
        return arrived_on
    oldest = ", ".join(f"min(CAST({quoted(c)} AS DATE))" for c in lags)
    found: list[date] = [d for d in con.execute(f"SELECT {oldest} FROM judged").fetchall()[0] if d]
    return max(min([*found, arrived_on]), date(1990, 1, 1))


def _cover(run: Run, batch: Batch, contract: Contract) -> Cover:
    out = next((s["rows_out"] for s in batch.stages if s["stage"] == "clean"), {"refused": 0})
    if not batch.waivers:
        return waivers.nothing_covered(batch, out["refused"])
    with working(run) as con:
        return waivers.cover(con, batch, contract, folder(run.workspace, batch.batch), out["refused"])


def _verdict(batch: Batch, counted: Sequence[Counted], covered: Cover) -> Verdict:
    """Hold for a finding or a check that says so, and for a file of which no row could be taken. What is waived is told and
    turns nothing."""
    holding = [f for f in batch.findings if f.severity == "hold"]
    failing = [c for c in counted if c.holds_back]
    accepted = next((s["rows_out"]["accepted"] for s in batch.stages if s["stage"] == "clean"), 0)
    if holding or failing:
        zh = [f.message_zh for f in holding] + [f"检查项〔{c.check.zh}〕未达到下限：{_share(c)}。" for c in failing]
        en = [f.message_en for f in holding] + [f"Check ({c.check.en}) is below its floor: {_share(c)}." for c in failing]
        zh += [f.message_zh for c in failing for f in c.findings if f.row is None]
        en += [f.message_en for c in failing for f in c.findings if f.row is None]
        return Verdict(batch.batch, "hold", "".join(zh), " ".join(en))
    if not accepted:
        return Verdict(
            batch.batch,
            "hold",
            "没有一行可以接收，见问题清单。改正后请重新报送。",
            "No row could be accepted; see the findings, correct the rows and send the file again.",
        )
    refused = batch.rows - accepted
    wrong = [c for c in counted if not c.outcome.success and not c.waived_by]
    zh_waived, en_waived = waivers.told(batch, covered, counted)
    if covered.refused or wrong or covered.told:
        return Verdict(
            batch.batch,
            "warn",
            f"已接收 {accepted} 行，拒收 {refused} 行；{len(wrong)} 项检查有问题，见问题清单。{zh_waived}",
            f"{accepted} rows accepted, {refused} refused; {len(wrong)} checks found something, see the findings.{en_waived}",
        )
    if zh_waived:
        return Verdict(
            batch.batch,
            "pass",
            f"已接收 {accepted} 行，拒收 {refused} 行；没有未获豁免的问题。{zh_waived}",
            f"{accepted} rows accepted, {refused} refused; nothing is wrong that is not waived.{en_waived}",
        )
    return Verdict(batch.batch, "pass", f"已接收全部 {accepted} 行。", f"All {accepted} rows accepted.")


def _share(counted: Counted) -> str:
    if counted.outcome.error is not None or counted.x is None:
        return "-"
    return f"{counted.x:.6f} < {1 if counted.check.floor is None else counted.check.floor}"


def _commit(run: Run, batch: Batch, contract: Contract, counted: Sequence[Counted], covered: Cover, verdict: Verdict) -> Commit:
    place = folder(run.workspace, batch.batch)
    files: dict[str, tuple[Columns, Path]] = {}
    staged = {"raw": f"raw.{batch.source}", "finding": "quality.finding", "quarantine": "quarantine.row",
              "mended": "ledger.mended", "failing": "quality.failing_row"}  # fmt: skip
    if verdict.accepted:
        staged["std"] = f"std.{batch.source}"
    columns: dict[str, Columns] = {f"raw.{batch.source}": raw_columns(contract), f"std.{batch.source}": std_columns(contract)}
    for name, table in staged.items():
        path = place / f"{name}.parquet"
        if path.is_file() and _has_rows(run, path):
            target = run.workspace.new_file(table, batch.batch)
            os.link(path, target)
            files[table] = (columns.get(table) or TABLES[table][1], target)
    drop = drop_row(
        batch.drop_id,
        batch.source,
        batch.file_name,
        batch.sha256,
        archive.object_path(run.workspace, batch.sha256).stat().st_size,
        batch.arrived_at,
        batch.run,
        period=batch.period,
        outcome="batch",
        batch=batch.batch,
    )
    return Commit(
        absent=("ledger.batch", "batch", batch.batch),
        files=files,
        rows={
            "quality.finding": [_finding_row(batch, f) for f in batch.findings],
            "quality.check": [_check_row(batch, c) for c in counted],
            "quality.waiver": waivers.waiver_rows(batch, covered, counted),
            "ledger.drop": [drop, *batch.repeats],
            "ledger.batch": [_batch_row(run, batch, contract, verdict)],
            "ledger.stage": [_stage_row(batch, s) for s in batch.stages],
            "ledger.statement": _statement_rows(batch, counted),
        },
    )


def _has_rows(run: Run, path: Path) -> bool:
    return bool(run.con.execute(f"SELECT 1 FROM read_parquet({literal(str(path))}) LIMIT 1").fetchall())


def raw_columns(contract: Contract) -> Columns:
    names = ["_batch", "_sheet", *[c.source for c in contract.columns], "_extra", "_defect"]
    return {**dict.fromkeys(names[:2], "VARCHAR"), "_row": "BIGINT", **dict.fromkeys(names[2:], "VARCHAR")}


def std_columns(contract: Contract) -> Columns:
    return {"_batch": "VARCHAR", "_sheet": "VARCHAR", "_row": "BIGINT", **{c.name: SQL_TYPES[c.type] for c in contract.mapped}}


def _finding_row(batch: Batch, found: Any) -> dict[str, Any]:
    return {"batch": batch.batch, "source": batch.source, "file_name": batch.file_name, **asdict(found)}


def _check_row(batch: Batch, counted: Counted) -> dict[str, Any]:
    check, outcome = counted.check, counted.outcome
    expectation = {"type": check.expectation.type, **check.expectation.kwargs}
    return {
        "batch": batch.batch, "source": batch.source, "period": batch.period, "check_id": check.id, "kind": check.kind,
        "sub_indicator": check.indicator, "title_zh": check.zh, "title_en": check.en, "weight": check.weight,
        "floor": check.floor, "target": check.target, "severity": check.severity, "major": check.major,
        "a": counted.a, "b": counted.b, "x": counted.x, "passed": outcome.success, "error": outcome.error,
        "expectation": json.dumps(expectation, ensure_ascii=False, default=str), "failing_rows_sql": outcome.failing_rows_sql,
    }  # fmt: skip


def _stage_row(batch: Batch, stage: Mapping[str, Any]) -> dict[str, Any]:
    return {"subject": batch.batch, **stage, "rows_out": json.dumps(stage["rows_out"], sort_keys=True)}


def _statement_rows(batch: Batch, counted: Sequence[Counted]) -> list[dict[str, Any]]:
    statements = list(batch.statements)
    seen: set[str] = set()
    for one in counted:
        for sql in one.outcome.statements:
            if sql not in seen:
                seen.add(sql)
                statements.append(("gate", one.check.id, sql))
    return [
        {"subject": batch.batch, "stage": stage, "seq": i, "title": title, "sql": sql}
        for i, (stage, title, sql) in enumerate(statements, 1)
    ]


def _batch_row(run: Run, batch: Batch, contract: Contract, verdict: Verdict) -> dict[str, Any]:
    """The ledger row, chained to the former one of the same source by hash: a changed or removed row breaks the chain."""
    out = next((s["rows_out"] for s in batch.stages if s["stage"] == "clean"), {"accepted": 0, "refused": 0})
    row = {
        "batch": batch.batch, "source": batch.source, "department": contract.department.id, "period": batch.period,
        "version": batch.version, "drop_id": batch.drop_id, "file_name": batch.file_name, "sha256": batch.sha256,
        "arrived_at": batch.arrived_at, "contract_hash": batch.contract_hash, "run": batch.run, "handshake": batch.handshake,
        "mends": batch.mends, "encoding": batch.encoding,
        "dialect": json.dumps(batch.dialect, ensure_ascii=False, sort_keys=True),
        "header": json.dumps(batch.header, ensure_ascii=False),
        "profile": json.dumps(batch.profile, ensure_ascii=False, sort_keys=True), "rows_read": batch.rows,
        "rows_accepted": out["accepted"], "rows_refused": out["refused"], "verdict": verdict.state,
        "reason_zh": verdict.zh, "reason_en": verdict.en, "previous_hash": _tip(run, batch.source),
    }  # fmt: skip
    return {**row, "hash": chained_hash(row)}


def _tip(run: Run, source: str) -> str | None:
    """Hash of the newest ledger row of the source."""
    with few_rows(run.con):
        links = run.con.execute("SELECT hash, previous_hash FROM lake.ledger.batch WHERE source = ?", [source]).fetchall()
    return chain_tip(links)


def chained_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over the ledger row in canonical JSON; instants in UTC."""
    plain = {k: _utc(v) for k, v in row.items() if k != "hash"}
    return hashlib.sha256(json.dumps(plain, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _utc(value: Any) -> Any:
    if isinstance(value, datetime):
        from datetime import UTC

        return value.astimezone(UTC).isoformat()
    return value
