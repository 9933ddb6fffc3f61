"""The recalculation kit: what an auditor needs to make every score again from A and B, without this software."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import quality.reports
from pipelines.recalculation_book import recalculation_book
from pipelines.report_files import checks_csv, departments_csv, policy_csv, scores_csv, sources_csv
from pipelines.report_view import City

#: Reads the CSV files in the folder where it is run, with DuckDB (tested with 1.5).
SCRIPT = Path(quality.reports.__file__).with_name("recalculate.sql")


def recalculation_kit(city: City) -> Iterator[tuple[str, str | bytes]]:
    """Name and content of every file of the kit. The same city gives the same bytes."""
    yield from recalculation_tables(city)
    yield "recalculate.xlsx", recalculation_book(city)


def recalculation_tables(city: City) -> Iterator[tuple[str, str]]:
    """The script and the CSV files it reads: scores.csv holds the published scores, the others what those are made of."""
    yield "checks.csv", checks_csv(city)
    yield "sources.csv", sources_csv(city)
    yield "departments.csv", departments_csv(city)
    yield "policy.csv", policy_csv(city)
    yield "scores.csv", scores_csv(city)
    yield SCRIPT.name, SCRIPT.read_text(encoding="utf-8")
