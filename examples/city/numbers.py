"""Identity numbers, credit codes and telephone numbers that pass every check and belong to nobody.

Check digits follow GB 11643-1999 (identity number), GB 32100-2015 (unified social credit code), GB 11714-1997
(organisation code) and, for the 15-digit business registration number, ISO/IEC 7064 MOD 11,10.

Synthetic on purpose: identity numbers use sequences from 900 up, which offices hardly ever reach; organisation codes
begin with X; mobile numbers use prefixes that no carrier has been given; the area code 0399 does not exist.
"""

from __future__ import annotations

import datetime as dt
from random import Random

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_ORGANISATION_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_UNASSIGNED_MOBILE = ("160", "161", "163", "164", "168", "169")


def resident_id_check(first_17: str) -> str:
    total = sum(int(digit) * weight for digit, weight in zip(first_17, _ID_WEIGHTS, strict=True))
    return "10X98765432"[total % 11]


def organisation_check(first_8: str) -> str:
    total = sum(_ORGANISATION_ALPHABET.index(c) * weight for c, weight in zip(first_8, _ORGANISATION_WEIGHTS, strict=True))
    check = 11 - total % 11
    return {10: "X", 11: "0"}.get(check, str(check))


def credit_code_check(first_17: str) -> str:
    total = sum(_CREDIT_ALPHABET.index(c) * pow(3, place, 31) for place, c in enumerate(first_17))
    return _CREDIT_ALPHABET[(31 - total % 31) % 31]


def registration_check(first_14: str) -> str:
    """Check digit of the 15-digit business registration number used before 2015."""
    remainder = 10
    for digit in first_14:
        remainder = (remainder + int(digit)) % 10 or 10
        remainder = remainder * 2 % 11
    return str((11 - remainder) % 10)


class Numbers:
    """Hands out numbers, each at most once."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._used: set[str] = set()
        self._organisations = rng.randrange(1_000, 9_000)
        self._registrations = rng.randrange(10_000, 90_000)

    def resident_id(self, division: str, born: dt.date, sex: str) -> str:
        """Odd sequence for men (`sex` 1), even for women (GB/T 2261.1: 2)."""
        while True:
            sequence = 900 + 2 * self._rng.randrange(0, 50) + (sex == "1")
            first_17 = f"{division}{born:%Y%m%d}{sequence}"
            number = first_17 + resident_id_check(first_17)
            if number not in self._used:
                self._used.add(number)
                return number

    def credit_code(self, kind: str, division: str) -> str:
        """`kind` is the first two positions: 91 enterprise, 92 individual business, 93 cooperative, 51-53 social."""
        self._organisations += self._rng.randrange(1, 4)
        body = "X" + _to_base(self._organisations, _CREDIT_ALPHABET, 7)
        first_17 = kind + division + body + organisation_check(body)
        return first_17 + credit_code_check(first_17)

    def registration_no(self, division: str) -> str:
        self._registrations += self._rng.randrange(1, 5)
        first_14 = f"{division}{self._registrations:08d}"
        return first_14 + registration_check(first_14)

    def mobile(self) -> str:
        while True:
            number = self._rng.choice(_UNASSIGNED_MOBILE) + f"{self._rng.randrange(10**8):08d}"
            if number not in self._used:
                self._used.add(number)
                return number

    def fixed_phone(self) -> str:
        return f"0399-{self._rng.randrange(2_000_000, 8_999_999)}"


def _to_base(number: int, alphabet: str, width: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, len(alphabet))
        digits = alphabet[rest] + digits
    return digits.rjust(width, "0")
