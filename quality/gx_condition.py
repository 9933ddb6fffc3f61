"""`row_condition` written as text, such as `col("类别") == "个体" and col("人数") > 0`, in the form Great Expectations keeps.

Great Expectations reads text too, but its grammar knows ASCII only, one comparison, and no apostrophe in a value.
"""

from __future__ import annotations

import ast
import datetime as dt
import warnings
from typing import Any

_OPERATORS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "IN", ast.NotIn: "NOT_IN",
}  # fmt: skip


def read_condition(text: str) -> dict[str, Any]:
    """The condition as Great Expectations writes it to JSON. ValueError, with an example, for text that is none.

    Takes `col("a")` compared (`==` `!=` `<` `<=` `>` `>=`) with a text, number, true, false or `date("2026-03-02")`;
    `in` and `not in` a list; `.notnull()`, `.isnull()`; and `and`, `or` between these. A row in which the column is NULL
    meets no comparison.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # a backslash in a value is a backslash
            warnings.simplefilter("ignore", DeprecationWarning)
            return _condition(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        example = """col("kind") == "1" and col("opened_on") >= date("2026-03-02")"""
        raise ValueError(f"row_condition cannot be read: {text}; expected a condition such as {example}") from None


def _condition(node: ast.expr) -> dict[str, Any]:
    match node:
        case ast.BoolOp(op=ast.And() | ast.Or() as operator, values=parts):
            return {"type": "and" if isinstance(operator, ast.And) else "or", "conditions": [_condition(part) for part in parts]}
        case ast.Compare(left=column, ops=[operator], comparators=[value]) if type(operator) in _OPERATORS:
            compared = {"column": _column(column), "operator": _OPERATORS[type(operator)], "parameter": _value(value)}
            if isinstance(compared["parameter"], list) == isinstance(operator, ast.In | ast.NotIn):
                return {"type": "comparison", **compared}
        case ast.Call(func=ast.Attribute(value=column, attr="notnull" | "isnull" as asked), args=[], keywords=[]):
            return {"type": "nullity", "column": _column(column), "is_null": asked == "isnull"}
    raise ValueError


def _column(node: ast.expr) -> dict[str, str]:
    match node:
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))], keywords=[]):
            return {"name": name}
    raise ValueError


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Name(id="true" | "false" as word):
            return word == "true"
        case ast.Call(func=ast.Name(id="date"), args=[ast.Constant(value=str(day))], keywords=[]):
            dt.datetime.fromisoformat(day)
            return day
        case ast.List(elts=values):
            return [_value(value) for value in values]
    raise ValueError
