"""Two days of a small town, and processes that live through them: forks of one server that has imported everything."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from tests.crash import child
from tests.support import Town

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.crash.child"])

#: Instant -> what lands just before it, per department.
DAYS: dict[str, list[tuple[str, str, bytes]]] = {
    "2026-03-03T08:30:00+08:00": [
        ("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,没有\n3,丙,2021-05-06\n".encode()),
        ("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),
        ("fire", "permit_20260302.txt", "编号|等级\n1|A\n2|B\n".encode()),
    ],
    "2026-03-04T08:30:00+08:00": [
        ("market", "shop_20260303.csv", "编号,名称,成立日期\n5,戊,2022-02-02\n".encode()),
        ("market", "shop_20260302.csv", "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,2020-02-02\n".encode()),  # corrected
        ("tax", "payer_20260302.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),  # once more
        ("tax", "payer_20260303.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),  # a new day, the same
        ("tax", "payer_20260303_b.csv", "编号,电话\n1,057188880001\n4,057188880004\n".encode("gb18030")),  # and once more
        ("fire", "permit_20260303.txt", "编号|级别\n1|A\n".encode()),  # a header nobody agreed on
    ],
}


def land(place: Town, when: str) -> None:
    for department, name, data in DAYS[when]:
        place.drop(department, name, data)


#: Starting a process also asks how the others ended, and an answer can be read once only: threads take turns.
_TURN = threading.Lock()


def fork(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A started process that runs `target`."""
    process = FORKS.Process(target=target, args=arguments)
    with _TURN:
        process.start()
    return process


def ended(process: BaseProcess, seconds: float | None = None) -> int:
    """How the process ended; it is killed where it has not after so many seconds."""
    if not connection.wait([process.sentinel], seconds):
        process.kill()
        connection.wait([process.sentinel])
    with _TURN:
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def undisturbed(place: Town, when: str) -> float:
    """`dmp run` at an instant, to its end; the seconds that it took."""
    start = time.monotonic()
    process = fork(child.command, place, "run", "--now", when)
    assert ended(process) == 0
    return time.monotonic() - start
