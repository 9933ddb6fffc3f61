"""Half-up rounding to the places that are printed. A printed number is the number used next."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

RATIO = Decimal("0.000001")
SCORE = Decimal("0.01")
# Wide enough that a quotient of two counts is never rounded twice, and independent of the caller's own
# context.
EXACT = Context(prec=60, rounding=ROUND_HALF_UP)


def half_up(value: Decimal, step: Decimal) -> Decimal:
    """Round to a step such as 0.01, ties away from zero."""
    return value.quantize(step, rounding=ROUND_HALF_UP, context=EXACT)


def ratio(part: Decimal | int, whole: Decimal | int) -> Decimal:
    """part / whole to 6 places. The caller has made sure that there is a whole."""
    return half_up(EXACT.divide(Decimal(part), Decimal(whole)), RATIO)
