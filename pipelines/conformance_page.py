"""The page docs/gx-conformance.md: what of Great Expectations runs on DuckDB, and where its counts differ, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quality.gx_conformance import Compared, Shown, conformance


def conformance_page() -> str:
    """The page, as Markdown."""
    facts = conformance()
    extra = [name for name in facts.pandas_only if name in facts.compared]
    registered = {*facts.compared, *facts.pandas_only, *facts.not_covered}
    differing = {name: ids for name, ids in facts.differing().items() if ids}
    return "\n".join([
        "# Great Expectations on DuckDB · 一致性",
        "",
        "Made from `quality/gx_conformance.yaml` by `make generated`; a test fails when it is stale. 由数据文件生成，请勿手工修改。",
        "",
        "`tests/integration/test_gx_conformance.py` runs every expectation below through `quality.gx.validate` on DuckDB and through "
        "Great Expectations' own engine over the same tables, among them drawn ones with NULL, NaN, blanks, Chinese text, dates, "
        "decimals and repeated rows. Verdict, `element_count`, `missing_count`, `unexpected_count` and the observed value are the "
        "same, but for the differences declared here; each of those is shown by a small table that the test runs on both sides. "
        "An expectation that a new version brings makes the test fail until it is entered.",
        "",
        "测试在相同的表上分别用 DuckDB 和 Great Expectations 自带的引擎执行下列全部检查，结论与各项计数相同；"
        "不同之处都列在下面，并说明原因。",
        "",
        *_table(("", "count"), [
            [f"registered in Great Expectations {facts.great_expectations}", len(registered)],
            ["implemented there for SQL", len(facts.in_sql)],
            ["of these compared here", len(facts.in_sql & {*facts.compared})],
            ["of these with a declared difference", len([name for name in differing if name in facts.in_sql])],
            ["of these not covered", len(facts.not_covered)],
            ["for pandas only, made here for DuckDB besides", len(extra)],
            ["for pandas only, not here", len(facts.pandas_only) - len(extra)],
        ]),
        "",
        "## Compared",
        "",
        *_table(("expectation", "with", "runs per table", "differences"), (
            [f"`{name}`" + (" (no SQL of Great Expectations' own)" if name in extra else ""), compared.oracle, len(compared.cases),
             "<br>".join([f"[{key}](#{key})" for key in differing.get(name, ())] + _limit(compared))]
            for name, compared in sorted(facts.compared.items())
        )),
        "",
        "## Not covered",
        "",
        *_table(("expectation", "中文", "English"), (
            *([f"`{name}`", reason.zh, reason.en] for name, reason in facts.not_covered.items()),
            *([f"`{name}`", "GX 只为 pandas 或 Spark 实现", "Great Expectations has it for pandas or Spark only"]
              for name in facts.pandas_only if name not in facts.compared),
        )),
        "",
        "## Differences",
        "",
        "`here` is DuckDB, `there` is the engine named. 这里指 DuckDB。",
        *(line for key, difference in facts.differences.items() for line in (
            "", f"### {key}", "", difference.zh + "。", "", _sentence(difference.en), "",
            *_table(("expectation", "over", "here", "there"), map(_shown, difference.shown)),
        )),
        "",
    ])  # fmt: skip


def _limit(compared: Compared) -> list[str]:
    return [] if compared.limit is None else [compared.limit.zh, compared.limit.en]


def _shown(shown: Shown) -> Sequence[str]:
    arguments = ", ".join(f"{name}: {_code(value)}" for name, value in shown.kwargs.items())
    over = "<br>".join(f"{head}: {_code(values)}" for head, values in shown.table.items())
    return [f"`{shown.type}`<br>{arguments}", over, _side(shown.here), f"{shown.oracle}: {_side(shown.there)}"]


def _side(given: Mapping[str, Any]) -> str:
    said = {name: value for name, value in given.items() if value is not None or "error" not in given}
    return ", ".join("error" if name == "error" else f"{name} {json.dumps(value)}" for name, value in said.items())


def _code(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "`" + text.replace("\u3000", r"\u3000").replace("\u00a0", r"\u00a0") + "`"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"
