"""`row_condition` as text means what Great Expectations makes of it, and more than its grammar can say."""

from __future__ import annotations

from typing import Any

import pytest

from quality.gx_condition import read_condition


@pytest.mark.parametrize(
    "text",
    [
        'col("n") > 0',
        'col("n") <= -1.5',
        'col("name") == "a b"',
        'col("name") != "a"',
        'col("a.b c").notnull()',
        'col("day") >= date("2026-03-02")',
    ],
)
def test_what_great_expectations_reads_is_read_alike(text: str) -> None:
    from great_expectations.expectations.expectation import _convert_string_to_condition

    assert read_condition(text) == _convert_string_to_condition(text).dict()


def compared(name: str, operator: str, parameter: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": name}, "operator": operator, "parameter": parameter}


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('col("类别") == "个体"', compared("类别", "==", "个体")),
        ("""col("name") == "O'Neil" """, compared("name", "==", "O'Neil")),
        ('col("open") == true', compared("open", "==", True)),
        ('col("kind") not in ["1", "2"]', compared("kind", "NOT_IN", ["1", "2"])),
        ('col("kind").isnull()', {"type": "nullity", "column": {"name": "kind"}, "is_null": True}),
        (
            'col("a") == 1 and col("b") == 2 or col("c") == 3',
            {
                "type": "or",
                "conditions": [
                    {"type": "and", "conditions": [compared("a", "==", 1), compared("b", "==", 2)]},
                    compared("c", "==", 3),
                ],
            },
        ),
    ],
)
def test_chinese_quotes_lists_and_several_comparisons_are_read(text: str, condition: dict[str, Any]) -> None:
    assert read_condition(text) == condition


@pytest.mark.parametrize(
    "text",
    ["", "a > 3", 'col("a")', 'col("a") == None', 'col("a") == [1]', 'col("a") in 1', '1 < col("a") < 3', 'col("a") > b"1"',
     'col("a") == date("soon")', 'col("a") == __import__("os")', 'col("a").drop()', 'not col("a") == 1', "(" * 500],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a condition such as col\("):
        read_condition(text)
