"""Read one rule file: header, examples and expressions; what is not allow-listed is refused here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ParseError, TokenError

# A function enters with the first rule that needs it, and only when it means the same on the second engine.
# None of them may read a clock, a file, a setting or a random number.
ALLOWED_FUNCTIONS = frozenset({
    "coalesce", "concat", "length", "lower", "ltrim", "nullif", "regexp_extract", "regexp_matches",
    "regexp_replace", "replace", "right", "rtrim", "split_part", "strpos", "substr", "translate", "trim", "upper",
})  # fmt: skip

_ALLOWED_WORDS = frozenset({
    "AND", "AS", "BETWEEN", "BIGINT", "CASE", "CAST", "DATE", "DOUBLE", "ELSE", "END", "FALSE", "IN", "INTEGER",
    "INTERVAL", "IS", "LIKE", "MINUTE", "NOT", "NULL", "OR", "SECOND", "THEN", "TIMESTAMP", "TRUE", "TRY_CAST",
    "VARCHAR", "WHEN",
})  # fmt: skip
_LOOKUP_WORDS = frozenset({"EXISTS", "FROM", "SELECT", "WHERE"})
_ALLOWED_SYMBOLS = frozenset({
    "(", ")", ",", ".", "+", "-", "*", "/", "//", "%", "=", "<>", "!=", "<", ">", "<=", ">=", "||",
})  # fmt: skip

_HEADER_KEYS = (
    "rule", "kind", "does", "zh", "harmless", "finding", "argument", "lookup", "source", "beware", "example",
)  # fmt: skip
_SECTION_KEYS = ("step", "part", "result")
_KEY_LINE = re.compile(r"--\s*([a-z]+):(?:\s+(.*))?$")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_QUOTED = r"'(?:[^']|'')*'"
_ARGUMENT = re.compile(r"([a-z][a-z0-9_]*)(\s+\(optional\))?\s+(\S.*)")
_EXAMPLE = re.compile(rf"({_QUOTED}|NULL)((?:\s*,\s*[a-z_]+={_QUOTED})*)\s*->\s*({_QUOTED}|NULL|\[[a-z_, ]*\])")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|[tnr\\])")


class RuleError(ValueError):
    """A rule file, or a call of a rule, is wrong: bad configuration, never bad data."""


@dataclass(frozen=True)
class Argument:
    """An extra input of a rule, always text: the cleaned text of another column, or a literal."""

    name: str
    does: str
    required: bool


@dataclass(frozen=True)
class Example:
    """One `example:` line. `expected` is the cleaned text, or for a check rule the failing parts."""

    value: str | None
    arguments: Mapping[str, str]
    expected: str | tuple[str, ...] | None
    line: int


@dataclass(frozen=True)
class Step:
    """One named expression over `value`, the rule's arguments and the steps before it."""

    name: str
    expression: exp.Expr


@dataclass(frozen=True)
class Rule:
    """One cleaning or checking rule.

    A clean rule yields text, NULL where it cannot read the value; its last step is the result. A check rule has
    parts, each TRUE for a value that is in order; anything else, NULL included, fails that part. NULL passes both.
    `findings` maps a part (`unreadable` for a clean rule) to the code reported; empty when harmless.
    """

    name: str
    kind: Literal["clean", "check"]
    does: str
    zh: str
    harmless: bool
    findings: Mapping[str, str]
    arguments: tuple[Argument, ...]
    lookups: tuple[str, ...]
    examples: tuple[Example, ...]
    source: str
    beware: str
    steps: tuple[Step, ...]
    parts: tuple[Step, ...]
    path: Path = field(compare=False)


def load_rule(path: Path) -> Rule:
    """Read and check one rule file.

    Raises  RuleError with file, line, what was found and what is allowed
    """
    return _RuleFile(path).rule()


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message: `; did you mean 'x'?`, or a full stop when nothing is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else "."


@dataclass
class _Section:
    line: int
    keyword: str
    title: str
    sql: list[str] = field(default_factory=list)


class _RuleFile:
    """A rule file while it is being read; it knows the lines, so that every error can name one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: dict[str, list[tuple[int, str]]] = {}
        self.sections: list[_Section] = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            self._take(number, line)

    def fail(self, line: int, what: str) -> NoReturn:
        raise RuleError(f"{self.path.name}, line {line}: {what} See pipelines/rules/README.md.")

    def _take(self, number: int, line: str) -> None:
        key_line = _KEY_LINE.match(line.strip())
        if key_line is None:
            if not self.sections and line.strip() and not line.strip().startswith("--"):
                self.sections.append(_Section(number, "result", ""))
            if self.sections:
                self.sections[-1].sql.append(line)
            return
        key, text = key_line.group(1), (key_line.group(2) or "").strip()
        if key in _SECTION_KEYS:
            self.sections.append(_Section(number + 1, key, text))
        elif key not in _HEADER_KEYS:
            self.fail(number, f"'{key}:' is not a header line{nearest(key, _HEADER_KEYS + _SECTION_KEYS)}")
        elif self.sections:
            self.fail(number, f"'{key}:' stands after the SQL began; move it up into the header.")
        else:
            self.header.setdefault(key, []).append((number, text))

    def rule(self) -> Rule:
        name, kind = self._one("rule"), self._kind()
        if name != self.path.stem or not _NAME.fullmatch(name):
            self.fail(self._line("rule"), f"rule '{name}' in file '{self.path.stem}.sql'; use one name for both.")
        harmless = self._yes("harmless")
        arguments = tuple(self._argument(line, text) for line, text in self.header.get("argument", []))
        lookups = tuple(text.partition("(")[0].strip() for _, text in self.header.get("lookup", []))
        steps, parts = self._expressions(kind, {argument.name for argument in arguments}, lookups)
        return Rule(
            name=name,
            kind=kind,
            does=self._one("does"),
            zh=self._one("zh"),
            harmless=harmless,
            findings=MappingProxyType(self._findings(kind, harmless)),
            arguments=arguments,
            lookups=lookups,
            examples=self._examples(kind),
            source=" ".join(text for _, text in self.header.get("source", [])),
            beware=" ".join(text for _, text in self.header.get("beware", [])),
            steps=steps,
            parts=parts,
            path=self.path,
        )

    def _one(self, key: str) -> str:
        lines = self.header.get(key, [])
        if len(lines) != 1 or not lines[0][1]:
            self.fail(self._line(key), f"expected one `-- {key}: ...` line, got {len(lines)}.")
        return lines[0][1]

    def _line(self, key: str) -> int:
        return self.header[key][0][0] if key in self.header else 1

    def _kind(self) -> Literal["clean", "check"]:
        text = self._one("kind")
        if text == "clean":
            return "clean"
        if text != "check":
            self.fail(self._line("kind"), f"`kind: {text}` should be clean or check.")
        return "check"

    def _yes(self, key: str) -> bool:
        text = self._one(key) if key in self.header else "no"
        if text not in ("yes", "no"):
            self.fail(self._line(key), f"`{key}: {text}` should be yes or no.")
        return text == "yes"

    def _argument(self, line: int, text: str) -> Argument:
        match = _ARGUMENT.fullmatch(text)
        if match is None:
            self.fail(line, "expected `-- argument: name [(optional)] what it is`.")
        return Argument(match.group(1), match.group(3), required=match.group(2) is None)

    def _findings(self, kind: str, harmless: bool) -> dict[str, str]:
        if kind == "check":
            if harmless or "finding" in self.header:
                self.fail(1, "a check rule is never harmless, and names its codes in `-- part: name -> code`.")
            titles = [section.title.split() for section in self.sections if section.keyword == "part"]
            return {words[0]: words[2] for words in titles}
        if not harmless:
            return {"unreadable": self._one("finding")}
        if "finding" in self.header:
            self.fail(self._line("finding"), "a harmless rule never fails a value, so it has no finding.")
        return {}

    def _examples(self, kind: str) -> tuple[Example, ...]:
        lines = self.header.get("example", [])
        if not lines:
            self.fail(1, "expected at least one `-- example: ...` line; examples are the rule's test.")
        return tuple(self._example(line, text, kind) for line, text in lines)

    def _example(self, line: int, text: str, kind: str) -> Example:
        match = _EXAMPLE.fullmatch(text)
        if match is None:
            self.fail(line, "expected `-- example: 'value'[, argument='x'] -> 'text' | NULL | [part, part]`.")
        outcome = match.group(3)
        expected: str | tuple[str, ...] | None = _unquote(outcome)
        if outcome.startswith("["):
            expected = tuple(re.findall(r"[a-z_]+", outcome))
        if isinstance(expected, str if kind == "check" else tuple):
            self.fail(line, "a clean rule's example ends in text, a check rule's in a list of failing parts.")
        arguments = re.findall(rf"([a-z_]+)=({_QUOTED})", match.group(2))
        return Example(
            _unquote(match.group(1)),
            {name: _unquote(value) or "" for name, value in arguments},
            expected,
            line,
        )

    def _expressions(self, kind: str, arguments: set[str], lookups: tuple[str, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        order = [section.keyword for section in self.sections]
        if kind == "clean" and (order.count("result") != 1 or order[-1] != "result" or "part" in order):
            self.fail(1, "a clean rule is `-- step: name` sections, then one `-- result:` (or one bare expression).")
        if kind == "check" and ("part" not in order or "result" in order):
            self.fail(1, "a check rule is `-- step: name` sections and `-- part: name -> code` sections.")
        known = {"value"} | arguments
        steps: list[Step] = []
        parts: list[Step] = []
        for section in self.sections:
            name = self._section_name(section)
            if not _NAME.fullmatch(name) or name in known or name in {part.name for part in parts}:
                self.fail(section.line, f"'{name}' is taken or is no name; use a new lower-case word.")
            step = Step(name, self._expression(section, known, lookups))
            if section.keyword == "part":
                parts.append(step)
            else:
                steps.append(step)
                known.add(name)
        return tuple(steps), tuple(parts)

    def _section_name(self, section: _Section) -> str:
        if section.keyword == "result":
            return "result"
        words = section.title.split()
        if section.keyword == "step":
            return section.title
        if len(words) != 3 or words[1] != "->" or not _NAME.fullmatch(words[2]):
            self.fail(section.line - 1, "expected `-- part: name -> finding_code`.")
        return words[0]

    def _expression(self, section: _Section, known: set[str], lookups: tuple[str, ...]) -> exp.Expr:
        text = "\n".join(section.sql)
        try:
            self._check_words(section.line, sqlglot.tokenize(text, read="duckdb"), bool(lookups))
            trees = sqlglot.parse(text, read="duckdb")
        except (ParseError, TokenError) as error:
            self.fail(section.line, f"this is not an SQL expression: {str(error).splitlines()[0]}")
        tree = trees[0] if len(trees) == 1 else None
        if tree is None or isinstance(tree, exp.Query):
            self.fail(section.line, "expected one SQL expression over `value`.")
        self._check_casts(section.line, tree)
        self._check_columns(section.line, tree, known, lookups)
        for node in tree.walk():
            node.pop_comments()  # they would turn up in the middle of the compiled statement
        return tree

    def _check_words(self, line: int, tokens: list[Token], may_look_up: bool) -> None:
        """Refuse what is not allow-listed; on tokens, because they keep the author's spelling and line."""
        words = _ALLOWED_WORDS | (_LOOKUP_WORDS if may_look_up else frozenset())
        for token, following in zip(tokens, [*tokens[1:], None], strict=True):
            at = line + token.line - 1
            if token.token_type in (TokenType.STRING, TokenType.NUMBER):
                continue
            if token.text in _ALLOWED_SYMBOLS or token.text.upper() in words:
                continue
            if following is not None and following.token_type is TokenType.L_PAREN:
                if token.text.lower() not in ALLOWED_FUNCTIONS:
                    close = nearest(token.text.lower(), ALLOWED_FUNCTIONS)
                    allowed = _listed(ALLOWED_FUNCTIONS)
                    self.fail(at, f"function '{token.text}' is not allowed{close} Allowed: {allowed}.")
            elif token.token_type not in (TokenType.VAR, TokenType.IDENTIFIER):
                self.fail(at, f"'{token.text}' is not allowed in a rule. Allowed words: {_listed(words)}.")

    def _check_casts(self, line: int, tree: exp.Expr) -> None:
        """A rule must never raise on data: CAST may write a text, reading one takes TRY_CAST."""
        for cast in tree.find_all(exp.Cast):
            safe = isinstance(cast, exp.TryCast) or isinstance(cast.this, exp.Literal) or cast.is_type("text")
            if not safe:
                self.fail(line, f"`{cast.sql('duckdb')}` can stop a batch; use TRY_CAST.")

    def _check_columns(self, line: int, tree: exp.Expr, known: set[str], lookups: tuple[str, ...]) -> None:
        if tree.find(exp.Star):
            self.fail(line, "`*` is not allowed; name the columns.")
        tables = {table.alias_or_name: table for table in tree.find_all(exp.Table)}
        for table in tables.values():
            if table.name not in lookups or table.db:
                self.fail(line, f"table '{table.name}' is not declared; add `-- lookup: {table.name}(its columns)`.")
        for column in tree.find_all(exp.Column):
            if column.table in tables or (not column.table and column.name in known):
                continue
            close = nearest(column.name, known)
            self.fail(line, f"'{column.sql()}' is unknown here{close} Known: {_listed(known)}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _unquote(text: str) -> str | None:
    r"""Example text: two quotes are one; \uXXXX \t \n \r \\ stand for what would be invisible."""
    if text == "NULL":
        return None
    controls = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    return _ESCAPE.sub(
        lambda found: controls.get(found.group(1)) or chr(int(found.group(1)[1:], 16)),
        text[1:-1].replace("''", "'"),
    )
