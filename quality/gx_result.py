"""Outcomes as the JSON that Great Expectations 1.x writes, for those who use its tools; without a value of any row."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import Any

from quality.gx import Expectation, Outcome
from quality.gx_condition import read_condition

# what these observe is a value of a row, or a list of such
_OBSERVES_VALUES = re.compile(r"expect_column_(min|max|median|quantile_values|most_common_value|distinct_values)_to_")


def validation_result(checked: Sequence[tuple[Expectation, Outcome]], suite: str, batch: Mapping[str, str]) -> str:
    """An ExpectationSuiteValidationResult as JSON text: `checked` in its order, `batch` as the batch's identifiers.

    `partial_unexpected_list` is empty, an observed value that is a value of the data is null, and a check that could not
    run has its reason in `exception_info`. The same outcomes give the same text; Great Expectations is not imported.
    """
    results = [_result(expectation, outcome) for expectation, outcome in checked]
    successful = sum(outcome.success for _, outcome in checked)
    document = {
        "success": successful == len(results),
        "results": results,
        "suite_name": suite,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(results),
            "successful_expectations": successful,
            "unsuccessful_expectations": len(results) - successful,
            "success_percent": _percent(successful, len(results)),
        },
        "meta": {
            "great_expectations_version": _version(),
            "active_batch_definition": {
                "datasource_name": "duckdb",
                "data_connector_name": "fluent",
                "data_asset_name": suite,
                "batch_identifiers": dict(batch),
            },
        },
        "id": None,
    }
    return json.dumps(document, ensure_ascii=False, default=_plain) + "\n"


@cache
def _version() -> str:
    return metadata.version("great-expectations")


def _result(expectation: Expectation, outcome: Outcome) -> dict[str, Any]:
    kwargs = dict(expectation.kwargs)
    if isinstance(kwargs.get("row_condition"), str):
        kwargs["row_condition"] = read_condition(kwargs["row_condition"])
    return {
        "success": outcome.success,
        "expectation_config": {"type": expectation.type, "kwargs": kwargs, "meta": {"check": expectation.id}},
        "result": {} if outcome.error is not None else _found(outcome),
        "meta": {},
        "exception_info": {
            "raised_exception": outcome.error is not None,
            "exception_traceback": None,
            "exception_message": outcome.error,
        },
    }


def _found(outcome: Outcome) -> dict[str, Any]:
    if outcome.type == "unexpected_rows_expectation":
        return {"observed_value": outcome.unexpected_count}
    if outcome.type == "expect_column_to_exist":
        return {}
    if outcome.element_count is None:
        observed = outcome.observed_value
        if _OBSERVES_VALUES.match(outcome.type) or (isinstance(observed, float) and not math.isfinite(observed)):
            observed = None
        counts = {"unexpected_count": outcome.unexpected_count, "missing_count": outcome.missing_count}
        return {"observed_value": observed, **{name: count for name, count in counts.items() if count is not None}}
    rows, unexpected = outcome.element_count, outcome.unexpected_count or 0
    judged = rows - (outcome.missing_count or 0)
    found: dict[str, Any] = {
        "element_count": rows,
        "unexpected_count": unexpected,
        "unexpected_percent": _percent(unexpected, judged),
        "partial_unexpected_list": [],
    }
    if outcome.missing_count is not None:
        found |= {
            "missing_count": outcome.missing_count,
            "missing_percent": _percent(outcome.missing_count, rows),
            "unexpected_percent_total": _percent(unexpected, rows),
            "unexpected_percent_nonmissing": _percent(unexpected, judged),
        }
    return found


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _plain(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
