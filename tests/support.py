"""A small town for tests: three sources of two columns to four, one entity, no Great Expectations beyond the header check.

`town(tmp_path)` makes catalogue and workspace; `drop` lands a file as a department does, `run_at` plays the whole pipeline
at an instant, `tables` reads everything that the warehouse holds.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.flow import Outcome, run_all
from pipelines.run import Run, open_run
from warehouse import lake
from warehouse.layout import Workspace

#: source -> its contract. A daily increment with a type, a daily GB18030 file, a snapshot with its own delimiter.
SOURCES = {
    "market__shop": """\
title: {zh: 店铺, en: Shops}
department: {id: market, zh: 市监局, en: Market office}
entity: shop
load: increment
period: {from: file_name, pattern: "shop_(?P<date>\\\\d{8})"}
arrival: {drop: "shop_*.csv", cycle: daily, due: "09:00 next working day"}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 名称, to: shop_name, required: true}
  - {from: 成立日期, to: opened_on, type: date, clean: date_any_format, on_fail: refuse}
  - {from: 备注, ignore: free text, optional: true}
expect:
  - {columns_as_declared: , severity: hold}
""",
    "tax__payer": """\
title: {zh: 纳税人, en: Payers}
department: {id: tax, zh: 税务局, en: Tax office}
entity: shop
load: increment
period: {from: file_name, pattern: "payer_(?P<date>\\\\d{8})"}
arrival: {drop: "payer_*.csv", cycle: daily, due: "09:00 next working day"}
format: {encoding: gb18030}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 电话, to: phone, personal: true}
""",
    "fire__permit": """\
title: {zh: 消防许可, en: Fire permits}
department: {id: fire, zh: 消防局, en: Fire office}
entity: shop
load: snapshot
period: {from: file_name, pattern: "permit_(?P<date>\\\\d{8})"}
arrival: {drop: "permit_*.txt", cycle: daily, due: "09:00 next working day"}
format: {delimiter: "|"}
columns:
  - {from: 编号, to: shop_no, key: true}
  - {from: 等级, to: fire_grade}
""",
}

ENTITY = """\
title: {zh: 店铺, en: Shop}
identifiers: [shop_no]
authority: [market__shop, "*"]
attributes:
  - {name: shop_no, kind: code}
  - {name: shop_name, kind: organisation_name}
  - {name: opened_on, type: date, kind: date}
  - {name: phone, kind: phone, personal: true, digest: true}
  - {name: fire_grade, kind: code}
"""

Tables = dict[str, list[dict[str, Any]]]


def make_catalog(root: Path, sources: dict[str, str] = SOURCES) -> Path:
    """A catalogue folder of these contracts and the entity `shop`."""
    for folder in ("sources", "entities"):
        (root / folder).mkdir(parents=True)
    for source, text in sources.items():
        (root / "sources" / f"{source}.yaml").write_text(text, encoding="utf-8")
    (root / "entities" / "shop.yaml").write_text(ENTITY, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Town:
    """One workspace with its catalogue."""

    workspace: Workspace
    catalog: Path

    def drop(self, department: str, name: str, data: str | bytes) -> Path:
        """Land a file in one step, as a department that renames does. Text becomes UTF-8."""
        folder = self.workspace.landing / department
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{name}.part"
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        return part.replace(folder / name)

    def contract(self, source: str, text: str) -> None:
        """Add or change a contract."""
        (self.catalog / "sources" / f"{source}.yaml").write_text(text, encoding="utf-8")

    @contextmanager
    def run(self, when: str | None = None) -> Iterator[Run]:
        """A run whose clock stands at `when`; None: the real clock."""
        now = datetime.fromisoformat(when) if when else None
        with open_run(now=now, workspace=self.workspace.root, catalog=self.catalog) as run:
            yield run

    def run_at(self, when: str | None) -> Outcome:
        """The whole pipeline at one instant."""
        with self.run(when) as run:
            return run_all(run)

    def tables(self) -> Tables:
        return tables(self.workspace)


@cache
def _empty_workspace() -> Path:
    """A workspace to which nothing was sent, made once: each town has a copy of it."""
    workspace = Workspace(Path(tempfile.mkdtemp(prefix="dmp-empty-workspace-")))
    atexit.register(shutil.rmtree, workspace.root)
    lake.create(workspace)
    return workspace.root


def town(root: Path, sources: dict[str, str] = SOURCES, key: bytes = b"k" * 32) -> Town:
    """A town in `root` to which nothing was sent; towns with the same `key` make the same digests."""
    workspace = Workspace(root / "workspace")
    shutil.copytree(_empty_workspace(), workspace.root)
    (workspace.root / "secrets" / "digest.key").write_bytes(key)
    return Town(workspace, make_catalog(root / "catalog", sources))


def tables(workspace: Workspace) -> Tables:
    """Every table of the warehouse with all its rows, in an order that follows from the rows alone."""
    found: Tables = {}
    with lake.reading(workspace) as con:
        names = con.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'lake' ORDER BY ALL"
        ).fetchall()
        for (name,) in names:
            columns = sorted(lake.table_columns(con, name))
            listed = ", ".join(lake.quoted(c) for c in columns)
            rows = con.execute(f"SELECT {listed} FROM {lake.table(name)} ORDER BY ALL").fetchall()
            found[name] = [dict(zip(columns, row, strict=True)) for row in rows]
    return found
