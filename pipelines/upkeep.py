"""Upkeep: every night, so that the platform answers in its fifth year as on its first day. Changes no row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import duckdb

from pipelines.run import Run
from warehouse import upkeep as lake
from warehouse.lake import LakeError
from warehouse.upkeep import HABITS, Habits, Step

_Verb = Callable[[], Step | None]

WORDS = {
    "flush": ("目录数据库中的行写成文件", "rows moved out of the catalogue"),
    "compact": ("合并、重写文件", "small and worn files made one"),
    "expire": ("过期旧快照", "old snapshots forgotten"),
    "purge": ("清除目录数据库中已失效的行", "ended rows removed from the catalogue"),
    "clean": ("删除无人引用的文件", "files that nobody names removed"),
}


def upkeep(run: Run, habits: Habits = HABITS, tell: Callable[[Step], None] = lambda step: None) -> list[Step]:
    """Whatever needs it: rows of the catalogue into files, files compacted, old snapshots and what only they could show forgotten.

    A second call finds nothing to do. Two at once take turns. Writers wait for one step, readers never. Where DuckLake fails
    on a table, the others are still seen to; then LakeError says which failed.
    """
    done, failed = [], []
    with run.workspace.locked("upkeep"):
        for verb in _verbs(run, habits):
            try:
                step = verb()
            except (duckdb.Error, LakeError) as error:
                failed.append(str(error))
                run.close()  # an internal error leaves a connection of no use; the next step opens another
                continue
            if step:
                done.append(step)
                tell(step)
    if failed:
        raise LakeError("upkeep failed, the tables are as they were:\n" + "\n".join(failed))
    return done


def _verbs(run: Run, habits: Habits) -> Iterator[_Verb]:
    """One at a time, each with the connection that the run has by then."""
    for name in lake.storage(run.con):
        if name.split(".", 1)[0] in lake.LAYERS:
            yield partial(lake.flush, run.con, run.workspace, name, habits)
            yield partial(lake.compact, run.con, run.workspace, name, habits)
    yield partial(lake.expire, run.con, run.workspace, habits)
    yield partial(lake.purge, run.con, run.workspace)
    yield partial(lake.remove_unnamed, run.con, run.workspace, habits)


def told(steps: Sequence[Step]) -> list[str]:
    """A line per step in Chinese and English; one line where there was nothing to do."""
    return [
        f"{step.subject}: {WORDS[step.verb][0]} · {WORDS[step.verb][1]}: {step.before:,} -> {step.after:,}, "
        f"{step.seconds:.2f} s (写入最多等待 writers waited {step.locked:.2f} s at most)"
        for step in steps
    ] or ["无需维护 · nothing to do"]
