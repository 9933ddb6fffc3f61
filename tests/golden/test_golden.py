"""File in; rows, findings and receipt out: one folder per format and trouble."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pipelines.current import current_sql
from pipelines.flow import intake
from tests.support import town
from warehouse.lake import table_columns

HERE = Path(__file__).parent
CASES = sorted(p.name for p in HERE.iterdir() if (p / "contract.yaml").is_file())
SOURCE = "office__register"


def play(case: Path, root: Path) -> dict[str, Any]:
    """All drops of a case, each on a day of its own, and what came of them."""
    place = town(root, {SOURCE: (case / "contract.yaml").read_text(encoding="utf-8")})
    drops = sorted(p for p in (case / "drops").iterdir() if not p.name.endswith((".manifest.json", ".ok")))
    for day, drop in enumerate(drops, 3):
        for companion in case.glob(f"drops/{drop.name}.*"):
            place.drop("office", companion.name, companion.read_bytes())
        place.drop("office", unicodedata.normalize("NFC", drop.name), drop.read_bytes())
        with place.run(f"2026-03-{day:02}T08:30:00+08:00") as run:
            intake(run, SOURCE)
    with place.run("2026-03-20T08:30:00+08:00") as run:
        contract = run.catalog.contract(SOURCE)
        rows: list[dict[str, Any]] = []
        if table_columns(run.con, f"std.{SOURCE}"):
            found = run.con.execute(
                f'SELECT * EXCLUDE ("_batch") FROM ({current_sql(contract)}) ORDER BY "_batch", "_sheet", "_row"'
            )
            names = [d[0] for d in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    tables = place.tables()
    receipts = sorted((place.workspace.archive / "receipts" / SOURCE).glob("*.json"))
    return {
        "rows": rows,
        "refused": [[r["_sheet"], r["_row"], json.loads(r["codes"])] for r in tables["quarantine.row"]],
        "findings": sorted(
            [[f["file_name"], f["severity"], f["code"], f["sheet"], f["row"], f["header"], f["message_zh"]]
             for f in tables["quality.finding"]], key=str),
        "receipts": [_receipt(json.loads(p.read_text(encoding="utf-8"))) for p in receipts],
    }  # fmt: skip


def _receipt(receipt: dict[str, Any]) -> dict[str, Any]:
    return {name: receipt.get(name) for name in ("outcome", "rows", "reading", "difference")} | {
        "file": receipt["file"]["name"],
        "verdict": receipt["verdict"]["state"],
        "sentence": receipt["verdict"]["zh"],
        "chained": receipt["previous"] is not None,
        "workbook": bool(receipt["workbook"]),
    }


@pytest.mark.parametrize("name", CASES)
def test_what_comes_out_is_what_was_written_down(name: str, tmp_path: Path) -> None:
    found = json.loads(json.dumps(play(HERE / name, tmp_path), ensure_ascii=False, default=str))
    expected = HERE / name / "expected.json"
    if os.environ.get("DMP_GOLDEN") == "write":
        expected.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(expected.read_text(encoding="utf-8"))


def test_every_trouble_of_files_has_a_folder() -> None:
    codes = {name.split("_")[0] for name in CASES}
    assert {"d01", "d02", "d03", "d21", "d29", "d30", "d31"} <= codes
    formats = {drop.suffix for name in CASES for drop in (HERE / name / "drops").iterdir()}
    assert {".csv", ".xlsx", ".ods", ".json", ".jsonl", ".xml", ".dat", ".parquet", ".zip", ".gz", ".txt"} <= formats
