"""The contract of one source: what a department's extract should be, when it is due, and how it is judged.

One YAML per source in `sources/`. The file stem is the source id, `<department>__<dataset>`; a stem that begins with
an underscore is a form that others take over with `like:` and is no source itself. Everything later in the
pipeline is derived from this: the compiled SELECT, the Great Expectations suite, the DAG, the slots that are due.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from typing_extensions import TypedDict

from catalog.yaml_file import CatalogError, build, nearest, read_mapping

NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
SOURCE_ID = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*__[a-z][a-z0-9]*(_[a-z0-9]+)*$")
#: Names that every table carries beside the contract's own columns.
RESERVED = frozenset({"_batch", "_sheet", "_row", "_record", "_entity"})
RESERVED_RAW = frozenset({"_batch", "_sheet", "_row", "_extra", "_defect"})

Type = Literal["text", "integer", "number", "date", "timestamp", "boolean"]
Severity = Literal["note", "warn", "refuse", "hold"]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Title(Model):
    """What people see, in both languages. A plain string stands for both."""

    zh: str
    en: str

    def __getitem__(self, language: str) -> str:
        return self.en if language == "en" else self.zh


def _title(value: Any) -> Any:
    return {"zh": value, "en": value} if isinstance(value, str) else value


BothLanguages = Annotated[Title, BeforeValidator(_title, json_schema_input_type=str | Title)]


class RuleCall(Model):
    """One rule of `pipelines/rules/`, by its file stem, with the arguments its header declares."""

    name: str
    arguments: dict[str, str] = {}


def _rule(value: Any) -> Any:
    """`upper` or `{division_known: {as_of: issued_on}}`."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        name, arguments = next(iter(value.items()))
        if isinstance(arguments, dict):
            return {"name": name, "arguments": {k: str(v) for k, v in arguments.items()}}
    raise ValueError("expected a rule name, or `{rule_name: {argument: value}}`")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


#: A rule as it is written: its name, or its name with arguments.
WrittenRule = str | dict[str, dict[str, Any]]
Rules = Annotated[
    tuple[Annotated[RuleCall, BeforeValidator(_rule)], ...],
    BeforeValidator(_listed, json_schema_input_type=WrittenRule | list[WrittenRule]),
]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class Column(Model):
    """One column of the extract: mapped to a standard name, or ignored with a reason. Never forgotten."""

    from_: Names = Field(
        alias="from",
        description="header text as sent; several when departments spell it differently. JSON and XML: the field, as in "
        "`holder.name` or `@id`; a group named in `above_header` or `group_rows` counts as a column",
    )
    at: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = Field(
        None, description="fixed_width: [first position, length], positions from 1, in bytes of the declared encoding"
    )
    to: str | None = Field(None, description="standard name, the same for the same quantity in every source")
    ignore: str | None = Field(None, description="why this column is not read")
    title: BothLanguages | None = None
    type: Type = "text"
    clean: Rules = ()
    check: Rules = ()
    key: bool = Field(False, description="part of what identifies a row within this source")
    required: bool = Field(False, description="counted for completeness (GB/T 36344 0201)")
    optional: bool = Field(False, description="the column itself may be absent from the file")
    on_missing: Literal["keep", "refuse"] | None = None
    on_fail: Literal["null", "keep", "refuse"] | None = None
    grade: Literal["G1", "G2", "G3", "G4"] = "G2"
    personal: bool = False

    @model_validator(mode="after")
    def _mapped_or_ignored(self) -> Self:
        if not self.from_:
            raise ValueError("`from` names the header of the column as the department sends it")
        if (self.to is None) == (self.ignore is None):
            raise ValueError("a column is mapped (`to: name`) or ignored with a reason (`ignore: why`), one of the two")
        if self.to is not None and (not NAME.match(self.to) or self.to in RESERVED or "__" in self.to):
            raise ValueError("`to` is a lower-case name such as `issued_on`: letters, digits, single underscores")
        if self.ignore is not None and not self.ignore.strip():
            raise ValueError("`ignore` needs the reason in words")
        return self

    @property
    def source(self) -> str:
        """Its name in the raw layer: the first spelling of the header."""
        return self.from_[0]

    @property
    def name(self) -> str:
        if self.to is None:
            raise ValueError(f"column {self.source} is ignored")
        return self.to

    @property
    def is_masked(self) -> bool:
        """Whether its values are hidden from everybody but the department that sent them."""
        return self.personal or self.grade in ("G3", "G4")

    @property
    def refuses_missing(self) -> bool:
        return (self.on_missing or ("refuse" if self.key else "keep")) == "refuse"

    @property
    def fails_to(self) -> Literal["null", "keep", "refuse"]:
        return self.on_fail or ("refuse" if self.key else "null")


def plain_header(text: object) -> str:
    """A header as it is compared: width, blanks, breaks and letter case do not count."""
    return "".join(unicodedata.normalize("NFKC", str(text)).split()).casefold()


class Period(Model):
    """Where the period a file speaks of is read from."""

    from_: Literal["file_name", "manifest", "arrival"] = Field("file_name", alias="from")
    pattern: str | None = Field(
        None,
        description="regular expression with (?P<date>), or year/month/day/week/quarter; where it also has (?P<version>), a file "
        "with a lower one than that in force never overwrites it",
    )

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is None:
            return None
        groups = set(_regex(value).groupindex)
        if not groups & {"date", "year"}:
            raise ValueError("needs a named group `(?P<date>...)` or `(?P<year>...)`, with month, day, week or quarter")
        return value


def _regex(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None


Cycle = Literal["daily", "weekly", "monthly", "quarterly", "yearly", "event"]


class Arrival(Model):
    """What is dropped where, and when it is due."""

    drop: Names = Field(description="file-name pattern(s) in the department's landing folder, such as enterprise_*.csv")
    cycle: Cycle
    due: str | None = Field(None, description="such as `09:00 next working day`; default by cycle")
    grace: str | None = Field(None, description="`2 working days`: when lateness has used up all points")
    calendar: str = "cn"
    timezone: str = "Asia/Shanghai"
    complete: Literal["quiet", "rename", "marker", "manifest"] = Field(
        "quiet",
        description="when a file is finished. manifest: <file>.manifest.json lies beside it; marker: <file>.ok does; rename: it "
        "is written aside and renamed; quiet: nobody writes to it any more (a manifest or marker that is there is used anyway)",
    )
    since: dt.date | None = Field(None, description="first day a delivery is owed for; default: the first drop")
    until: dt.date | None = None

    @field_validator("drop")
    @classmethod
    def _is_a_plain_pattern(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not pattern or "/" in pattern or "\\" in pattern or pattern.startswith("."):
                raise ValueError("a file-name pattern without folders; files are looked for in the department's folder")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if value not in _zones():
            raise ValueError(f"not an IANA time zone{nearest(value, sorted(_zones()))}"[:200])
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def grace_days(self) -> int | None:
        found = re.search(r"\d+", self.grace or "")
        return int(found.group()) if found else None

    @field_validator("grace", mode="before", json_schema_input_type=str | int | None)
    @classmethod
    def _is_days(cls, value: Any) -> Any:
        if value is None or isinstance(value, int) or re.fullmatch(r"\d+( working)? days?", str(value)):
            return None if value is None else str(value)
        raise ValueError("expected a number of working days, such as `2 working days`")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())  # it looks through a folder of some hundred files


def _header_rows(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


#: Notes below a table, where the contract does not say how they begin.
NOTES = r"^[\s\u3000(（\[【*※]*(注|附注|备注|说明|数据来源|资料来源|来源|填表人|填报人|制表人?|审核人|Notes?|Sources?|Remarks?)\s*[\d]*\s*[:：.．、)）\]】]"


class Format(Model):
    """How to read the bytes. What is named here is confirmed by the bytes; what is left open is found by the agreed column
    names and told in the receipt. Encodings are never guessed."""

    reader: Literal["delimited", "workbook", "json", "xml", "fixed_width", "parquet"] = "delimited"
    member: str | None = Field(None, description="zip: file-name pattern of the one member to read; default: the only one")
    encoding: Names = Field(("utf-8",), description="declared encoding; several are tried in this order, strictly")
    delimiter: str | None = Field(None, description="one or more characters, or `tab`; default: found by the column names")
    quote: str = '"'
    header_row: (
        Annotated[
            tuple[Annotated[int, Field(ge=0, le=1000)], ...],
            BeforeValidator(_header_rows, json_schema_input_type=int | list[int]),
        ]
        | None
    ) = Field(
        None,
        description="row of the header as a spreadsheet shows it, from 1; [4, 5] for two rows whose texts are joined by a blank; 0: "
        "none, the columns come in the order of the contract. Default: the row, of the first 50, that holds the column names",
    )
    sheet: Names | None = Field(
        None, description="workbook: name(s) or pattern(s) of the sheets, as in `*月`; default: the first visible one"
    )
    above_header: str | None = Field(
        None, description="regular expression, found in the lines above the header; its named groups are columns of every row"
    )
    group_rows: str | None = Field(
        None,
        description="regular expression for rows that head a group, such as `^(?P<省份>.+?)（(?P<count>\\d+)所）$`; named groups are "
        "columns of the rows below, and `count` is the number of rows the group should have",
    )
    notes: str = Field(NOTES, description="regular expression for the first cell of lines below the table that are no data")
    totals: str | None = Field(None, description="regular expression for the first cell of agreed total rows, which are no data")
    fill_down: Names = Field((), description="headers of columns whose blank cells repeat the cell above")
    records: str | None = Field(
        None, description="json: path of the list, as in `data.rows`; xml: path of the element, as in `/export/person`"
    )

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        import codecs

        for name in value:
            try:
                info = codecs.lookup(name)
            except LookupError:
                raise ValueError(f"unknown encoding `{name}`; usual: gb18030, gbk, utf-8, big5, cp1252") from None
            if not getattr(info, "_is_text_encoding", True):
                raise ValueError(f"`{name}` is not a text encoding; usual: gb18030, gbk, utf-8, big5, cp1252")
        return value

    @field_validator("delimiter")
    @classmethod
    def _is_no_text(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = {"tab": "\t", "\\t": "\t"}.get(value, value)
        if not 1 <= len(value) <= 8 or any(c in "\r\n\"'" or c.isalnum() for c in value):
            raise ValueError(
                "expected `,`, `|`, `;`, `tab`, or up to eight characters such as `@@` or `|#|`, no letters or quotes"
            )
        return value

    @field_validator("header_row")
    @classmethod
    def _are_neighbours(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (
            not value or list(value) != list(range(value[0], value[0] + len(value))) or (0 in value and len(value) > 1)
        ):
            raise ValueError("expected one row, or neighbouring rows from the top down such as [4, 5]; 0 for no header")
        return value

    @field_validator("above_header", "group_rows")
    @classmethod
    def _names_columns(cls, value: str | None) -> str | None:
        if value is not None and not _regex(value).groupindex:
            raise ValueError("needs named groups, such as `(?P<indicator>.+)`: they become columns")
        return value

    @field_validator("notes", "totals")
    @classmethod
    def _is_regex(cls, value: str | None) -> str | None:
        if value:
            _regex(value)
        return value

    @field_validator("quote")
    @classmethod
    def _is_one_or_none(cls, value: str) -> str:
        if len(value) > 1:
            raise ValueError("expected one character, or an empty string where nothing is quoted")
        return value


#: A sub-indicator of GB/T 36344-2018.
_INDICATOR = r"^0[1-6]0[1-6]$"


class Expect(Model):
    """One line of `expect:`: a short name, or `gx:`, or `sql:`, and what it counts for."""

    kind: str
    argument: Any = None
    options: dict[str, Any] = {}
    id: str | None = None
    indicator: str | None = Field(None, pattern=_INDICATOR)
    weight: int | None = Field(None, ge=1, le=5)
    severity: Literal["note", "warn", "hold"] = "warn"
    floor: float | None = Field(None, ge=0, le=1)
    target: float | None = Field(None, ge=0, le=1)
    major: bool = False


class WrittenExpect(TypedDict, total=False):
    """A line of `expect:` as it is written: `name: column`, the options of that name, and these."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic reads this name

    id: str
    indicator: str
    weight: Annotated[int, Field(ge=1, le=5)]
    severity: Literal["note", "warn", "hold"]
    floor: Annotated[float, Field(ge=0, le=1)]
    target: Annotated[float, Field(ge=0, le=1)]
    major: bool


_EXPECT_COMMON = ("id", "indicator", "weight", "severity", "floor", "target", "major")


def _expect(value: Any) -> Any:
    """`key_is_unique`, `{value_is_present: born_on, weight: 3}`, `{gx: expect_..., column: ...}`."""
    if isinstance(value, str):
        return {"kind": value}
    if not isinstance(value, dict) or not value:
        raise ValueError("expected a short name such as `key_is_unique`, or `{name: column, weight: 3}`")
    kind = next((k for k in value if k not in _EXPECT_COMMON), next(iter(value)))
    argument = value[kind]
    rest = {k: v for k, v in value.items() if k != kind}
    common = {k: rest.pop(k) for k in _EXPECT_COMMON if k in rest}
    if "indicator" in common:
        common["indicator"] = _indicator(common["indicator"])
    return {"kind": str(kind), "argument": argument, "options": rest, **common}


def _indicator(value: Any) -> str:
    """`"0304"`, also where the quotes were left out: YAML reads 0304 as an octal number."""
    text = str(value).zfill(4)
    return f"{value:o}".zfill(4) if isinstance(value, int) and not re.fullmatch(_INDICATOR, text) else text


class Department(Model):
    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    zh: str
    en: str


def _department(value: Any) -> Any:
    return {"id": value, "zh": value, "en": value} if isinstance(value, str) else value


class Deleted(Model):
    """How an increment says that a row is gone."""

    column: str
    values: Names


class Contract(Model):
    """One source. `hash` identifies exactly this agreement; every batch carries it."""

    id: str
    title: BothLanguages
    department: Annotated[Department, BeforeValidator(_department, json_schema_input_type=str | Department)]
    entity: str | None = None
    steward: str | None = Field(None, description="who to call; shown to people, used by nothing")
    tier: Literal["base_library", "theme", "other"] = Field("other", description="weight of the source in its department's index")
    load: Literal["snapshot", "increment", "append"]
    period: Annotated[Period, Field(default_factory=lambda: Period.model_validate({"from": "arrival"}))]
    arrival: Arrival
    format: Annotated[Format, Field(default_factory=Format)]
    drift: Literal["freeze", "evolve", "refuse_rows", "hold"] = Field(
        "freeze",
        description="when the columns differ. freeze: a missing one holds the file, a new one is kept aside; evolve: a missing one "
        "that is no key is empty, a new one is kept aside; refuse_rows: rows with a value in a new one are refused; hold: any "
        "difference holds the file",
    )
    deleted: Deleted | None = Field(None, description="increment: rows whose column has one of these values delete their key")
    clean: Rules = Field((), description="rules that every column begins with, such as [trim_text, null_tokens]")
    columns: tuple[Column, ...] = Field(min_length=1)
    latest_by: str | None = Field(
        None, description="column that tells which of two rows with one key is newer; a row without it is of its file's period"
    )
    expect: tuple[Annotated[Expect, BeforeValidator(_expect, json_schema_input_type=str | WrittenExpect)], ...] = ()
    policy: str | None = Field(None, description="scoring policy; default: the newest shipped one")

    @field_validator("id")
    @classmethod
    def _is_source_id(cls, value: str, info: ValidationInfo) -> str:
        if not SOURCE_ID.match(value):
            raise ValueError("a source id is `<department>__<dataset>` in lower case, such as `taxation__taxpayer`")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        names = [c.to for c in self.columns if c.to]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two columns are mapped to `{name}`; list both headers in one `from: [...]`")
        headers: dict[str, str] = {}
        for header in (h for c in self.columns for h in c.from_):
            if plain_header(header) in headers:
                raise ValueError(
                    f"header `{header}` stands in two columns; width, blanks and letter case do not tell headers apart"
                )
            headers[plain_header(header)] = header
        for column in self.columns:
            if column.source.casefold() in RESERVED_RAW:
                raise ValueError(f"header `{column.source}` is a name of the platform's own; ask for another in the file")
        if self.latest_by and self.latest_by not in names:
            raise ValueError(f"`latest_by: {self.latest_by}` is no column{nearest(self.latest_by, names)}")
        if self.period.from_ == "file_name" and not self.period.pattern:
            raise ValueError("`period: {from: file_name}` needs a `pattern` with a group such as `(?P<date>\\d{8})`")
        if self.deleted and (self.load != "increment" or self.deleted.column not in names):
            raise ValueError(
                "`deleted` belongs to `load: increment` and names a mapped column" + nearest(self.deleted.column, names)
            )
        if self.format.reader == "fixed_width" and any(c.at is None for c in self.columns):
            raise ValueError("`reader: fixed_width` needs `at: [first position, length]` in every column")
        if self.load == "increment" and not self.keys:
            raise ValueError("`load: increment` replaces rows by key: mark the identifying columns with `key: true`")
        return self

    @property
    def mapped(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.to is not None)

    @property
    def keys(self) -> tuple[Column, ...]:
        return tuple(c for c in self.mapped if c.key)

    def column(self, name: str) -> Column:
        for column in self.mapped:
            if column.to == name:
                return column
        raise KeyError(name)

    def __hash__(self) -> int:
        return int(self.hash[:15], 16)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the resolved contract in canonical JSON: comments and key order do not count."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def canonical_json(self) -> str:
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def from_canonical_json(text: str) -> Contract:
    """The contract of `Contract.canonical_json`, as the archive keeps it. Same hash."""
    data = json.loads(text)
    data["clean"] = [_rule_back(r) for r in data.get("clean", ())]
    for column in data["columns"]:
        for part in ("clean", "check"):
            column[part] = [_rule_back(r) for r in column.get(part, ())]
    data["expect"] = [_expect_back(e) for e in data.get("expect", ())]
    return Contract.model_validate(data)


def _rule_back(rule: Mapping[str, Any]) -> Any:
    return {rule["name"]: rule["arguments"]} if rule.get("arguments") else rule["name"]


def _expect_back(line: Mapping[str, Any]) -> Any:
    rest = {k: v for k, v in line.items() if k in _EXPECT_COMMON}
    return {line["kind"]: line.get("argument"), **line.get("options", {}), **rest}


def load_contract(path: Path) -> Contract:
    """The contract in `path`, with everything it takes over through `like:`.

    Raises CatalogError with file, line, key, what was expected and the nearest valid word.
    """
    data = _resolve(path, ())
    data.setdefault("id", path.stem)
    if data["id"] != path.stem:
        raise CatalogError(f"{path}:1: `id` is `{data['id']}`, but the file is called {path.stem}.yaml; make them equal")
    if isinstance(data["id"], str) and "__" in data["id"]:
        data.setdefault("department", data["id"].split("__")[0])
    return build(Contract, data, path)


def _resolve(path: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    data = read_mapping(path)
    like = data.pop("like", None)
    if like is None:
        return data
    if not isinstance(like, str) or not re.fullmatch(r"[a-z0-9_]+", like):
        raise CatalogError(f"{path}: `like` names another contract or form by its file stem, such as `_daily_report`")
    if like in (*seen, path.stem):
        raise CatalogError(f"{path}: `like: {like}` leads back to itself")
    form = path.parent / f"{like}.yaml"
    if not form.is_file():
        raise CatalogError(
            f"{path}: `like: {like}`: no file {form.name} beside it" + nearest(like, [p.stem for p in path.parent.glob("*.yaml")])
        )
    inherited = _resolve(form, (*seen, path.stem))
    inherited.pop("id", None)
    if not form.stem.startswith("_") and "department" not in data:
        inherited.pop("department", None)
    return _merge(inherited, data)


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Own keys win; mappings are merged key by key; columns are merged by what they are mapped to."""
    merged = dict(base)
    for key, value in own.items():
        if key == "columns" and isinstance(value, list) and isinstance(base.get(key), list):
            merged[key] = _merge_columns(base[key], value)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merge(base[key], value)
        else:
            merged[key] = value
    return merged


def _merge_columns(base: list[Any], own: list[Any]) -> list[Any]:
    def place(column: Any) -> str:
        return str(column.get("to") or column.get("from")) if isinstance(column, dict) else str(column)

    replaced = {place(column): column for column in own}
    kept = [{**c, **replaced.pop(place(c))} if place(c) in replaced else c for c in base]
    return kept + list(replaced.values())
