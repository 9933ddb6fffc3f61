"""How matching looks at each kind of attribute: normal forms, grades of likeness, what must agree to be compared at all.

Everything here is SQL text; the two functions over characters that it calls are registered by `install`. DuckDB's string distances
compare UTF-8 bytes, and one Chinese character differs from another by one to three of them. So text that is not Latin is first
written in one byte per character (`edits`, `likeness`), and only then measured. Chinese names of people are also compared by
sound, names of organisations and addresses by their parts (`link_chinese`), other text by pairs of neighbouring characters.

Each grade of likeness means something for Latin and for Chinese values alike: a grade that one script never reaches would
take its share of the true pairs from the others.

The column `<attribute>__n` is the normal form; other suffixes are described beside the kind that makes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import duckdb

from catalog.entity import Compare, Entity
from pipelines import link_characters, link_chinese

FULL_WIDTH = "".join(chr(c) for c in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B), 0x3000))
HALF_WIDTH = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz "

#: Legal forms and filler words, which say nothing about which organisation it is.
COMPANY_WORDS = (
    "INC", "INCORPORATED", "LLC", "LLP", "LTD", "LIMITED", "CO", "COMPANY", "CORP", "CORPORATION", "PLC", "GMBH", "AG", "SA",
    "BV", "PTY", "THE", "OF", "AND", "FOR", "AT", "IN", "A",
)  # fmt: skip
COMPANY_FORMS = "有限责任公司|股份有限公司|有限公司|有限责任|股份公司|集团公司|总公司|公司"

#: One spelling per word, left as found, right as compared.
ABBREVIATIONS = {
    "NORTH": "N", "SOUTH": "S", "EAST": "E", "WEST": "W",
    "NORTHEAST": "NE", "NORTHWEST": "NW", "SOUTHEAST": "SE", "SOUTHWEST": "SW", "SO": "S", "NO": "N",
    "STREET": "ST", "STR": "ST", "AVENUE": "AVE", "AV": "AVE", "BOULEVARD": "BLVD", "BL": "BLVD", "ROAD": "RD",
    "DRIVE": "DR", "PLACE": "PL", "COURT": "CT", "CRT": "CT", "LANE": "LN", "PARKWAY": "PKWY", "TERRACE": "TER",
    "TCE": "TER", "CIRCLE": "CIR", "CIRCUIT": "CCT", "CRESCENT": "CRES", "HIGHWAY": "HWY", "SQUARE": "SQ",
    "CLOSE": "CL", "MOUNT": "MT", "SAINT": "ST",
}  # fmt: skip
DIRECTIONS = ("N", "S", "E", "W", "NE", "NW", "SE", "SW")
STREET_TYPES = ("ST", "AVE", "BLVD", "RD", "DR", "PL", "CT", "LN", "PKWY", "TER", "CIR", "CCT", "CRES", "HWY", "SQ", "CL", "WAY")
UNITS = "SUITE|STE|APT|APARTMENT|UNIT|FLOOR|FL|ROOM|RM|BLDG|BUILDING|LEVEL|LOT"


def _list(words: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(f"'{w}'" for w in words) + "]"


#: What each character of two strings is written as, in the order in which they first appear.
_ONE_BYTE = "".join(chr(c) for c in range(33, 127) if chr(c) not in "'\"\\")

_WORDS = "MAP {" + ", ".join(f"'{k}': '{v}'" for k, v in ABBREVIATIONS.items()) + "}"

#: Created beside the scratch tables, so that the statements stay short enough to read.
MACROS: Mapping[str, str] = {
    # letters and digits of any script, upper case, half width, one blank between words; nothing left is NULL
    "plain(v)": f"""nullif(trim(regexp_replace(upper(strip_accents(translate(v, '{FULL_WIDTH}', '{HALF_WIDTH}'))),
        '[^\\p{{L}}\\p{{N}}]+', ' ', 'g')), '')""",
    # the same without blanks between Chinese characters, where they carry no meaning
    "squeezed(v)": "regexp_replace(plain(v), '(\\p{Han}) +', '\\1', 'g')",
    "is_han(v)": "regexp_matches(v, '\\p{Han}')",
    # Latin words, and neighbouring pairs of Chinese characters: 中关村 -> 中关, 关村
    "pieces(v)": """list_sort(list_distinct(flatten(list_transform(regexp_extract_all(v, '\\p{Han}+|[^\\p{Han} ]+'),
        lambda s: CASE WHEN is_han(s) AND length(s) > 1
                       THEN list_transform(range(1, length(s)), lambda i: substr(s, i, 2)) ELSE [s] END))))""",
    # what two lists of (piece, weight) have in common: as share of both (Dice), and as share of the smaller
    "shared(a, b, bt)": "coalesce(list_sum(list_transform(list_filter(a, lambda x: list_contains(bt, x.t)), lambda x: x.w)), 0)",
    "dice(a, ta, wa, b, tb, wb)": "2 * shared(a, b, tb) / (wa + wb)",
    "overlap(a, ta, wa, b, tb, wb)": "shared(a, b, tb) / least(wa, wb)",
    # two records that share two of their four rarest pieces are worth a look
    "rarest(tw)": "list_transform(list_sort(list_transform(tw, lambda x: {'w': -x.w, 't': x.t}))[:4], lambda x: x.t)",
    "rare_pairs(tw)": """flatten(list_transform(rarest(tw), lambda a: list_transform(
        list_filter(rarest(tw), lambda b: b > a), lambda b: a || ' ' || b)))""",
    # equally long, and all characters but one the same in place
    "one_character_apart(a, b)": """length(a) = length(b) AND length(a) > 1 AND len(list_filter(
        list_zip(string_split(a, ''), string_split(b, '')), lambda z: z[1] <> z[2])) = 1""",
    "company(v)": f"""coalesce(nullif(list_aggregate(list_filter(string_split(
        squeezed(regexp_replace(plain(v), '{COMPANY_FORMS}', ' ', 'g')), ' '),
        lambda w: NOT list_contains({_list(COMPANY_WORDS)}, w)), 'string_agg', ' '), ''), squeezed(v))""",
    # an address in one spelling; what follows SUITE, APT, # is left out
    "spelled(v)": f"""nullif(list_aggregate(list_transform(string_split(trim(regexp_replace(
        squeezed(replace(v, '#', ' UNIT ')), ' ({UNITS}) .*$', '')), ' '),
        lambda w: regexp_replace(coalesce(({_WORDS})[w], w), '^(\\d+)(ST|ND|RD|TH)$', '\\1')), 'string_agg', ' '), '')""",
    # 省, 市, 区 in front are often left out, so they are not compared
    "local_part(v)": """regexp_replace(regexp_replace(regexp_replace(v, '^\\p{Han}{1,10}?(省|自治区)', ''),
        '^\\p{Han}{1,8}?市', ''), '^\\p{Han}{1,6}?[区县旗](\\p{Han}{2})', '\\1')""",
    # 中关村大街27号院3号楼 -> 27; 幸福小区12栋 -> 12; 10 S KEDZIE -> 10; WASHINGTON 27 -> none
    "house_number(v)": """left(coalesce(nullif(regexp_extract(v, '(\\d+)号', 1), ''),
        nullif(regexp_extract(v, CASE WHEN is_han(v) THEN '(\\d+)' ELSE '^(\\d+)' END, 1), '')), 18)""",
    "words_after_number(v)": "string_split(regexp_replace(v, '^\\d+[A-Z]? +', ''), ' ')",
    "names_of(words)": f"list_filter(words, lambda w: w <> '' AND NOT list_contains({_list(DIRECTIONS + STREET_TYPES)}, w))",
    "street_words(v)": """CASE WHEN is_han(v) THEN pieces(regexp_extract(local_part(v), '^[^\\d]+'))
        WHEN len(names_of(words_after_number(v))) > 0 THEN list_distinct(names_of(words_after_number(v)))
        ELSE list_distinct(words_after_number(v)) END""",
    "direction(v)": f"""list_filter(string_split(v, ' '), lambda w: list_contains({_list(DIRECTIONS)}, w))[1]""",
    # the distances of DuckDB by characters; the 91 characters that come first in a and b count
    "one_byte(v, a, b)": f"translate(v, a || b, '{_ONE_BYTE}')",
    "edits(a, b)": "damerau_levenshtein(one_byte(a, a, b), one_byte(b, a, b))",
    "likeness(a, b)": "jaro_winkler_similarity(one_byte(a, a, b), one_byte(b, a, b))",
    # two texts without a common end are more than one edit apart, but for swaps of two characters that are all there is
    "common_end(a, b)": "left(a, 1) = left(b, 1) OR right(a, 1) = right(b, 1)",
    "slip_apart(a, b)": "CASE WHEN length(a) + length(b) > 4 AND common_end(a, b) THEN edits(a, b) <= 1 ELSE false END",
    # a Chinese name with a character that a system could not write, or that somebody hid, is no name to compare
    "legible(v)": "CASE WHEN is_han(v) AND regexp_matches(v, '[?？*＊〓□■�]') THEN NULL ELSE v END",
    "digits(v)": "nullif(regexp_replace(v, '\\D', '', 'g'), '')",
}


@dataclass(frozen=True)
class Level:
    """One grade of likeness. `m` is the share of true pairs expected here, before the data say otherwise."""

    label: str
    sql: str
    m: float
    frequency: str | None = None  # column whose rare values count for more


@dataclass(frozen=True)
class Look:
    """How one attribute is compared.

    `forms` are columns of each record, as suffix -> SQL over the attribute's own text `v` and over earlier forms.
    `weighed` is the suffix of a list of pieces; rare pieces weigh more: `t` its pieces, `tw` with weights, `w` their sum.
    `key` is the suffix of the column whose equality the model is trained on, `blocks` the SQL list of values of which two
    records must share one to be compared at all.
    """

    attribute: str
    forms: Mapping[str, str]
    levels: tuple[Level, ...]
    key: str
    blocks: str
    weighed: str | None = None
    kept: tuple[str, ...] = ()  # forms that levels, blocks or keys use; the others are steps on the way
    shared: bool = False  # one value may serve several entities, such as the switchboard of a company

    distinctive: bool = False  # differs between most entities, and is spelled alike for one of them

    def column(self, suffix: str) -> str:
        return f"{self.attribute}__{suffix}"


SUFFIXES = ("n", "k", "s", "d", "h", "t", "tw", "w", "p", "x", "y", "l", "g", "c", "a", "z", "b", "r", "e", "u", "f")


def _own(attribute: str, expression: str) -> str:
    """`{n}` becomes `"<attribute>__n"`."""
    for suffix in SUFFIXES:
        expression = expression.replace("{" + suffix + "}", f'"{attribute}__{suffix}"')
    return expression


def _both(attribute: str, condition: str) -> str:
    """`{n}` becomes `"<attribute>__n_l"`, `{n'}` the same of the other record."""
    for suffix in SUFFIXES:
        condition = condition.replace("{" + suffix + "}", f'"{attribute}__{suffix}_l"')
        condition = condition.replace("{" + suffix + "'}", f'"{attribute}__{suffix}_r"')
    return condition


_DICE = "dice({tw}, {t}, {w}, {tw'}, {t'}, {w'})"
_OVERLAP = "overlap({tw}, {t}, {w}, {tw'}, {t'}, {w'})"
_LATIN = "NOT is_han({n}) AND NOT is_han({n'}) AND "


def _exactly(normal: str, frequency: str | None = None) -> tuple[dict[str, str], list[Level]]:
    return {"n": normal}, [Level("equal", "{n} = {n'}", 0.85, frequency)]


@dataclass(frozen=True)
class _Way:
    """A look before it is one of an attribute: `{n}` stands for its normal form, `{n'}` for that of the other record."""

    forms: Mapping[str, str]
    levels: tuple[Level, ...]
    key: str = "n"
    blocks: str = "[{n}]"
    weighed: str | None = None
    kept: tuple[str, ...] = ()  # default: all


_BY_PIECES = "list_concat([{n}], rare_pairs({tw}), list_transform({t}, lambda x: '~' || x))"


def _exact() -> _Way:
    forms, levels = _exactly("nullif(trim(v), '')")
    return _Way(forms, tuple(levels))


def _person() -> _Way:
    forms, levels = _exactly("squeezed(simplified(legible(v)))", "n")
    forms |= {"s": "list_aggregate(list_sort(string_split({n}, ' ')), 'string_agg', ' ')", "p": "sounds({n})"}
    some = "CASE WHEN is_han({n}) THEN 2 ELSE 3 END"
    blocks = f"list_concat([{{n}}, '^' || left({{n}}, {some}), right({{n}}, {some}) || '$'], list_transform({{p}}, lambda x: '@' || x))"
    chinese = "{p} IS NOT NULL AND {p'} IS NOT NULL"
    levels += [
        Level(
            "other order of words, or the same sound",
            f"CASE WHEN {chinese} THEN list_has_any({{p}}, {{p'}}) ELSE {{s}} = {{s'}} END",
            0.03,
        ),
        Level(
            "close spelling, or one character differs",
            f"CASE WHEN {chinese} THEN slip_apart({{n}}, {{n'}})"
            f" ELSE {_LATIN}(jaro_winkler_similarity({{n}}, {{n'}}) >= 0.92 OR damerau_levenshtein({{n}}, {{n'}}) <= 1) END",
            0.05,
        ),
        Level(
            "similar spelling",
            f"CASE WHEN {chinese} THEN CASE WHEN length({{n}}) + length({{n'}}) > 5 AND common_end({{n}}, {{n'}})"
            f" THEN likeness({{n}}, {{n'}}) >= 0.75 ELSE false END ELSE {_LATIN}jaro_winkler_similarity({{n}}, {{n'}}) >= 0.8 END",
            0.03,
        ),
    ]
    return _Way(forms, tuple(levels), blocks=blocks)


def _organisation() -> _Way:
    forms = {
        "x": "CASE WHEN is_han(v) THEN firm_text(v) END",
        "b": "firm_branch({x})",
        "y": "firm_body({x}, {b})",
        "g": "firm_division({y})",
        "c": "substr({y}, length({g}) + 1)",
        "a": "firm_industry({c})",
        "z": "nullif(left({c}, length({c}) - length(coalesce({a}, ''))), '')",
        "d": "bare_division({g} || coalesce(firm_bracket(v), ''))",
        "n": "CASE WHEN {z} IS NULL THEN company(v) ELSE coalesce({d}, '') || {c} || coalesce(' ' || {b}, '') END",
        "p": "sounds({z})",
        "t": "pieces(CASE WHEN {z} IS NULL THEN {n} ELSE {c} END)",
    }
    by_trade = "list_concat([{n}, '=' || {z}, '=' || {d} || {z}], list_transform({p}, lambda x: '@' || x), rare_pairs({tw}))"
    blocks = f"CASE WHEN {{z}} IS NULL THEN {_BY_PIECES} ELSE {by_trade} END"
    weighed, kept = "t", ("n", "b", "a", "z", "d", "p", "t")
    chinese = "{z} IS NOT NULL AND {z'} IS NOT NULL"
    # 云泽鹤源 is 鹤源 of 云泽市
    trade = "({z} = {z'} OR coalesce({d}, '') || {z} = coalesce({d'}, '') || {z'})"
    near = "coalesce({b}, '') = coalesce({b'}, '') AND may_hold({d}, {d'})"
    by_parts = [
        f"{near} AND {trade} AND {{a}} IS NOT DISTINCT FROM {{a'}}",
        f"{near} AND {trade} AND may_hold({{a}}, {{a'}})",
        f"CASE WHEN {near} AND may_hold({{a}}, {{a'}}) THEN list_has_any({{p}}, {{p'}}) OR suffix({{z}}, {{z'}})"
        " OR suffix({z'}, {z}) OR slip_apart({z}, {z'}) ELSE false END",
        trade,
    ]
    by_words = [_DICE + " >= 0.8", _OVERLAP + " >= 0.9", _DICE + " >= 0.5", _OVERLAP + " >= 0.4"]
    labels = [
        ("nearly all words, or the same trade name and industry", 0.2),
        ("one contains the other, or the same trade name", 0.12),
        ("most words, or a like trade name in the same industry", 0.08),
        ("some words, or the trade name of another place, industry or branch", 0.05),
    ]
    levels = [Level("equal", "{n} = {n'}", 0.5)]
    levels += [
        Level(label, f"CASE WHEN {chinese} THEN {parts} ELSE {words} END", m)
        for (label, m), parts, words in zip(labels, by_parts, by_words, strict=True)
    ]
    return _Way(forms, tuple(levels), blocks=blocks, weighed=weighed, kept=kept)


def _address() -> _Way:
    forms = {
        "x": "CASE WHEN is_han(v) THEN place_text(v) END",
        "l": "place_local({x})",
        "r": "place_road({l})",
        "y": "place_after({l}, {r})",
        "e": "place_estate({y})",
        "b": "place_building({y})",
        "u": "place_unit({y})",
        "f": "place_room({y})",
        "n": "coalesce({l}, spelled(v))",
        "h": "CASE WHEN {x} IS NULL THEN house_number({n}) ELSE left(place_number({y}), 18) END",
        "t": "CASE WHEN {x} IS NULL THEN street_words({n}) ELSE pieces(coalesce({r}, {e}, {n})) END",
        "d": "CASE WHEN {x} IS NULL THEN direction({n}) ELSE place_district({x}) END",
        "k": "CASE WHEN {x} IS NULL THEN {h} || ' ' || {t}[1] ELSE {n} END",
    }
    key, weighed, kept = "k", "t", ("x", "r", "e", "b", "u", "f", "n", "h", "t", "d", "k")
    blocks = (
        "CASE WHEN {x} IS NOT NULL THEN [{n}, {r} || ' ' || {h}, {e} || ' ' || {b}, {e} || ' ' || {f}]"
        " WHEN {h} IS NULL THEN {t} ELSE list_transform({t}, lambda x: {h} || ' ' || x) END"
    )
    chinese = "{x} IS NOT NULL AND {x'} IS NOT NULL"
    same_side = "coalesce({d} = {d'}, true)"
    door = "({r} = {r'} AND {h} = {h'} OR {e} = {e'})"
    house = f"{same_side} AND may_agree({{h}}, {{h'}}) AND may_hold({{r}}, {{r'}}) AND may_hold({{e}}, {{e'}}) AND may_agree({{b}}, {{b'}})"
    flat = "may_agree({u}, {u'}) AND may_agree({f}, {f'})"
    same_flat = "{b} IS NOT DISTINCT FROM {b'} AND {f} IS NOT DISTINCT FROM {f'}"
    by_parts = [
        f"{door} AND {house} AND {flat} AND {same_flat}",
        f"{door} AND {house} AND {flat}",
        f"CASE WHEN {same_side} AND {{h}} = {{h'}} AND may_agree({{b}}, {{b'}}) AND {flat} THEN slip_apart({{r}}, {{r'}}) ELSE false END",
        f"{door} AND {house}",
        f"{same_side} AND ({{r}} = {{r'}} OR {{e}} = {{e'}})",
        "{h} = {h'}",
    ]
    by_words = [
        f"{{k}} = {{k'}} AND {same_side}",
        f"{{h}} = {{h'}} AND {same_side} AND ({_OVERLAP} >= 0.5"
        " OR jaro_winkler_similarity({t}[1], {t'}[1]) >= 0.88 AND NOT is_han({n}))",
        f"({{h}} = {{h'}}) IS NULL AND {_OVERLAP} >= 0.8",
        f"abs({{h}}::BIGINT - {{h'}}::BIGINT) <= 20 AND {_OVERLAP} >= 0.8",
        f"{_OVERLAP} >= 0.8",
        "{h} = {h'}",
    ]
    labels = [
        ("same number and street, or same room", 0.4, "k"),
        ("same number and like street, or same building and a part missing", 0.08, None),
        ("same street and a number missing, or same number and street spelled alike", 0.03, None),
        ("same street and number near, or another room of the same building", 0.02, None),
        ("same street", 0.02, None),
        ("same number", 0.01, None),
    ]
    levels = [Level("equal", f"{{n}} = {{n'}} AND {same_side}", 0.4, "k")]
    levels += [
        Level(label, f"CASE WHEN {chinese} THEN {parts} ELSE {words} END", m, frequency)
        for (label, m, frequency), parts, words in zip(labels, by_parts, by_words, strict=True)
    ]
    return _Way(forms, tuple(levels), key=key, blocks=blocks, weighed=weighed, kept=kept)


def _phone() -> _Way:
    # the last seven digits are the subscriber, whatever area or country code one source adds
    forms = {"n": "digits(v)", "k": "right({n}, 7)"}
    key, blocks = "k", "[{k}]"
    ends = "(suffix({n}, {n'}) OR suffix({n'}, {n}))"
    levels = [
        Level("equal", f"{{k}} = {{k'}} AND {ends}", 0.8, "k"),
        Level("same subscriber", "{k} = {k'}", 0.05),
        Level("one digit differs", "damerau_levenshtein({k}, {k'}) <= 1", 0.05),
        Level("same exchange", "left({k}, 3) = left({k'}, 3)", 0.04),
    ]
    return _Way(forms, tuple(levels), key=key, blocks=blocks)


def _date() -> _Way:
    forms, blocks = {"n": "left(v, 10)"}, "[{n}, left({n}, 7), substr({n}, 5)]"
    levels = [
        Level("equal", "{n} = {n'}", 0.9),
        Level("one digit or two swapped", "damerau_levenshtein({n}, {n'}) <= 1", 0.05),
        Level(
            "day and month swapped, or one part differs",
            "(left({n}, 4) = left({n'}, 4))::INT + (substr({n}, 6, 2) = substr({n'}, 6, 2))::INT"
            " + (right({n}, 2) = right({n'}, 2))::INT >= 2 OR (left({n}, 4) = left({n'}, 4)"
            " AND substr({n}, 6, 2) = right({n'}, 2) AND right({n}, 2) = substr({n'}, 6, 2))",
            0.03,
        ),
        Level("same year", "left({n}, 4) = left({n'}, 4)", 0.005),
    ]
    return _Way(forms, tuple(levels), blocks=blocks)


def _code() -> _Way:
    forms, levels = _exactly("nullif(regexp_replace(upper(v), '[\\s\\-]', '', 'g'), '')")
    levels += [
        Level(
            "one begins with the other",
            "length({n}) > 3 AND length({n'}) > 3 AND (starts_with({n}, {n'}) OR starts_with({n'}, {n}))",
            0.02,
        ),
        Level("one character differs", "length({n}) > 3 AND damerau_levenshtein({n}, {n'}) <= 1", 0.05),
        Level("two characters differ", "length({n}) > 6 AND damerau_levenshtein({n}, {n'}) <= 2", 0.02),
    ]
    return _Way(forms, tuple(levels))


def _email() -> _Way:
    forms, levels = _exactly("nullif(lower(trim(v)), '')", "n")
    forms, blocks = forms | {"s": "string_split({n}, '@')[1]"}, "[{n}, {s}]"
    levels += [
        Level("same mailbox name", "{s} = {s'}", 0.03),
        Level("similar spelling", "jaro_winkler_similarity({n}, {n'}) >= 0.88", 0.05),
    ]
    return _Way(forms, tuple(levels), blocks=blocks)


def _number() -> _Way:
    forms, levels = {"n": "TRY_CAST(v AS DOUBLE)"}, [Level("equal", "{n} = {n'}", 0.85)]
    for share in (1, 10):
        levels.append(
            Level(f"within {share} %", f"abs({{n}} - {{n'}}) <= {share / 100} * greatest(abs({{n}}), abs({{n'}}))", 0.05)
        )
    return _Way(forms, tuple(levels))


def _text() -> _Way:
    forms, levels = _exactly("squeezed(simplified(v))", "n")
    forms |= {"t": "pieces({n})"}
    blocks, weighed = _BY_PIECES, "t"
    levels += [
        Level("close spelling", _LATIN + "jaro_winkler_similarity({n}, {n'}) >= 0.9", 0.04),
        Level("most words", _DICE + " >= 0.6", 0.02),
        Level("some words", _OVERLAP + " >= 0.5", 0.02),
    ]
    return _Way(forms, tuple(levels), blocks=blocks, weighed=weighed)


_WAYS: Mapping[str, Callable[[], _Way]] = {
    "person_name": _person,
    "organisation_name": _organisation,
    "address": _address,
    "phone": _phone,
    "date": _date,
    "code": _code,
    "email": _email,
    "number": _number,
}


def look(compare: Compare, kind: str) -> Look:
    """How an attribute of `kind` is compared, unless the entity asks for equality."""
    way = _exact() if compare.match == "exact" else _WAYS.get(kind, _text)()
    name = compare.attribute
    return Look(
        attribute=name,
        forms={suffix: _own(name, sql) for suffix, sql in way.forms.items()},
        levels=tuple(Level(v.label, _both(name, v.sql), v.m, v.frequency and f"{name}__{v.frequency}") for v in way.levels),
        key=way.key,
        blocks=_own(name, way.blocks),
        weighed=way.weighed,
        kept=way.kept or tuple(way.forms),
        distinctive=kind in ("person_name", "organisation_name", "address", "date", "phone"),
        shared=kind in ("phone", "email", "address") and compare.match == "by_kind",
    )


def install(con: duckdb.DuckDBPyConnection) -> Mapping[str, str]:
    """Register the functions over characters; the macros to be created beside the scratch tables, as signature -> body."""
    link_characters.register(con)
    return {**MACROS, **link_chinese.MACROS}


def looks(entity: Entity, present: frozenset[str]) -> tuple[Look, ...]:
    """One look per compared attribute that is among the columns `present`, in the entity's order."""
    compares = entity.match.compare if entity.match else ()
    return tuple(look(c, entity.attribute(c.attribute).kind) for c in compares if c.attribute in present)


def digest(compared: Sequence[Look]) -> str:
    """SHA-256 of all that says how records are compared: a model learned under another one cannot judge them."""
    characters = [version(package) for package in ("opencc", "pypinyin")]
    return hashlib.sha256(
        repr((compared, sorted(MACROS.items()), sorted(link_chinese.MACROS.items()), characters)).encode()
    ).hexdigest()
