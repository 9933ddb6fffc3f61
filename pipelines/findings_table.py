"""Findings over time for the terminal and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.findings_over_time import OverTime, Recurring, WaiverState
from quality.scoring import as_typed

_LEVELS = " ▁▂▃▄▅▆▇█"


def as_data(found: Mapping[str, OverTime]) -> list[dict[str, Any]]:
    """One entry per source, in plain values; counts as JSON numbers."""
    return [
        {"source": source, "findings": [_finding(f) for f in one.findings], "waivers": [_waiver(w) for w in one.waivers]}
        for source, one in found.items()
    ]


def _finding(one: Recurring) -> dict[str, Any]:
    plain = {name: _number(value) if isinstance(value, Decimal) else value for name, value in asdict(one).items()}
    seen = {"first_seen": one.first_seen.isoformat(), "last_seen": one.last_seen.isoformat()}
    trend = [_number(n) for n in one.trend]
    return plain | seen | {"trend": trend, "last_count": _number(one.last_count), "direction": one.direction}


def _waiver(one: WaiverState) -> dict[str, Any]:
    counts = {"state": one.state, "days_left": one.days_left, "covered": one.covered, "last": one.last, "again": one.again}
    return {**one.waiver.plain(), **counts}


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def bars(trend: Sequence[Decimal]) -> str:
    """`▁▄█`: one block per batch; nothing is a blank, the most is a full block."""
    most = max(trend, default=Decimal(0))
    return "".join(_LEVELS[0 if not n else max(1, int(8 * n / most))] for n in trend)


def findings_table(source: str, one: OverTime) -> Table:
    table = Table(title=escape(source), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("问题 finding", overflow="fold")
    for name in ("级别\nseverity", "首见\nfirst", "最近\nlast", "末批\nin last", "走势\ntrend"):
        table.add_column(name, justify="right" if "末批" in name else "left", no_wrap=True)
    for f in one.findings:
        place = escape(f" · {f.header or f.column_name}") if f.header or f.column_name else ""
        waived = f"\n[dim]豁免 waived {as_typed(f.waived)}[/]" if f.waived else ""
        table.add_row(
            f"{escape(f.title_zh)}{place}\n[dim]{escape(f.code)}[/]", f.severity, f"{f.first_seen:%Y-%m-%d}", f"{f.last_seen:%Y-%m-%d}",
            f"{as_typed(f.last_count)}{waived}", bars(f.trend),
        )  # fmt: skip
    return table


def waivers_table(source: str, one: OverTime) -> Table:
    table = Table(title=escape(f"豁免 waivers: {source}"), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("豁免 waiver", overflow="fold")
    for name in ("批准 approver", "至 until", "状态 state"):
        table.add_column(name)
    for name in ("已豁免\ncovered", "又出现\nagain"):
        table.add_column(name, justify="right")
    styles = {"expired": "red", "ending": "yellow", "standing": "green", "coming": "dim"}
    for w in one.waivers:
        reason = f"{escape(w.waiver.name)}\n[dim]{escape(w.waiver.reason.zh)}[/]"
        state = f"[{styles[w.state]}]{w.state}[/]"
        again = str(w.again) if w.state == "expired" else "—"
        table.add_row(reason, escape(w.waiver.approver), str(w.waiver.until), state, str(w.covered), again)
    return table
