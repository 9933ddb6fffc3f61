"""What a reviewer sees of two values: as much as the question needs, and no more.

- An attribute that is not personal is shown as it is.
- A number (identity number, phone, any code, whatever is kept as a digest, grade G4): its last four characters, and whether the two are
  the same; where they differ, in how many characters.
- What else is personal and equal on both sides: its ends, with the middle hidden; of a date the year. There is nothing to compare.
- What else is personal and differs: whole, on both sides. Nobody can judge a difference that he does not see.
- Where one side has nothing: the other as if it were equal.

Whoever is not shown things `whole` (a page of Airflow, which keeps what it shows) sees what differs with its middle hidden as well, and in how many
characters it differs; the rows themselves he finds by file and number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from catalog.entity import Attribute
from quality.finding import masked

#: Characters of a number that are shown. Four identify nobody by themselves, and find the row in the department's own system.
SHOWN = 4


@dataclass(frozen=True)
class Compared:
    """One attribute of two records as a reviewer sees it. `verdict`: same, differs, missing (on one side or both).

    `older`: of which side the row that is shown leaves the cell empty, and an earlier row of the same key said it.
    """

    attribute: str
    zh: str
    en: str
    left: str
    right: str
    verdict: str
    characters: int = 0  # of a value that differs and is not shown whole: in how many
    older: tuple[bool, bool] = (False, False)

    @property
    def told_zh(self) -> str:
        how = f"不同（{self.characters} 位）" if self.characters else "不同"
        return {"same": "相同", "missing": "缺"}.get(self.verdict, how) + self._earlier("；{}为较早报送", "甲乙", "、")

    @property
    def told_en(self) -> str:
        how = f"differs in {self.characters}" if self.characters else "differs"
        return {"same": "same", "missing": "missing"}.get(self.verdict, how) + self._earlier(
            "; {} from an earlier file", "AB", ", "
        )

    def _earlier(self, text: str, sides: str, comma: str) -> str:
        old = [side for side, is_old in zip(sides, self.older, strict=True) if is_old]
        return text.format(comma.join(old)) if old else ""


def compared(
    attribute: Attribute, left: str | None, right: str | None, *, whole: bool = True, older: tuple[bool, bool] = (False, False)
) -> Compared:
    """The two values of one attribute by the rule at the head of this module."""
    verdict = "missing" if left is None or right is None else "same" if left == right else "differs"
    shows: Callable[[str], str] = _end if is_number(attribute) else partial(_hidden, attribute)
    if not attribute.is_masked or (verdict == "differs" and whole and not is_number(attribute)):
        shows = _as_it_is
    shown = (shows(left or ""), shows(right or ""))
    characters = _apart(left or "", right or "") if verdict == "differs" and shows is not _as_it_is else 0
    called = attribute.called
    return Compared(attribute.name, called.zh, called.en, *shown, verdict, characters, older)


def is_number(attribute: Attribute) -> bool:
    """Whether only the end of a value is ever shown."""
    return attribute.digest or attribute.grade == "G4" or (attribute.is_masked and attribute.kind in ("code", "phone", "number"))


def _as_it_is(value: str) -> str:
    return value


def _end(value: str) -> str:
    if not value:
        return ""
    # of a short number, such as a code of one digit, less than half
    return "…" + value[-min(SHOWN, (len(value) - 1) // 2) :] if len(value) > 2 else "…"


def _hidden(attribute: Attribute, value: str) -> str:
    if not value:
        return ""
    if attribute.kind == "date" or attribute.type == "date":
        return f"{value[:4]}-**-**"
    if attribute.kind == "person_name":
        return value[0] + "*" * (len(value) - 2) + value[-1] if len(value) > 2 else value[0] + "*"
    return masked(value)


def _apart(a: str, b: str) -> int:
    """Characters to change, leave out or put in to make one of the other (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
