"""One file format per module; `READERS` is the registry. A reader turns bytes into raw rows of text, and judges nothing.

Every reader is `read(path, contract, batch, out) -> Reading`. It writes the raw rows to the Parquet file `out`:
`_batch`, `_sheet`, `_row` (as a spreadsheet program shows it, header included, from 1; the number of the record where a
format knows no lines), one text column per declared column under the first spelling of its header, `_extra` (undeclared
cells as JSON), `_defect` (finding code of a row whose shape is broken, NULL for a sound row). Bad files give findings,
never exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from catalog.contract import Contract
from pipelines.readers import delimited, fixed_width, json_records, parquet, workbook, xml_records
from pipelines.readers.packed import unpack
from pipelines.readers.rows import Reading
from quality.finding import Finding, finding

READERS: Mapping[str, ModuleType] = {
    "delimited": delimited,
    "workbook": workbook,
    "json": json_records,
    "xml": xml_records,
    "fixed_width": fixed_width,
    "parquet": parquet,
}


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one drop, taken out of its .zip or .gz first."""
    inner = out.with_suffix(".unpacked")
    try:
        member = unpack(path, contract.format.member, inner)
        if isinstance(member, Finding) and member.code == "archive_unreadable" and contract.format.reader == "workbook":
            member = None  # a workbook cut short; its reader says so
        if isinstance(member, Finding):
            return Reading(findings=(member,))
        reading: Reading = READERS[contract.format.reader].read(path if member is None else inner, contract, batch, out)
        if member is None:
            return reading
        told = finding("archive_unpacked", member=member)
        return replace(reading, dialect={**reading.dialect, "member": member}, findings=(told, *reading.findings))
    finally:
        inner.unlink(missing_ok=True)
