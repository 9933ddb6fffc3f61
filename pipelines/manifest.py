"""What lies beside a landed file: a manifest in which the sender declares it, or a marker that says it is finished.

    enterprise_20260302.csv
    enterprise_20260302.csv.manifest.json      or enterprise_20260302.manifest.json
    enterprise_20260302.csv.ok

    {"rows": 804, "columns": ["编号", "名称"], "digest": "sha256:6a49...", "encoding": "gb18030", "period": "2026-03-02",
     "keys": 803, "sums": {"金额": "1234567.89"}}

Every key is optional; `columns` may be a number, `sha256` and `md5` stand for `digest`, and there is `version`. `keys` (how many
different ones) and `sums` (by header or standard name) are compared where the contract expects it: keys_equal_declared,
sum_equals_declared.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from catalog.contract import Contract, plain_header
from quality.finding import Finding, finding
from quality.timeliness import Cycle, period_of, period_range

#: What the name of a companion ends in. A file of such a name is never data.
SUFFIXES = {"manifest": ".manifest.json", "marker": ".ok"}

#: Bytes of a manifest that are read; one that is larger is refused.
MOST = 1 << 20

_DIGESTS = {"sha256": 64, "md5": 32}


@dataclass(frozen=True)
class Companion:
    """A manifest or marker beside a file. `look` tells it from one that comes under its name later."""

    path: Path
    kind: Literal["manifest", "marker"]
    look: str
    changed: float


class Unreadable(Exception):
    """A manifest that says nothing we understand; why, in both languages."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en


def look(status: os.stat_result) -> str:
    """Size and times of a file: the kernel sets ctime at every change and nobody else can. Device and inode differ after
    a remount, or return."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def is_companion(name: str) -> bool:
    return name.lower().endswith(tuple(SUFFIXES.values()))


def needed(contract: Contract) -> Literal["manifest", "marker"] | None:
    """Without which companion a file of this contract is not taken."""
    if contract.arrival.complete == "manifest" or contract.period.from_ == "manifest":
        return "manifest"
    return "marker" if contract.arrival.complete == "marker" else None


def companions(path: Path) -> list[Companion]:
    """The companions of a landed file: regular files beside it, no links."""
    names: list[tuple[Literal["manifest", "marker"], Path]] = [
        ("manifest", path.parent / f"{path.name}{SUFFIXES['manifest']}"),
        ("marker", path.parent / f"{path.name}{SUFFIXES['marker']}"),
    ]
    if path.suffix and _alone(path):
        names.append(("manifest", path.parent / f"{path.stem}{SUFFIXES['manifest']}"))
    found: list[Companion] = []
    for kind, place in names:
        try:
            status = place.lstat()
        except OSError:  # not there, or its name would be too long
            continue
        if stat.S_ISREG(status.st_mode) and kind not in [c.kind for c in found]:
            found.append(Companion(place, kind, look(status), status.st_ctime))
    return found


def _alone(path: Path) -> bool:
    """Whether `<stem>.manifest.json` can mean this file only: with report.csv and report.xlsx it could be either's."""
    if not os.path.lexists(path.parent / f"{path.stem}{SUFFIXES['manifest']}"):
        return False
    same = [e.name for e in path.parent.iterdir() if e.stem == path.stem and not is_companion(e.name)]
    return same in ([path.name], [])


def read(companion: Companion) -> bytes:
    """Bytes of a manifest. Raises Unreadable where it is too large; OSError where it has gone or has become a link."""
    with open(os.open(companion.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - a descriptor
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise Unreadable(f"超过 {MOST >> 20} MB", f"it is larger than {MOST >> 20} MB")
    return data


def declared(data: bytes) -> dict[str, Any]:
    """What a manifest says, each value checked and in one form. Raises Unreadable."""
    try:
        said = json.loads(data.decode("utf-8-sig"))
        json.dumps(said, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise Unreadable("不是 UTF-8 编码的 JSON", "it is no JSON in UTF-8") from None
    if not isinstance(said, dict):
        raise Unreadable("不是 JSON 对象", "it is no JSON object") from None
    found: dict[str, Any] = {}
    if said.get("rows") is not None:
        found["rows"] = _count("rows", said["rows"])
    if (columns := said.get("columns")) is not None:
        listed = isinstance(columns, list) and all(isinstance(c, str) for c in columns)
        found["columns"] = columns if listed else _count("columns", columns)
    if digest := _digest(said):
        found["digest"] = digest
    for key in ("encoding", "period", "version"):
        if (value := said.get(key)) is not None:
            if not isinstance(value, str | int) or isinstance(value, bool) or len(str(value)) > 100:
                raise _wrong(key, value, "文本", "a text")
            found[key] = str(value).strip()
    if said.get("keys") is not None:
        found["keys"] = _count("keys", said["keys"])
    if said.get("sums") is not None:
        found["sums"] = _sums(json.loads(data.decode("utf-8-sig"), parse_float=str)["sums"])
    return found


def declaration(manifest: Mapping[str, Any] | None) -> str:
    """What a manifest declares, whatever it is called; the same text for the same. Empty without one."""
    return json.dumps({k: v for k, v in manifest.items() if k not in ("file", "object")}, sort_keys=True) if manifest else ""


def _count(key: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
        return int(value)
    raise _wrong(key, value, "一个整数", "a whole number")


def _sums(value: Any) -> dict[str, str]:
    """Column -> sum as it was written: a float would not keep its cents."""
    if not isinstance(value, dict) or len(value) > 1000:
        raise _wrong("sums", value, "{列名: 数}", "{column: number}")
    for name, number in value.items():
        if isinstance(number, bool) or not re.fullmatch(r"[+-]?[0-9]{1,28}([.][0-9]{1,8})?", str(number).strip()):
            raise _wrong(f"sums.{name[:60]}", number, "一个数", "a number")
    return {str(name): str(number).strip() for name, number in value.items()}


def _digest(said: Mapping[str, Any]) -> str | None:
    given = {**{k: said[k] for k in _DIGESTS if said.get(k) is not None}, "": said.get("digest")}
    for name, value in given.items():
        if value is None:
            continue
        kind, _, text = str(value).strip().lower().rpartition(":")
        kind = (name or kind or next((k for k, n in _DIGESTS.items() if n == len(text)), "")).replace("-", "")
        if kind not in _DIGESTS or not re.fullmatch(rf"[0-9a-f]{{{_DIGESTS[kind]}}}", text):
            raise _wrong(name or "digest", value, "sha256:… 或 md5:…", "sha256:... or md5:...")
        return f"{kind}:{text}"
    return None


def _wrong(key: str, value: Any, zh: str, en: str) -> Unreadable:
    shown = str(value)[:60]
    return Unreadable(f"“{key}”是“{shown}”，应为{zh}", f"`{key}` is `{shown}`, expected {en}")


def period_declared(cycle: Cycle, text: str) -> str | None:
    """The period label a manifest means: the label itself, or any day of the period. None: neither."""
    try:
        period_range(cycle, text)
        return text
    except ValueError:
        pass
    digits = re.sub(r"[-/.]", "", text)
    try:
        if re.fullmatch(r"[0-9]{8}", digits):
            return period_of(cycle, date(int(digits[:4]), int(digits[4:6]), int(digits[6:])))
    except ValueError:
        pass
    return None


def check(
    manifest: Mapping[str, Any],
    original: Path,
    contract: Contract,
    *,
    file_name: str,
    sha256: str,
    rows: int | None,
    header: Sequence[str],
    encoding: str | None,
    period: str | None,
) -> list[Finding]:
    """Where the archived file is not what its manifest says. `rows` None: it could not be read as rows, which is told
    elsewhere; `period` is the one its name tells, None where it tells none."""
    if "unreadable" in manifest:
        zh, en = manifest["unreadable"]
        return [finding("manifest_unreadable", name=manifest["file"], why_zh=zh, why_en=en)]
    found = []
    if digest := manifest.get("digest"):
        kind, _, wanted = digest.partition(":")
        got = sha256 if kind == "sha256" else _hashed(original, kind)
        if got != wanted:
            found.append(finding("manifest_digest_differs", name=file_name, kind=kind, declared=wanted, got=got))
    if rows is not None and manifest.get("rows", rows) != rows:
        found.append(finding("manifest_rows_differ", declared=manifest["rows"], rows=rows))
    if rows is not None and (difference := _columns_differ(manifest.get("columns"), header)):
        found.append(finding("manifest_columns_differ", declared=difference[0], seen=difference[1]))
    if encoding and "encoding" in manifest and _codec(manifest["encoding"]) != _codec(encoding):
        found.append(finding("manifest_encoding_differs", declared=manifest["encoding"], seen=encoding))
    if "period" in manifest:
        meant = period_declared(contract.arrival.cycle, manifest["period"])
        if meant is None:
            found.append(finding("manifest_period_unreadable", declared=manifest["period"], cycle=contract.arrival.cycle))
        elif period and meant != period:
            found.append(finding("manifest_period_differs", declared=manifest["period"], seen=period))
    elif contract.period.from_ == "manifest":
        found.append(finding("manifest_period_missing", name=manifest.get("file", file_name)))
    return found


def _columns_differ(columns: Any, header: Sequence[str]) -> tuple[str, str] | None:
    if columns is None or columns == len(header):
        return None
    if isinstance(columns, int):
        return str(columns), str(len(header))
    if [plain_header(c) for c in columns] == [plain_header(c) for c in header]:
        return None
    return "、".join(columns)[:500], "、".join(header)[:500]


def _codec(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return name.strip().lower()
    # A file of plain letters is all of these at once, and GB 18030 holds what the older two could write.
    return {"gbk": "gb18030", "gb2312": "gb18030", "ascii": "utf-8", "utf-8-sig": "utf-8"}.get(found, found)


def _hashed(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
