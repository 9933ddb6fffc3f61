"""Word lists of the synthetic city: surnames, given names, roads, company words. All places and firms are invented."""

from __future__ import annotations

from random import Random

CITY = "云泽市"
#: Invented districts on real division codes (GB/T 2260), so that checks against the official list mean something.
DISTRICTS = {"440402": "东篱区", "440403": "南浦区", "440404": "鹤洲区"}
#: A county that became district 440403 in 2001. Old identity numbers keep it; an address of today must not.
ABOLISHED_DIVISION = "440421"
#: Where newcomers' identity numbers were issued: county codes unchanged since 1980.
ELSEWHERE = (
    "110105",
    "130102",
    "210102",
    "220102",
    "230102",
    "320106",
    "330106",
    "340121",
    "350121",
    "360121",
    "370102",
    "410102",
    "420106",
    "422822",
    "430121",
    "433122",
    "450103",
    "510121",
    "520102",
    "522323",
    "530102",
    "610323",
)

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
#: Polyphones and surnames that are often mistyped, and two-character surnames.
_UNUSUAL_SURNAMES = ("单", "仇", "解", "查", "区", "盖", "乐", "曲", "欧阳", "上官", "尉迟", "司徒", "诸葛", "万俟")
_MALE = "伟强磊军洋勇杰涛超明刚平辉鹏华飞鑫波斌宇浩凯健俊帆帅旭宁龙林欢阳建文志海峰炜玮骅晖"
_FEMALE = "芳娜敏静秀娟英慧巧美雅芝玉萍红娥玲芬燕彩春菊兰凤洁梅琳素云莲真环雪荣爱妹霞香月莺媛艳瑞凡佳婷靖婧莉"
_EITHER = "晓小子雨思嘉家诗欣梓一乐安可新天书文景清若永国庆"
#: Characters outside GBK (䶮 㛃 are in GB 18030 only; 𬭎 𬱖 need four bytes) and rare ones within it.
_RARE = ("䶮", "㛃", "𬭎", "𬱖", "喆", "堃", "犇", "翀", "燚")
#: U+9FB5 has a two-byte code in GB 18030-2022 that older mappings decode to a private-use character.
NEW_IN_2022 = "龵"

_UYGHUR = ("阿依古丽", "艾力", "古丽娜尔", "买买提", "吐尔逊", "热孜万", "迪力夏提", "努尔兰")

#: Same sound, other character: what a clerk types who only heard the name.
HOMOPHONES = {
    "伟": "玮",
    "玮": "炜",
    "炜": "伟",
    "静": "靖",
    "靖": "婧",
    "婧": "静",
    "莉": "丽",
    "芳": "方",
    "杰": "洁",
    "洁": "杰",
    "晓": "小",
    "小": "晓",
    "辉": "晖",
    "晖": "辉",
    "燕": "艳",
    "艳": "燕",
    "英": "瑛",
    "玲": "铃",
    "娟": "涓",
    "斌": "彬",
    "华": "骅",
    "骅": "华",
    "敏": "闵",
    "波": "博",
    "佳": "嘉",
    "嘉": "家",
    "家": "佳",
    "欣": "新",
    "新": "欣",
    "云": "芸",
    "张": "章",
    "余": "于",
    "于": "余",
    "付": "傅",
    "肖": "萧",
    "邱": "丘",
    "闫": "严",
    "严": "闫",
    "徐": "许",
    "许": "徐",
    "子": "梓",
    "梓": "子",
    "思": "斯",
    "诗": "施",
    "雅": "亚",
    "凤": "风",
    "红": "虹",
    "兰": "岚",
    "文": "闻",
}
TRADITIONAL = {
    "张": "張",
    "刘": "劉",
    "陈": "陳",
    "杨": "楊",
    "黄": "黃",
    "赵": "趙",
    "吴": "吳",
    "孙": "孫",
    "马": "馬",
    "罗": "羅",
    "郑": "鄭",
    "谢": "謝",
    "许": "許",
    "韩": "韓",
    "冯": "馮",
    "邓": "鄧",
    "肖": "蕭",
    "苏": "蘇",
    "吕": "呂",
    "卢": "盧",
    "钟": "鍾",
    "谭": "譚",
    "陆": "陸",
    "贾": "賈",
    "韦": "韋",
    "邹": "鄒",
    "阳": "陽",
    "国": "國",
    "庆": "慶",
    "军": "軍",
    "华": "華",
    "云": "雲",
    "莲": "蓮",
    "丽": "麗",
    "兰": "蘭",
    "凤": "鳳",
    "龙": "龍",
    "贺": "賀",
    "顾": "顧",
    "钱": "錢",
    "严": "嚴",
    "汤": "湯",
    "伟": "偉",
    "强": "強",
    "洁": "潔",
    "静": "靜",
    "艳": "艷",
    "书": "書",
    "宁": "寧",
    "爱": "愛",
    "红": "紅",
    "飞": "飛",
    "鹏": "鵬",
    "辉": "輝",
    "刚": "剛",
    "杰": "傑",
    "涛": "濤",
    "邱": "丘",
    "万": "萬",
    "龚": "龔",
}

ROADS = (
    "云泽大道",
    "听潮路",
    "望鹤街",
    "桂影路",
    "石榴巷",
    "渡口东路",
    "渡口西路",
    "灯塔路",
    "稻香街",
    "柳堤路",
    "青棠路",
    "白鹭街",
    "旧盐仓路",
    "环泽路",
    "书院街",
    "蓝湾路",
    "荔影街",
    "织云路",
    "砚山路",
    "听松巷",
    "采石路",
    "星桥路",
    "南屏渡路",
    "鹤鸣大道",
)
ESTATES = ("云栖苑", "鹤语花园", "听潮居", "桂影轩", "蓝湾小区", "渡口新村", "书香里", "星桥公寓", "砚山府", "稻香家园")

SCHOOLS = ("云泽市第一实验小学", "东篱区书院街小学", "南浦区稻香小学", "鹤洲区白鹭学校", "云泽市第三中学", "云泽市鹤鸣中学")

_BRANDS_A = "云泽鹤润星恒瑞嘉禾澜屿拓晟朗棠沐砚渡桥荟漫"
_BRANDS_B = "泽源达禾诚远宁川岚启航信邦汇野庭舟屹澄悦"
#: Industry (GB/T 4754-2017, section letter and class) and the word a company name carries for it.
INDUSTRIES = (
    ("I6513", "软件"),
    ("I6550", "数据服务"),
    ("F5211", "百货"),
    ("F5212", "超市"),
    ("H6210", "餐饮"),
    ("H6110", "酒店"),
    ("C1411", "食品"),
    ("C3011", "建材"),
    ("E4710", "建筑工程"),
    ("G5431", "物流"),
    ("K7010", "置业"),
    ("L7212", "投资"),
    ("M7320", "技术研究"),
    ("A0111", "农业"),
    ("F5111", "粮油贸易"),
    ("Q8413", "医疗"),
)
SMALL_INDUSTRIES = (("F5211", "百货"), ("F5212", "超市"), ("H6210", "餐饮"), ("C1411", "食品"), ("F5111", "粮油贸易"))
SOCIAL = (
    "志愿者协会",
    "书法家协会",
    "环境保护促进会",
    "青年创业服务中心",
    "老年大学",
    "马拉松协会",
    "慈善基金会",
    "养老服务中心",
)

#: GB/T 3304-1991, the ones that live here.
PEOPLES = (("01", "汉", 90), ("08", "壮", 3), ("03", "回", 2), ("15", "土家", 2), ("06", "苗", 1), ("11", "满", 1))


def person_name(rng: Random, sex: str, surname: str | None = None) -> str:
    """A made-up name. About 1 in 60 has a character that GBK cannot write or that few systems show."""
    if surname is None:
        surname = rng.choice(_UNUSUAL_SURNAMES) if rng.random() < 0.05 else rng.choice(_SURNAMES)
    characters = _MALE if sex == "1" else _FEMALE
    given = rng.choice(characters)
    if rng.random() < 0.75:
        given = rng.choice(_EITHER + characters) + given
    roll = rng.random()
    if roll < 0.003:
        given = given[:-1] + NEW_IN_2022
    elif roll < 0.017:
        given = given[:-1] + rng.choice(_RARE)
    return surname + given


def dotted_name(rng: Random) -> str:
    """A two-part name with a middle dot, as many Uyghur names are written."""
    first, second = rng.sample(_UYGHUR, 2)
    return f"{first}·{second}"


def company_brand(rng: Random) -> str:
    brand = rng.choice(_BRANDS_A) + rng.choice(_BRANDS_B)
    return brand + rng.choice(_BRANDS_B) if rng.random() < 0.3 else brand


def address(rng: Random, division: str) -> str:
    return (
        f"{CITY}{DISTRICTS[division]}{rng.choice(ROADS)}{rng.randrange(1, 300)}号{rng.choice(ESTATES)}"
        f"{rng.randrange(1, 30)}栋{rng.randrange(1, 5)}单元{rng.randrange(1, 33)}{rng.randrange(1, 7):02d}房"
    )


def business_address(rng: Random, division: str) -> str:
    room = f"{rng.randrange(1, 30)}{rng.randrange(1, 20):02d}室"
    return f"{CITY}{DISTRICTS[division]}{rng.choice(ROADS)}{rng.randrange(1, 600)}号{room}"
