"""What is told when a due instant passes in vain: one notice per slot, one when it is filled after all, and one when nobody
can tell because the look itself hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dags._notice import keys_told, tell_once

if TYPE_CHECKING:
    from pipelines.deadlines import Filled, Overdue

#: Kinds of notice of a slot: nothing was accepted for it; what came is not judged yet, which may be followed by one of the
#: first; what was told is filled after all.
OVERDUE = ("slot_missing", "slot_held")
UNJUDGED = "slot_unjudged"
FILLED = "slot_filled"


def slots_told(*kinds: str) -> set[str]:
    """Ids of the slots of which a notice of one of these kinds was written."""
    return {slot for kind, _, slot in (key.partition(" ") for key in keys_told()) if kind in kinds}


def tell(one: Overdue, now: datetime) -> bool:
    """Write which source, department and period is overdue since when, and what to do. False: that was told before."""
    return _tell(one, f"slot_{one.state}", _overdue(one), now)


def tell_filled(one: Filled, now: datetime) -> bool:
    """Write that what was overdue has come, how late, and that nothing is left to do. False: that was told before."""
    zh, en = _slot(one)
    came, days = f"{one.arrived_at.astimezone(one.slot.due_at.tzinfo):%Y-%m-%d %H:%M}", one.working_days_late
    words = (
        f"已到：{zh}；合格数据已于 {came} 到达，" + (f"迟报 {days} 个工作日。" if days else "未超过应报时间。") + "无需再办。",
        f"Arrived: {en}; accepted data came at {came}, "
        + (f"working days late: {days}." if days else "which was in time.")
        + " Nothing is left to do.",
    )
    return _tell(one, FILLED, words, now)


def _tell(one: Overdue | Filled, kind: str, words: tuple[str, str], now: datetime) -> bool:
    contract = one.contract
    return tell_once(
        {
            "at": now.isoformat(timespec="seconds"),
            "kind": kind,
            "about": contract.id,
            "dag": "deadlines",
            "key": f"{kind} {one.id}",
            "department": contract.department.id,
            "period": one.slot.period,
            "due": one.slot.due_at.isoformat(timespec="minutes"),
            "zh": words[0],
            "en": words[1],
        }
    )


def _slot(one: Overdue | Filled) -> tuple[str, str]:
    """Whose slot it is, and when it was due."""
    c, department = one.contract, one.contract.department
    due = f"{one.slot.due_at:%Y-%m-%d %H:%M}（{c.arrival.timezone}）"
    zh = f"{department.zh}《{c.title.zh}》（{c.id}）{one.slot.period} 期应于 {due}前报送"
    en = f"{c.title.en} ({c.id}) of {department.en}, period {one.slot.period}, was due {due.replace('（', ' (').replace('）', ')')}"
    return zh, en


def _overdue(one: Overdue) -> tuple[str, str]:
    c, department = one.contract, one.contract.department
    zh, en = _slot(one)
    if one.state == "unjudged":
        return (
            f"待判：{zh}；文件已到一小时以上，平台仍未判定，责任不在部门。下一步：在 Airflow 中查看 intake__{c.id} 的运行与日志。",
            f"Not judged: {en}; files came more than an hour ago and we have not judged them. That is our fault, not the "
            f"department's. Next: look at the runs and logs of intake__{c.id} in Airflow.",
        )
    if one.earns_until:
        until = f"{one.earns_until:%Y-%m-%d %H:%M}"
        still_zh, still_en = f"{until} 前送达仍得部分时效分", f"what comes by {until} still earns part of the punctuality points"
    else:
        still_zh, still_en = (
            "本期不再得时效分，数据仍须补报",
            "the punctuality points of this period are gone, its data are still owed",
        )
    if one.state == "held":
        return (
            f"拦下：{zh}；已报送 {one.attempts} 次，均被拦下，未入库：{one.reason[0].rstrip('。')}。下一步：{department.zh}按 "
            f"outbox/{department.id}/ 中的回执改正后重新报送；{still_zh}。",
            f"Held: {en}; everything sent was held (files: {one.attempts}), nothing is in the warehouse: {one.reason[1].rstrip('.')}. "
            f"Next: {department.en} mends the file as its receipt in outbox/{department.id}/ says and sends it again; {still_en}.",
        )
    lies_zh = lies_en = ""
    if one.unfinished:
        lies_zh = f"；投放目录中有 {one.unfinished} 个文件缺少约定的清单或完成标记，不能读取"
        lies_en = f"; files that lack the manifest or marker that was agreed lie in its folder: {one.unfinished}"
    person_zh, person_en = (f"（{c.steward}）", f" ({c.steward})") if c.steward else ("", "")
    names, place = ", ".join(c.arrival.drop), f"landing/{department.id}/"
    return (
        f"缺报：{zh}，至今没有收到{lies_zh}。下一步：请{department.zh}{person_zh}将 {names} 放入 {place}；{still_zh}。",
        f"Missing: {en}, and nothing has come{lies_en}. Next: ask {department.en}{person_en} to drop {names} into {place}; {still_en}.",
    )


async def look_is_late(context: Mapping[str, Any]) -> None:
    """For Airflow to call, in its triggerer, when a look has not ended in time. One that failed has told so itself."""
    run = context["dag_run"]
    if run.get("state") == "failed":
        return
    told = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": "look_late",
        "about": "deadlines",
        "dag": run["dag_id"],
        "run": run["dag_run_id"],
        "key": f"look_late {run['dag_run_id']}",
        "zh": "到期未报检查没有按时完成，暂时无法判断谁缺报。下一步：在 Airflow 中查看 deadlines 的运行、工作进程是否占满，"
        "以及磁盘与共享目录是否可用。",
        "en": "The look for missed deadlines did not end in time, so who is missing cannot be told. Next: look at the runs of "
        "deadlines in Airflow, whether all workers are taken, and at the disk and the shares.",
    }
    await asyncio.to_thread(tell_once, told)
