"""The organisations of the city: enterprises, social organisations, and the licences that they hold."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from random import Random

from examples.city import names
from examples.city.numbers import Numbers


@dataclass(frozen=True)
class Company:
    """The true values. `capital` in units of 10,000 yuan. A few dormant firms have only their old number."""

    truth: str
    kind: str
    register_no: str
    uscc: str
    old_reg_no: str
    name: str
    legal_rep: str
    phone: str
    capital: int
    established: dt.date
    industry: str
    division: str
    address: str
    status: str
    cancelled: dt.date | None
    tax_no: str
    tax_status: str
    former_name: str = ""


@dataclass(frozen=True)
class Licence:
    """The true values of one electronic licence."""

    truth: str
    number: str
    type_code: str
    type_name: str
    holder: str
    holder_name: str
    holder_uscc: str
    issuer: str
    decision_no: str
    issued: dt.date
    valid_from: dt.date
    valid_to: dt.date
    status: str


#: Type code of this city's own list (catalog/standards/licence_type.csv), name, issuer, word in the decision number.
LICENCE_TYPES = (
    ("SP01", "食品经营许可证", "云泽市市场监督管理局", "食许"),
    ("YX02", "医疗器械经营许可证", "云泽市市场监督管理局", "械许"),
    ("TZ03", "特种设备使用登记证", "云泽市市场监督管理局", "特许"),
    ("WS04", "公共场所卫生许可证", "云泽市卫生健康局", "卫许"),
    ("DL05", "道路运输经营许可证", "云泽市交通运输局", "运许"),
)


def make_enterprises(rng: Random, numbers: Numbers, count: int, today: dt.date) -> list[Company]:
    return [_enterprise(rng, numbers, i, today) for i in range(1, count + 1)]


def _enterprise(rng: Random, numbers: Numbers, i: int, today: dt.date) -> Company:
    division = rng.choice(tuple(names.DISTRICTS))
    kind = rng.choices(("91", "92", "93"), (80, 17, 3))[0]
    industry, word = rng.choice(names.INDUSTRIES if kind == "91" else names.SMALL_INDUSTRIES)
    established = today - dt.timedelta(days=rng.randrange(40, 9000))
    is_old = established < dt.date(2015, 10, 1)
    has_code = not (is_old and kind == "91" and rng.random() < 0.08)
    uscc = numbers.credit_code(kind, division) if has_code else ""
    old_reg_no = numbers.registration_no(division) if is_old else ""
    status = rng.choices(("存续", "吊销未注销", "注销", "迁出"), (90, 4, 5, 1))[0] if has_code else "吊销未注销"
    ended = status in ("注销", "吊销未注销")
    cancelled = min(today, established + dt.timedelta(days=rng.randrange(200, 6000))) if ended else None
    name = names.CITY + names.company_brand(rng)
    if kind == "91":
        branch = f"（{names.DISTRICTS[division]}）" if rng.random() < 0.18 else ""
        name += word + branch + rng.choices(("有限公司", "有限责任公司", "股份有限公司"), (75, 18, 7))[0]
    elif kind == "92":
        name += word + rng.choice(("店", "商行", "经营部"))
    else:
        name += "农民专业合作社"
    return Company(
        truth=f"E{i:06d}",
        kind=kind,
        register_no=f"{division}{i:012d}",
        uscc=uscc,
        old_reg_no=old_reg_no,
        name=name,
        legal_rep=names.person_name(rng, rng.choice("12")),
        phone=numbers.fixed_phone() if rng.random() < 0.5 else numbers.mobile(),
        capital=rng.choice((10, 30, 50, 100, 200, 300, 500, 800, 1000, 2000, 5000, 12000)),
        established=established,
        industry=industry,
        division=division,
        address=names.business_address(rng, division),
        status=status,
        cancelled=cancelled,
        tax_no=uscc or old_reg_no,
        tax_status={"注销": "07", "吊销未注销": "05"}.get(status, "03"),
    )


def make_social_organisations(rng: Random, numbers: Numbers, count: int, first: int, today: dt.date) -> list[Company]:
    made = []
    for i in range(first, first + count):
        division = rng.choice(tuple(names.DISTRICTS))
        word = rng.choice(names.SOCIAL)
        kind = "53" if word.endswith("基金会") else "52" if word.endswith(("中心", "大学")) else "51"
        uscc = numbers.credit_code(kind, division)
        made.append(
            Company(
                truth=f"E{i:06d}",
                kind=kind,
                register_no=f"民社登{i:06d}",
                uscc=uscc,
                old_reg_no="",
                name=names.CITY + names.company_brand(rng) + word,
                legal_rep=names.person_name(rng, rng.choice("12")),
                phone=numbers.fixed_phone(),
                capital=rng.choice((3, 5, 10, 30, 200)),
                established=today - dt.timedelta(days=rng.randrange(100, 9000)),
                industry="S9421",
                division=division,
                address=names.business_address(rng, division),
                status="存续",
                cancelled=None,
                tax_no=uscc,
                tax_status="03",
            )
        )
    return made


def true_changes(rng: Random, companies: list[Company], share: float) -> list[Company]:
    """Some living enterprises change legal representative, address or name; tax and others hear of it later."""
    places = [i for i, c in enumerate(companies) if c.kind.startswith("9") and c.status == "存续"]
    changed = []
    for i in sorted(rng.sample(places, min(len(places), max(8, round(share * len(places)))))):
        company, roll = companies[i], rng.random()
        if roll < 0.45:
            company = replace(company, legal_rep=names.person_name(rng, rng.choice("12")))
        elif roll < 0.8:
            company = replace(company, address=names.business_address(rng, company.division))
        else:
            brand = names.company_brand(rng)
            ending = next(
                e
                for e in ("股份有限公司", "有限责任公司", "有限公司", "合作社", "商行", "经营部", "店")
                if company.name.endswith(e)
            )
            word = dict(names.INDUSTRIES).get(company.industry, "") if company.kind != "93" else "农民专业"
            company = replace(company, former_name=company.name, name=names.CITY + brand + word + ending)
        companies[i] = company
        changed.append(company)
    return changed


def make_licences(rng: Random, companies: list[Company], count: int, today: dt.date) -> list[Licence]:
    """Licences of living enterprises. The last third was decided within the last nine days before `today`."""
    holders = [c for c in companies if c.kind.startswith("9") and c.status == "存续" and c.uscc]
    made = []
    for i in range(1, count + 1):
        holder = rng.choice(holders)
        type_code, type_name, issuer, word = rng.choice(LICENCE_TYPES)
        recent = i > count * 2 // 3
        issued = today - dt.timedelta(days=rng.randrange(0, 4) if recent else rng.randrange(30, 2300))
        valid_to = issued.replace(year=issued.year + 5, day=min(issued.day, 28)) - dt.timedelta(days=1)
        status = "过期" if valid_to < today else rng.choices(("有效", "注销", "吊销"), (95, 4, 1))[0]
        made.append(
            Licence(
                truth=f"L{i:06d}",
                number=f"{type_code[:2]}{holder.division}{issued.year}{i:06d}",
                type_code=type_code,
                type_name=type_name,
                holder=holder.truth,
                holder_name=holder.name,
                holder_uscc=holder.uscc,
                issuer=issuer,
                decision_no=f"云{word}〔{issued.year}〕{i:05d}号",
                issued=issued,
                valid_from=issued,
                valid_to=valid_to,
                status="有效" if recent else status,
            )
        )
    return made
