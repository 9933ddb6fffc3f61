"""Synthetic Chinese people with truth, at any number: registers of several departments that hold some people twice.

Every value follows from the number of its person or of its record, so that rows are made one by one, without a table in memory, and
the same seed makes the same rows on any machine. A copy of a person differs from the first record as registers do: sounds that
are written with another character, traditional forms, slips of the pen, missing values, addresses written another way or left
behind, new phones. Families of three live at one address, two of them with one surname; one in ten gives the phone of the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

#: Departments that hold records; each holds its share of people, and copies fall on any of them.
SOURCES = ("police__person", "insurance__person", "education__person", "health__person")

#: Columns of a record, beside `_record` and `_source`.
VALUES = ("resident_id", "person_name", "sex_code", "birth_date", "phone", "residence_address")

SHARE_OF_COPIES = 0.2

#: Surname and how many of a thousand people bear it (the hundred commonest names cover 85 % of China).
SURNAMES = """王75 李74 张70 刘56 陈48 杨33 黄24 赵23 吴21 周21 徐16 孙15 马14 朱13 胡13 郭12 何12 高11 林11 罗10 郑10 梁10 谢8 宋8 唐8 许7
韩7 冯7 邓7 曹7 彭6 曾6 肖6 田5 董5 袁5 潘5 于5 蒋5 蔡5 余5 杜5 叶5 程5 苏4 魏4 吕4 丁4 任4 沈4 姚4 卢4 姜4 崔4 钟4 谭4 陆3 汪3 范3 金3 石3 廖3 贾3 夏3
韦3 付3 方3 白3 邹3 孟3 熊3 秦3 邱3 江3 尹2 薛2 闫2 段2 雷2 侯2 龙2 史2 陶2 黎2 贺2 顾2 毛2 郝2 龚2 邵2 万2 钱2 严2 覃2 武2 戴2 莫2 孔2 向2 汤2
温1 康1 施1 文1 牛1 樊1 葛1 邢1 安1 齐1 易1 乔1 伍1 庞1 颜1 倪1 庄1 聂1 章1 鲁1 岳1 翟1 殷1 詹1 申1 欧阳1 上官1 司马1 诸葛1"""

#: Characters of given names, commonest first.
MALE = (
    "伟军强明志建国华文平海杰峰超勇涛俊鹏浩宇波斌辉磊刚飞龙林成东洋庆家永春新宏立中正天少良世德亮富贵荣兴福生金学民祥光武凯旭康"
    "健胜利振嘉子豪泽轩晨睿博昊然铭源翔瑞毅乐航阳诚信义仁智彬健锋雄元启恒"
)
FEMALE = (
    "丽芳敏静秀英玲红艳燕霞梅娟娜萍兰桂凤玉洁琴淑珍莉春华云慧雪婷琳晓佳欣怡颖倩雅思梦瑶诗涵梓萱紫语嫣可心月莹蓉菊荷香莲珠翠青美娇"
    "媛婉蕾薇菲妍彤宁馨悦彩素惠贞巧露露佩嘉君璐瑾"
)
#: Characters that sound alike; a careless clerk takes the next one in its group.
HOMOPHONES = (
    "伟维卫炜 军君俊均 强蔷 明铭鸣 志智治 建健剑 国帼 华桦花 文雯闻 平萍苹 海亥 杰洁捷 峰锋丰枫 超朝 勇永咏 涛滔 鹏朋 浩昊皓 宇雨玉 波博 斌彬宾 辉晖慧 磊蕾雷 刚钢 飞菲非 林琳霖 成诚城 东冬 洋阳扬 庆清青 家嘉佳 "
    "新欣心馨 宏红洪 立丽莉利 少绍 良亮 富福 荣蓉 兴星 生声 金今锦 学雪 民敏 祥翔 光广 旭绪 振珍镇 子紫梓 豪毫 轩萱 晨辰臣 瑞睿 然燃 源元媛 毅怡义 芳方 静婧靖 秀绣 英瑛莹 玲铃 艳燕彦 霞侠 梅美 娟涓 娜纳 兰岚 桂贵 凤奉 淑舒 晓小 婷廷 "
    "颖影 思丝 梦孟 瑶遥 诗施 涵晗 月悦 香湘 莲连 珠朱 翠脆 彤桐 "
    "张章 陈程 黄皇 吴伍 周邹 徐许 余于 蒋江 何贺 胡扈 郑政 梁良 谢榭 韩寒 曾增 萧肖 董懂 袁原 蔡菜 魏卫 任仁"
)
#: Traditional and other forms of the same character.
VARIANTS = (
    "国國 华華 丽麗 兰蘭 云雲 龙龍 凤鳳 红紅 军軍 东東 伟偉 杰傑 张張 刘劉 陈陳 杨楊 黄黃 赵趙 吴吳 吕呂 孙孫 马馬 罗羅 郑鄭 谢謝 韩韓 冯馮 邓鄧 萧蕭 蒋蔣 叶葉 苏蘇 钟鐘 谭譚 陆陸 范範 贾賈 "
    "义義 庆慶 学學 强強 刚剛 飞飛 荣榮 兴興 贵貴 胜勝 泽澤 铭銘 颖穎 艳豔 娇嬌 宁寧 峰峯 晖暉 镇鎮 莹瑩 贞貞 阳陽 万萬 严嚴 龚龔 顾顧 邹鄒 温溫 聂聶"
)

#: First and second character of the names of roads, and what a road may be: 40 x 40 x 5 of them.
ROADS = (
    "中新建解人民和平胜光文长东南西北金银龙凤云山海江湖天安永福荣华兴国庆元宝石春红白青大",
    "山华设放民平利明化江风海阳湖岗桥村园林泉州城门庄里塘头沙田口洲岭坡渡港湾滨亭台",
)
ROAD_KINDS = ("路", "路", "街", "大道", "巷")
DISTRICTS = ("荔湾区", "越秀区", "海珠区", "天河区", "白云区", "黄埔区", "番禺区", "花都区", "南沙区", "从化区", "增城区")

#: Days of birth, places of registration and serial numbers (half for each sex), all combined in another order for each person.
DAYS, PLACES, SERIALS = 29_200, 300, 500


@dataclass(frozen=True)
class People:
    """`records` rows, a fifth of which are copies; `without_number` is the share of rows that lack the identity number."""

    records: int
    without_number: float
    seed: int = 1

    @property
    def persons(self) -> int:
        return self.records - int(self.records * SHARE_OF_COPIES)


def write(people: People, folder: Path, memory: str = "2GiB") -> tuple[Path, Path]:
    """Write `records.parquet` (`_record`, `_source`, values, texts all but `birth_date`) and `truth.parquet` (`_record`, `entity`)."""
    rows = f"""SELECT n, CASE WHEN n < {people.persons} THEN n ELSE {_draw("n", "person", people.seed)} % {people.persons} END AS person,
  n >= {people.persons} AS copy, 0 AS day, false AS gone FROM range({people.records}) AS t(n)"""
    return _write(people, rows, folder, memory)


def changed(people: People, day: int, rows: int, folder: Path, memory: str = "2GiB") -> tuple[Path, Path]:
    """Write what departments send on `day` (1, 2 ...): six of ten rows are records with a new phone or address, three are new ones
    (of them one is another record of somebody known), one says that the record is deleted (`_gone`).

    `truth.parquet` holds the new records.
    """
    first = people.records + (day - 1) * rows
    step = 7_919  # a prime that divides no round number: each record is met once
    sql = f"""SELECT CASE WHEN kind IN (6, 7, 8) THEN {first} + i ELSE old END AS n,
  CASE WHEN kind IN (6, 7) THEN {first} + i
    WHEN kind = 8 OR old >= {people.persons} THEN {_draw("n_of_person", "person", people.seed)} % {people.persons} ELSE old END AS person,
  kind = 8 OR kind IN (0, 1, 2, 3, 4, 5, 9) AND old >= {people.persons} AS copy,
  CASE WHEN kind < 6 THEN {day} ELSE 0 END AS day, kind = 9 AS gone
FROM (SELECT *, CASE WHEN kind = 8 THEN {first} + i ELSE old END AS n_of_person
  FROM (SELECT i, i % 10 AS kind, ((i + {first}) * {step}) % {people.records} AS old FROM range({rows}) AS t(i)))"""
    return _write(people, sql, folder, memory)


def _write(people: People, rows: str, folder: Path, memory: str) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    records, truth = folder / "records.parquet", folder / "truth.parquet"
    with duckdb.connect(config={"memory_limit": memory, "temp_directory": str(folder)}) as con:
        listed = ", ".join(VALUES)
        con.execute(f"""COPY (SELECT printf('%010d', n) AS _record, {_one_of(SOURCES, "hash(n, 'source')")} AS _source, {listed},
  gone AS _gone, person AS _person FROM ({values_sql(people, rows)})) TO '{records}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)""")
        con.execute(f"COPY (SELECT _record, _person AS entity FROM '{records}') TO '{truth}' (FORMAT parquet)")
    return records, truth


def values_sql(people: People, rows: str) -> str:
    """The values of `rows` (`n`, `person`, `copy`, `day`, `gone`)."""
    s = people.seed

    def d(of: str, what: str) -> str:
        return _draw(of, what, s)

    def in_thousand(of: str, what: str) -> str:
        return f"{d(of, what)} % 1000"

    born = f"DATE '1942-01-01' + CAST(mixed % {DAYS} AS INTEGER)"
    own = f"""SELECT *, person // 3 AS family, mixed % {DAYS} AS birth,
    (mixed // {DAYS}) % {PLACES} AS place, mixed // {DAYS * PLACES} AS serial, {d("person", "sex")} % 2 AS male,
    {born} AS born, {in_thousand("n", "name slip")} AS name_slip, {in_thousand("n", "date slip")} AS date_slip,
    {in_thousand("n", "phone slip")} AS phone_slip, {in_thousand("n", "address slip")} AS address_slip,
    {in_thousand("n", "number")} AS number_slip, {d("n", "where")} AS slip,
    day > 0 AND {d("n", "change")} % 2 = 0 AS moved
  FROM (SELECT *, (person * 2654435761 + {s} * 40503) % {DAYS * PLACES * SERIALS} AS mixed FROM ({rows}))"""
    surname = _one_of(
        _weighed(SURNAMES), f"CASE WHEN person % 3 = 2 THEN {d('person', 'surname')} ELSE {d('family', 'surname')} END"
    )
    given = f"CASE WHEN male = 1 THEN {_given(MALE, s)} ELSE {_given(FEMALE, s)} END"
    named = f"""SELECT *, {surname} AS surname, {given} AS given,
    -- the home: copies may still stand at the former one, moved ones at the next
    CASE WHEN moved THEN {d("n * 1000 + day", "home")} WHEN copy AND address_slip < 120 THEN {d("n", "home")} ELSE {d("family", "home")} END AS home,
    CASE WHEN day > 0 AND NOT moved THEN {d("n * 1000 + day", "phone")} WHEN copy AND phone_slip < 150 THEN {d("n", "phone")}
      WHEN {d("person", "own phone")} % 10 = 0 THEN {d("family", "phone")} ELSE {d("person", "phone")} END AS line
  FROM ({own})"""
    road = f"({_one_of(ROADS[0], 'home // 7')} || {_one_of(ROADS[1], 'home // 311')} || {_one_of(ROAD_KINDS, 'home // 13007')})"
    digits = [f"(id17 // {10 ** (16 - i)}) % 10" for i in range(17)]
    total = " + ".join(
        f"{digit} * {w}" for digit, w in zip(digits, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=True)
    )
    parts = f"""SELECT *, surname || given AS name, {road} AS road, 1 + home // 1000003 % 400 AS house, 1 + home // 500009 % 20 AS building,
    1 + home // 31 % 4 AS unit, 100 * (1 + home // 90001 % 18) + 1 + home // 57 % 4 AS room,
    {_one_of(DISTRICTS, "home // 3")} AS district, '1' || (30 + line % 70) || lpad(CAST(line // 70 % 100000000 AS VARCHAR), 8, '0') AS line_no,
    (440100 + place) * 100000000000 + CAST(strftime(born, '%Y%m%d') AS BIGINT) * 1000 + serial * 2 % 1000 + male AS id17
  FROM ({named})"""
    at = "(1 + slip % length(name))"
    sounds, alike = _pairs(HOMOPHONES)
    plain, other = _pairs(VARIANTS)

    def replaced(by: str) -> str:
        return f"left(name, {at} - 1) || {by} || substr(name, {at} + 1)"

    name = f"""CASE WHEN NOT copy THEN name
    WHEN name_slip < 60 THEN {replaced(f"translate(substr(name, {at}, 1), '{sounds}', '{alike}')")}
    WHEN name_slip < 80 THEN translate(name, '{plain}', '{other}')
    WHEN name_slip < 95 THEN {replaced(_one_of(MALE + FEMALE, "slip // 17"))}
    WHEN name_slip < 100 THEN left(name, length(name) - 1)
    WHEN name_slip < 105 THEN NULL ELSE name END"""
    birth = """CASE WHEN NOT copy THEN born
    WHEN date_slip < 15 THEN born + CAST(1 + slip % 9 AS INTEGER)
    WHEN date_slip < 30 THEN CAST(born + to_months(CAST(1 + slip % 11 AS INTEGER)) AS DATE)
    WHEN date_slip < 40 THEN CAST(born + to_years(CAST(1 + slip % 10 AS INTEGER)) AS DATE)
    WHEN date_slip < 50 AND day(born) <= 12 THEN make_date(year(born), day(born), month(born))
    WHEN date_slip < 60 THEN make_date(year(born), 1, 1)
    WHEN date_slip < 90 THEN NULL ELSE born END"""
    phone = """CASE WHEN phone_slip >= 900 THEN NULL
    WHEN copy AND phone_slip BETWEEN 150 AND 179
      THEN left(line_no, 3 + CAST(slip % 8 AS INTEGER)) || CAST(slip // 8 % 10 AS VARCHAR) || right(line_no, 7 - CAST(slip % 8 AS INTEGER))
    ELSE line_no END"""
    address = """CASE WHEN address_slip >= 970 OR copy AND address_slip >= 920 THEN NULL
    WHEN copy AND address_slip BETWEEN 120 AND 249 THEN road || house || '号' || building || '号楼' || unit || '-' || room
    WHEN copy AND address_slip BETWEEN 250 AND 319 THEN district || road || house || '号' || building || '栋' || room || '房'
    WHEN copy AND address_slip BETWEEN 320 AND 349
      THEN '广州市' || district || road || (house + 1 + slip % 9) || '号' || building || '栋' || unit || '单元' || room || '室'
    WHEN copy AND address_slip BETWEEN 350 AND 379 THEN '广州市' || district || road || house || '号'
    ELSE '广州市' || district || road || house || '号' || building || '栋' || unit || '单元' || room || '室' END"""
    missing = round(1000 * people.without_number)
    number = f"""CASE WHEN number_slip >= {missing} THEN CAST(id17 AS VARCHAR) || ('10X98765432')[1 + ({total}) % 11] END"""
    return f"""SELECT n, person, gone, {number} AS resident_id, {name} AS person_name,
  CASE WHEN copy AND slip % 100 = 0 THEN NULL ELSE CAST(2 - (male + CASE WHEN copy AND slip % 97 = 0 THEN 1 ELSE 0 END) % 2 AS VARCHAR) END AS sex_code,
  {birth} AS birth_date, {phone} AS phone, {address} AS residence_address
FROM ({parts})"""


def _draw(of: str, what: str, seed: int) -> str:
    """A number that follows from `of` and looks like chance; small enough to be added to."""
    return f"CAST(hash({of}, '{what}', {seed}) >> 2 AS BIGINT)"


def _one_of(items: str | tuple[str, ...] | list[str], draw: str) -> str:
    return f"([{', '.join(repr(i) for i in items)}])[1 + CAST(({draw}) % {len(items)} AS BIGINT)]"


def _given(characters: str, seed: int) -> str:
    """One character for a fifth of people, two for the others; the first of the list are the commonest."""
    size = len(characters)

    def character(what: str) -> str:
        share = f"({_draw('person', what, seed)} % 100003 / 100003.0)"
        return f"({[*characters]!r})[1 + CAST(floor({size} * pow({share}, 1.8)) AS BIGINT)]"

    return f"({character('given')} || CASE WHEN {_draw('person', 'length', seed)} % 5 = 0 THEN '' ELSE {character('second')} END)"


def _weighed(names: str) -> list[str]:
    found = []
    for item in names.split():
        name = item.rstrip("0123456789")
        found += [name] * int(item[len(name) :])
    return found


def _pairs(listed: str) -> tuple[str, str]:
    """Each character of a group, and the next one of its group."""
    following = {a: b for group in listed.split() for a, b in zip(group, group[1:] + group[0], strict=True)}
    return "".join(following), "".join(following.values())
