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
