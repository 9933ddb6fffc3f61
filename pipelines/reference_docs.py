"""Reference page, conformance page and the catalogue's JSON Schemas, made from code and folders: `make generated` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from pipelines.cli import app
from pipelines.conformance_page import conformance_page
from pipelines.readers import READERS
from pipelines.rules import Rule, rule_catalogue
from pipelines.schemas import contract_schema, entity_schema, waiver_schema
from quality import expectations, finding
from quality.dimensions import DIMENSIONS, SUB_INDICATORS
from quality.timeliness import CYCLES
from warehouse.tables import TABLES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
CATALOG = ROOT / "catalog"


def generated() -> dict[Path, str]:
    """Every generated file with its text. The same code gives the same text."""
    return {
        REFERENCE: reference(),
        ROOT / "docs" / "gx-conformance.md": conformance_page(),
        CATALOG / "contract.schema.json": contract_schema(),
        CATALOG / "entity.schema.json": entity_schema(),
        CATALOG / "waiver.schema.json": waiver_schema(),
    }


def main() -> None:
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def reference() -> str:
    """The page, as Markdown."""
    return "\n".join([
        "# Reference · 参考",
        "",
        "Made from the code by `make generated`; a test fails when it is stale. 由代码生成，请勿手工修改。",
        "",
        "[Commands](#commands) · [Finding codes](#finding-codes) · [Rules](#rules) · [Expectation kinds](#expectation-kinds) · "
        "[Sub-indicators](#sub-indicators) · [Cycles](#cycles) · [Readers](#readers) · [Tables](#tables)",
        *_section("Commands", "What each command takes. `--help` says the same.", ("command", "does", "takes"), _commands()),
        *_section(
            "Finding codes",
            "What can be wrong with what was sent (`quality/findings.yaml`). A code is stable for ever. "
            "note: kept, told · warn: kept, scored · refuse: the row goes to quarantine · hold: the batch stops.",
            ("code", "title", "severity", "sub-indicator", "中文", "English", "what to do"),
            (_code(k) for k in finding.kinds().values()),
        ),
        *_section(
            "Rules",
            "Cleaning and checking rules (`pipelines/rules/*.sql`), for `clean:` and `check:` of a column. "
            "Harmless: a pure normalisation, which never fails a value.",
            ("rule", "kind", "does", "arguments", "finding codes", "source"),
            (_rule(r) for r in rule_catalogue()),
        ),
        *_section(
            "Expectation kinds",
            "Short names for `expect:` (`quality/expectations/*.yaml`), beside `gx:` and `sql:`. "
            "A and B are counted as the head of `quality/expectations/__init__.py` says.",
            ("kind", "checks", "takes", "sub-indicator", "weight", "counts"),
            (_kind(name, kind) for name, kind in expectations.kinds().items()),
        ),
        *_section(
            "Sub-indicators",
            "GB/T 36344-2018; `indicator:` of an `expect:` line names one.",
            ("code", "sub-indicator", "dimension", "better"),
            ([s.code, f"{s.zh} {s.en}", f"{DIMENSIONS[s.dimension].zh} {DIMENSIONS[s.dimension].en}",
              "lower" if s.lower_is_better else "higher"] for s in SUB_INDICATORS.values()),
        ),
        *_section(
            "Cycles",
            "`cycle:` of a contract, with the due rule and the grace of one that names none.",
            ("cycle", "中文", "due", "grace, working days"),
            ([f"`{name}`", c.zh, c.due, c.horizon] for name, c in CYCLES.items()),
        ),
        *_section("Readers", "`reader:` under `format:`.", ("reader", "reads"),
                  ([f"`{name}`", (module.__doc__ or "").splitlines()[0]] for name, module in READERS.items())),
        *_section(
            "Tables",
            "The tables the platform itself keeps. Beside them: `raw.<source>` and `std.<source>` per contract; "
            "`base.<entity>`, `base.<entity>__origin`, `base.<entity>__member` per entity.",
            ("table", "grain", "columns"),
            ([f"`{name}`", grain, ", ".join(f"`{c}`" for c in columns)] for name, (grain, columns) in TABLES.items()),
        ),
        "",
    ])  # fmt: skip


def commands(group: Any = None, prefix: str = "dmp") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, such as `dmp contract check`."""
    top: Any = group or typer.main.get_command(app)
    for name, command in top.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _commands() -> Iterator[Sequence[Any]]:
    for name, command in commands():
        taken = [p for p in command.params if p.name != "help"]
        yield [f"`{name}`", command.help or "", "<br>".join(_parameter(p) for p in taken)]


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return f"`{parameter.opts[0]}` {parameter.help or ''}".strip()
    return f"`{(parameter.metavar or parameter.name).upper()}` {getattr(parameter, 'help', None) or ''}".strip()


def _code(kind: finding.Kind) -> Sequence[Any]:
    zh, en = kind.zh.removesuffix(kind.advice_zh), kind.en.removesuffix(kind.advice_en)
    return [f"`{kind.code}`", f"{kind.title_zh}<br>{kind.title_en}", kind.severity, kind.indicator or "", zh, en,
            "<br>".join(part for part in (kind.advice_zh, kind.advice_en) if part)]  # fmt: skip


def _rule(rule: Rule) -> Sequence[Any]:
    arguments = "<br>".join(f"`{a.name}`{'' if a.required else ' (optional)'} {a.does}" for a in rule.arguments)
    codes = "harmless" if rule.harmless else ", ".join(f"`{code}`" for code in rule.findings.values())
    return [f"`{rule.name}`", rule.kind, f"{rule.zh}<br>{rule.does}", arguments, codes, rule.source]


def _kind(name: str, kind: expectations.Kind) -> Sequence[Any]:
    return [f"`{name}`", f"{kind.zh}<br>{kind.en}", _takes(kind), kind.indicator, kind.weight, kind.counts]


def _takes(kind: expectations.Kind) -> str:
    argument = {"none": "", "column": "a column", "columns": "two columns", "several": "a column or several"}[kind.argument]
    options = [f"`{name}`" + (" (optional)" if need == "optional" else "") for name, need in kind.options.items()]
    takes = ", ".join([argument, *options] if argument else options)
    return f"{takes}<br>`- {kind.example}`" if kind.example else takes


def _section(title: str, about: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return ["", f"## {title}", "", about, "", *lines]


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(" ".join(str(c).replace("|", "\\|").split()) for c in cells) + " |"


if __name__ == "__main__":
    main()
