"""Two sources from drop to std with their gate: 3 million rows of GB18030 text, 200,000 rows of .xlsx; beside pandas, pyarrow
and a hand-written DuckDB script.

    python -m benchmarks.intake [--rows 3000000] [--sheet-rows 200000] [--keep DIR]

All run as processes of their own in one call, one after the other; wall time and peak memory are the operating
system's account of the finished process. The ratio is what counts: the machine's speed drops out of it.
The hand-written script does the same reading, casting and judging: strict decode, typed columns, one Parquet file, one
scan that counts what the gate counts. pandas and pyarrow only read, cast and write. None of them writes a raw layer, findings,
a ledger, an archive or a receipt.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from benchmarks.measure import measured, table

if TYPE_CHECKING:
    import pandas as pd

CONTRACT = """\
title: {zh: 性能测试, en: Benchmark}
department: bench
load: snapshot
period: {from: file_name, pattern: "people_(?P<date>\\\\d{8})"}
arrival: {drop: "people_*.csv", cycle: daily, calendar: every_day}
format: {encoding: gb18030, delimiter: "|"}
clean: [trim_text]
columns:
  - {from: 编号, to: person_no, key: true}
  - {from: 姓名, to: person_name, personal: true}
  - {from: 性别, to: sex_code, clean: [sex_code]}
  - {from: 出生日期, to: birth_date, type: date, clean: [date_any_format]}
  - {from: 电话, to: phone, clean: [mobile_number]}
  - {from: 地址, to: address}
  - {from: 金额, to: amount, type: number, clean: [number]}
  - {from: 区划, to: division_code, clean: [division_code]}
  - {from: 登记日期, to: registered_on, type: date, clean: [date_any_format]}
  - {from: 状态, to: status}
expect:
  - {value_is_present: person_name}
  - {value_is_present: address}
  - {value_in_set: sex_code, values: ["0", "1", "2", "9"]}
  - {value_matches: phone, pattern: "^1[3-9][0-9]{9}$"}
  - {value_between: amount, min: 0, max: 1000000}
  - {dates_in_order: [birth_date, registered_on]}
"""

ROWS = """
SELECT 'P' || lpad(CAST(i AS VARCHAR), 9, '0') AS 编号,
  ['张','王','李','赵','陈','杨','黄','周'][1 + i % 8] || ['伟','芳','娜','敏','静','磊','洋','勇'][1 + (i // 8) % 8] AS 姓名,
  CASE WHEN i % 2 = 0 THEN '男' ELSE '女' END AS 性别,
  CASE i % 3 WHEN 0 THEN strftime(DATE '1950-01-01' + CAST(i % 20000 AS INTEGER), '%Y-%m-%d')
    WHEN 1 THEN strftime(DATE '1950-01-01' + CAST(i % 20000 AS INTEGER), '%Y%m%d')
    ELSE strftime(DATE '1950-01-01' + CAST(i % 20000 AS INTEGER), '%Y/%m/%d') END AS 出生日期,
  '13' || lpad(CAST((i * 7919) % 1000000000 AS VARCHAR), 9, '0') AS 电话,
  '广州市天河区中山大道' || CAST(i % 900 AS VARCHAR) || '号' AS 地址,
  CAST(i % 90000 AS VARCHAR) || '.50' AS 金额, '440106' AS 区划, '2020-01-0' || CAST(1 + i % 9 AS VARCHAR) AS 登记日期,
  CASE WHEN i % 50 = 0 THEN '注销' ELSE '有效' END AS 状态
FROM range({rows}) AS t(i)
"""

BY_HAND = """
COPY (SELECT 编号 AS person_no, 姓名 AS person_name, CASE 性别 WHEN '男' THEN '1' WHEN '女' THEN '2' END AS sex_code,
    coalesce(TRY_CAST(出生日期 AS DATE), TRY_CAST(try_strptime(出生日期, ['%Y%m%d', '%Y/%m/%d']) AS DATE)) AS birth_date,
    CASE WHEN regexp_matches(电话, '^1[3-9][0-9]{{9}}$') THEN 电话 END AS phone, 地址 AS address,
    TRY_CAST(金额 AS DECIMAL(18,8)) AS amount, CASE WHEN regexp_matches(区划, '^[0-9]{{6}}$') THEN 区划 END AS division_code,
    TRY_CAST(登记日期 AS DATE) AS registered_on, 状态 AS status
  FROM read_csv('{utf8}', delim = '|', quote = '"', header = true, all_varchar = true, auto_detect = false, columns = {columns}))
TO '{std}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1);
SELECT count(*), count(person_name), count(address), count(*) FILTER (sex_code IN ('0','1','2','9')), count(phone),
  count(*) FILTER (amount BETWEEN 0 AND 1000000), count(*) FILTER (birth_date > registered_on), count(birth_date),
  count(registered_on), count(division_code) FROM '{std}';
SELECT count(*) FROM (SELECT person_no FROM '{std}' GROUP BY person_no HAVING count(*) > 1);
"""
HEADERS = ("编号", "姓名", "性别", "出生日期", "电话", "地址", "金额", "区划", "登记日期", "状态")


def make_drop(path: Path, rows: int) -> None:
    """The extract, in GB18030."""
    utf8 = path.with_suffix(".utf8")
    with duckdb.connect() as con:
        con.execute(f"COPY ({ROWS.format(rows=rows)}) TO '{utf8}' (FORMAT csv, DELIMITER '|', HEADER)")
    with utf8.open(encoding="utf-8", newline="") as source, path.open("w", encoding="gb18030", newline="") as target:
        shutil.copyfileobj(source, target, 1 << 22)
    utf8.unlink()


def by_hand(drop: Path, work: Path) -> None:
    """What an engineer writes in ten minutes: strict decode, read, cast, write, one scan, one grouping for the key."""
    utf8 = work / "hand.utf8"
    with (
        drop.open(encoding="gb18030", errors="strict", newline="") as source,
        utf8.open("w", encoding="utf-8", newline="") as target,
    ):
        shutil.copyfileobj(source, target, 1 << 22)
    columns = "{" + ", ".join(f"'{h}': 'VARCHAR'" for h in HEADERS) + "}"
    with duckdb.connect() as con:
        for statement in BY_HAND.format(utf8=utf8, std=work / "hand.parquet", columns=columns).split(";"):
            if statement.strip():
                con.execute(statement).fetchall()


def by_pandas(drop: Path, work: Path) -> None:
    import pandas as pd

    frame = pd.read_csv(drop, sep="|", encoding="gb18030", dtype=str)
    _typed(frame).to_parquet(work / "pandas.parquet")


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    for column in ("出生日期", "登记日期"):
        frame[column] = pd.to_datetime(frame[column], format="mixed", errors="coerce").dt.date
    frame["金额"] = pd.to_numeric(frame["金额"], errors="coerce")
    frame["性别"] = frame["性别"].map({"男": "1", "女": "2"})
    return frame


def by_pyarrow(drop: Path, work: Path) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pc_csv
    import pyarrow.parquet as pq

    table = pc_csv.read_csv(
        drop,
        read_options=pc_csv.ReadOptions(encoding="gb18030"),
        parse_options=pc_csv.ParseOptions(delimiter="|"),
        convert_options=pc_csv.ConvertOptions(column_types=dict.fromkeys(HEADERS, pa.string())),
    )
    plain = pc.replace_substring_regex(pc.replace_substring(pc.replace_substring(table["出生日期"], "-", ""), "/", ""), "$", "")
    dates = pc.strptime(plain, format="%Y%m%d", unit="s", error_is_null=True)
    amount = pc.cast(table["金额"], pa.float64())
    table = table.set_column(3, "出生日期", dates).set_column(6, "金额", amount)
    pq.write_table(table, work / "pyarrow.parquet", compression="zstd", compression_level=1)


def sheet_by_hand(drop: Path, work: Path) -> None:
    """calamine reads the cells, DuckDB casts, writes and counts."""
    import pyarrow as pa
    from python_calamine import CalamineWorkbook

    rows = CalamineWorkbook.from_path(str(drop)).get_sheet_by_index(0).to_python()
    columns = list(zip(*rows[1:], strict=True))
    with duckdb.connect() as con:
        con.register("sheet", pa.table({h: [str(v) for v in columns[i]] for i, h in enumerate(HEADERS)}))
        from_file = BY_HAND[BY_HAND.index("  FROM read_csv(") : BY_HAND.index("TO '{std}'")]
        script = BY_HAND.replace(from_file, "  FROM sheet)\n").format(std=work / "hand.parquet")
        for statement in script.split(";"):
            if statement.strip():
                con.execute(statement).fetchall()


def sheet_by_pandas(drop: Path, work: Path) -> None:
    import pandas as pd

    _typed(pd.read_excel(drop, engine="openpyxl", dtype=str)).to_parquet(work / "pandas.parquet")


def by_dmp(drop: Path, work: Path) -> None:
    """The product: archive, raw, std, quarantine, findings, Great Expectations, ledger, receipt, one commit."""
    from pipelines.flow import intake
    from pipelines.run import open_run

    sheet = drop.suffix == ".xlsx"
    (work / "catalog" / "sources").mkdir(parents=True)
    (work / "catalog" / "entities").mkdir()
    form = CONTRACT.replace('{encoding: gb18030, delimiter: "|"}', "{reader: workbook}") if sheet else CONTRACT
    (work / "catalog" / "sources" / "bench__people.yaml").write_text(form.replace("people_*.csv", "people_*"), encoding="utf-8")
    landing = work / "workspace" / "landing" / "bench"
    landing.mkdir(parents=True)
    os.link(drop, landing / f"people_20260302{drop.suffix}")
    with open_run(workspace=work / "workspace", catalog=work / "catalog") as run:
        started = time.perf_counter()
        verdicts = intake(run, "bench__people")
        print(f"    stages alone: {time.perf_counter() - started:.1f} s; {verdicts[0].state}: {verdicts[0].en}", flush=True)


def make_sheet(path: Path, rows: int) -> None:
    """The same extract as a workbook."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("人员")
    sheet.append(list(HEADERS))
    with duckdb.connect() as con:
        found = con.execute(ROWS.format(rows=rows))
        while part := found.fetchmany(10_000):
            for row in part:
                sheet.append(list(row))
    book.save(path)


SIDES = {
    "hand-written DuckDB": by_hand,
    "pandas": by_pandas,
    "pyarrow": by_pyarrow,
    "dmp, drop to std + gate": by_dmp,
    "xlsx: hand-written": sheet_by_hand,
    "xlsx: pandas": sheet_by_pandas,
    "xlsx: dmp": by_dmp,
}


def measure(what: str, drop: Path) -> tuple[float, float]:
    """Wall seconds and peak memory in MiB of one side, as its own process."""
    with tempfile.TemporaryDirectory(dir=drop.parent) as work:
        return measured("benchmarks.intake", "--side", what, "--keep", str(drop), "--work", work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--sheet-rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=2, help="the best of so many is told")
    parser.add_argument("--keep", type=Path, help="a folder for the extracts, so that they are made once")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        SIDES[given.side](given.keep, given.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = given.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        text, sheet = kept / f"people{given.rows}.csv", kept / f"people{given.sheet_rows}.xlsx"
        if not text.is_file():
            make_drop(text, given.rows)
        if not sheet.is_file():
            make_sheet(sheet, given.sheet_rows)
        print(
            f"text: {given.rows:,} rows, 10 columns, {text.stat().st_size / 1e6:.0f} MB of GB18030; xlsx: {given.sheet_rows:,} rows, "
            f"{sheet.stat().st_size / 1e6:.0f} MB; {os.cpu_count()} cores, duckdb {duckdb.__version__}, best of {given.runs}"
        )
        for drop, prefix in ((text, ""), (sheet, "xlsx: ")):
            names = [n for n in SIDES if n.startswith("xlsx: ") == bool(prefix)]
            table({name: min(measure(name, drop) for _ in range(given.runs)) for name in names})


if __name__ == "__main__":
    main()
