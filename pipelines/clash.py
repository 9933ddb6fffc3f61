"""Clashes in words: who else uses the number of a row, told to each department by the address of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from catalog.entity import Entity, Identifier
from pipelines.dedupe import digest_sql
from pipelines.run import Run
from quality.finding import Kind, kinds, masked_sql
from warehouse.lake import literal, quoted


def name_senders(run: Run, con: duckdb.DuckDBPyConnection, batches: Sequence[str]) -> None:
    """Tables `senders` (source, zh, en: its department) and `files` (batch, file_name) on `con`."""
    con.execute(
        "CREATE TEMP TABLE senders (source VARCHAR, zh VARCHAR, en VARCHAR); CREATE TEMP TABLE files (batch VARCHAR, file_name VARCHAR)"
    )
    titles = run.catalog.department_titles()
    senders = [[c.id, *titles[c.department.id]] for c in run.catalog.contracts.values()]
    con.executemany("INSERT INTO senders VALUES (?, ?, ?)", senders)
    names = dict(run.con.execute("SELECT batch, file_name FROM lake.ledger.batch").fetchall())
    con.executemany("INSERT INTO files VALUES (?, ?)", [[b, names[b]] for b in sorted(set(batches))])


def clash_sql(entity: Entity) -> str:
    """The rows of quality.clash, from `clashes`, `assigned` (records with their entity), `senders`, `files`. No personal value."""
    named = {"+".join(i.attributes): i for i in entity.identifiers}
    cases = "\n    UNION ALL ".join(
        f"SELECT {literal(name)} AS identifier, {literal(_titles(entity, i.attributes)[0])} AS zh, "
        f"{literal(_titles(entity, i.attributes)[1])} AS en"
        for name, i in named.items()
    )
    value = "CASE c._identifier " + " ".join(f"WHEN {literal(n)} THEN {_shown(entity, i)}" for n, i in named.items()) + " END"
    told = [item[0] for item in entity.clashing]
    words = dict(zip(("zh", "en"), _titles(entity, told), strict=True))
    clear, unclear = kinds()["identifier_clash"], kinds()["identifier_clash_unclear"]
    return f"""WITH told AS (
  SELECT c._identifier AS identifier, left({digest_sql(f"{literal(entity.id)} || chr(29) || c._identifier || chr(29) || c._clash")}, 32) AS clash,
    {value} AS value, c._unclear, a._entity, a._record, a._source, a._batch, fa.file_name, a._sheet, a._row,
    b._entity AS other_entity, b._source AS other_source, b._batch AS other_batch, fb.file_name AS other_file_name,
    b._sheet AS other_sheet, b._row AS other_row, sb.zh AS department_zh, sb.en AS department_en, t.zh AS identifier_zh, t.en AS identifier_en
  FROM clashes AS c JOIN assigned AS a USING (_record) JOIN assigned AS b ON b._record = c._other
  JOIN files AS fa ON fa.batch = a._batch JOIN files AS fb ON fb.batch = b._batch
  JOIN senders AS sb ON sb.source = b._source
  JOIN (
    {cases}
  ) AS t ON t.identifier = c._identifier
)
SELECT {literal(entity.id)} AS entity, clash, identifier, value, _entity, _record, _source AS source, _batch AS batch, file_name,
  _sheet AS sheet, _row AS "row", other_entity, other_source, other_batch, other_file_name, other_sheet, other_row,
  CASE WHEN _unclear THEN {literal(unclear.code)} ELSE {literal(clear.code)} END AS code,
  CASE WHEN _unclear THEN {literal(unclear.severity)} ELSE {literal(clear.severity)} END AS severity,
  {_sentence(clear, unclear, "zh", words)} AS message_zh,
  {_sentence(clear, unclear, "en", words)} AS message_en
FROM told ORDER BY identifier, clash, _record"""


def _titles(entity: Entity, attributes: Sequence[str]) -> tuple[str, str]:
    """Both languages, joined as in a sentence; an attribute without a title goes by its name."""
    found = [entity.attribute(a).called for a in attributes]
    return "、".join(one.zh for one in found), " and ".join(one.en for one in found)


def _shown(entity: Entity, identifier: Identifier) -> str:
    parts = []
    for name in identifier.attributes:
        attribute = entity.attribute(name)
        text = f"left(CAST(a.{quoted(name)} AS VARCHAR), 200)"
        parts.append(masked_sql(text) if attribute.is_masked else text)
    return "concat_ws(' + ', " + ", ".join(parts) + ")"


def _sentence(clear: Kind, unclear: Kind, language: str, words: Mapping[str, str]) -> str:
    """The message of the row's code in one language, its placeholders filled in."""
    place = {
        "zh": "CASE WHEN other_sheet IS NOT NULL THEN '工作表“' || other_sheet || '”' ELSE '' END || '第 ' || other_row || ' 行'",
        "en": "CASE WHEN other_sheet IS NOT NULL THEN 'sheet `' || other_sheet || '`, ' ELSE '' END || 'row ' || other_row",
    }[language]
    facts = {
        "row": "CAST(_row AS VARCHAR)", "identifier": f"identifier_{language}", "value": "value",
        "other_department": f"department_{language}", "other_file": "other_file_name", "other_place": place,
        "attributes": literal(words[language]),
    }  # fmt: skip

    def filled(kind: Kind) -> str:
        template = kind.zh if language == "zh" else kind.en
        return _join(template, facts)

    return f"CASE WHEN _unclear THEN {filled(unclear)} ELSE {filled(clear)} END"


def _join(template: str, facts: Mapping[str, Any]) -> str:
    """A template with {placeholders} as an SQL concatenation: what is filled in is never looked at for placeholders again."""
    parts = []
    while "{" in template:
        text, _, rest = template.partition("{")
        name, _, template = rest.partition("}")
        parts += [literal(text), f"({facts[name]})"]
    return "concat(" + ", ".join([*parts, literal(template)]) + ")"
