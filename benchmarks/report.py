"""The report of a whole city: 151 sources with two years of deliveries, from the command to the last page.

    python -m benchmarks.report [--sources 151] [--months 24] [--keep DIR]

A quarter of the sources deliver daily, two fifths weekly, the rest monthly; each batch has nine checks and some findings. The
ledger is written straight into the warehouse, as gates would have left it; only the report is measured: wall time, peak memory,
number and bytes of its files, bytes of the first page.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from benchmarks.measure import measured, table
from catalog.contract import Contract
from pipelines.run import Run, open_run
from pipelines.slots import schedule_of
from warehouse.lake import literal

NOW = datetime.fromisoformat("2026-11-20T10:00:00+08:00")
DEPARTMENTS = 30
CYCLES = {
    "daily": "09:00 next working day",
    "weekly": "10:00 of the first working day of the next week",
    "monthly": "18:00 of the 5th working day of the next month",
}
CONTRACT = """\
title: {{zh: 第{n}号登记, en: Register {n}}}
department: {{id: d{d}, zh: 第{d}局, en: Office {d}}}
steward: 登记科 / register office
tier: {tier}
load: increment
period: {{from: file_name, pattern: "r{n}_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "r{n}_*.csv", cycle: {cycle}, due: "{due}", grace: 3 working days, since: {since}}}
columns:
  - {{from: 编号, to: register_no, key: true}}
  - {{from: 名称, to: holder_name, required: true}}
  - {{from: 电话, to: phone, clean: mobile_number, grade: G3, personal: true}}
  - {{from: 状态, to: status_code}}
expect:
  - {{columns_as_declared: , severity: hold}}
  - {{value_is_present: holder_name, floor: 0.9, target: 0.99, major: true}}
"""


def cycle_of(n: int, sources: int) -> str:
    return "daily" if n <= sources // 4 else "weekly" if n <= sources * 13 // 20 else "monthly"


def write_catalogue(root: Path, sources: int, since: date) -> None:
    (root / "sources").mkdir(parents=True)
    for n in range(1, sources + 1):
        cycle = cycle_of(n, sources)
        tier = ("base_library", "theme", "other")[n % 3]
        text = CONTRACT.format(n=n, d=n % DEPARTMENTS + 1, tier=tier, cycle=cycle, due=CYCLES[cycle], since=since.isoformat())
        (root / "sources" / f"d{n % DEPARTMENTS + 1}__r{n}.yaml").write_text(text, encoding="utf-8")


def _arrivals(contract: Contract, n: int, since: date) -> list[tuple[str, str, datetime, str]]:
    """Source, period, arrived_at, verdict: one delivery in fifty is missing, one in twenty-five late, one in forty held."""
    found = []
    for i, slot in enumerate(s for s in schedule_of(contract).slots_due(since, NOW.date()) if s.first_day >= since):
        if (i + n) % 50 == 0 or slot.due_at > NOW:
            continue
        late = timedelta(days=2, hours=3) if (i + 3 * n) % 25 == 0 else -timedelta(hours=1 + n % 5)
        found.append((contract.id, slot.period, slot.due_at + late, "hold" if (i + 7 * n) % 40 == 0 else "warn"))
    return [one for one in found if one[2] <= NOW]


def fill(run: Run, since: date) -> int:
    """Write the ledger, checks and findings of every delivery. Returns the number of batches."""
    lines = [line for n, c in enumerate(run.catalog.contracts.values()) for line in _arrivals(c, n, since)]
    columns = list(zip(*lines, strict=True))
    con = run.con
    con.register("_lines", pa.table({
        "n": pa.array(range(len(lines)), pa.int64()), "source": pa.array(columns[0]), "period": pa.array(columns[1]),
        "arrived_at": pa.array(columns[2], pa.timestamp("us", "UTC")), "verdict": pa.array(columns[3]),
    }))  # fmt: skip
    con.execute("CREATE TEMP TABLE lines AS SELECT *, source || '@' || period || '.v1' AS batch FROM _lines")
    con.execute("BEGIN")
    for name, sql in LEDGER.items():
        con.execute(f"INSERT INTO lake.{name} BY NAME {sql}")
    con.execute("COMMIT")
    return len(lines)


_TEXT = literal('{"type": "expect_column_values_to_not_be_null", "column": "holder_name", "mostly": 1}')
_QUERY = literal('SELECT "_sheet", "_row" FROM judged WHERE holder_name IS NULL ' + "AND length(holder_name) > 0 " * 10)
LEDGER = {
    "ledger.batch": """SELECT batch, source, split_part(source, '__', 1) AS department, period, 1 AS version, md5(batch) AS drop_id,
      'r_' || period || '.csv' AS file_name, sha256(batch) AS sha256, arrived_at, sha256(source) AS contract_hash, 'bench' AS run,
      'quiet' AS handshake, 'gb18030' AS encoding, '{}' AS dialect, '[]' AS header, '{}' AS profile, 1000 + n % 500 AS rows_read,
      IF(verdict = 'hold', 0, 990 + n % 500) AS rows_accepted, IF(verdict = 'hold', 0, 10) AS rows_refused, verdict,
      '有问题' AS reason_zh, 'with findings' AS reason_en, sha256('x' || batch) AS hash FROM lines""",
    "ledger.drop": """SELECT md5(batch) AS drop_id, source, 'r_' || period || '.csv' AS file_name, sha256(batch) AS sha256,
      100000 AS size_bytes, arrived_at, period, 'batch' AS outcome, batch, 'bench' AS run FROM lines""",
    "quality.check": f"""SELECT batch, source, period, 'check_' || k AS check_id, 'value_is_present' AS kind,
      ['0101','0102','0201','0301','0401','0402','0501','0601','0201'][k] AS sub_indicator, '检查' || k AS title_zh,
      'check ' || k AS title_en, 1 + k % 3 AS weight, 'warn' AS severity, k = 3 AS major, 1000 + n % 500 - (n * k) % 40 AS a,
      1000 + n % 500 AS b, round((1000 + n % 500 - (n * k) % 40) / (1000 + n % 500), 6) AS x, (n * k) % 40 = 0 AS passed,
      {_TEXT} AS expectation, {_QUERY} AS failing_rows_sql FROM lines, range(1, 10) AS r(k)""",
    "quality.finding": """SELECT batch, source, 'r_' || period || '.csv' AS file_name, 2 + (n * 31 + k * 7) % 1000 AS "row",
      'phone' AS column_name, '电话' AS header, ['phone_unreadable', 'value_missing'][1 + k % 2] AS code,
      ['refuse', 'warn'][1 + k % 2] AS severity, '1**********' AS value, '第 ' || k || ' 处：电话号码不是手机号' AS message_zh,
      'the phone number is no mobile number' AS message_en FROM lines, range(CAST(3 + n % 20 AS BIGINT)) AS r(k)""",
    "quality.failing_row": """SELECT batch, source, 'check_' || k AS check_id, 2 + (n * 31 + j * 7) % 1000 AS _row
      FROM lines, range(1, 10) AS r(k), range(CAST((n * k) % 40 AS BIGINT)) AS s(j)""",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=151)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--keep", type=Path, help="a folder for the city, so that it is made once")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = given.keep or Path(folder)
        workspace, catalogue = root / "workspace", root / "catalogue"
        if not catalogue.is_dir():
            since = (NOW - timedelta(days=round(given.months * 30.44))).date().replace(day=1)
            write_catalogue(catalogue, given.sources, since)
            with open_run(now=NOW, workspace=workspace, catalog=catalogue) as run:
                print(f"{fill(run, since):,} batches of {given.sources} sources since {since}", flush=True)
        os.environ |= {"DMP_WORKSPACE": str(workspace), "DMP_CATALOG": str(catalogue), "DMP_NOW": NOW.isoformat()}
        table({again: measured("pipelines.cli", "report") for again in ("a day's first report", "the same again")})
        site = workspace / "reports" / NOW.date().isoformat()
        files = [p for p in workspace.joinpath("reports").rglob("*") if p.is_file()]
        first = max((site / f"index.{language}.html").stat().st_size for language in ("zh", "en"))
        print(f"{len(files):,} files, {sum(p.stat().st_size for p in files) / 1e6:.0f} MB; the first page {first / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
