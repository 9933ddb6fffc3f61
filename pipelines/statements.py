"""The SQL that ran for a source or an entity: kept beside its ledger row, printed for whoever wants to check."""

from __future__ import annotations

from catalog.yaml_file import CatalogError, nearest
from pipelines.clean import compile_contract
from pipelines.run import Run


def statements(run: Run, name: str) -> list[tuple[str, str, str]]:
    """(stage, title, SQL) of the newest batch of a source or fusion of an entity, in the order in which they ran.

    For a source without a batch yet: what would run. Raises CatalogError for a name that is neither.
    """
    if name in run.catalog.entities:
        column, table, order = "fusion", "fusion", "CAST(split_part(fusion, '#', 2) AS INTEGER)"
        where = "entity"
    elif name in run.catalog.contracts:
        column, table, order, where = "batch", "batch", "arrived_at", "source"
    else:
        raise CatalogError(f"no source or entity `{name}`{nearest(name, [*run.catalog.contracts, *run.catalog.entities])}")
    newest = run.con.execute(
        f"SELECT {column} FROM lake.ledger.{table} WHERE {where} = ? ORDER BY {order} DESC, {column} DESC LIMIT 1", [name]
    ).fetchall()
    if newest:
        return run.con.execute(
            "SELECT stage, title, sql FROM lake.ledger.statement WHERE subject = ? ORDER BY seq", [newest[0][0]]
        ).fetchall()
    if name in run.catalog.contracts:
        compiled = compile_contract(run.catalog.contract(name))
        return [
            ("clean", "judge every row (no batch yet: this is what would run)", compiled.judged_sql),
            ("clean", "accepted rows", compiled.std_sql),
            ("clean", "findings", compiled.findings_sql),
        ]
    return []
