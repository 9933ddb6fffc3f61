"""Notices: in the workspace, in Chinese and English, with what to do next. Here: when a task fails for good.

`notices/notices.jsonl` is for programs (one JSON object a line), `notices/notices.txt` for people. Neither ever holds
a value from the data: of an exception that is not ours only the name is told, its text stays in the task's log.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from warehouse.layout import open_workspace

log = logging.getLogger(__name__)


class BatchHeld(AirflowFailException):
    """The gate holds batches; each as {batch, zh, en}. Never retried: the same file would be held again."""

    def __init__(self, held: Sequence[Mapping[str, str]]) -> None:
        super().__init__("\n".join(f"{h['batch']}: {h['zh']} / {h['en']}" for h in held))
        self.zh = "；".join(f"{h['batch']}：{h['zh']}" for h in held)
        self.en = "; ".join(f"{h['batch']}: {h['en']}" for h in held)


class AnswerRefused(AirflowFailException):
    """An answer about a doubt that cannot be taken. Never retried: it would be the same answer."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(f"{zh} / {en}")
        self.zh, self.en = zh, en


def notify(context: Mapping[str, Any]) -> None:
    """Write the notice of the failed task in `context`. A notice that cannot be written is logged, never raised."""
    try:
        told = notice(context)
        _write(told, f"{told['dag']}  {told['about']}")
        log.error("%s\n%s", told["zh"], told["en"])
    except OSError:
        log.exception("the notice could not be written")


def tell_once(told: Mapping[str, str]) -> bool:
    """Write the notice `told` unless one with its `key` is there. False: it was. Raises OSError where it cannot be written.

    Again: nothing. Killed half way, the next call writes what is missing.
    """
    with open_workspace().locked("notices"):
        if told["key"] in keys_told():
            return False
        text = open_workspace().notices / "notices.txt"
        # The line for programs comes last and is the sign that all is written.
        _write(told, told["key"], text=not (text.is_file() and f"  {told['key']}\n" in text.read_text(errors="replace")))
    log.warning("%s\n%s", told["zh"], told["en"])
    return True


def keys_told() -> set[str]:
    """Keys of all notices that are told once."""
    path, keys = open_workspace().notices / "notices.jsonl", set[str]()
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        with suppress(ValueError):  # torn by a power cut
            keys.add(json.loads(line).get("key", ""))
    return keys


def _write(told: Mapping[str, str], head: str, *, text: bool = True) -> None:
    folder = open_workspace().notices
    folder.mkdir(parents=True, exist_ok=True)
    if text:
        _append(folder / "notices.txt", f"{told['at']}  {head}\n  {told['zh']}\n  {told['en']}\n\n")
    _append(folder / "notices.jsonl", json.dumps(told, ensure_ascii=False) + "\n")


def notice(context: Mapping[str, Any]) -> dict[str, str]:
    """Which source or entity, what happened, what to do next."""
    ti, problem = context["ti"], context.get("exception")
    about = ti.dag_id.split("__", 1)[-1]
    kind, zh, en = _explain(problem, ti.dag_id)
    return {
        "at": _now().isoformat(timespec="seconds"),
        "kind": kind,
        "about": about,
        "dag": ti.dag_id,
        "task": ti.task_id,
        "run": ti.run_id,
        "zh": zh,
        "en": en,
    }


def _explain(problem: object, dag_id: str) -> tuple[str, str, str]:
    where_zh, where_en = f"在 Airflow 中打开 {dag_id} 的该任务日志", f"open this task's log under {dag_id} in Airflow"
    kind = type(problem).__name__
    if isinstance(problem, BatchHeld):
        return (
            "held",
            f"批次被拦下，未入库，请部门改正后重新报送。{problem.zh}",
            f"Held, not in the warehouse; the department mends the file and sends it again. {problem.en}",
        )
    if isinstance(problem, AnswerRefused):
        return (
            "review",
            f"人工判定未被采纳，疑问仍待判定，下次再问：{problem.zh}",
            f"An answer about a doubt was not taken; it stays open and is asked again: {problem.en}",
        )
    if kind == "CatalogError":
        return (
            "configuration",
            f"目录配置有误，请按所示文件和行号修改，下次运行自动生效：{problem}",
            f"The catalogue is wrong; mend the file and line named here, the next run picks it up: {problem}",
        )
    if kind == "StageError":
        return (
            "invariant",
            f"内部校验未通过，未写入任何数据：{problem}",
            f"A check of ours failed, nothing was written: {problem}",
        )
    if problem is None:
        return (
            "killed",
            f"任务进程被终止（内存不足或主机重启）。数据完整无损：{where_zh}，排除原因后清除（Clear）该任务重跑。",
            f"The task's process was killed (out of memory, or a reboot). No data is harmed: {where_en}, mend the "
            "cause, then clear the task to run it again.",
        )
    return (
        "failed",
        f"任务重试后仍失败（{kind}）。数据完整无损：{where_zh}，排除原因后清除（Clear）该任务重跑。",
        f"The task failed after its retries ({kind}). No data is harmed: {where_en}, mend the cause, then clear the "
        "task to run it again.",
    )


def _now() -> datetime:
    """The clock of the workspace; the system's where that cannot be read, for a notice must come out in any case."""
    try:
        from pipelines.run import open_run

        return open_run().now
    except Exception:
        return datetime.now(UTC)


def _append(path: Path, text: str) -> None:
    """One write to a file opened for appending: notices of several tasks do not mix."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
