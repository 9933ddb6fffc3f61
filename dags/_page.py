"""The page of a source in Airflow's UI, written from its contract: what to drop, when, which columns, how to mend."""

from __future__ import annotations

from catalog.contract import Contract

LOAD = {"snapshot": "全量 · whole register each time", "increment": "增量 · changed rows by key", "append": "追加 · new rows"}
CYCLE = {
    "daily": "每日 · daily",
    "weekly": "每周 · weekly",
    "monthly": "每月 · monthly",
    "quarterly": "每季 · quarterly",
    "yearly": "每年 · yearly",
    "event": "不定期 · when it happens",
}


def page(contract: Contract) -> str:
    """Markdown. Only the contract's own words: the same contract gives the same text, or every parse would be a new
    version of the DAG."""
    c, form = contract, contract.format
    read_as = f"{form.reader}, {' / '.join(form.encoding)}" + (
        f", `{form.delimiter or '?'}`" if form.reader == "delimited" else f", sheet {', '.join(form.sheet or ('1',))}"
    )
    due = c.arrival.due or "按周期默认 · default of the cycle"
    rows = [
        f"| {' / '.join(k.from_)} | {k.to or '—'} | {k.type if k.to else '不读取 · ignored: ' + (k.ignore or '')} "
        f"| {'●' if k.key else ''} | {k.grade}{' 个人信息 · personal' if k.personal else ''} |"
        for k in c.columns
    ]
    return "\n".join(
        [
            f"# {c.title.zh} · {c.title.en}",
            f"`{c.id}` — {c.department.zh} · {c.department.en}" + (f" — {c.steward}" if c.steward else ""),
            "",
            f"- 投放 · drop: `landing/{c.department.id}/` {', '.join(f'`{d}`' for d in c.arrival.drop)}",
            f"- 周期 · cycle: {CYCLE[c.arrival.cycle]}; 截止 · due: {due} ({c.arrival.timezone})",
            f"- 装载 · load: {LOAD[c.load]}",
            f"- 格式 · format: {read_as}",
            f"- 归并实体 · entity: {c.entity or '—'}",
            "",
            "| 列 · column | 标准名 · name | 类型 · type | 主键 · key | 分级 · grade |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "**红色怎么办 · when it is red.** `held` 红：有批次被拦下，任务日志与 `notices/notices.txt` 写明原因；请部门改正后"
            "重新投放，自动成为新版本，无需清除任务。其他任务红：排除日志所述原因后清除（Clear）该任务。",
            "",
            "`held` is red: a batch is held, its log and `notices/notices.txt` say why; the department mends the file and drops "
            "it again, which makes a new version, nothing has to be cleared. Any other task is red: mend what its log says, "
            "then clear that task.",
        ]
    )
