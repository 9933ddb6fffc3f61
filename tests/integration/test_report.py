"""What auditors and leaders rely on: pages print the scores of the scoring module, hide personal values, can be made again."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.scorecard import scorecard
from quality.finding import kinds
from quality.policy import load_policy
from tests.report_town import HOSTILE_FILE, HOSTILE_HEADER, PERSONAL, make, write_report
from tests.support import Town

SOURCES = ("market__shop", "fire__permit")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return make(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def site(town: Town) -> Path:
    return write_report(town)


# --- reading pages back ---------------------------------------------------------------------------


VOID = ("meta", "link", "br", "rect", "path", "circle", "use")


class Page(HTMLParser):
    """Cells of the tables with a class, sums, and all text outside code, as a reader sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.sums: list[str] = []
        self.text: list[str] = []
        self.tags: set[str] = set()
        self._open: list[tuple[str, str]] = []
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = dict(attrs).get("class") or ""
        self.tags.add(tag)
        if tag == "table":
            self._table = classes
            self.tables.setdefault(classes, [])
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
        elif tag == "code" and "sum" in classes:
            self.sums.append("")
        if tag not in VOID:
            self._open.append((tag, classes))

    def handle_endtag(self, tag: str) -> None:
        while tag not in VOID and self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = [tag for tag, _ in self._open]
        if "style" in inside or "title" in inside[-1:]:
            return
        if ("code", "sum") in self._open:
            self.sums[-1] += data
        if ("td" in inside or "th" in inside) and self.tables[self._table]:
            self.tables[self._table][-1][-1] += data + "\n"
        if "code" not in inside and "pre" not in inside:
            self.text.append(data)


def page(site: Path, name: str) -> Page:
    return Page((site / name).read_text(encoding="utf-8"))


def half_up(value: Fraction, places: int) -> Decimal:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def number(text: str) -> Fraction | None:
    cleaned = text.strip().replace(",", "")
    return Fraction(cleaned) if re.fullmatch(r"\d+(\.\d+)?", cleaned) else None


def calculated(left: str) -> Fraction:
    """The left side of a printed sum as a pocket calculator does it."""
    assert re.fullmatch(r"[\d.,x()+\-/ min]+", left), left
    with_fractions = re.sub(r"\d+(\.\d+)?", lambda m: f"Fraction('{m[0]}')", left.replace(" x ", " * "))
    value: Fraction = eval(with_fractions, {"__builtins__": {}, "Fraction": Fraction, "min": min})
    return value


# --- scores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_printed_sum_comes_out_as_printed(site: Path, source: str, language: str) -> None:
    sums = page(site, f"source/{source}.{language}.html").sums
    assert len(sums) > 10
    for one in sums:
        if " -> " in one:
            condition, points = one.split(" -> ")
            x, target = condition.split(" >= ")
            assert Fraction(x) >= Fraction(target)
            assert points == "100.00"
        elif " = " in one:
            left, right = one.rsplit(" = ", 1)
            places = len(right.partition(".")[2])
            assert half_up(calculated(left), places) == Decimal(right), one


@pytest.mark.parametrize("source", SOURCES)
def test_points_on_the_page_follow_from_the_printed_a_and_b(site: Path, source: str) -> None:
    rows = page(site, f"source/{source}.zh.html").tables["checks"][1:]
    indicator, seen = "", 0
    for cells in rows:
        if len(cells) == 1:
            indicator = cells[0].split()[0]
            continue
        weight, a, b, floor, target = (number(cells[i]) for i in (1, 2, 3, 5, 6))
        printed_x, printed_y = (cells[i].split()[0] for i in (4, 7))
        assert weight is not None and a is not None and b is not None
        if b == 0:
            assert printed_y == "不适用"
            continue
        x = Fraction(half_up(1 - a / b if indicator in ("0303", "0305") else a / b, 6))
        if floor is None or target is None:
            y = 100 * x
        elif x >= target:
            y = Fraction(100)
        elif x >= floor:
            y = 60 + 40 * (x - floor) / (target - floor)
        else:
            y = 60 * x / floor
        assert Decimal(printed_x) == half_up(x, 6)
        assert Decimal(printed_y) == half_up(y, 2)
        seen += 1
    assert seen >= 5


def test_an_auditor_rebuilds_every_score_from_checks_csv_and_policy_json(site: Path) -> None:
    policy = json.loads((site / "policy.json").read_text(encoding="utf-8"))
    printed = {(r["subject"], r["item"]): r["score"] for r in rows_of(site / "scores.csv")}
    by_source: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(site / "checks.csv"):
        by_source.setdefault(row["source"], []).append(row)
    assert set(by_source) == set(SOURCES)
    for source, checks in by_source.items():
        subs: dict[str, Decimal] = {}
        for code in {c["sub_indicator"] for c in checks}:
            mean = weighted([(Fraction(c["weight"]), c["y"]) for c in checks if c["sub_indicator"] == code])
            if mean is not None:
                subs[code] = mean
                assert printed[source, code] == str(mean)
        weights = {code: Fraction(policy["sub_indicator_weights"].get(code, "1")) for code in subs}
        dimensions = {
            d: weighted([(weights[c], str(v)) for c, v in subs.items() if c[:2] == d])
            for d in ("01", "02", "03", "04", "05", "06")
        }
        for code, value in dimensions.items():
            assert printed[source, code] == ("" if value is None else str(value))
        t = dimensions.pop("05")
        q = weighted([(Fraction(policy["quality_weights"][d]), str(v)) for d, v in dimensions.items() if v is not None])
        low = [c for c in checks if c["major"] == "1" and c["x"] and Fraction(c["x"]) < Fraction(c["floor"] or "0")]
        if low and q is not None:
            q = min(q, Decimal(policy["caps"]["one_major" if len(low) == 1 else "several_majors"]))
        both = (("timeliness", t), ("quality", q))
        halves = [(Fraction(policy["overall_weights"][k]), str(v)) for k, v in both if v is not None]
        o = weighted(halves)
        assert [printed[source, k] for k in ("T", "Q", "O")] == [str(v) if v is not None else "" for v in (t, q, o)]
    capped = [c for c in by_source["market__shop"] if c["major"] == "1" and c["below_floor"] == "1"]
    assert capped, "the town is meant to show a cap"


def weighted(parts: list[tuple[Fraction, str]]) -> Decimal | None:
    there = [(w, Fraction(v)) for w, v in parts if v]
    return half_up(sum((w * v for w, v in there), Fraction()) / sum(w for w, _ in there), 2) if there else None


def test_pages_show_the_scores_of_the_scoring_module(town: Town, site: Path) -> None:
    with town.run("2026-03-05T14:30:00+08:00") as run:
        card = scorecard(run)
    for language in ("zh", "en"):
        listed = {cells[0].split()[-1]: cells for cells in page(site, f"sources.{language}.html").tables["wide"][1:]}
        for source in card.sources:
            scores = (source.score.t, source.score.q, source.score.o)
            text = (site / f"source/{source.contract.id}.{language}.html").read_text(encoding="utf-8")
            for place, level in enumerate(scores, 1):
                shown = "—" if level.value is None else f"{level.value:.2f}"
                assert listed[source.contract.id][place].strip() == shown
                assert f">{shown} " in text
            assert [c.strip().replace(",", "") for c in listed[source.contract.id][5:8]] == [
                str(source.rows_read),
                str(source.rows_accepted),
                str(source.rows_refused),
            ]


def test_every_slot_is_counted_once_and_open_ones_are_listed_in_full(site: Path) -> None:
    text = " ".join(page(site, "index.zh.html").text)
    assert "应报 6 期，按时 3 期，迟报 1 期，拦下 1 期，缺报 1 期" in text
    listed = page(site, "index.zh.html").tables["open"][1:]
    assert [(row[2].strip(), row[3].strip()) for row in listed] == [
        ("2026-03-03", "2026-03-04 09:00"),
        ("2026-03-04", "2026-03-05 09:00"),
    ]
    assert "拦下" in listed[0][5] and "缺报" in listed[1][5]


def test_the_months_of_a_trend_are_what_a_report_over_that_month_says(town: Town) -> None:
    with town.run("2026-04-07T14:30:00+08:00") as run:
        trend = {c.contract.id: {m.month: (m.t, m.q, m.o) for m in c.months} for c in scorecard(run, months=3).sources}
        for month, window in (
            ("2026-03", (date(2026, 3, 1), date(2026, 3, 31))),
            ("2026-04", (date(2026, 4, 1), date(2026, 4, 7))),
        ):
            for card in scorecard(run, window).sources:
                score = card.score
                assert trend[card.contract.id][month] == (score.t.value, score.q.value, score.o.value)
    assert all(sorted(months) == ["2026-03", "2026-04"] for months in trend.values())


def test_the_page_of_a_check_adds_up_and_names_the_rows_that_fail(site: Path) -> None:
    shown = {r["check"]: r for r in rows_of(site / "checks.csv") if r["source"] == "market__shop"}
    for check, row in shown.items():
        tables = page(site, f"check/market__shop/{check}.zh.html").tables[""]
        counted = [cells for cells in tables if len(cells) == 7 and cells[2].strip() != "A"]
        if row["kind"] != "punctuality":
            assert str(sum(Decimal(c[2].strip().replace(",", "")) for c in counted)) == row["a"], check
            assert str(sum(Decimal(c[3].strip().replace(",", "")) for c in counted)) == row["b"], check
    failing = page(site, "check/market__shop/value_is_present_shop_name.zh.html").tables[""]
    assert any("shop_20260302.csv" in cells[0] and cells[0].split()[-1] == "4" for cells in failing), failing


def test_the_page_of_a_batch_is_written_once_and_again_where_a_killed_run_left_half_of_it(town: Town, site: Path) -> None:
    one, other = (site.parent / "batch" / "market__shop" / f"2026-03-0{day}.v1.zh.html" for day in (2, 3))
    whole = one.read_bytes()
    one.write_bytes(whole[: len(whole) // 2])
    before = other.stat().st_mtime_ns
    write_report(town)
    assert one.read_bytes() == whole
    assert other.stat().st_mtime_ns == before


# --- the warehouse --------------------------------------------------------------------------------


def test_scores_and_slots_of_a_day_are_replaced_not_added(town: Town, site: Path) -> None:
    first = rows_of_day(town, "2026-03-05")
    write_report(town)
    assert rows_of_day(town, "2026-03-05") == first
    overall = {r["subject"]: str(r["value"]) for r in first["quality.score"] if r["level"] == "source" and r["item"] == "O"}
    assert overall == {
        r["subject"]: r["score"] for r in rows_of(site / "scores.csv") if r["item"] == "O" and r["level"] == "source"
    }
    assert {(r["source"], r["period"]): r["state"] for r in first["quality.slot"]}["market__shop", "2026-03-03"] == "late"


def rows_of_day(town: Town, day: str) -> dict[str, list[dict[str, Any]]]:
    tables = town.tables()
    return {name: [row for row in tables[name] if str(row["as_of"]) == day] for name in ("quality.score", "quality.slot")}


def test_another_day_keeps_the_rows_of_the_first(town: Town, site: Path) -> None:
    first = rows_of_day(town, "2026-03-05")
    write_report(town, "2026-03-06T09:30:00+08:00")
    assert rows_of_day(town, "2026-03-05") == first
    assert rows_of_day(town, "2026-03-06")["quality.score"]
    reports = town.workspace.reports
    target = re.search(r'url=([^"]+)"', (reports / "index.html").read_text(encoding="utf-8"))
    assert target and target[1] == "2026-03-06/index.zh.html" and (reports / target[1]).is_file()
    write_report(town)
    again = (reports / "index.html").read_text(encoding="utf-8")
    assert "2026-03-06/index.zh.html" in again, "an older day made again is not the newest"
    assert not [p for p in reports.iterdir() if p.name.startswith(".")], "nothing is left lying about"


# --- the site -------------------------------------------------------------------------------------


def files(site: Path) -> Iterator[tuple[str, bytes]]:
    """The day's folder, and the pages of batches beside it."""
    for root in (site, site.parent / "batch"):
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            yield path.relative_to(site if root == site else site.parent).as_posix(), path.read_bytes()


def test_the_same_warehouse_and_clock_give_the_same_bytes(town: Town, site: Path) -> None:
    before = {name: hashlib.sha256(data).hexdigest() for name, data in files(site)}
    after = {name: hashlib.sha256(data).hexdigest() for name, data in files(write_report(town))}
    assert after == before
    checks, batches = len(rows_of(site / "checks.csv")), len(town.tables()["ledger.batch"])
    assert len(before) == 2 * (5 + 2 + 2 + checks + batches) + 11


def test_no_file_of_the_site_shows_a_personal_value(site: Path) -> None:
    findings = (site / "source/market__shop.zh.html").read_text(encoding="utf-8")
    assert "1***T" in findings, "the wrong phone number is told, masked"
    for name, data in files(site):
        for value in PERSONAL:
            assert value.encode() not in data, f"{name} shows a personal value"


def test_what_senders_write_is_never_markup(site: Path) -> None:
    whole = ""
    for name, data in files(site):
        if name.endswith(".html"):
            text = data.decode()
            assert not Page(text).tags & {"script", "img", "iframe", "object"}, name
            assert "<script" not in text and "<img" not in text and "office</b>" not in text
            whole += text
    assert "&lt;img src=x onerror=alert(2)&gt;" in whole and HOSTILE_FILE not in whole
    assert "&lt;script&gt;alert(3)" in whole and HOSTILE_HEADER not in whole
    assert "Market &lt;b&gt;office&lt;/b&gt;" in whole


def test_pages_ask_for_nothing_outside_themselves(site: Path) -> None:
    for name, data in files(site):
        if name.endswith(".html"):
            text = data.decode()
            assert not re.findall(r'(?:src|href|action)="(?:https?:|//|/)', text), name
            assert "url(" not in text.partition("</style>")[0] and "@import" not in text, name
            assert "default-src 'none'" in text


def test_csv_opens_in_excel_and_runs_nothing(site: Path) -> None:
    for name in ("scores.csv", "checks.csv", "sources.csv", "departments.csv", "policy.csv"):
        assert (site / name).read_bytes().startswith(b"\xef\xbb\xbf")
        for row in rows_of(site / name):
            for column, cell in row.items():
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), f"{name}: {column} = {cell!r}"
    titles = {r["title_zh"] for r in rows_of(site / "scores.csv")}
    assert "'=cmd|计算!A1 店铺登记" in titles


def rows_of(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))


#: Identifiers of formats, standards and units that Chinese pages use as they are.
KNOWN_LATIN = {"Excel", "English", "SQL", "GB", "SHA"} | {"from", "to", "optional", "true", "ignore"}  # the latter: YAML to paste


def test_chinese_pages_are_chinese_and_english_pages_english(site: Path) -> None:
    # Titles and file names of the town carry markup and formulas; they are data, not words of the page.
    data = re.compile(
        r"=cmd\|\S+( shops)?|shop_\S+( src=x onerror=alert\(2\)>\.csv)?|permit_\S+|名称<script>\S*|<b>|</b>"
        r"|=HYPERLINK\S*|hyperlink_http_evil_example\w*|market__shop@\S+"
    )
    catalogue = " ".join(k.zh for k in kinds().values())
    for name, content in files(site):
        if not name.endswith(".html"):
            continue
        for text in Page(content.decode()).text:
            rest = data.sub("", text)
            if name.endswith(".zh.html"):
                words = set(re.findall(r"[A-Za-z]{2,}", rest)) - KNOWN_LATIN
                if name.startswith("codes."):  # names of formats, as the catalogue writes them in Chinese sentences
                    words -= set(re.findall(r"[A-Za-z]{2,}", catalogue))
                assert not words, f"{name}: {text!r}"
            elif name.startswith("codes.") and "Write " in text:
                continue  # an advice that names the Chinese words to write
            elif not re.search(r"编号|等级|名称|电话|日期|备注|自由文本|级别|中文|三号|店[一二三四五六]|\*\*\*", rest):
                assert not re.search(r"[\u4e00-\u9fff]", rest), f"{name}: {text!r}"


def test_the_catalogue_lists_every_source_column_and_attribute(site: Path) -> None:
    told = json.loads((site / "catalogue.json").read_text(encoding="utf-8"))
    assert [s["id"] for s in told["sources"]] == sorted(SOURCES)
    shop = next(s for s in told["sources"] if s["id"] == "market__shop")
    assert [c.get("name") or c["ignored"] for c in shop["columns"]] == ["shop_no", "shop_name", "phone", "opened_on", "自由文本"]
    assert next(c for c in shop["columns"] if c.get("name") == "phone")["personal"] is True
    assert [g["table"] for g in told["golden_tables"]] == ["base.shop"]
    text = " ".join(cell for rows in page(site, "catalogue.zh.html").tables.values() for row in rows for cell in row)
    for name in ("shop_no", "shop_name", "phone", "opened_on", "fire_grade"):
        assert name in text
    assert load_policy().digest == told["policy"]["digest"]
