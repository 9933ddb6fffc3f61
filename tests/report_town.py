"""A town for tests of the report: two departments, four days, everything a page can show, and senders who mean harm.

One batch is held, one delivery late, one missing, one sent again unchanged; file names, headers and titles carry markup
and spreadsheet formulas; personal values are wrong on purpose, so that findings speak of them.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.report import report
from tests.support import Town, town

SOURCES = {
    "market__shop": """\
title: {zh: '=cmd|计算!A1 店铺登记', en: '=cmd|calc!A1 shops'}
department: {id: market, zh: 市监局 <b>甲</b>, en: Market <b>office</b>}
steward: 登记科 / register office
tier: base_library
entity: shop
load: increment
period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}
arrival: {drop: "shop_*.csv", cycle: daily, due: "09:00 next working day", grace: 2 working days, since: 2026-03-02}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: "名称<script>alert(1)</script>", to: shop_name, required: true, title: {zh: 店名, en: name}}
  - {from: 联系电话, to: phone, clean: mobile_number, required: true, grade: G3, personal: true}
  - {from: 成立日期, to: opened_on, type: date, clean: date_any_format}
  - {from: 备注, ignore: 自由文本}
expect:
  - {columns_as_declared: , severity: hold}
  - no_duplicate_rows
  - {value_is_present: shop_name, weight: 5, floor: 0.9, target: 0.99, major: true}
  - {value_matches: shop_name, pattern: '^店', indicator: "0101", weight: 2}
""",
    "fire__permit": """\
title: {zh: 消防许可, en: Fire permits}
department: {id: fire, zh: 消防局, en: Fire office}
load: snapshot
period: {from: file_name, pattern: "permit_(?P<date>\\\\d{8})"}
arrival: {drop: "permit_*.txt", cycle: daily, due: "09:00 next working day", grace: 2 working days, since: 2026-03-02}
format: {delimiter: "|"}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 等级, to: fire_grade}
expect:
  - {columns_as_declared: , severity: hold}
""",
}

#: Values that no page may show. The wrong ones get into findings, the right ones into the warehouse.
PERSONAL = ("13912345678", "13898765432", "1391234567X-SECRET", "电话打不通找老王")

#: One ended, one ends soon; they were written after everything was judged.
WAIVERS = """\
waivers:
  - code: phone_unreadable
    column: phone
    reason: {zh: 旧号码<b>待核</b>, en: old numbers <b>to be checked</b>}
    approver: 登记科 / register office
    from: 2026-03-01
    until: 2026-03-04
  - code: column_undeclared
    header: '=HYPERLINK("http://evil.example","<script>alert(3)</script>")'
    reason: {zh: 下月写进约定, en: the contract will have it next month}
    approver: 登记科 / register office
    from: 2026-03-05
    until: 2026-03-10
"""

HOSTILE_FILE = "shop_20260304_<img src=x onerror=alert(2)>.csv"
HOSTILE_HEADER = '=HYPERLINK("http://evil.example","<script>alert(3)</script>")'

HEADER = "编号,名称<script>alert(1)</script>,联系电话,成立日期,备注"
#: When the report is made: Thursday 5 March 2026, after the third delivery was due.
NOW = "2026-03-05T14:30:00+08:00"


def _shops(*rows: str, more: str = "") -> str:
    return "\n".join([HEADER + more, *rows]) + "\n"


def make(root: Path) -> Town:
    """The town with everything delivered and merged; no report yet."""
    made = town(root, SOURCES)
    monday = _shops(
        f"A1,店一,{PERSONAL[0]},2020-01-02,",
        f"A2,店二,{PERSONAL[1]},2020/02/30,",
        f"A3,,{PERSONAL[2]},20200303,",
        "A3,三号,,20200303,",
        "A4,店四,13912345678,20200404,",
    )
    made.drop("market", "shop_20260302.csv", monday)
    made.drop("fire", "permit_20260302.txt", "编号|等级\nA1|一\nA2|二\n")
    made.run_at("2026-03-03T08:30:00+08:00")
    made.drop("market", "shop_20260302.csv", monday)
    made.drop("fire", "permit_20260303.txt", "编号;级别\nA1;一\n")
    made.run_at("2026-03-04T08:30:00+08:00")
    made.drop("market", "shop_20260303.csv", _shops(f"A5,店五,{PERSONAL[3]},2020-05-05,"))
    made.run_at("2026-03-04T15:00:00+08:00")
    wednesday = '"' + HOSTILE_HEADER.replace('"', '""') + '"'
    made.drop("market", HOSTILE_FILE, _shops("A6,店六,13898765432,2020-06-06,,", more=f",{wednesday}"))
    made.run_at("2026-03-05T08:30:00+08:00")
    (made.catalog / "waivers").mkdir()
    (made.catalog / "waivers" / "market__shop.yaml").write_text(WAIVERS, encoding="utf-8")
    return made


def write_report(made: Town, when: str = NOW) -> Path:
    """The folder of the site as of `when`."""
    with made.run(when) as run:
        return report(run).parent
