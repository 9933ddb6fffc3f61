"""Small charts as inline SVG. Each carries its meaning in words too, or stands beside the number it draws.

Colours come from the style sheet by class, so that dark mode and print change them in one place. A state has its own
shape as well as its own colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from markupsafe import Markup, escape

#: state -> the drawing in a 14 x 14 box
SHAPES = {
    "early": '<rect x="1" y="1" width="12" height="12" rx="2.5" class="f"/><path d="M4 9.5 7 5l3 4.5z" class="n"/>',
    "on_time": '<rect x="1" y="1" width="12" height="12" rx="2.5" class="f"/>',
    "late": '<rect x="1.6" y="1.6" width="10.8" height="10.8" rx="2.2" class="s"/><path d="M1.8 12.2 12.2 1.8V12.2z" class="f"/>',
    "missing": '<rect x="1" y="1" width="12" height="12" rx="2.5" class="f"/><path d="m4 4 6 6m0-6-6 6" class="l"/>',
    "held": '<rect x="1" y="1" width="12" height="12" rx="2.5" class="f"/><path d="M3.8 7h6.4" class="l"/>',
    "not_due": '<rect x="1.6" y="1.6" width="10.8" height="10.8" rx="2.2" class="s d"/>',
    "good": '<circle cx="7" cy="7" r="5" class="f"/>',
    "received": '<circle cx="7" cy="7" r="4.4" class="s"/>',
    "never": '<circle cx="7" cy="7" r="4.4" class="s d"/>',
    "none": '<circle cx="7" cy="7" r="1.2" class="f"/>',
}


def symbols() -> Markup:
    """The shapes of all states, once per page; `mark` refers to them."""
    drawn = "".join(f'<symbol id="m-{name}" viewBox="0 0 14 14">{shape}</symbol>' for name, shape in SHAPES.items())
    return Markup('<svg class="defs" aria-hidden="true" focusable="false">{}</svg>').format(Markup(drawn))  # noqa: S704 - constants


def mark(state: str) -> Markup:
    """The sign of a state. Decoration: the words stand beside it, or hidden after it."""
    shape = state if state in SHAPES else "none"
    return Markup('<svg class="mark {}" aria-hidden="true" focusable="false"><use href="#m-{}"/></svg>').format(state, shape)


def bar(value: Decimal | None, grade: str = "") -> Markup:
    """A score from 0 to 100 as a bar. A dashed line where there is no score."""
    if value is None:
        return Markup(
            '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
            '<path d="M0 3H100" class="nothing"/></svg>'
        )
    return Markup(
        '<svg class="bar g-{}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="100" height="6" class="track"/><rect width="{}" height="6" class="value"/></svg>'
    ).format(grade, f"{value:.2f}")


def spark(counts: Sequence[Decimal], label: str) -> Markup:
    """A bar per batch, oldest first, the last one marked; `label` tells the counts in words. Nothing is a line on the ground."""
    most = max(counts, default=Decimal(0))
    drawn = []
    for place, number in enumerate(counts):
        height = max(Decimal(2), 22 * number / most) if number else Decimal("0.8")
        kind = "none" if not number else "last" if place == len(counts) - 1 else "some"
        drawn.append(f'<rect x="{7 * place}" y="{24 - height:.2f}" width="5" height="{height:.2f}" class="{kind}"/>')
    inner = Markup("".join(drawn))  # noqa: S704 - constants and numbers
    width = max(1, 7 * len(counts) - 2)
    start = Markup('<svg class="spark" viewBox="0 0 {} 24" width="{}" height="24" role="img" aria-label="{}">')
    return start.format(width, width, label) + inner + Markup("</svg>")


def stack(parts: Sequence[tuple[str, int | Decimal]], label: str) -> Markup:
    """Parts of a whole side by side; `label` tells it in words."""
    total = sum((Decimal(size) for _, size in parts), Decimal(0))
    if not total:
        return Markup(
            '<svg class="stack" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">'
            '<rect width="100" height="10" class="track"/></svg>'
        ).format(label)
    at, drawn = Decimal(0), []
    for name, size in parts:
        if size:
            width = 100 * Decimal(size) / total
            drawn.append(f'<rect x="{at:.3f}" width="{width:.3f}" height="10" class="{escape(name)}"/>')
            at += width
            if at < Decimal("99.99"):
                drawn.append(f'<path d="M{at:.3f} 0V10" class="gap"/>')
    inner = Markup("".join(drawn))  # noqa: S704 - names are escaped, the rest are numbers
    start = Markup('<svg class="stack" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">').format(label)
    return start + inner + Markup("</svg>")


#: state -> its path in a 7 x 7 box, beginning where the box stands. Different in form, not only in colour.
_SQUARES = {
    "on_time": "h7v7h-7z", "early": "h7v7h-7zm3.5 1.5l-2 4h4z", "late": "m0 7l7-7v7z", "held": "m0 2.5h7v2h-7z",
    "missing": "h1.6l1.9 2.4 1.9-2.4h1.6l-2.6 3.5 2.6 3.5h-1.6l-1.9-2.4-1.9 2.4h-1.6l2.6-3.5z", "not_due": "m2.5 3h2v1h-2z",
}  # fmt: skip


def squares(states: Sequence[str]) -> Markup:
    """One sign per day, blanks where nothing was due; decoration beside the counts that say the same."""
    paths: dict[str, str] = {}
    for place, state in enumerate(states):
        if state:
            paths[state] = paths.get(state, "") + f"M{9 * place} 0" + _SQUARES[state]
    drawn = "".join(f'<path class="{state}" d="{path}"/>' for state, path in sorted(paths.items()))
    start = f'<svg class="days" viewBox="0 0 279 7" width="279" height="7" aria-hidden="true" focusable="false">{drawn}</svg>'
    return Markup(start)  # noqa: S704 - constants and numbers


def lines(names: Sequence[str], series: Sequence[tuple[str, Sequence[Decimal | None]]], label: str) -> Markup:
    """Scores over months: one line each, dashed differently, named at its end; broken where there is no score.

    The scale ends at 100 and begins at the multiple of 20 below the lowest score. `label` tells the chart in words; a table with
    every number stands beside it.
    """
    known = [value for _, values in series for value in values if value is not None]
    least = min(80, int(min(known, default=Decimal(0))) // 20 * 20)
    step, high = Decimal(620) / max(1, len(names) - 1), Decimal(160) / (100 - least)

    def down(value: Decimal) -> Decimal:
        return 10 + (100 - value) * high

    def at(place: int, value: Decimal) -> str:
        return f"{40 + step * place:.1f} {down(value):.1f}"

    drawn = []
    for y in range(least, 101, 20 if least < 60 else 10):
        drawn.append(f'<path class="grid" d="M40 {down(Decimal(y)):.1f}H660"/>')
        drawn.append(f'<text class="axis" x="34" y="{down(Decimal(y)) + 4:.1f}" text-anchor="end">{y}</text>')
    for place in range(0, len(names), max(1, -(-len(names) // 8))):
        drawn.append(f'<text class="axis" x="{40 + step * place:.1f}" y="190" text-anchor="middle">{escape(names[place])}</text>')
    ends: list[tuple[Decimal, str, tuple[int, Decimal]]] = []
    for code, values in series:
        there = [(place, value) for place, value in enumerate(values) if value is not None]
        path = "".join(("L" if place and values[place - 1] is not None else "M") + at(place, value) for place, value in there)
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.6"/>' for x, y in (at(*one).split() for one in there))
        drawn.append(f'<g class="{escape(code)}"><path class="line" d="{path}"/>{dots}</g>')
        ends += [(down(there[-1][1]), code, there[-1])] if there else []
    floor = Decimal(0)
    for end, code, (place, value) in sorted(ends):
        floor = max(end + 4, floor + 15)
        drawn.append(
            f'<text class="name {escape(code)}" x="{50 + step * place:.1f}" y="{floor:.1f}">{escape(code)} {value}</text>'
        )
    inner = Markup("".join(drawn))  # noqa: S704 - names are escaped, the rest are numbers
    return Markup('<svg class="lines" viewBox="0 0 760 200" role="img" aria-label="{}">').format(label) + inner + Markup("</svg>")
