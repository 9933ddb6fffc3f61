"""The tables the platform itself keeps, with their grain. Tables of sources and entities follow their YAML."""

from __future__ import annotations

from collections.abc import Mapping

Columns = Mapping[str, str]

#: name -> (grain, columns). Instants are TIMESTAMPTZ, ratios and scores DECIMAL, lists and maps JSON text.
TABLES: Mapping[str, tuple[str, Columns]] = {
    "ledger.drop": (
        "one row per file that was dropped, whatever became of it",
        {
            "drop_id": "VARCHAR",
            "source": "VARCHAR",
            "file_name": "VARCHAR",
            "sha256": "VARCHAR",
            "size_bytes": "BIGINT",
            "arrived_at": "TIMESTAMPTZ",
            "period": "VARCHAR",
            "outcome": "VARCHAR",
            "batch": "VARCHAR",
            "run": "VARCHAR",
        },
    ),
    "ledger.batch": (
        "one row per batch: source + period + version, with what was received, read and decided",
        {
            "batch": "VARCHAR",
            "source": "VARCHAR",
            "department": "VARCHAR",
            "period": "VARCHAR",
            "version": "INTEGER",
            "drop_id": "VARCHAR",
            "file_name": "VARCHAR",
            "sha256": "VARCHAR",
            "arrived_at": "TIMESTAMPTZ",
            "contract_hash": "VARCHAR",
            "run": "VARCHAR",
            "handshake": "VARCHAR",
            "mends": "VARCHAR",
            "encoding": "VARCHAR",
            "dialect": "VARCHAR",
            "header": "VARCHAR",
            "profile": "VARCHAR",
            "rows_read": "BIGINT",
            "rows_accepted": "BIGINT",
            "rows_refused": "BIGINT",
            "verdict": "VARCHAR",
            "reason_zh": "VARCHAR",
            "reason_en": "VARCHAR",
            "previous_hash": "VARCHAR",
            "hash": "VARCHAR",
        },
    ),
    "ledger.stage": (
        "one row per stage of a batch or a fusion, with its proved row sum",
        {
            "subject": "VARCHAR",
            "stage": "VARCHAR",
            "rows_in": "BIGINT",
            "rows_out": "VARCHAR",
            "equation": "VARCHAR",
        },
    ),
    "ledger.statement": (
        "one row per statement that ran for a batch or a fusion, in order",
        {"subject": "VARCHAR", "stage": "VARCHAR", "seq": "INTEGER", "title": "VARCHAR", "sql": "VARCHAR"},
    ),
    "ledger.mended": (
        "one row per row that a workbook brought back mended: where it stands in the file it mends, and in the workbook",
        {
            "batch": "VARCHAR",
            "_sheet": "VARCHAR",
            "_row": "BIGINT",
            "workbook_row": "BIGINT",
            "headers": "VARCHAR",
        },
    ),
    "ledger.fusion": (
        "one row per fusion of an entity, with the batches it read",
        {
            "fusion": "VARCHAR",
            "entity": "VARCHAR",
            "entity_hash": "VARCHAR",
            "inputs_hash": "VARCHAR",
            "inputs": "VARCHAR",
            "rows_in": "BIGINT",
            "rows_surviving": "BIGINT",
            "entities": "BIGINT",
            "model": "VARCHAR",
        },
    ),
    "quarantine.row": (
        "one row per refused row, as it was sent",
        {
            "_batch": "VARCHAR",
            "_sheet": "VARCHAR",
            "_row": "BIGINT",
            "source": "VARCHAR",
            "codes": "VARCHAR",
            "cells": "VARCHAR",
        },
    ),
    "quality.finding": (
        "one row per thing that is wrong: in a cell, a row, a column or a file; personal values masked",
        {
            "batch": "VARCHAR",
            "source": "VARCHAR",
            "file_name": "VARCHAR",
            "sheet": "VARCHAR",
            "row": "BIGINT",
            "column_name": "VARCHAR",
            "header": "VARCHAR",
            "code": "VARCHAR",
            "severity": "VARCHAR",
            "value": "VARCHAR",
            "message_zh": "VARCHAR",
            "message_en": "VARCHAR",
        },
    ),
    "quality.check": (
        "one row per check of a batch: the integers A and B that every score is made of",
        {
            "batch": "VARCHAR",
            "source": "VARCHAR",
            "period": "VARCHAR",
            "check_id": "VARCHAR",
            "kind": "VARCHAR",
            "sub_indicator": "VARCHAR",
            "title_zh": "VARCHAR",
            "title_en": "VARCHAR",
            "weight": "INTEGER",
            "floor": "DECIMAL(9,6)",
            "target": "DECIMAL(9,6)",
            "severity": "VARCHAR",
            "major": "BOOLEAN",
            "a": "DECIMAL(24,6)",
            "b": "DECIMAL(24,6)",
            "x": "DECIMAL(9,6)",
            "passed": "BOOLEAN",
            "error": "VARCHAR",
            "expectation": "VARCHAR",
            "failing_rows_sql": "VARCHAR",
        },
    ),
    "quality.failing_row": (
        "one row per check of a batch and row of the file that breaks it; all of them",
        {"batch": "VARCHAR", "source": "VARCHAR", "check_id": "VARCHAR", "_sheet": "VARCHAR", "_row": "BIGINT"},
    ),
    "quality.waiver": (
        "one row per batch and waiver that stood when it arrived: who, why, until when, and what it covered",
        {
            "batch": "VARCHAR",
            "source": "VARCHAR",
            "waiver": "VARCHAR",
            "code": "VARCHAR",
            "check_id": "VARCHAR",
            "column_name": "VARCHAR",
            "header": "VARCHAR",
            "value": "VARCHAR",
            "reason_zh": "VARCHAR",
            "reason_en": "VARCHAR",
            "approver": "VARCHAR",
            "valid_from": "DATE",
            "valid_until": "DATE",
            "findings": "BIGINT",
            "checks": "VARCHAR",
        },
    ),
    "quality.slot": (
        "one row per delivery that was due, as judged on `as_of`",
        {
            "as_of": "DATE",
            "source": "VARCHAR",
            "period": "VARCHAR",
            "due_at": "TIMESTAMPTZ",
            "arrived_at": "TIMESTAMPTZ",
            "batch": "VARCHAR",
            "state": "VARCHAR",
            "working_days_late": "INTEGER",
            "points": "DECIMAL(9,6)",
            "calendar": "VARCHAR",
        },
    ),
    "quality.score": (
        "one row per number of a scorecard: check, sub-indicator, dimension, source, department",
        {
            "as_of": "DATE",
            "window_from": "DATE",
            "window_to": "DATE",
            "level": "VARCHAR",
            "subject": "VARCHAR",
            "item": "VARCHAR",
            "a": "DECIMAL(24,6)",
            "b": "DECIMAL(24,6)",
            "x": "DECIMAL(9,6)",
            "value": "DECIMAL(9,2)",
            "formula": "VARCHAR",
            "policy": "VARCHAR",
        },
    ),
}

#: Accepted batches in force: the highest version per source and period that the gate let pass.
CURRENT_BATCHES = """
SELECT * FROM lake.ledger.batch
WHERE verdict IN ('pass', 'warn')
QUALIFY row_number() OVER (PARTITION BY source, period ORDER BY version DESC) = 1
"""
