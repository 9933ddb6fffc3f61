"""Receipts: for every drop what arrived, how it was read, what was decided and what to do, chained to the one before.

The JSON in the archive is the receipt, and its name says that it was given. The department finds copies in its outbox,
which it may read, move and delete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from catalog.contract import Contract
from pipelines import archive
from pipelines.archive import Drop
from pipelines.mend import mendable, write_workbook
from pipelines.run import Run
from pipelines.score_facts import EXAMPLES, check_of
from pipelines.slots import schedule_of
from pipelines.waivers import from_row, matches_sql, repeats_sql
from quality.finding import first_told_sql, kinds
from quality.policy import load_policy
from quality.reports.render import render
from quality.reports.words import word
from quality.scoring import SourceScore, as_typed, score_source
from warehouse.lake import few_rows, one_moment
from warehouse.layout import Workspace, write_atomically

#: Groups of findings on one receipt. Beyond them the workbook and `quality.finding` tell.
GROUPS = 200

TIP = "tip"


@dataclass(frozen=True)
class Given:
    """One receipt that was given."""

    source: str
    drop_id: str
    arrived_at: str
    file_name: str
    verdict: str
    zh: str
    en: str
    batch: str
    path: Path
    outbox: Path


def deliver(run: Run, source: str) -> list[Path]:
    """Write the receipts that are due for a source, in order of its drops; returns them.

    Reads    archive/drops/<source>/, ledger and quality tables
    Writes   outbox/<department>/<source>/<batch>/ (receipt.json, receipt.html, where rows can be mended their workbook), then
             archive/receipts/<source>/<drop>.json
    Again    the archived receipt is written last: a killed run's receipts are made again, with the same content, because they
             say nothing that is not in the ledger. A drop that is not in the ledger yet keeps those behind it waiting
    """
    taken = archive.drops(run.workspace, source)
    if all(receipt_path(run.workspace, d).is_file() for d in taken) and _tip_stands(run.workspace, taken):
        return []
    written = []
    with run.workspace.locked(f"source-{source}"), one_moment(run.con):
        known = _ledger_drops(run, source)
        former: Path | None = None
        for drop in taken:
            path = receipt_path(run.workspace, drop)
            if not path.is_file():
                if drop.drop_id not in known:
                    break
                _give(run, drop, known[drop.drop_id], _digest(former) if former else None)
                written.append(path)
            former = path
        if former is not None:
            _save_tip(run.workspace, source, _digest(former))
    return written


def receipt_path(workspace: Workspace, drop: Drop) -> Path:
    return workspace.archive / "receipts" / drop.source / f"{drop.drop_id.split('/')[1]}.json"


def _tip_stands(workspace: Workspace, taken: Sequence[Drop]) -> bool:
    tip = workspace.archive / "receipts" / taken[-1].source / TIP if taken else None
    return tip is None or (tip.is_file() and tip.read_text() == _digest(receipt_path(workspace, taken[-1])))


def _save_tip(workspace: Workspace, source: str, digest: str) -> None:
    """Hash of the newest receipt, which no other names yet."""
    path = workspace.archive / "receipts" / source / TIP
    if not path.is_file() or path.read_text() != digest:
        write_atomically(path, digest.encode(), mode=0o600)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _ledger_drops(run: Run, source: str) -> dict[str, dict[str, Any]]:
    with few_rows(run.con):
        rows = run.con.execute(
            "SELECT drop_id, period, outcome, batch FROM lake.ledger.drop WHERE source = ?", [source]
        ).fetchall()
    return {r[0]: {"period": r[1], "outcome": r[2], "batch": r[3]} for r in rows}


def _give(run: Run, drop: Drop, ledger: Mapping[str, Any], previous: str | None) -> None:
    contract = archive.archived_contract(run.workspace, drop.contract_hash)
    receipt = make(run, drop, contract, ledger, previous)
    folder = outbox_folder(run.workspace, contract, receipt)
    _own_folder(run.workspace.outbox, folder)
    if receipt["workbook"]:
        write_workbook(run, ledger["batch"], contract, folder / receipt["workbook"])
    text = json.dumps(receipt, ensure_ascii=False, indent=1) + "\n"
    write_atomically(folder / "receipt.html", page(receipt).encode())
    write_atomically(folder / "receipt.json", text.encode())
    write_atomically(receipt_path(run.workspace, drop), text.encode(), mode=0o400)


def outbox_folder(workspace: Workspace, contract: Contract, receipt: Mapping[str, Any]) -> Path:
    """outbox/<department>/<source>/: `2026-03-02.v1` for a batch, the moment of arrival for a drop that made none."""
    label = receipt["batch"].split("@")[-1]
    if receipt["outcome"] != "batch":
        label = f"{receipt['period']}.{receipt['outcome']}.{receipt['receipt'].split('/')[1]}"
    return workspace.outbox / contract.department.id / contract.id / str(label)


def _own_folder(outbox: Path, folder: Path) -> None:
    """Make the folder; a link that somebody put in its way must not lead our writing elsewhere."""
    place = outbox
    for part in folder.relative_to(outbox).parts:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(parents=True, exist_ok=True)


# --- what it says ---------------------------------------------------------------------------------


def make(run: Run, drop: Drop, contract: Contract, ledger: Mapping[str, Any], previous: str | None) -> dict[str, Any]:
    """The receipt of one drop as data. Personal values are masked; nothing in it changes when later drops arrive."""
    versions = _versions(run, contract.id, ledger["period"])
    batch = next((v for v in versions if v["batch"] == ledger["batch"]), None)
    made = ledger["outcome"] == "batch"
    receipt: dict[str, Any] = {
        "receipt": drop.drop_id,
        "number": drop.number,
        "previous": previous,
        "source": contract.id,
        "title": contract.title.model_dump(),
        "department": contract.department.model_dump(),
        "steward": contract.steward,
        "file": {"name": drop.file_name, "sha256": drop.sha256, "size_bytes": drop.size_bytes},
        "arrived_at": _utc(drop.arrival),
        "timezone": contract.arrival.timezone,
        "handshake": _handshake(drop.handshake),
        "manifest": drop.manifest,
        "period": ledger["period"],
        "outcome": ledger["outcome"],
        "batch": ledger["batch"],
        "contract": {"hash": drop.contract_hash, "load": contract.load},
        "run": drop.run,
        "verdict": _verdict(ledger, batch),
        "due_at": _due(contract, ledger["period"]),
    }
    if not made or batch is None:
        return receipt | {"rows": None, "reading": None, "score": None, "checks": [], "findings": [], "more_findings": 0, "waivers": [],
                          "replaces": None, "difference": None, "mends": None, "delivered": None, "workbook": None, "ledger_hash": None}  # fmt: skip
    first, delivered = _first(versions, batch)
    replaces = _replaced(versions, batch)
    with few_rows(run.con):
        stages = _stages(run, ledger["batch"])
        score = _score(run, contract, ledger["batch"], first)
        waived = _waivers(run, ledger["batch"]) if drop.waivers else []
        checks = _check_lines(run, ledger["batch"], score, {check for w in waived for check in json.loads(w["checks"])})
    findings = _findings(run, ledger["batch"], _covered_sql(run, ledger["batch"], contract, waived))
    return receipt | {
        "rows": _rows(batch, stages, replaces),
        "reading": {
            "encoding": batch["encoding"],
            "dialect": json.loads(batch["dialect"] or "{}"),
            "header": json.loads(batch["header"] or "[]"),
            "why": [{"zh": e["zh"], "en": e["en"]} for f in findings if f["severity"] == "note" for e in f["examples"]],
        },
        "score": _score_lines(score, contract),
        "checks": checks,
        "findings": findings[:GROUPS],
        "more_findings": sum(f["count"] for f in findings[GROUPS:]),
        "waivers": [_waiver_line(w) for w in waived],
        "replaces": replaces["batch"] if replaces and batch["verdict"] != "hold" else None,
        "difference": _difference(stages),
        "mends": _mends(batch, stages),
        "delivered": {"batch": first, "at": _utc(delivered)},
        "workbook": _workbook_name(run, batch, contract),
        "ledger_hash": batch["hash"],
    }


def _versions(run: Run, source: str, period: str) -> list[dict[str, Any]]:
    """The rows of ledger.batch of one period, oldest version first."""
    with few_rows(run.con):
        found = run.con.execute(
            "SELECT * FROM lake.ledger.batch WHERE source = ? AND period = ? ORDER BY version", [source, period]
        )
        names = [d[0] for d in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _utc(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


HANDSHAKES: Mapping[str, tuple[str, str]] = {
    "manifest": ("按清单文件核对了行数和校验值", "its manifest named rows and digest, and they were compared"),
    "marker": ("有完成标记文件（.ok）", "a marker file (.ok) said that it was finished"),
    "rename": ("写完后改名，一步到位", "it was written aside and renamed in one step"),
    "quiet": (
        "只凭文件不再变化判断，可能仍不完整；建议附清单文件或写完后改名",
        "only because nobody wrote to it any more, so it may be incomplete; a manifest or a rename would make it sure",
    ),
}


def _handshake(how: str) -> dict[str, str]:
    zh, en = HANDSHAKES.get(how, (how, how))
    return {"how": how, "zh": zh, "en": en}


def _verdict(ledger: Mapping[str, Any], batch: Mapping[str, Any] | None) -> dict[str, str]:
    name = ledger["batch"]
    if ledger["outcome"] == "batch" and batch:
        return {"state": batch["verdict"], "zh": batch["reason_zh"], "en": batch["reason_en"]}
    if ledger["outcome"] == "unchanged":
        zh = f"与已处理的 {name} 逐字节相同，没有改动任何数据。"
        en = f"Byte for byte the same as {name}, which was processed already; nothing was changed."
        if batch:
            zh += f"该批次的结论是〔{word('verdict', batch['verdict'], 'zh')}〕：{batch['reason_zh']}"
            en += f" That batch was {word('verdict', batch['verdict'], 'en')}: {batch['reason_en']}"
        return {"state": "unchanged", "zh": zh, "en": en}
    if ledger["outcome"] == "older":
        return {
            "state": "older",
            "zh": f"这份文件比现行的 {name} 旧，已存档，没有覆盖较新的数据。如确需恢复，请以新的版本号重新报送。",
            "en": f"This file is older than {name}, which is in force: it was archived and overwrote nothing. "
            "To restore it, send it again under a newer version.",
        }
    return {"state": ledger["outcome"], "zh": f"已存档（{name}）。", "en": f"Archived ({name})."}


def _due(contract: Contract, period: str) -> str | None:
    if not period[:1].isdigit():
        return None
    slots = schedule_of(contract).slots(period, period)
    return _utc(slots[0].due_at) if slots else None


def _stages(run: Run, batch: str) -> dict[str, dict[str, Any]]:
    rows = run.con.execute(
        "SELECT stage, rows_in, rows_out, equation FROM lake.ledger.stage WHERE subject = ?", [batch]
    ).fetchall()
    return {r[0]: {"in": r[1], "out": json.loads(r[2] or "{}"), "equation": r[3]} for r in sorted(rows)}


def _replaced(versions: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> dict[str, Any] | None:
    """The version in force before this one."""
    accepted = [v for v in versions if v["version"] < batch["version"] and v["verdict"] != "hold"]
    return {"batch": accepted[-1]["batch"], "rows": accepted[-1]["rows_accepted"]} if accepted else None


def _rows(batch: Mapping[str, Any], stages: Mapping[str, Any], replaces: Mapping[str, Any] | None) -> dict[str, Any]:
    collected = stages.get("collect", {"in": 0, "out": {}, "equation": ""})
    held = batch["verdict"] == "hold"
    return {
        "records": collected["in"],
        "not_data": {k: v for k, v in collected["out"].items() if k != "rows"},
        "read": batch["rows_read"],
        "accepted": 0 if held else batch["rows_accepted"],
        "refused": batch["rows_refused"],
        "held": batch["rows_read"] - batch["rows_refused"] if held else 0,
        "superseded": replaces["rows"] if replaces and not held else 0,
        "equations": [stages[name]["equation"] for name in ("collect", "mend", "clean") if name in stages],
    }


def _difference(stages: Mapping[str, Any]) -> dict[str, Any] | None:
    found = stages.get("compare")
    return {**found["out"], "equation": found["equation"]} if found else None


def _mends(batch: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any] | None:
    if not batch["mends"]:
        return None
    none = {"mended": 0, "unchanged": 0, "not_taken": 0}
    return {"batch": batch["mends"], **none, **stages.get("mend", {"out": {}})["out"]}


def _workbook_name(run: Run, batch: Mapping[str, Any], contract: Contract) -> str | None:
    return f"{contract.id}.{batch['period']}.v{batch['version']}.改正.xlsx" if mendable(run, batch["batch"]) else None


def _waivers(run: Run, batch: str) -> list[dict[str, Any]]:
    """What stood when the batch arrived, as it was written down with its verdict."""
    found = run.con.execute("SELECT * FROM lake.quality.waiver WHERE batch = ? ORDER BY waiver", [batch])
    names = [d[0] for d in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _covered_sql(run: Run, batch: str, contract: Contract, waived: Sequence[Mapping[str, Any]]) -> str:
    """The condition under which a finding of the batch is waived, itself or with the check that it repeats."""
    checks = [check for w in waived for check in json.loads(w["checks"])]
    titles = run.con.execute(
        "SELECT DISTINCT title_en FROM lake.quality.check WHERE batch = ? AND check_id IN (SELECT unnest(?)) ORDER BY ALL",
        [batch, checks],
    ).fetchall() if checks else []  # fmt: skip
    parts = [matches_sql(from_row(w), contract, "f") for w in waived] + [repeats_sql(title, "f") for (title,) in titles]
    return " OR ".join(parts) or "FALSE"


def _waiver_line(row: Mapping[str, Any]) -> dict[str, Any]:
    waiver = from_row(row)
    return {**waiver.plain(), "findings": row["findings"], "checks": json.loads(row["checks"])}


def _findings(run: Run, batch: str, covered: str) -> list[dict[str, Any]]:
    """Groups of findings; `covered` is the condition under which one is waived."""
    rows = run.con.execute(
        f"SELECT code, severity, header, count(*), count(*) FILTER ({covered}), "
        f"{first_told_sql(EXAMPLES)} FROM lake.quality.finding AS f WHERE batch = ? GROUP BY code, severity, header",
        [batch],
    ).fetchall()
    order = ("hold", "refuse", "warn", "note")
    rows.sort(key=lambda r: (order.index(r[1]) if r[1] in order else 9, -r[3], r[0], r[2] or ""))
    return [
        {
            "code": code, "title": {"zh": kinds()[code].title_zh, "en": kinds()[code].title_en} if code in kinds() else None,
            "severity": severity, "header": header, "count": count, "waived": waived,
            "examples": [{"sheet": e["s"], "row": e["r"], "zh": e["z"], "en": e["e"]} for e in some],
        }
        for code, severity, header, count, waived, some in rows
    ]  # fmt: skip


def _first(versions: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> tuple[str, datetime]:
    """The version with which the period was delivered: the first accepted one up to this, else this one. A correction is late
    only where the delivery was."""
    accepted = [v for v in versions if v["version"] <= batch["version"] and v["verdict"] != "hold"]
    first = min(accepted, key=lambda v: (v["arrived_at"], v["version"]), default=batch)
    return first["batch"], first["arrived_at"]


def _score(run: Run, contract: Contract, batch: str, first: str) -> SourceScore:
    rows = run.con.execute(
        "SELECT check_id, sub_indicator, weight, floor, target, kind, a, b, major, error IS NOT NULL "
        "FROM lake.quality.check WHERE batch = if(kind = 'punctuality', ?, ?) ORDER BY check_id",
        [first, batch],
    ).fetchall()
    checks = [
        check_of(check_id, indicator, weight, floor, target, kind, a, b, major, broken)
        for check_id, indicator, weight, floor, target, kind, a, b, major, broken in rows
    ]  # fmt: skip
    return score_source(checks, load_policy(contract.policy))


def _score_lines(score: SourceScore, contract: Contract) -> dict[str, Any]:
    lines: dict[str, Any] = {
        one.code: {"value": None if one.value is None else str(one.value), "formula": one.formula}
        for one in (score.t, score.q, score.o)
    }
    grade = None if score.o.value is None else load_policy(contract.policy).grade(score.o.value)
    return lines | {
        "grade": {"code": grade.code, "zh": grade.zh, "en": grade.en} if grade else None,
        "policy": score.policy_version,
        "policy_digest": score.policy_digest,
    }


def _check_lines(run: Run, batch: str, score: SourceScore, waived: Set[str]) -> list[dict[str, Any]]:
    titles = {
        r[0]: r[1:]
        for r in run.con.execute(
            "SELECT check_id, title_zh, title_en, severity, passed FROM lake.quality.check WHERE batch = ?", [batch]
        ).fetchall()
    }
    lines = []
    for one in score.checks:
        zh, en, severity, passed = titles[one.check.id]
        lines.append({
            "id": one.check.id, "zh": zh, "en": en, "indicator": one.check.sub_indicator, "severity": severity,
            "passed": bool(passed), "waived": one.check.id in waived, "a": as_typed(one.check.a), "b": as_typed(one.check.b),
            "x": None if one.x is None else str(one.x), "y": None if one.y is None else str(one.y), "formula": one.formula_x,
        })  # fmt: skip
    return lines


#: What a reader writes into `dialect` and `other`, as people call it.
DIALECT: Mapping[str, tuple[str, str]] = {
    "delimiter": ("分隔符", "delimiter"), "quote": ("引号", "quote"), "line_ends": ("换行", "line ends"),
    "sheet": ("工作表", "sheet"), "form": ("格式", "form"), "member": ("压缩包内文件", "member of the archive"),
    "mends": ("改正的批次", "mends"),
}  # fmt: skip
NOT_DATA: Mapping[str, tuple[str, str]] = {
    "header": ("表头", "header"), "above_header": ("表头以上", "above the header"), "blank": ("空行", "blank"),
    "not_read": ("未读", "not read"), "note": ("注释", "notes"), "notes": ("注释", "notes"), "total": ("合计", "totals"),
    "totals": ("合计", "totals"), "group": ("分组行", "group rows"), "group_rows": ("分组行", "group rows"),
    "header_repeated": ("重复表头", "repeated headers"),
}  # fmt: skip


def page(receipt: Mapping[str, Any]) -> str:
    """One self-contained page: Chinese, with English beside it."""
    reading, rows = receipt["reading"] or {"dialect": {}}, receipt["rows"] or {"not_data": {}}
    return render(
        "receipt.html",
        "zh",
        r=receipt,
        zone=ZoneInfo(receipt["timezone"]),
        arrived=datetime.fromisoformat(receipt["arrived_at"]),
        due=datetime.fromisoformat(receipt["due_at"]) if receipt["due_at"] else None,
        delivered=datetime.fromisoformat(receipt["delivered"]["at"]) if receipt["delivered"] else None,
        dialect=[(*DIALECT.get(key, (key, key)), _visible(value)) for key, value in reading["dialect"].items()],
        not_data=[(*NOT_DATA.get(key, (key, key)), value) for key, value in rows["not_data"].items()],
    )


def _visible(value: Any) -> str:
    return {"\t": "Tab", "\x01": "\\x01", "": "—"}.get(str(value), str(value))


# --- looking back ---------------------------------------------------------------------------------


def receipts(run: Run, source: str | None = None) -> list[Given]:
    """Every receipt that was given, newest arrival first."""
    folder = run.workspace.archive / "receipts"
    found = []
    for path in folder.glob(f"{source or '*'}/*.json"):
        told = json.loads(path.read_text(encoding="utf-8"))
        contract = archive.archived_contract(run.workspace, told["contract"]["hash"])
        verdict = told["verdict"]
        found.append(
            Given(
                told["source"], told["receipt"], told["arrived_at"], told["file"]["name"], verdict["state"], verdict["zh"],
                verdict["en"], told["batch"], path, outbox_folder(run.workspace, contract, told),
            )
        )  # fmt: skip
    return sorted(found, key=lambda g: (g.arrived_at, g.drop_id), reverse=True)


def chain_problems(run: Run) -> Iterator[str]:
    """Each drop has its receipt, unchanged and in its place, and it says what the ledger says. Copies in the outbox belong
    to the departments, nobody checks them. The newest drops may be waiting for theirs: a run is under way or was killed."""
    for source in archive.sources(run.workspace):
        yield from _source_problems(run, source)


def _source_problems(run: Run, source: str) -> Iterator[str]:
    folder = run.workspace.archive / "receipts" / source
    tip = (folder / TIP).read_text() if (folder / TIP).is_file() else None
    drops = {receipt_path(run.workspace, d): d for d in archive.drops(run.workspace, source)}
    # From the newest to the oldest: they are written the other way round, perhaps at this moment.
    found = {path: _read(path) for path in reversed(drops)}
    found |= {path: _read(path) for path in folder.glob("*.json") if path not in drops}
    told = {path: _parsed(data) for path, data in found.items() if data is not None}
    number = {path: drops[path].number if path in drops else told[path].get("number", 0) for path in found}
    last = max((number[path] for path in told), default=0)
    ledger = _ledger_drops(run, source)
    hashes = dict(run.con.execute("SELECT batch, hash FROM lake.ledger.batch WHERE source = ?", [source]).fetchall())
    former: str | None = None
    unsure = False
    for path in sorted((p for p in found if number[p] <= last), key=lambda p: (number[p], p.name)):
        data = found[path]
        if data is None:
            yield f"{path}: the receipt of {drops[path].file_name} is missing; `dmp run` writes it again"
            unsure = True
            continue
        problem = _misfit(told[path], drops.get(path), ledger, hashes)
        if problem is None and not unsure and told[path]["previous"] != former:
            problem = "the chain is broken; this receipt or the one before it was changed"
        if problem:
            yield f"{path}: {problem}"
        former, unsure = hashlib.sha256(data).hexdigest(), False
    if tip is not None and tip not in (hashlib.sha256(d).hexdigest() for d in found.values() if d is not None):
        yield f"{folder}: the newest receipt is missing or was changed; its SHA-256 was {tip}"


_NAMED = ("receipt", "number", "file", "source", "previous", "outcome", "batch", "ledger_hash")


def _parsed(data: bytes) -> dict[str, Any]:
    """What a receipt says; empty where it cannot be understood any more."""
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    sound = isinstance(told, dict) and all(k in told for k in _NAMED) and isinstance(told["file"], dict)
    return told if sound and isinstance(told["number"], int) else {}


def _misfit(
    told: Mapping[str, Any], drop: Drop | None, ledger: Mapping[str, Mapping[str, Any]], hashes: Mapping[str, str]
) -> str | None:
    """How a receipt disagrees with the arrival and the ledger, if it does."""
    if not told:
        return "the receipt was changed, it cannot be read any more"
    if drop and (told["receipt"], told["number"], told["file"].get("sha256"), told["source"]) != (
        drop.drop_id, drop.number, drop.sha256, drop.source,
    ):  # fmt: skip
        return f"this is not the receipt of {drop.drop_id}; it was changed or put in another's place"
    entry = ledger.get(told["receipt"])
    if entry is None:
        return None if drop else "a receipt of a drop that nobody knows"
    if (told["outcome"], told["batch"]) != (entry["outcome"], entry["batch"]):
        return f"the receipt says {told['outcome']} {told['batch']}, the ledger {entry['outcome']} {entry['batch']}"
    if told["ledger_hash"] and told["ledger_hash"] != hashes.get(told["batch"], told["ledger_hash"]):
        return f"the receipt does not fit the ledger's row of {told['batch']}"
    return None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
