"""The words of the report in both languages: what a code is called on a page."""

from __future__ import annotations

from collections.abc import Mapping

Pair = tuple[str, str]

WORDS: Mapping[str, Mapping[str, Pair]] = {
    "slot": {
        "early": ("提前", "early"), "on_time": ("按时", "on time"), "late": ("迟报", "late"), "missing": ("缺报", "missing"),
        "held": ("拦下", "held"), "not_due": ("未到期", "not due"), "none": ("无应报", "nothing due"),
    },
    "verdict": {
        "pass": ("通过", "passed"), "warn": ("有问题", "passed with findings"), "hold": ("拦下", "held"),
    },
    "severity": {
        "note": ("提示", "note"), "warn": ("警告", "warning"), "refuse": ("拒收该行", "row refused"),
        "hold": ("拦下整批", "batch held"),
    },
    "cycle": {
        "daily": ("每日", "daily"), "weekly": ("每周", "weekly"), "monthly": ("每月", "monthly"),
        "quarterly": ("每季度", "quarterly"), "yearly": ("每年", "yearly"), "event": ("事件触发", "on event"),
    },
    "load": {
        "snapshot": ("全量（每次报送全部数据）", "snapshot (all rows every time)"),
        "increment": ("增量（按主键更新）", "increment (rows replaced by key)"),
        "append": ("追加（只增不改）", "append (rows are only added)"),
    },
    "tier": {
        "base_library": ("基础库", "base library"), "theme": ("主题库", "theme library"), "other": ("部门数据", "departmental"),
    },
    "library": {
        "population": ("人口库", "population"), "legal_entities": ("法人库", "legal entities"),
        "licences": ("电子证照库", "licences"), "credit": ("社会信用库", "social credit"),
        "geography": ("自然资源和空间地理库", "natural resources and geography"),
    },
    "reader": {"delimited": ("分隔符文本", "delimited text"), "workbook": ("Excel 工作簿（.xlsx）", "Excel workbook (.xlsx)")},
    "type": {
        "text": ("文本", "text"), "integer": ("整数", "integer"), "number": ("数值", "number"), "date": ("日期", "date"),
        "timestamp": ("日期时间", "date and time"), "boolean": ("是/否", "yes/no"),
    },
    "kind": {
        "text": ("文本", "text"), "person_name": ("姓名", "person's name"),
        "organisation_name": ("机构名称", "organisation's name"), "address": ("地址", "address"), "phone": ("电话", "phone"),
        "date": ("日期", "date"), "code": ("代码", "code"), "email": ("电子邮箱", "e-mail"), "number": ("数值", "number"),
    },
    "problem": {
        "failed_to_run": ("检查未能执行，按 0 分计", "the check failed to run and scores 0"),
        "impossible_counts": ("计数不成立（A 大于 B 或为负），按 0 分计", "impossible counts (A above B, or negative); scores 0"),
    },
    "waiver": {
        "coming": ("未生效", "not yet"), "standing": ("有效", "stands"), "ending": ("即将到期", "ends soon"),
        "expired": ("已到期", "expired"),
    },
    "direction": {
        "new": ("新出现", "new"), "more": ("增加", "more"), "fewer": ("减少", "fewer"), "same": ("持平", "as before"),
        "gone": ("未再出现", "gone"),
    },
    "rule": {
        "authority": ("权威来源的值", "the authority says so"), "stale": ("权威来源的旧值", "the authority's last value, now old"),
        "unconfirmed": ("无权威来源，未确认", "no authority has it, unconfirmed"),
    },
    "trigger": {"reminder": ("提醒", "Reminder"), "circular": ("通报", "Circular"), "interview": ("约谈", "Interview")},
    "standing": {
        "never": ("从未报送", "never delivered"), "missing": ("缺报", "missing"), "held": ("拦下待改", "held, to be mended"),
        "late": ("迟报", "delivered late"), "good": ("正常", "on schedule"), "received": ("已报送", "delivered"),
    },
}  # fmt: skip


def word(group: str, code: str, language: str) -> str:
    """What `code` is called; the code itself where it has no name."""
    pair = WORDS[group].get(code, (code, code))
    return pair[language == "en"]
