"""Which faults go into which source, at what rate (shares of the rows of one file)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from examples.city import faults as f
from examples.city.extracts import LAYOUTS
from examples.city.faults import Injector
from examples.city.names import ABOLISHED_DIVISION
from examples.city.numbers import resident_id_check
from examples.city.table import Row, Table

_CAPITAL = "注册资本（万元）"
_ID = "check:resident_id_valid"
_PRESENT = "expect:value_is_present"
_IN_TABLE = "expect:value_in_code_table"
_IN_ORDER = "expect:dates_in_order"
_NUMBER_CELL = "reader:number_in_text_column"
_CREDIT_CODE = "check:credit_code_valid"
_NAME_SHAPE = "expect:value_matches"
_CONFLICT = "merge:conflict"
_TWO_SOURCES = "true or false only beside another source; seen as a conflict when rows are merged"
_NO_RULE = "no rule compares these two attributes of different sources"
_ADDRESS = "the same address in fewer words, or without the room: less, not wrong"


def inject(target: Table, rng: Random) -> None:
    """Put the source's faults into `target`."""
    PLANS[target.source](Injector(target, rng, LAYOUTS[target.source].delimiter))


def _resident(put: Injector) -> None:
    number, name = "公民身份号码", "姓名"
    put.value("D04", "check_digit", number, 0.004, f.wrong_check_digit(number), _ID)
    put.value("D04", "impossible_date", number, 0.002, f.impossible_date(number, resident_id_check), _ID)
    put.value("D03", "lower_case_x", number, 0.004, f.lower_x(number), "repair:resident_id")
    put.value("D05", "number_of_another", number, 0.003, f.from_another_row(put.table, number, put.rng), "expect:key_is_unique")
    put.value("D06", "sex_disagrees", "性别", 0.004, f.mapped("性别", {"1": "2", "2": "1"}), "expect:sex_agrees_with_id")
    put.value(
        "D09",
        "abolished_division",
        "户籍地区划",
        0.006,
        f.mapped("户籍地区划", {"440403": ABOLISHED_DIVISION}),
        "check:division_known",
    )
    put.value("D14", "space_inside", name, 0.006, f.inner_space(name), "repair:person_name")
    put.value("D14", "other_middle_dot", name, 0.002, f.other_dot(name, "•"), "repair:person_name")
    put.value("D14", "trailing_mark", name, 0.003, f.ending(name, "*"), "repair:person_name")
    put.value("D01", "private_use_character", name, 0.002, f.ending(name, "\ue000"), "reader:character_private_use")
    put.value(
        "D22",
        "death_before_birth",
        "死亡日期",
        0.001,
        f.days_from("出生日期", -400, "%Y%m%d"),
        _IN_ORDER,
        fits=lambda row: bool(row.cells["死亡日期"]),
    )
    put.placeholder("联系电话", ("无", "不详", "11111111", "13800000000"), 0.01)
    put.value("D27", "short_address", "现住地址", 0.01, f.short_address("现住地址"), "none", _ADDRESS)
    put.duplicate_rows(0.004)
    put.blank_lines(2)
    put.broken_delimiters("户籍地址", 2)
    put.truncated_last_line(9)


def _residence_permit(put: Injector) -> None:
    number = "公民身份号码"
    put.value("D04", "unknown_division", number, 0.006, f.unknown_division(number, resident_id_check), _ID)
    put.value("D03", "spaces", number, 0.01, f.spaced(number), "repair:resident_id")
    put.value("D07", "placeholder", number, 0.02, f.constant("无"), _PRESENT)
    put.placeholder("联系电话", ("不详", "0", "13800000000"), 0.015)
    put.value("D07", "end_of_time", "有效期至", 0.008, f.constant("9999-12-31"), _PRESENT)
    put.value("D09", "four_digits", "居住地区划", 0.01, lambda c: str(c["居住地区划"])[:4], "unreadable:division_code")
    put.value(
        "D09",
        "nine_digits",
        "居住地区划",
        0.006,
        lambda c: f"{c['居住地区划']}001",
        "none",
        "nine digits are a code too; the first six are right",
    )
    put.value("D27", "without_room", "居住地址", 0.015, f.without_room("居住地址"), "none", _ADDRESS)
    put.value("D27", "short_address", "居住地址", 0.015, f.short_address("居住地址"), "none", _ADDRESS)
    put.value("D22", "expired_before_registered", "有效期至", 0.008, f.days_from("登记日期", -30, "%Y-%m-%d"), _IN_ORDER)


def _marriage(put: Injector) -> None:
    number, name, day = "证件号码", "姓名", "登记日期"
    put.value("D02", "number_as_number", number, 0.02, f.as_number(number), _NUMBER_CELL, fits=f.full_id(number))
    put.value("D02", "number_as_text_of_a_number", number, 0.01, f.as_number_text(number), "unreadable:undamaged")
    put.value("D02", "leading_quote", number, 0.01, f.leading_quote(number), "repair:strip_quote")
    put.value("D03", "fifteen_digits", number, 0.01, f.fifteen_digits(number), "repair:resident_id")
    put.value("D08", "word_for_code", "性别", 0.015, f.mapped("性别", {"1": "男", "2": "女"}), "repair:sex_code")
    put.value("D08", "word_for_code", "民族", 0.015, f.mapped("民族", {"01": "汉族", "08": "壮族"}), _IN_TABLE)
    put.value("D08", "word_for_code", "婚姻状况", 0.01, f.mapped("婚姻状况", {"20": "已婚", "40": "离异"}), _IN_TABLE)
    put.value("D14", "trailing_mark", name, 0.01, f.ending(name, "（补）"), _NAME_SHAPE)
    for form in ("slashes", "chinese", "serial", "compact", "dots"):
        put.value("D21", f"date_{form}", "出生日期", 0.008, f.date_text("出生日期", form), "repair:date_any_format")
    put.value("D23", "other_month", day, 0.01, f.typed_date(day, -45), "expect:rows_in_period")
    put.repeated_header()
    put.test_rows({"姓名": "测试", "证件号码": "123456", "登记证字号": "TEST"}, "unreadable:resident_id")
    put.totals_row("登记证字号", _PRESENT)


def _social_organisation(put: Injector) -> None:
    code = "统一社会信用代码"
    put.value("D16", "code_missing", code, 0.02, f.constant(""), _PRESENT)
    put.value("D16", "letters_for_digits", code, 0.02, f.letters_for_digits(code), _CREDIT_CODE)
    put.value("D15", "trailing_blank", "名称", 0.02, f.ending("名称", "　"), "repair:trim_text")
    put.value("D07", "placeholder", "法定代表人", 0.02, f.constant("不详"), _PRESENT)


def _student(put: Injector) -> None:
    number = "身份证件号"
    put.value("D02", "number_as_number", number, 0.01, f.as_number(number), _NUMBER_CELL, fits=f.full_id(number))
    put.value(
        "D06",
        "sex_disagrees",
        "性别",
        0.008,
        f.mapped("性别", {"1": "2", "2": "1"}),
        "expect:sex_agrees_with_id",
        fits=f.full_id(number),
    )
    put.value(
        "D06",
        "birth_disagrees",
        "出生日期",
        0.008,
        f.typed_date("出生日期", 31),
        "expect:birth_agrees_with_id",
        fits=f.full_id(number),
    )
    put.value("D08", "word_for_code", "性别", 0.015, f.mapped("性别", {"1": "男", "2": "女"}), "repair:sex_code")
    put.value("D08", "word_for_code", "民族", 0.015, f.mapped("民族", {"01": "汉"}), _IN_TABLE)
    for form in ("slashes", "english", "serial"):
        put.value("D21", f"date_{form}", "出生日期", 0.006, f.date_text("出生日期", form), "repair:date_any_format")
    put.value("D14", "homophone", "姓名", 0.01, f.homophone("姓名"), _CONFLICT, _TWO_SOURCES)
    put.value("D07", "placeholder", "监护人电话", 0.015, f.constant("无"), _PRESENT)
    put.repeated_header()
    put.totals_row("学籍号", "expect:value_matches")


def _insured(put: Injector) -> None:
    number, name = "证件号码", "姓名"
    put.value("D01", "question_mark", name, 1, f.question_marks(name), _NAME_SHAPE, at_most=1)
    put.value("D01", "geta_mark", name, 0.003, lambda c: str(c[name])[:-1] + "〓", _NAME_SHAPE)
    put.value("D07", "blank", number, 0.02, f.constant(""), _PRESENT)
    put.value("D03", "fifteen_digits", number, 0.01, f.fifteen_digits(number), "repair:resident_id")
    put.value("D03", "full_width", number, 0.005, f.full_width(number), "repair:half_width")
    put.value("D04", "check_digit", number, 0.004, f.wrong_check_digit(number), _ID)
    put.value("D05", "number_of_another", number, 0.004, f.from_another_row(put.table, number, put.rng), "expect:sql")
    put.value("D10", "dead_still_active", "参保状态", 0.003, f.mapped("参保状态", {"4": "1"}), "none", _NO_RULE)
    put.value("D14", "homophone", name, 0.008, f.homophone(name), _CONFLICT, _TWO_SOURCES)
    put.value("D14", "traditional_form", name, 0.006, f.traditional(name), _CONFLICT, _TWO_SOURCES)
    put.value("D32", "masked_upstream", name, 0.004, f.masked_name(name), _NAME_SHAPE)
    put.placeholder("联系电话", ("无", "11111111", "NULL"), 0.01)
    put.value("D07", "placeholder", "出生日期", 0.005, f.constant("1900-01-01"), _PRESENT)
    put.undecodable_bytes("单位名称", 3)
    put.duplicate_rows(0.004)
    put.broken_delimiters("常住地址", 2)
    put.truncated_last_line(6)


def _enterprise(put: Injector) -> None:
    code, name = "统一社会信用代码", "企业名称"
    put.value("D16", "letters_for_digits", code, 0.006, f.letters_for_digits(code), _CREDIT_CODE, fits=f.full_id(code))
    put.value("D16", "lower_case", code, 0.006, lambda c: str(c[code]).lower(), "repair:credit_code")
    put.value("D15", "half_width_brackets", name, 0.02, f.half_width_brackets(name), "repair:entity_name")
    put.value(
        "D17",
        "other_status_word",
        "登记状态",
        0.015,
        lambda c: put.rng.choice(("在业", "开业", "在营", "正常")) if c["登记状态"] == "存续" else None,
        _IN_TABLE,
    )
    put.value(
        "D19",
        "yuan_for_10000_yuan",
        _CAPITAL,
        0.01,
        lambda c: f"{c[_CAPITAL]}0000",
        "expect:value_between",
        fits=lambda row: int(str(row.cells[_CAPITAL])) >= 200,
    )
    put.value("D19", "unit_in_the_value", _CAPITAL, 0.006, lambda c: f"{c[_CAPITAL]}万元", "unreadable:number")
    put.value("D20", "without_section_letter", "行业代码", 0.01, lambda c: str(c["行业代码"])[1:], "expect:value_matches")
    put.value(
        "D22",
        "cancelled_before_established",
        "注吊销日期",
        0.004,
        f.days_from("成立日期", -90, "%Y-%m-%d"),
        _IN_ORDER,
        fits=lambda row: bool(row.cells["注吊销日期"]),
    )
    put.value("D21", "date_chinese", "成立日期", 0.01, f.date_text("成立日期", "chinese"), "repair:date_any_format")
    put.placeholder("联系电话", ("无", "0", "不详"), 0.01)
    put.duplicate_rows(0.005)
    put.blank_lines(1)
    put.broken_delimiters("住所", 1)


def _enterprise_corrected(put: Injector) -> None:
    """What is left after the department went through our list."""
    code = "统一社会信用代码"
    put.value("D16", "lower_case", code, 0.004, lambda c: str(c[code]).lower(), "repair:credit_code")
    put.value("D20", "without_section_letter", "行业代码", 0.004, lambda c: str(c["行业代码"])[1:], "expect:value_matches")
    put.placeholder("联系电话", ("无", "不详"), 0.004)


def _licence(put: Injector) -> None:
    put.value("D28", "expired_shown_valid", "证照状态", 0.01, f.mapped("证照状态", {"过期": "有效"}), "expect:sql")
    put.value("D28", "holder_code_missing", "持证主体代码", 0.01, f.constant(""), _PRESENT)
    put.value("D16", "letters_for_digits", "持证主体代码", 0.006, f.letters_for_digits("持证主体代码"), _CREDIT_CODE)
    put.value("D21", "date_slashes", "有效期止", 0.01, f.date_text("有效期止", "slashes"), "repair:date_any_format")
    put.value("D21", "date_serial", "颁发日期", 0.006, f.date_text("颁发日期", "serial"), "repair:date_any_format")
    put.value("D15", "half_width_brackets", "持证主体名称", 0.01, f.half_width_brackets("持证主体名称"), "repair:entity_name")
    put.value("D22", "valid_to_before_from", "有效期止", 0.006, f.typed_date("有效期起", -10), _IN_ORDER)


def _taxpayer(put: Injector) -> None:
    code, name = "社会信用代码", "纳税人名称"

    def had_old_number(row: Row) -> bool:
        return bool(row.cells["原工商注册号"]) and bool(row.cells[code])

    put.value("D01", "question_mark", "法定代表人姓名", 1, f.question_marks("法定代表人姓名"), _NAME_SHAPE, at_most=1)
    put.value(
        "D16",
        "old_number_only",
        code,
        0.015,
        f.constant(""),
        "none",
        "allowed: an old registration number alone identifies too",
        fits=had_old_number,
    )
    put.value(
        "D16", "old_number_for_code", code, 0.01, lambda c: c["原工商注册号"], "unreadable:credit_code", fits=had_old_number
    )
    put.value("D16", "letters_for_digits", code, 0.008, f.letters_for_digits(code), _CREDIT_CODE, fits=f.full_id(code))
    put.value("D16", "organisation_code_only", code, 0.006, f.organisation_code_only(code), "unreadable:credit_code")
    put.value("D15", "half_width_brackets", name, 0.02, f.half_width_brackets(name), "repair:entity_name")
    put.value("D15", "other_legal_form", name, 0.015, f.other_legal_form(name), _CONFLICT, _TWO_SOURCES)
    put.value(
        "D17", "revoked_taxed_as_normal", "纳税人状态代码", 0.01, f.mapped("纳税人状态代码", {"05": "03"}), "none", _NO_RULE
    )
    put.value(
        "D18",
        "other_legal_representative",
        "法定代表人姓名",
        0.015,
        f.from_another_row(put.table, "法定代表人姓名", put.rng),
        _CONFLICT,
        _TWO_SOURCES,
    )
    put.value(
        "D19",
        "yuan_for_10000_yuan",
        _CAPITAL,
        0.01,
        lambda c: f"{c[_CAPITAL]}0000",
        "expect:value_between",
        fits=lambda row: int(str(row.cells[_CAPITAL])) >= 200,
    )
    put.value("D20", "without_section_letter", "行业代码", 0.02, lambda c: str(c["行业代码"])[1:], "expect:value_matches")
    put.value("D20", "three_digits", "行业代码", 0.01, lambda c: str(c["行业代码"])[1:4], "expect:value_matches")
    put.placeholder("联系电话", ("无", "NULL", "0"), 0.015)
    put.value("D14", "homophone", "法定代表人姓名", 0.008, f.homophone("法定代表人姓名"), _CONFLICT, _TWO_SOURCES)
    put.broken_delimiters("生产经营地址", 1)
    put.undecodable_bytes("纳税人名称", 1)


def _permit(put: Injector) -> None:
    decided = "XK_JDRQ"
    put.value("D16", "code_missing", "XK_XDR_SHXYM", 0.015, f.constant(""), _PRESENT)
    put.value("D22", "decided_after_expiry", "XK_YXQZI", 0.015, f.days_from(decided, -60, "%Y-%m-%d"), _IN_ORDER)
    put.value("D23", "published_late", decided, 0.02, f.days_from(decided, -40, "%Y-%m-%d"), "expect:record_lag")
    put.value("D23", "other_month", "SJC", 0.01, f.days_from("SJC", -35, "%Y-%m-%d"), "expect:rows_in_period")
    put.value(
        "D24",
        "square_brackets",
        "XK_WSH",
        0.015,
        lambda c: str(c["XK_WSH"]).replace("〔", "[").replace("〕", "]"),
        "expect:value_matches",
    )
    put.value("D21", "date_compact", "XK_YXQZ", 0.015, f.date_text("XK_YXQZ", "compact"), "repair:date_any_format")
    put.value("D08", "word_for_code", "XK_ZT", 0.015, f.mapped("XK_ZT", {"0": "正常"}), "expect:value_in_set")


def _permit_held(put: Injector) -> None:
    """The export lost its decision numbers: 70 % of the key column is blank, so the gate holds the file."""
    put.value("D24", "number_blank", "XK_WSH", 0.70, f.constant(""), "expect:value_is_present (hold)", at_most=1)


def _water_account(put: Injector) -> None:
    put.value("D07", "placeholder", "用户名称", 0.008, f.constant("不详"), _PRESENT)
    put.value("D14", "homophone", "用户名称", 0.01, f.homophone("用户名称"), _CONFLICT, _TWO_SOURCES)
    put.value("D14", "space_inside", "用户名称", 0.01, f.inner_space("用户名称"), "repair:person_name")
    put.value("D27", "short_address", "用水地址", 0.02, f.short_address("用水地址"), "none", _ADDRESS)
    put.placeholder("联系电话", ("无", "13800000000", "0"), 0.02)
    put.value("D04", "check_digit", "证件号码", 0.004, f.wrong_check_digit("证件号码"), _ID)
    put.value("D03", "lower_case_x", "证件号码", 0.004, f.lower_x("证件号码"), "repair:resident_id")
    put.duplicate_rows(0.004)


PLANS: Mapping[str, Callable[[Injector], None]] = {
    "police__resident": _resident,
    "police__residence_permit": _residence_permit,
    "civil_affairs__marriage": _marriage,
    "civil_affairs__social_organisation": _social_organisation,
    "education__student": _student,
    "human_resources__insured": _insured,
    "market_regulation__enterprise": _enterprise,
    "market_regulation__licence": _licence,
    "taxation__taxpayer": _taxpayer,
    "credit_office__permit": _permit,
    "utilities__water_account": _water_account,
}


def inject_leftovers(target: Table, rng: Random) -> None:
    """The few faults of a corrected enterprise file."""
    _enterprise_corrected(Injector(target, rng))


def inject_hold(target: Table, rng: Random) -> None:
    """A permit file that no gate may let through."""
    _permit_held(Injector(target, rng))
