"""Check: the verdict a department would get, before it sends. The real stages, in a workspace that is thrown away."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from catalog.contract import Contract, from_canonical_json
from pipelines import archive
from pipelines.batch import load, save
from pipelines.clean import clean
from pipelines.collect import read_period, stage
from pipelines.errors import NotFound
from pipelines.gate import gate
from pipelines.manifest import companions
from pipelines.mend_mark import marked_batch
from pipelines.receipt import deliver, outbox_folder
from pipelines.run import Run, open_run
from pipelines.waivers import waivers_of
from quality.finding import Finding, finding
from quality.reports.words import word

EXIT_CODES: Mapping[str, int] = {"pass": 0, "warn": 1, "hold": 2}


@dataclass(frozen=True)
class Checked:
    """The receipt the file would get, and what was written for the sender."""

    receipt: Mapping[str, Any]
    written: tuple[Path, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.receipt["verdict"]["state"]]


def check_file(
    path: Path, source: str, out: Path | None = None, now: datetime | None = None, catalog: Path | None = None
) -> Checked:
    """Judge one file by the contract of `source`, as if it arrived now.

    Reads    the file (never moved or changed), what lies beside it as manifest or marker, the catalogue
    Writes   receipt.json, receipt.html and the workbook of refused rows into `out`; nothing anywhere else
    A file whose name the contract does not expect is checked all the same and warned about. What only the warehouse knows is not
    looked at: earlier versions, the columns of the file before.
    Raises NotFound for no such file, and for a workbook that mends a batch: only the warehouse has its other rows.
    """
    if not path.is_file():
        raise NotFound(f"{path}: no such file; give the file that you want to send")
    if batch := marked_batch(path):
        raise NotFound(f"{path}: this workbook mends {batch} and is checked when it is dropped; `dmp check` is for whole files")
    with (
        tempfile.TemporaryDirectory(prefix="dmp-check-") as place,
        open_run("check", now or datetime.now(UTC), Path(place) / "workspace", catalog) as run,
    ):
        receipt, folder = _judged(run, run.catalog.contract(source), path)
        return Checked(receipt, _copied(folder, out) if out else ())


def _judged(run: Run, contract: Contract, path: Path) -> tuple[dict[str, Any], Path]:
    waivers = waivers_of(run.catalog, contract)
    landing = run.workspace.landing / contract.department.id
    landing.mkdir(parents=True)
    landed = landing / path.name
    for one in [path, *(c.path for c in companions(path))]:
        shutil.copyfile(one, landing / one.name)
    drop = archive.take(run, contract, landed)
    if drop is None:
        raise NotFound(f"{path}: the file cannot be read, or somebody is writing to it")
    said: list[Finding] = []
    if not any(fnmatchcase(drop.file_name, pattern) for pattern in contract.arrival.drop):
        patterns = "、".join(contract.arrival.drop)
        said.append(finding("file_name_unexpected", name=drop.file_name, patterns=patterns))
        if contract.period.from_ == "file_name" and read_period(contract, drop) is None:
            contract = _without_period(contract)
    for batch in stage(run, contract, [drop], waivers):
        if said:
            staged = load(run.workspace, batch)
            save(run.workspace, replace(staged, findings=(*said, *staged.findings)))
        clean(run, batch)
        gate(run, batch)
    [given] = deliver(run, contract.id)
    receipt: dict[str, Any] = json.loads(given.read_text(encoding="utf-8"))
    return receipt, outbox_folder(run.workspace, contract, receipt)


def _without_period(contract: Contract) -> Contract:
    """The same contract for a file whose name tells no period: the one in which it arrives."""
    return from_canonical_json(json.dumps({**json.loads(contract.canonical_json()), "period": {"from": "arrival"}}))


def _copied(folder: Path, out: Path) -> tuple[Path, ...]:
    out.mkdir(parents=True, exist_ok=True)
    return tuple(shutil.copyfile(p, out / p.name) for p in sorted(folder.iterdir()))


def told(checked: Checked, language: str) -> str:
    """What the terminal says, in one language."""
    receipt, en = checked.receipt, language == "en"
    rows, verdict = receipt["rows"], receipt["verdict"]
    lines = [f"{word('verdict', verdict['state'], language)}: {verdict['en' if en else 'zh']}"]
    lines.append(
        f"{receipt['file']['name']}  {receipt['title']['en' if en else 'zh']}  {receipt['period']}  "
        + (f"{rows['read']} rows read, {rows['accepted']} accepted, {rows['refused']} refused" if en
           else f"读到 {rows['read']} 行，接收 {rows['accepted']} 行，拒收 {rows['refused']} 行")
    )  # fmt: skip
    for group in receipt["findings"]:
        waived = f" ({'waived' if en else '已豁免'} {group['waived']})" if group["waived"] else ""
        lines.append(f"  [{word('severity', group['severity'], language)}] {group['count']} x {group['code']}{waived}")
        lines += [f"      {one['en' if en else 'zh']}" for one in group["examples"]]
    if checked.written:
        lines.append("written: " if en else "已写入：")
        lines += [f"  {path}" for path in checked.written]
    elif receipt["workbook"]:
        lines.append("Give --out FOLDER for the receipt and a workbook of these rows." if en
                     else "加上 --out 文件夹，可得到回执和逐行列出问题的工作簿。")  # fmt: skip
    return "\n".join(lines) + "\n"
