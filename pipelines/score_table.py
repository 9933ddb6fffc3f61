"""The scoreboard as a table that fits a terminal of 80 columns: for `dmp status` and at the end of `dmp demo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table


def scores_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """One row per source: scores, grade, counts; below its name the last batch and how its deliveries stood."""
    table = Table(
        title="评分 scores: T 及时性 timeliness, Q 质量 quality, O 总分 overall",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("来源 source\n[dim]末批 last 应due 迟late 缺missing[/]", no_wrap=True)
    for name in ("T", "Q", "O"):
        table.add_column(name, justify="right")
    table.add_column("等级\ngrade")
    for name in ("收到\nin", "拒收\nrefused", "归并\nmerged"):
        table.add_column(name, justify="right")
    for line in lines:
        numbers = ["—" if line[k] is None else f"{line[k]:.1f}" for k in ("T", "Q", "O")]
        grade = f"{line['grade']}\n[dim]{line['grade_en']}[/]" if line["grade"] else "—"
        counts = ["—" if line[k] is None else f"{line[k]:,}" for k in ("rows_in", "rows_refused", "merged")]
        table.add_row(f"{escape(line['title'])}\n[dim]{line['source']}\n{_deliveries(line)}[/]", *numbers, grade, *counts)
    return table


def _deliveries(line: Mapping[str, Any]) -> str:
    last = f"{line['last_batch'].partition('@')[2]} {line['verdict']}" if line["last_batch"] else "—"
    return f"{last}  应 {line['due']} 迟 {line['late']} 缺 {line['missing']}"
