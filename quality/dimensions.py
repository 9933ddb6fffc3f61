"""The six dimensions and twenty sub-indicators of GB/T 36344-2018, by code."""

from __future__ import annotations

from dataclasses import dataclass

TIMELINESS = "05"


@dataclass(frozen=True, slots=True)
class Dimension:
    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class SubIndicator:
    """`lower_is_better`: the standard counts bad elements, so X = 1 - A/B, and A/B is printed beside it."""

    code: str
    zh: str
    en: str
    lower_is_better: bool = False

    @property
    def dimension(self) -> str:
        return self.code[:2]


DIMENSIONS = {
    row.code: row
    for row in (
        Dimension("01", "规范性", "Normativity"),
        Dimension("02", "完整性", "Completeness"),
        Dimension("03", "准确性", "Accuracy"),
        Dimension("04", "一致性", "Consistency"),
        Dimension("05", "时效性", "Timeliness"),
        Dimension("06", "可访问性", "Accessibility"),
    )
}

SUB_INDICATORS = {
    row.code: row
    for row in (
        SubIndicator("0101", "数据标准", "Data standard"),
        SubIndicator("0102", "数据模型", "Data model"),
        SubIndicator("0103", "元数据", "Metadata"),
        SubIndicator("0104", "业务规则", "Business rules"),
        SubIndicator("0105", "权威参考数据", "Authoritative reference data"),
        SubIndicator("0106", "安全规范", "Security rules"),
        SubIndicator("0201", "数据元素完整性", "Element completeness"),
        SubIndicator("0202", "数据记录完整性", "Record completeness"),
        SubIndicator("0301", "数据内容正确性", "Content correctness"),
        SubIndicator("0302", "数据格式合规性", "Format compliance"),
        SubIndicator("0303", "数据重复率", "Duplication rate", lower_is_better=True),
        SubIndicator("0304", "数据唯一性", "Uniqueness"),
        SubIndicator("0305", "脏数据出现率", "Dirty data rate", lower_is_better=True),
        SubIndicator("0401", "相同数据一致性", "Agreement of the same data"),
        SubIndicator("0402", "关联数据一致性", "Consistency of related data"),
        SubIndicator("0501", "基于时间段的正确性", "Correctness over a period"),
        SubIndicator("0502", "基于时间点及时性", "Timeliness at a point in time"),
        SubIndicator("0503", "时序性", "Order in time"),
        SubIndicator("0601", "可访问", "Accessible"),
        SubIndicator("0602", "可用性", "Usable"),
    )
}
