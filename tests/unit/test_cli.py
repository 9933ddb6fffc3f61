"""The command line as its users meet it: quick help, exit codes, messages instead of tracebacks, scaffolds that work."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import openpyxl
import pytest

from pipelines.cli import main
from tests.support import Town, town


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def dmp(place: Town, *arguments: str, now: str = "2026-03-03T08:30:00+08:00") -> Done:
    """`dmp` with these arguments, in this process: a new one imports Great Expectations for three seconds each time."""
    names = {"DMP_WORKSPACE": str(place.workspace.root), "DMP_CATALOG": str(place.catalog), "DMP_NOW": now, "COLUMNS": "200"}
    said, wrong = io.StringIO(), io.StringIO()
    code: str | int | None = 0
    with (
        patch.dict(os.environ, names),
        patch.object(sys, "argv", ["dmp", *arguments]),
        redirect_stdout(said),
        redirect_stderr(wrong),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Done(int(code or 0), said.getvalue(), wrong.getvalue())


@pytest.fixture
def place(tmp_path: Path) -> Town:
    return town(tmp_path)


def test_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom pipelines.cli import app\nfrom typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('pandas', 'duckdb', 'pyarrow', 'great_expectations', 'splink', 'airflow', 'sqlglot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("sql", "markt__shop"), 10, "did you mean `market__shop`"),
        (("trace", "shop", "1"), 11, "no golden records of shop yet"),
        (("contract", "new", "nowhere.csv"), 11, "no such file"),
        (("report", "--from", "2026-03-01"), 12, "both --from and --to"),
        (("run", "--now", "yesterday"), 12, "no ISO instant"),
        (("lineage", "shop.shop_nam"), 10, "did you mean `shop_name`"),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(place: Town, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = dmp(place, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "Traceback" not in done.stderr


def test_run_status_trace_and_verify_tell_one_story(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,备注\nS1,东风商店,2020-01-02,\nS2,西街书店,2020-02-31,\n")
    ran = json.loads(dmp(place, "run", "--json").stdout)
    assert [(v["batch"], v["verdict"]) for v in ran["verdicts"]] == [("market__shop@2026-03-02.v1", "warn")]
    line = next(s for s in json.loads(dmp(place, "status", "--json").stdout)["sources"] if s["source"] == "market__shop")
    assert (line["rows_in"], line["rows_refused"], line["merged"]) == (2, 1, 1)
    traced = json.loads(dmp(place, "trace", "shop", "S1", "--json").stdout)
    name = next(f for f in traced["fields"] if f["attribute"] == "shop_name")
    assert (name["value"], name["file_name"], name["row"], name["as_sent"]) == ("东风商店", "shop_20260302.csv", 2, "东风商店")
    assert dmp(place, "verify").returncode == 0
    assert "成立日期" not in dmp(place, "sql", "shop").stdout and "judged" in dmp(place, "sql", "market__shop").stdout


def test_findings_tell_since_when_and_what_is_waived(place: Town) -> None:
    place.drop("market", "shop_20260302.csv", "编号,名称,成立日期,备注\nS1,东风商店,2020-01-02,\nS2,西街书店,2020-02-31,\n")
    (place.catalog / "waivers").mkdir()
    waiver = "{code: date_unreadable, column: opened_on, reason: 旧数据, approver: 王主任, from: 2026-03-01, until: 2026-03-31}"
    (place.catalog / "waivers" / "market__shop.yaml").write_text(f"waivers:\n  - {waiver}\n", encoding="utf-8")
    assert json.loads(dmp(place, "run", "--json").stdout)["verdicts"][0]["verdict"] == "pass"
    (shop,) = json.loads(dmp(place, "findings", "--source", "market__shop", "--json").stdout)
    found = next(f for f in shop["findings"] if f["code"] == "date_unreadable")
    assert (found["severity"], found["trend"], found["waived"], found["first_batch"]) == (
        "refuse",
        [1],
        1,
        "market__shop@2026-03-02.v1",
    )
    assert [(w["id"], w["state"], w["covered"]) for w in shop["waivers"]] == [("date_unreadable_opened_on", "standing", 1)]
    shown = dmp(place, "findings").stdout
    assert "日期读不出" in shown and "王主任" in shown and "2020-02-31" not in shown
    (place.catalog / "waivers" / "market__shop.yaml").write_text(
        f"waivers:\n  - {waiver.replace('opened_on', 'opend_on')}\n", "utf-8"
    )
    wrong = dmp(place, "findings")
    assert (
        wrong.returncode == 10
        and "market__shop.yaml:2: `waivers.0.column`" in wrong.stderr
        and "did you mean `opened_on`" in wrong.stderr
    )


SAMPLE = [
    ["身份证号", "姓名", "登记日期", "金额"],
    *[[f"44010619900101{i:04}", f"张{i}", f"2026-03-0{1 + i % 9}", f"{i}.50"] for i in range(1, 30)],
]


def write(path: Path, kind: str) -> None:
    if kind == "xlsx":
        book = openpyxl.Workbook()
        sheet = book.active
        sheet.append(["登记情况表"])
        for row in SAMPLE:
            sheet.append(row)
        book.save(path)
        return
    encoding, delimiter = {"gb18030": ("gb18030", ","), "bom": ("utf-8-sig", ","), "tab": ("utf-8", "\t")}[kind]
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(SAMPLE)


@pytest.mark.parametrize("kind", ["gb18030", "bom", "tab", "xlsx"])
def test_a_scaffolded_contract_takes_the_file_it_was_made_from(place: Town, tmp_path: Path, kind: str) -> None:
    name = f"people_20260302.{'xlsx' if kind == 'xlsx' else 'csv'}"
    sample = tmp_path / name
    write(sample, kind)
    made = dmp(place, "contract", "new", str(sample))
    assert made.returncode == 0, made.stderr
    place.contract("statistics__people", made.stdout)
    checked = dmp(place, "contract", "check")
    assert checked.returncode == 0, checked.stdout
    place.drop("statistics", name, sample.read_bytes())
    verdict = json.loads(dmp(place, "run", "--source", "statistics__people", "--json").stdout)["verdicts"][0]
    assert verdict["batch"] == "statistics__people@2026-03-02.v1" and verdict["verdict"] in ("pass", "warn"), verdict
    line = next(s for s in json.loads(dmp(place, "status", "--json").stdout)["sources"] if s["source"] == "statistics__people")
    assert line["rows_in"] == len(SAMPLE) - 1
