"""A trace in words that the person it is about would accept as an explanation, in Chinese or English from one set of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.changes import Change
from pipelines.link_explain import Likeness, Weight
from pipelines.trace import Decided, Field, Member, Pair, Saying, Sender, Trace

#: Every sentence, Chinese and English.
SENTENCES: Mapping[str, Pair] = {
    "redirected": ("标识 {old} 自第 {number} 次融合起并入 {new}：{reason}", "Id {old} stands for {new} since fusion {number}: {reason}"),
    "head": ("{title} {id}", "{title} {id}"),
    "made_of": ("由{departments}的 {rows} 行数据归并而成。", "Made of {rows} row(s) from {departments}."),
    "sender": ("{department}《{register}》", "{department} ({register})"),
    "field": ("{title}：{value}", "{title}: {value}"),
    "says": (
        "{who}这样说：{place}{header}，{day}到达{since}",
        "{who} says so: {place}{header}, arrived on {day}{since}",
    ),
    "header": ("“{header}”列，原文“{sent}”", ", column `{header}`, sent as `{sent}`"),
    "header_empty": ("“{header}”列", ", column `{header}`"),
    "since": ("（自{day}起这样说）", " (has said so since {day})"),
    "mended": ("这一格由工作簿 {name} 第 {row} 行更正", "this cell was mended by workbook {name}, row {row}"),
    "authority": ("采用理由：{authority}是此项的权威来源", "Why this one: {authority} is the authority for it"),
    "stale": (
        "采用理由：{authority}是此项的权威来源；它最近一行此格为空，沿用它最后一次给出的值，可能已经过时",
        "Why this one: {authority} is the authority for it; its newest row leaves the cell empty, so its last good value stands and may be old",
    ),
    "unconfirmed": (
        "采用理由：权威部门（{authority}）没有此项，取自次序最靠前的其他部门，未经权威部门确认",
        "Why this one: the authority ({authority}) has no value, so it is taken from the next best department, unconfirmed",
    ),
    "unconfirmed_nobody": (
        "采用理由：此项没有权威部门报送，取自次序最靠前的部门，未经确认",
        "Why this one: no authority sends this, so it is taken from the next best department, unconfirmed",
    ),
    "confidence": ("可信程度：{grade}。{reason}", "Confidence: {grade}. {reason}"),
    "alone": ("只有这一个来源说到它，没有来源与它不同", "It is the only source that says anything about it, none says otherwise"),
    "all_agree": ("另有 {agreeing} 个来源说法相同，没有来源与它不同", "{agreeing} other source(s) say the same, none says otherwise"),
    "all_differ": ("{disagreeing} 个来源说法不同，没有来源说法相同", "{disagreeing} source(s) say otherwise, none says the same"),
    "some_differ": ("另有 {agreeing} 个来源说法相同，{disagreeing} 个来源说法不同", "{agreeing} other source(s) say the same, {disagreeing} say(s) otherwise"),
    "agrees": ("说法相同：{who}，{place}，自{day}起", "Says the same: {who}, {place}, since {day}"),
    "differs": ("未采用：“{value}”，{who}自{day}起这样说，{place}{stale}", "Not taken: `{value}`, said by {who} since {day}, {place}{stale}"),
    "stale_mark": ("（其最近一行此格为空）", " (its newest row leaves the cell empty)"),
    "rows": ("为什么这些行属于同一主体：", "Why these rows belong together:"),
    "row": ("[{n}] {who}，{place}{day}", "[{n}] {who}, {place}{day}"),
    "row_day": ("，{day}到达", ", arrived on {day}"),
    "row_mended": ("由工作簿 {name} 第 {row} 行更正", "mended by workbook {name}, row {row}"),
    "same": ("与 {others} 的{identifier}相同", "same {identifier} as {others}"),
    "same_elsewhere": ("因{identifier}相同而归入", "belongs here by its {identifier}"),
    "only": ("没有其他行与它是同一主体", "no other row is the same"),
    "decided": ("经人工判定归入", "declared to belong here by people"),
    "no_identifier": ("没有{identifiers}", "no {identifiers}"),
    "own_identifier": ("其{identifiers}不见于其他行", "its {identifiers} stands on no other row"),
    "alike": ("{why}；与 {other} 相似：{parts}。{together}", "{why}; like {other}: {parts}. {together}"),
    "alike_unknown": (
        "{why}；与 {other} 相似，{together}（当时所用的比对模型今天已无法重算各项权重）",
        "{why}; like {other}, {together} (the weights cannot be worked out any more from the model that was used)",
    ),
    "prior": ("比较之前 ({bits})", "before comparing ({bits})"),
    "weight": ("{attribute}{level} ({bits})", "{attribute} {level} ({bits})"),
    "rare": ("这个值较少见 ({bits})", "a rarer value than most ({bits})"),
    "common": ("这个值较常见 ({bits})", "a commoner value than most ({bits})"),
    "together": ("合计 {bits}，即同一主体的概率 {p}", "Together {bits}, a probability of {p}"),
    "almost": ("合计 {bits}，即同一主体的概率高于 0.999999", "Together {bits}, a probability above 0.999999"),
    "only_probability": ("同一主体的概率 {p}", "a probability of {p}"),
    "bits": (
        "（数字为以 2 为底的对数权重：每加 1，是同一主体的可能性翻一倍；负数表示不像）",
        "(The figures are weights in bits: each +1 doubles the odds that the two are one, a negative one speaks against it.)",
    ),
    "record": ("记录 {record}", "record {record}"),
    "decisions": ("人工判定：", "What people decided:"),
    "declared_one": ("{rows} 由{by}于 {day} 判定为同一主体，理由：{reason}", "{rows} were declared one by {by} on {day}, because: {reason}"),
    "declared_apart": (
        "{rows} 由{by}于 {day} 判定与以下记录不是同一主体：{others}，理由：{reason}",
        "{rows} was declared not to be one with {others} by {by} on {day}, because: {reason}",
    ),
    "apart_in": ("{record}（在 {entity} 中）", "{record} (in {entity})"),
    "clashes": ("号码相同而未合并：", "Same number, but kept apart:"),
    "clash": ("{entity}：{file}：{reason}", "{entity}: {file}: {reason}"),
    "history": ("这个标识的经过：", "What became of this id:"),
    "event": ("{day}，第 {number} 次融合{whose}：{change}。{reason}", "{day}, fusion {number}{whose}: {change}. {reason}"),
    "whose": ("（标识 {id}）", " (id {id})"),
    "place": ("文件 {file}{sheet} 第 {row} 行", "file {file}{sheet}, row {row}"),
    "sheet": (" 工作表“{sheet}”", ", sheet `{sheet}`"),
}  # fmt: skip

GRADES: Mapping[str, Pair] = {
    "high": ("高", "high"), "good": ("较高", "good"), "fair": ("一般", "fair"), "low": ("低", "low"),
}  # fmt: skip

CHANGES: Mapping[str, Pair] = {
    "created": ("新建", "created"), "changed": ("变更", "changed"), "merged": ("合并", "merged"), "split": ("拆分", "split"),
    "restored": ("恢复", "restored"), "ended": ("终止", "ended"),
}  # fmt: skip

#: Levels of likeness as `pipelines.link_kinds` labels them; a label that is not here is shown as it is.
LEVELS: Mapping[str, str] = {
    "equal": "相同", "missing": "有一方未填", "different": "不同", "left out": "不计（姓名与日期相矛盾，同住或同单位的人也会相同）",
    "other order of words, or the same sound": "读音相同，或词序不同", "close spelling, or one character differs": "差一字，或写法很近",
    "one character differs": "差一字", "two characters differ": "差两字", "close spelling": "写法很近", "similar spelling": "写法相近",
    "nearly all words, or the same trade name and industry": "字号和行业相同，或几乎所有字词相同",
    "one contains the other, or the same trade name": "字号相同，或一方包含另一方",
    "most words, or a like trade name in the same industry": "行业相同而字号相近，或多数字词相同",
    "some words, or the trade name of another place, industry or branch": "字号相同而地区、行业或分支不同，或部分字词相同",
    "most words": "多数字词相同", "some words": "部分字词相同",
    "same number and street, or same room": "门牌或房号相同", "same number and like street, or same building and a part missing": "同一楼栋而一方有缺项，或门牌相同而街道相近",
    "same street and a number missing, or same number and street spelled alike": "门牌相同而路名相近，或街道相同而一方缺门牌",
    "same street and number near, or another room of the same building": "同一楼栋而房号不同，或街道相同而门牌相近", "same street": "街道相同",
    "same number": "门牌相同", "same subscriber": "用户号码相同", "one digit differs": "差一位", "same exchange": "局号相同",
    "one digit or two swapped": "差一位或两位互换", "day and month swapped, or one part differs": "日月互换或年月日之一不同",
    "same year": "年份相同", "one begins with the other": "一方是另一方的开头", "same mailbox name": "邮箱名相同",
    "within 1 %": "相差不到 1%", "within 10 %": "相差不到 10%",
}  # fmt: skip


def told(trace: Trace, language: str = "zh") -> str:
    """The whole explanation as lines of text; personal values as `trace` holds them, masked unless it was told to reveal."""
    return "\n".join(_Words(trace, language).lines()) + "\n"


class _Words:
    """One trace in one language."""

    def __init__(self, trace: Trace, language: str) -> None:
        self.trace, self.en = trace, language == "en"
        self.zone = ZoneInfo(trace.zone)
        self.number = {m.record: n for n, m in enumerate(trace.members, 1)}
        self.titles = {f.attribute: self.of(f.title) for f in trace.fields}

    def of(self, pair: Pair) -> str:
        return pair[self.en]

    def say(self, sentence: str, **facts: Any) -> str:
        return self.of(SENTENCES[sentence]).format(**facts)

    def listed(self, some: Sequence[str]) -> str:
        return (", " if self.en else "、").join(some)

    def who(self, sender: Sender | None) -> str:
        return self.say("sender", department=self.of(sender.department), register=self.of(sender.register)) if sender else ""

    def day(self, instant: datetime) -> str:
        return instant.astimezone(self.zone).strftime("%Y-%m-%d")

    def place(self, file: str, sheet: str | None, row: int) -> str:
        return self.say("place", file=file, sheet=self.say("sheet", sheet=sheet) if sheet else "", row=row)

    def rows(self, records: Sequence[str]) -> str:
        return self.listed([f"[{self.number[r]}]" if r in self.number else r[:12] for r in records])

    def identifier(self, name: str) -> str:
        return self.of((self.trace.identifiers or {}).get(name, (name, name)))

    def lines(self) -> Iterator[str]:
        trace = self.trace
        for c in trace.redirected:
            yield self.say("redirected", old=c.entity_id, new=c.other, number=c.number, reason=self.of((c.zh, c.en)))
        yield self.say("head", title=self.of(trace.title), id=trace.entity_id)
        departments = list(dict.fromkeys(self.of(m.sender.department) for m in trace.members if m.sender))
        yield self.say("made_of", departments=self.listed(departments), rows=len(trace.members))
        for f in trace.fields:
            yield ""
            yield from self.field(f)
        yield from ("", self.say("rows"))
        for m in trace.members:
            yield from self.member(m)
        if any(m.likeness for m in trace.members):
            yield "  " + self.say("bits")
        if trace.decided:
            yield from ("", self.say("decisions"), *(f"  {self.decision(d)}" for d in trace.decided))
        if trace.clashes:
            yield from ("", self.say("clashes"))
            for k in trace.clashes:
                yield "  " + self.say("clash", entity=k.other_entity, file=k.file_name, reason=self.of((k.zh, k.en)))
        if trace.history:
            yield from ("", self.say("history"), *(f"  {self.event(c)}" for c in trace.history))

    def field(self, f: Field) -> Iterator[str]:
        # the golden record keeps a digest of an identity number, which says nothing to anybody: the cell as sent is shown in its place
        is_digest = len(f.value) == 64 and f.as_sent is not None and f.value != f.as_sent
        yield self.say("field", title=self.of(f.title), value=f.as_sent if is_digest else f.value)
        header = ""
        if f.header:
            same = f.as_sent is None or is_digest or f.as_sent == f.value
            header = self.say("header_empty" if same else "header", header=f.header, sent=f.as_sent)
        day, since = self.day(f.arrived_at), self.day(f.since) if f.since else None
        yield "  " + self.say(
            "says", who=self.who(f.sender), place=self.place(f.file_name, f.sheet, f.row), header=header, day=day,
            since=self.say("since", day=since) if since and since != day else "",
        )  # fmt: skip
        if f.mended_in:
            yield "  " + self.say("mended", name=f.mended_in[0], row=f.mended_in[1])
        authority = self.listed([self.who(a) for a in f.authority])
        yield "  " + self.say(f.status if authority or f.status != "unconfirmed" else "unconfirmed_nobody", authority=authority)
        reason = (
            "some_differ"
            if f.disagreeing and f.agreeing
            else "all_differ"
            if f.disagreeing
            else "all_agree"
            if f.agreeing
            else "alone"
        )
        yield "  " + self.say(
            "confidence",
            grade=self.of(GRADES[f.confidence]),
            reason=self.say(reason, agreeing=f.agreeing, disagreeing=f.disagreeing),
        )
        for other in f.others:
            yield "  " + self.other(other)

    def other(self, o: Saying) -> str:
        facts = {"who": self.who(o.sender), "place": self.place(o.file_name, o.sheet, o.row), "day": self.day(o.since)}
        if o.agrees:
            return self.say("agrees", **facts)
        return self.say("differs", **facts, value=o.value, stale=self.say("stale_mark") if o.stale else "")

    def member(self, m: Member) -> Iterator[str]:
        day = self.say("row_day", day=self.day(m.arrived_at)) if m.arrived_at else ""
        yield "  " + self.say(
            "row", n=self.number[m.record], who=self.who(m.sender), place=self.place(m.file_name, m.sheet, m.row), day=day
        )
        for name, row in m.mended_in:
            yield "      " + self.say("row_mended", name=name, row=row)
        yield "      " + self.why(m)
        yield "      " + self.say("record", record=m.record)

    def why(self, m: Member) -> str:
        if m.link == "matched" and m.probability is not None:
            return self.alike(m, m.probability)
        if m.link == "decided":
            return self.say("decided")
        if m.identifier and m.same_as:
            return self.say("same", others=self.rows(m.same_as), identifier=self.identifier(m.identifier))
        if m.identifier:
            return self.say("same_elsewhere", identifier=self.identifier(m.identifier))
        return self.say("only")

    def alike(self, m: Member, probability: float) -> str:
        names = [self.identifier(i) for i in m.carries] or [self.identifier(i) for i in self.trace.identifiers or ()]
        why = self.say("own_identifier" if m.carries else "no_identifier", identifiers=(" or " if self.en else "或").join(names))
        other = self.rows([m.matched_to]) if m.matched_to else ""
        if m.likeness is None:
            return self.say("alike_unknown", why=why, other=other, together=self.say("only_probability", p=f"{probability:.4f}"))
        parts, total = self.parts(m.likeness)
        sentence = "together" if probability < 0.9999995 else "almost"
        return self.say(
            "alike", why=why, other=other, parts=parts, together=self.say(sentence, bits=_bits(total), p=f"{probability:.6f}")
        )

    def parts(self, likeness: Likeness) -> tuple[str, float]:
        """The summands as printed, what speaks most first, and what they add up to: the sum of what is printed."""
        shown, total = [self.say("prior", bits=_bits(likeness.prior))], round(likeness.prior, 1)
        for w in sorted(likeness.weights, key=lambda w: (w.level == "missing", -w.bits)):
            shown.append(self.weight(w))
            total += round(w.bits, 1)
            if rarity := round(w.rarity, 1):
                shown.append(self.say("rare" if rarity > 0 else "common", bits=_bits(rarity)))
                total += rarity
        return self.listed(shown), total

    def weight(self, w: Weight) -> str:
        level = w.level if self.en else LEVELS.get(w.level, w.level)
        attribute = self.titles.get(w.attribute, w.attribute)
        return self.say("weight", attribute=attribute, level=level, bits=_bits(w.bits))

    def decision(self, d: Decided) -> str:
        facts = {"rows": self.rows(d.records), "by": d.decided_by, "day": d.decided_on, "reason": self.of(d.reason)}
        if not d.apart:
            return self.say("declared_one", **facts)
        others = [self.say("apart_in", record=r[:12], entity=e[:12]) if e else r[:12] for r, e in d.apart]
        return self.say("declared_apart", **facts, others=self.listed(others))

    def event(self, c: Change) -> str:
        whose = "" if c.entity_id == self.trace.entity_id else self.say("whose", id=c.entity_id[:12])
        change = self.of(CHANGES.get(c.change, (c.change, c.change)))
        return self.say(
            "event", day=self.day(c.recorded_at), number=c.number, whose=whose, change=change, reason=self.of((c.zh, c.en))
        )


def _bits(bits: float) -> str:
    return f"{bits:+.1f}"
