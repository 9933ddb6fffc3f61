"""Parquet: typed columns, written as the text that a person would write. Nothing is read twice and no row is looked at alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.contract import Contract
from pipelines.errors import is_of_the_machine
from pipelines.readers.rows import MOST_COLUMNS, Layout, Reading, match_header, not_read, private_use, raw_schema
from pipelines.readers.workbook import as_text
from quality.finding import Finding, finding

ROWS = 50_000


def read(path: Path, contract: Contract, batch: str, out: Path) -> Reading:
    """Raw rows of one file; rows are numbered from 1, there is no header row."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_of_the_machine(error):
            raise
        empty = path.stat().st_size == 0
        return Reading(findings=(finding("file_empty", size=0) if empty else finding("parquet_unreadable"),))
    with file:
        rows, names = file.metadata.num_rows, file.schema_arrow.names
        if len(names) > MOST_COLUMNS:
            return not_read(rows, [finding("too_many_columns", count=len(names), most=MOST_COLUMNS)])
        layout = match_header(contract, names)
        if layout.held:
            return not_read(rows, layout.findings, layout, contract)
        findings = [*layout.findings, *_identifiers(contract, layout, file.schema_arrow)]
        try:
            written = _write(file, layout, contract, batch, out)
        except (pa.ArrowException, OSError, ValueError) as error:
            if is_of_the_machine(error):
                raise
            out.unlink(missing_ok=True)
            return not_read(rows, [*findings, finding("parquet_unreadable")], layout, contract)
    findings += private_use(out, contract) if written else [finding("no_data_rows")]
    present = {c.source: c.source in layout.place for c in contract.columns}
    return Reading(header=layout.header, present=present, records=written, rows=written, findings=tuple(findings))


def _write(file: pq.ParquetFile, layout: Layout, contract: Contract, batch: str, out: Path) -> int:
    schema = raw_schema(contract)
    number = 0
    with pq.ParquetWriter(out, schema, compression="zstd", compression_level=1) as writer:
        for part in file.iter_batches(ROWS):
            count = part.num_rows
            nothing = pa.nulls(count, pa.string())
            texts = [_texts(part.column(i)) for i in range(part.num_columns)]
            place = [layout.place.get(c.source) for c in contract.columns]
            columns = [
                pa.array([batch] * count, pa.string()),
                nothing,
                pa.array(range(number + 1, number + count + 1), pa.int64()),
                *(nothing if p is None else texts[p] for p in place),
                _extra(texts, layout, count),
                nothing,
            ]
            writer.write_table(pa.table(columns, schema=schema))
            number += count
    return number


def _texts(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([None if v is None else _json(v) for v in column.to_pylist()], pa.string())
    if pa.types.is_floating(kind):
        # 1.0 was a whole number before somebody's data frame had a gap in the column.
        return pa.array([None if v is None or v != v else as_text(v) for v in column.to_pylist()], pa.string())
    return pc.replace_with_mask(
        text := pc.cast(column, pa.string()), pc.fill_null(pc.equal(text, ""), False), pa.scalar(None, pa.string())
    )


def _json(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, default=str)


def _extra(texts: list[pa.Array], layout: Layout, count: int) -> pa.Array:
    if not layout.extra:
        return pa.nulls(count, pa.string())
    columns = {name: texts[position].to_pylist() for position, name in layout.extra.items()}
    rows = ({name: values[i] for name, values in columns.items() if values[i]} for i in range(count))
    return pa.array([json.dumps(row, ensure_ascii=False) if row else None for row in rows], pa.string())


def _identifiers(contract: Contract, layout: Layout, schema: pa.Schema) -> list[Finding]:
    """Identifiers that came as numbers: a leading zero or the last digits may be gone."""
    found = []
    for column in contract.columns:
        position = layout.place.get(column.source)
        if column.to and column.type == "text" and (column.key or column.check) and position is not None:
            kind = schema.field(position).type
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                found.append(
                    finding("number_in_text_column", header=column.source, column_name=column.to, cell=f"{kind}")
                )  # fmt: skip
    return found
