"""One file format per module; `READERS` is the registry. A reader turns bytes into raw rows of text, and judges nothing.

Every reader is `read(path, contract, batch, out) -> Reading`. It writes the raw rows to the Parquet file `out`:
`_batch`, `_sheet`, `_row` (as a spreadsheet program shows it, header included, from 1), one text column per declared
column under the first spelling of its header, `_extra` (undeclared cells as JSON), `_defect` (finding code of a row whose
shape is broken, NULL for a sound row). Bad files give findings, never exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from pipelines.readers import delimited, workbook

READERS: Mapping[str, ModuleType] = {"delimited": delimited, "workbook": workbook}
