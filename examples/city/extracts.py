"""What each department sends: the columns of its extract, filled from the true people, companies and licences.

One function per source, from true values to the rows of one file, before any fault. What a department does not know it
leaves blank here (few water accounts carry an identity number); that is how it is, not a fault.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from random import Random

from examples.city import names
from examples.city.companies import Company, Licence
from examples.city.people import Person
from examples.city.table import Cell, Layout, Row, rows_of

#: How each source writes its files. The shipped contracts declare the same, in `catalog/sources/`.
LAYOUTS: Mapping[str, Layout] = {
    "police__resident": Layout(encoding="gb18030", delimiter="|"),
    "police__residence_permit": Layout(encoding="utf-8-sig"),
    "civil_affairs__marriage": Layout("workbook", sheet="婚姻登记"),
    "civil_affairs__social_organisation": Layout(encoding="gb18030"),
    "education__student": Layout("workbook", sheet="学籍", title="云泽市中小学生学籍月报（合成数据）"),
    "human_resources__insured": Layout(encoding="gbk"),
    "market_regulation__enterprise": Layout(encoding="gb18030"),
    "market_regulation__licence": Layout("workbook", sheet="证照目录"),
    "taxation__taxpayer": Layout(encoding="gbk"),
    "credit_office__permit": Layout(encoding="utf-8", newline="\n"),
    "utilities__water_account": Layout(encoding="utf-8", newline="\n"),
}

HEADERS: Mapping[str, tuple[str, ...]] = {
    "police__resident": (
        "公民身份号码",
        "姓名",
        "曾用名",
        "性别",
        "民族",
        "出生日期",
        "户籍地区划",
        "户籍地址",
        "户号",
        "现住地址",
        "联系电话",
        "人员状态",
        "死亡日期",
        "更新时间",
        "备注",
    ),
    "police__residence_permit": (
        "居住证编号",
        "姓名",
        "性别",
        "公民身份号码",
        "出生日期",
        "户籍地区划",
        "居住地区划",
        "居住地址",
        "联系电话",
        "登记日期",
        "有效期至",
        "居住事由",
    ),
    "civil_affairs__marriage": (
        "登记证字号",
        "当事人",
        "姓名",
        "证件号码",
        "性别",
        "民族",
        "出生日期",
        "登记业务",
        "婚姻状况",
        "登记日期",
        "登记机关",
        "备注",
    ),
    "civil_affairs__social_organisation": (
        "登记证号",
        "统一社会信用代码",
        "名称",
        "类型",
        "法定代表人",
        "业务主管单位",
        "住所",
        "联系电话",
        "注册资金（万元）",
        "成立登记日期",
        "登记状态",
    ),
    "education__student": (
        "学籍号",
        "姓名",
        "性别",
        "身份证件号",
        "民族",
        "出生日期",
        "学校名称",
        "年级",
        "学籍状态",
        "入学年月",
        "家庭住址",
        "监护人姓名",
        "监护人电话",
    ),
    "human_resources__insured": (
        "个人编号",
        "姓名",
        "证件号码",
        "性别",
        "出生日期",
        "联系电话",
        "常住地址",
        "单位名称",
        "单位信用代码",
        "参保状态",
        "最后缴费年月",
    ),
    "market_regulation__enterprise": (
        "主体身份代码",
        "统一社会信用代码",
        "注册号",
        "企业名称",
        "曾用名称",
        "主体类型",
        "法定代表人",
        "注册资本（万元）",
        "成立日期",
        "行业代码",
        "登记机关区划",
        "住所",
        "联系电话",
        "登记状态",
        "注吊销日期",
        "经营范围",
        "更新时间",
    ),
    "market_regulation__licence": (
        "证照编号",
        "证照类型代码",
        "证照类型名称",
        "持证主体名称",
        "持证主体代码",
        "颁发机构",
        "颁发日期",
        "有效期起",
        "有效期止",
        "证照状态",
    ),
    "taxation__taxpayer": (
        "登记序号",
        "社会信用代码",
        "原工商注册号",
        "纳税人名称",
        "法定代表人姓名",
        "生产经营地址",
        "联系电话",
        "行业代码",
        "注册资本（万元）",
        "开业日期",
        "纳税人状态代码",
        "纳税信用级别",
        "主管税务机关",
    ),
    "credit_office__permit": (
        "XK_XDR_MC",
        "XK_XDR_LB",
        "XK_XDR_SHXYM",
        "XK_FRDB",
        "XK_XKWS",
        "XK_WSH",
        "XK_XKLB",
        "XK_XKZS",
        "XK_XKBH",
        "XK_NR",
        "XK_JDRQ",
        "XK_YXQZ",
        "XK_YXQZI",
        "XK_XKJG",
        "XK_ZT",
        "XK_LYDW",
        "SJC",
        "BZ",
    ),
    "utilities__water_account": (
        "户号",
        "用户名称",
        "证件号码",
        "用水地址",
        "联系电话",
        "开户日期",
        "用水性质",
        "账户状态",
    ),
}

Rows = list[Row]
Values = list[tuple[str, Mapping[str, Cell]]]


def _compact(day: dt.date | None) -> str:
    return f"{day:%Y%m%d}" if day else ""


def _iso(day: dt.date | None) -> str:
    return day.isoformat() if day else ""


def _at(rng: Random, day: dt.date) -> str:
    return f"{day.isoformat()} {rng.randrange(8, 18):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"


def _make(source: str, values: Sequence[tuple[str, Mapping[str, Cell]]]) -> Rows:
    return rows_of(HEADERS[source], values)


def resident(rng: Random, people: Sequence[Person], day: dt.date) -> Rows:
    return _make(
        "police__resident",
        [
            (
                p.truth,
                {
                    "公民身份号码": p.resident_id,
                    "姓名": p.name,
                    "曾用名": p.former_name,
                    "性别": p.sex,
                    "民族": p.ethnic,
                    "出生日期": _compact(p.born),
                    "户籍地区划": p.hukou_division,
                    "户籍地址": p.hukou_address,
                    "户号": p.household_no,
                    "现住地址": p.residence_address,
                    "联系电话": p.phone,
                    "人员状态": "9" if p.died else "0",
                    "死亡日期": _compact(p.died),
                    "更新时间": _at(rng, day),
                    "备注": rng.choice(("", "", "证件已核", "待补照片")),
                },
            )
            for p in people
        ],
    )


def residence_permit(rng: Random, people: Sequence[Person], day: dt.date) -> Rows:
    values: Values = []
    for p in people:
        registered = day - dt.timedelta(days=rng.randrange(0, 3))
        values.append(
            (
                p.truth,
                {
                    "居住证编号": f"JZ{p.residence_division}{int(p.truth[1:]):09d}",
                    "姓名": p.name,
                    "性别": "男" if p.sex == "1" else "女",
                    "公民身份号码": p.resident_id,
                    "出生日期": _iso(p.born),
                    "户籍地区划": p.hukou_division,
                    "居住地区划": p.residence_division,
                    "居住地址": p.residence_address,
                    "联系电话": p.phone,
                    "登记日期": _iso(registered),
                    "有效期至": _iso(registered + dt.timedelta(days=365)),
                    "居住事由": rng.choice(("务工", "务工", "经商", "投靠亲属", "就学")),
                },
            )
        )
    return _make("police__residence_permit", values)


def marriage(rng: Random, couples: Sequence[tuple[Person, Person]], day: dt.date) -> Rows:
    """One row per party: two rows share a certificate number."""
    values: Values = []
    for number, couple in enumerate(couples, 1):
        divorced = couple[0].marital == "40"
        certificate = f"{'L' if divorced else 'J'}440402-{day.year}-{day:%m%d}{number:04d}"
        for p in sorted(couple, key=lambda p: p.sex):
            values.append(
                (
                    p.truth,
                    {
                        "登记证字号": certificate,
                        "当事人": "男方" if p.sex == "1" else "女方",
                        "姓名": p.name,
                        "证件号码": p.resident_id,
                        "性别": p.sex,
                        "民族": p.ethnic,
                        "出生日期": p.born,
                        "登记业务": "离婚登记" if divorced else "结婚登记",
                        "婚姻状况": p.marital,
                        "登记日期": day,
                        "登记机关": f"{names.CITY}{names.DISTRICTS[p.residence_division]}民政局婚姻登记处",
                        "备注": "",
                    },
                )
            )
    return _make("civil_affairs__marriage", values)


def social_organisation(rng: Random, companies: Sequence[Company]) -> Rows:
    kinds = {"51": "社会团体", "52": "民办非企业单位", "53": "基金会"}
    units = ("云泽市民政局", "云泽市教育局", "云泽市文化广电旅游体育局", "云泽市生态环境局")
    return _make(
        "civil_affairs__social_organisation",
        [
            (
                c.truth,
                {
                    "登记证号": c.register_no,
                    "统一社会信用代码": c.uscc,
                    "名称": c.name,
                    "类型": kinds[c.kind],
                    "法定代表人": c.legal_rep,
                    "业务主管单位": rng.choice(units),
                    "住所": c.address,
                    "联系电话": c.phone,
                    "注册资金（万元）": str(c.capital),
                    "成立登记日期": _iso(c.established),
                    "登记状态": c.status,
                },
            )
            for c in companies
        ],
    )


def student(rng: Random, people: Sequence[Person], guardians: Mapping[str, Person]) -> Rows:
    """About one pupil in seven has no identity number in the school's records."""
    values: Values = []
    for p in people:
        known = rng.random() > 0.14
        guardian = guardians[p.household_no]
        grade = min(12, max(1, 2026 - p.born.year - 6))
        values.append(
            (
                p.truth,
                {
                    "学籍号": f"G{p.resident_id}" if known else f"L{rng.randrange(10**17):018d}",
                    "姓名": p.name,
                    "性别": p.sex,
                    "身份证件号": p.resident_id if known else "",
                    "民族": p.ethnic,
                    "出生日期": p.born,
                    "学校名称": p.school,
                    "年级": str(grade),
                    "学籍状态": "1",
                    "入学年月": f"{2026 - grade}09",
                    "家庭住址": p.residence_address,
                    "监护人姓名": guardian.name,
                    "监护人电话": guardian.phone,
                },
            )
        )
    return _make("education__student", values)


def insured(people: Sequence[Person], companies: Mapping[str, Company]) -> Rows:
    """GBK cannot write some names; the fault injector notes the question marks that stand for them."""
    values: Values = []
    for p in people:
        unit = companies.get(p.employer)
        values.append(
            (
                p.truth,
                {
                    "个人编号": f"4404{int(p.truth[1:]):08d}",
                    "姓名": p.name,
                    "证件号码": p.resident_id,
                    "性别": p.sex,
                    "出生日期": _iso(p.born),
                    "联系电话": p.phone,
                    "常住地址": p.residence_address,
                    "单位名称": unit.name if unit else "",
                    "单位信用代码": unit.uscc if unit else "",
                    "参保状态": "4" if p.died else "1",
                    "最后缴费年月": f"{p.died:%Y%m}" if p.died else "202602",
                },
            )
        )
    return _make("human_resources__insured", values)


def enterprise(rng: Random, companies: Sequence[Company], day: dt.date) -> Rows:
    kinds = {"91": "企业法人", "92": "个体工商户", "93": "农民专业合作社"}
    scopes = dict(names.INDUSTRIES)
    return _make(
        "market_regulation__enterprise",
        [
            (
                c.truth,
                {
                    "主体身份代码": c.register_no,
                    "统一社会信用代码": c.uscc,
                    "注册号": c.old_reg_no,
                    "企业名称": c.name,
                    "曾用名称": c.former_name,
                    "主体类型": kinds[c.kind],
                    "法定代表人": c.legal_rep,
                    "注册资本（万元）": str(c.capital),
                    "成立日期": _iso(c.established),
                    "行业代码": c.industry,
                    "登记机关区划": c.division,
                    "住所": c.address,
                    "联系电话": c.phone,
                    "登记状态": c.status,
                    "注吊销日期": _iso(c.cancelled),
                    "经营范围": f"一般项目：{scopes.get(c.industry, '')}经营；许可项目：依法须经批准的项目",
                    "更新时间": _at(rng, day),
                },
            )
            for c in companies
        ],
    )


def taxpayer(rng: Random, companies: Sequence[Company]) -> Rows:
    return _make(
        "taxation__taxpayer",
        [
            (
                c.truth,
                {
                    "登记序号": f"1014404{int(c.truth[1:]):013d}",
                    "社会信用代码": c.uscc,
                    "原工商注册号": c.old_reg_no,
                    "纳税人名称": c.name,
                    "法定代表人姓名": c.legal_rep,
                    "生产经营地址": c.address,
                    "联系电话": c.phone,
                    "行业代码": c.industry,
                    "注册资本（万元）": str(c.capital),
                    "开业日期": _iso(c.established),
                    "纳税人状态代码": c.tax_status,
                    "纳税信用级别": rng.choice("AABBBBMMCD"),
                    "主管税务机关": f"国家税务总局{names.CITY}{names.DISTRICTS[c.division]}税务局",
                },
            )
            for c in companies
        ],
    )


def licence(licences: Sequence[Licence]) -> Rows:
    return _make(
        "market_regulation__licence",
        [
            (
                v.truth,
                {
                    "证照编号": v.number,
                    "证照类型代码": v.type_code,
                    "证照类型名称": v.type_name,
                    "持证主体名称": v.holder_name,
                    "持证主体代码": v.holder_uscc,
                    "颁发机构": v.issuer,
                    "颁发日期": v.issued,
                    "有效期起": v.valid_from,
                    "有效期止": v.valid_to,
                    "证照状态": v.status,
                },
            )
            for v in licences
        ],
    )


def permit(licences: Sequence[Licence], companies: Mapping[str, Company], day: dt.date) -> Rows:
    """双公示, administrative permits; the headers are the credit platform's pinyin codes."""
    return _make(
        "credit_office__permit",
        [
            (
                v.truth,
                {
                    "XK_XDR_MC": v.holder_name,
                    "XK_XDR_LB": "法人及非法人组织" if companies[v.holder].kind != "92" else "个体工商户",
                    "XK_XDR_SHXYM": v.holder_uscc,
                    "XK_FRDB": companies[v.holder].legal_rep,
                    "XK_XKWS": f"{v.type_name}准予许可决定书",
                    "XK_WSH": v.decision_no,
                    "XK_XKLB": "普通",
                    "XK_XKZS": v.type_name,
                    "XK_XKBH": v.number,
                    "XK_NR": f"准予{v.type_name}",
                    "XK_JDRQ": _iso(v.issued),
                    "XK_YXQZ": _iso(v.valid_from),
                    "XK_YXQZI": _iso(v.valid_to),
                    "XK_XKJG": v.issuer,
                    "XK_ZT": "0",
                    "XK_LYDW": v.issuer,
                    "SJC": _iso(day),
                    "BZ": "",
                },
            )
            for v in licences
        ],
    )


def water_account(rng: Random, people: Sequence[Person]) -> Rows:
    """One account per household; three in ten carry an identity number."""
    return _make(
        "utilities__water_account",
        [
            (
                p.truth,
                {
                    "户号": f"S{int(p.truth[1:]):09d}",
                    "用户名称": p.name,
                    "证件号码": p.resident_id if rng.random() < 0.3 else "",
                    "用水地址": p.residence_address,
                    "联系电话": p.phone,
                    "开户日期": _iso(max(p.born.replace(day=1, year=p.born.year + 18), dt.date(1996, 5, 1))),
                    "用水性质": "居民生活",
                    "账户状态": "在用",
                },
            )
            for p in people
        ],
    )
