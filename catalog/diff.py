"""Two versions of a contract: what changed, and whether it breaks somebody: a sender whose files were fine, or whoever reads
the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.contract import SOURCE_ID, Column, Contract, Expect, load_contract, plain_header
from catalog.yaml_file import CatalogError

#: What every value of the first type is in the second as well.
_WIDER = {("integer", "number"), ("integer", "text"), ("number", "text"), ("date", "text"), ("timestamp", "text"),
          ("boolean", "text"), ("date", "timestamp")}  # fmt: skip
_SEVERITY = ("note", "warn", "hold")
_GRADES = ("G1", "G2", "G3", "G4")
_SILENT = {"title", "steward"}
_TAMER = {"evolve": 0, "freeze": 1, "refuse_rows": 2, "hold": 3}


@dataclass(frozen=True)
class Change:
    """One difference. `where` is the key in the YAML, such as `columns.shop_no.type`."""

    breaking: bool
    where: str
    zh: str
    en: str


def read_contract(path: Path) -> Contract:
    """The contract in a file of any name, as long as the name or the key `id` is that of a source."""
    if not path.is_file():
        raise CatalogError(f"{path}: no such file; name two contract files, or a source of the catalogue")
    if not SOURCE_ID.match(path.stem):
        raise CatalogError(
            f"{path}: a contract's file is called <department>__<dataset>.yaml; put the other version into another folder"
        )
    return load_contract(path)


def compare(old: Contract, new: Contract) -> list[Change]:
    """Every difference between two contracts, breaking ones first, then in the order of the YAML. Empty: they mean the same."""
    changes = [*_whole(old, new), *_columns(old, new), *_expectations(old, new)]
    return sorted(changes, key=lambda c: not c.breaking)


def _whole(old: Contract, new: Contract) -> Iterator[Change]:
    if old.id != new.id:
        yield Change(
            True,
            "id",
            f"来源由 {old.id} 改为 {new.id}：历史不再相连。",
            f"The source is {new.id}, was {old.id}: its history is another's.",
        )
    for key in ("title", "department", "steward", "tier", "entity", "load", "latest_by", "policy"):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield from _plain(key, before, after, breaking=key in ("department", "entity", "load", "latest_by"))
    if old.period != new.period:
        yield Change(
            True, "period", "所属期的读法变了：同样的文件名可能归到另一期，或读不出。",
            "The period is read in another way: a file of the same name may belong to another period, or to none.",
        )  # fmt: skip
    yield from _arrival(old, new)
    yield from _format(old, new)
    if old.drift != new.drift:
        yield Change(
            _TAMER[new.drift] > _TAMER[old.drift], "drift", f"列变化时的处理由 {old.drift} 改为 {new.drift}。",
            f"What happens when columns differ is {new.drift}, was {old.drift}.",
        )  # fmt: skip
    if old.deleted != new.deleted:
        yield Change(
            True, "deleted", "删除标志变了：同样的行可能被当作删除，或不再删除。", "Rows are deleted by another mark than before."
        )
    if old.clean != new.clean:
        yield Change(
            False, "clean", "每列先用的清洗规则变了：同样的内容可能得到不同的值。",
            "The rules that every column begins with changed: the same cells may give other values.",
        )  # fmt: skip


def _plain(key: str, before: Any, after: Any, *, breaking: bool) -> Iterator[Change]:
    was, now = (_word(v) for v in (before, after))
    if key in _SILENT:
        yield Change(False, key, f"{key} 改了，只影响显示。", f"`{key}` changed; only what people see.")
    else:
        yield Change(breaking, key, f"{key} 由 {was} 改为 {now}。", f"`{key}` is {now}, was {was}.")


def _word(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(_word, value)) or "-"
    return str(value.id) if hasattr(value, "id") else str(value)


def _arrival(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = old.arrival, new.arrival
    for pattern in before.drop:
        if pattern not in after.drop:
            yield Change(
                True, "arrival.drop", f"文件名“{pattern}”不再收取：这样命名的文件会留在投递目录里。",
                f"Files named `{pattern}` are not taken any more; they stay in the landing folder.",
            )  # fmt: skip
    for pattern in after.drop:
        if pattern not in before.drop:
            yield Change(False, "arrival.drop", f"也收取名为“{pattern}”的文件。", f"Files named `{pattern}` are taken too.")
    for key in ("cycle", "due", "grace", "calendar", "timezone", "complete", "since", "until"):
        was, now = getattr(before, key), getattr(after, key)
        if was != now:
            loosened = key == "complete" and now == "quiet"
            yield from _plain(f"arrival.{key}", was, now, breaking=not loosened and key not in ("grace", "since", "until"))


def _format(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = old.format, new.format
    for name in before.encoding:
        if name not in after.encoding:
            yield Change(
                True, "format.encoding", f"不再接受 {name} 编码：这种文件会被整份退回。", f"Files in {name} are held from now on."
            )
    for name in after.encoding:
        if name not in before.encoding:
            yield Change(False, "format.encoding", f"也接受 {name} 编码。", f"Files in {name} are read too.")
    if before.encoding != after.encoding and set(before.encoding) == set(after.encoding):
        yield Change(True, "format.encoding", "编码的先后变了：同样的字节可能读成别的字。", "Encodings are tried in another order: the same bytes may be read as other text.")  # fmt: skip
    for key in type(before).model_fields:
        was, now = getattr(before, key), getattr(after, key)
        if key != "encoding" and was != now:
            # Leaving something open lets the reader find it; files that were fine still are.
            found_out = now is None and key in ("delimiter", "header_row", "sheet", "member")
            yield from _plain(f"format.{key}", was, now, breaking=not found_out)


def _columns(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = _by_place(old), _by_place(new)
    renamed = {}
    for place, column in before.items():
        if place in after:
            continue
        heir = _same_header(column, [c for p, c in after.items() if p not in before])
        if heir is not None and column.to and heir.to:
            renamed[heir.to] = column
            yield Change(
                True, f"columns.{heir.to}.to", f"列“{column.source}”的标准名由 {column.to} 改为 {heir.to}：读旧名的表和规则都要改。",
                f"Column {column.source} is called `{heir.to}`, was `{column.to}`: whatever reads the old name breaks.",
            )  # fmt: skip
        elif heir is not None and column.to:
            yield Change(
                True, f"columns.{place}.ignore", f"列“{column.source}”不再读取。", f"Column {column.source} is not read any more."
            )
        elif heir is not None:
            yield Change(False, f"columns.{heir.to}", f"原先忽略的列“{heir.source}”现在读为 {heir.to}。", f"Column {heir.source}, ignored until now, is read as `{heir.to}`.")  # fmt: skip
        else:
            yield Change(
                bool(column.to), f"columns.{place}", f"约定里没有列“{column.source}”了：它成了约定之外的列。",
                f"Column {column.source} is gone from the contract; where it is sent it counts as undeclared.",
            )  # fmt: skip
    for place, column in after.items():
        former = before.get(place) or renamed.get(place)
        if former is not None:
            yield from _column(f"columns.{place}", former, column)
        elif _same_header(column, [c for p, c in before.items() if p not in after]) is None:
            needed = not column.optional and new.drift != "evolve"
            yield Change(
                needed or column.key, f"columns.{place}", f"新列“{column.source}”" + ("：没有它的文件会被整份退回。" if needed else "，可以没有。"),
                f"New column {column.source}" + ("; files without it are held." if needed else "; it may be absent."),
            )  # fmt: skip
    if [c.source for c in old.keys] != [c.source for c in new.keys] and [c.to for c in old.keys] != [c.to for c in new.keys]:
        yield Change(
            True, "columns.key", f"识别一行的列由 {_word(tuple(c.to for c in old.keys))} 改为 {_word(tuple(c.to for c in new.keys))}：与以前的行对不上。",
            f"Rows are told apart by {_word(tuple(c.to for c in new.keys))}, were by {_word(tuple(c.to for c in old.keys))}: they do not meet their former versions.",
        )  # fmt: skip


def _by_place(contract: Contract) -> dict[str, Column]:
    return {c.to or f"({c.source})": c for c in contract.columns}


def _same_header(column: Column, others: list[Column]) -> Column | None:
    spelled = {plain_header(h) for h in column.from_}
    return next((c for c in others if spelled & {plain_header(h) for h in c.from_}), None)


def _column(where: str, old: Column, new: Column) -> Iterator[Change]:
    name = new.source
    spelled = {plain_header(h) for h in new.from_}
    for header in old.from_:
        if plain_header(header) not in spelled:
            yield Change(
                True,
                f"{where}.from",
                f"表头“{header}”不再认作 {new.to or '忽略的列'}。",
                f"The header {header} is not taken for `{new.to or 'ignored'}` any more.",
            )
    for header in new.from_:
        if plain_header(header) not in {plain_header(h) for h in old.from_}:
            yield Change(
                False,
                f"{where}.from",
                f"表头“{header}”也认作 {new.to or '忽略的列'}。",
                f"The header {header} is taken for `{new.to or 'ignored'}` too.",
            )
    if old.source != new.source and plain_header(old.source) in spelled:
        yield Change(
            True,
            f"{where}.from",
            f"原始层里这一列改叫“{new.source}”（第一个写法）。",
            f"In the raw table the column is called {new.source} (its first spelling).",
        )
    if old.type != new.type:
        narrowed = (old.type, new.type) not in _WIDER
        yield Change(
            True, f"{where}.type", f"“{name}”的类型由 {old.type} 改为 {new.type}" + ("：有的值会读不出。" if narrowed else "：表里这一列的类型变了。"),
            f"{name} is {new.type}, was {old.type}" + (": some values cannot be read any more." if narrowed else ": the column of the table has another type."),
        )  # fmt: skip
    if old.at != new.at:
        yield Change(True, f"{where}.at", f"“{name}”的位置变了。", f"{name} stands at another position.")
    if old.optional != new.optional:
        yield Change(
            old.optional, f"{where}.optional", f"“{name}”" + ("不可缺少：没有它的文件会被整份退回。" if old.optional else "可以没有。"),
            f"{name} " + ("must be there; files without it are held." if old.optional else "may be absent."),
        )  # fmt: skip
    for what, before, after in (
        ("on_missing", old.refuses_missing, new.refuses_missing),
        ("on_fail", old.fails_to, new.fails_to),
    ):
        if before != after:
            stricter = after is True or after == "refuse"
            yield Change(
                stricter, f"{where}.{what}", f"“{name}”" + ("有误或缺失的行改为拒收。" if stricter else "有误或缺失时的处理变了，不再因此拒收。"),
                f"{name}: " + ("rows that lack it or fail are refused now." if stricter else "what lacks it or fails is treated otherwise, no longer refused."),
            )  # fmt: skip
    if old.clean != new.clean:
        yield Change(
            new.key, f"{where}.clean", f"“{name}”的清洗规则变了：同样的内容可能得到不同的值" + ("，键对不上以前的行。" if new.key else "。"),
            f"{name} is cleaned by other rules: the same cell may give another value" + (", and keys do not meet former rows." if new.key else "."),
        )  # fmt: skip
    added = [r.name for r in new.check if r not in old.check]
    if added:
        yield Change(
            new.fails_to == "refuse", f"{where}.check", f"“{name}”多了检查 {'、'.join(added)}" + ("，不通过的行拒收。" if new.fails_to == "refuse" else "，评分会变。"),
            f"{name} is checked by {', '.join(added)} too" + ("; rows that fail are refused." if new.fails_to == "refuse" else "; scores change."),
        )  # fmt: skip
    if dropped := [r.name for r in old.check if r not in new.check]:
        yield Change(
            False,
            f"{where}.check",
            f"“{name}”不再检查 {'、'.join(dropped)}。",
            f"{name} is not checked by {', '.join(dropped)} any more.",
        )
    if (old.personal and not new.personal) or _GRADES.index(old.grade) > _GRADES.index(new.grade):
        yield Change(
            True,
            f"{where}.grade",
            f"“{name}”的保护降低了：以前遮盖的值会显示出来。",
            f"{name} is protected less: values that were masked are shown.",
        )
    elif (old.personal, old.grade) != (new.personal, new.grade):
        yield Change(False, f"{where}.grade", f"“{name}”的保护提高了。", f"{name} is protected more.")
    if old.required != new.required:
        yield Change(False, f"{where}.required", f"“{name}”" + ("计入完整性。" if new.required else "不再计入完整性。"), f"{name} " + ("counts for completeness." if new.required else "does not count for completeness any more."))  # fmt: skip
    if old.title != new.title:
        yield Change(False, f"{where}.title", f"“{name}”的显示名称改了。", f"The title of {name} changed; only what people see.")


def _expectations(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = _by_name(old), _by_name(new)
    for name, line in before.items():
        if name not in after:
            yield Change(
                False, f"expect.{name}", f"不再检查 {name}，评分会变。", f"`{name}` is not checked any more; scores change."
            )
            continue
        now = after[name]
        if line == now:
            continue
        stricter = _SEVERITY.index(now.severity) > _SEVERITY.index(line.severity) and now.severity == "hold"
        raised = now.severity == "hold" and (now.floor if now.floor is not None else 1) > (
            line.floor if line.floor is not None else 1
        )
        if stricter or raised:
            yield Change(
                True,
                f"expect.{name}",
                f"{name} 不达标会退回整份文件，以前不会。",
                f"`{name}` below its floor holds the file; it did not before.",
            )
        else:
            yield Change(
                False,
                f"expect.{name}",
                f"{name} 的权重、下限或参数变了，评分会变。",
                f"`{name}` has another weight, floor or option; scores change.",
            )
    for name, line in after.items():
        if name not in before:
            held = line.severity == "hold"
            yield Change(
                held, f"expect.{name}", f"多了检查 {name}" + ("，不达标会退回整份文件。" if held else "，评分会变。"),
                f"`{name}` is checked too" + ("; below its floor the file is held." if held else "; scores change."),
            )  # fmt: skip


def _by_name(contract: Contract) -> Mapping[str, Expect]:
    found: dict[str, Expect] = {}
    for line in contract.expect:
        argument = line.argument if isinstance(line.argument, str) else _word(tuple(line.argument)) if line.argument else ""
        name = line.id or " ".join(part for part in (line.kind, argument) if part and part != "-")
        while name in found:
            name += "'"
        found[name] = line
    return found
