"""Chinese names of organisations and Chinese addresses taken apart, as SQL macros.

A name is division, trade name (字号), industry, legal form and branch, of which any but the trade name may be missing:
广州市天河区 | 味源 | 餐饮管理 | 有限公司 | 天河分店. An address is division, road or village, number, estate, building, unit, room.
Everything here is read from the text by words that stand in all such texts; no list of places or firms is needed.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Longest first, so that a form is not taken for the end of a longer one.
LEGAL_FORMS = (
    "股份有限责任公司|有限责任公司|股份有限公司|集团有限公司|有限公司|有限责任|股份公司|集团公司|总公司|公司|集团"
    "|农民专业合作社联合社|农民专业合作社|专业合作社|合作社|有限合伙|普通合伙|特殊普通合伙|合伙企业|个人独资企业|个体工商户"
)
#: What a firm does, as names say it (after GB/T 4754). Words may follow each other: 餐饮 + 管理.
INDUSTRIES = (
    "信息技术|网络科技|电子科技|生物科技|环保科技|科技发展|高新技术|技术研究|技术开发|技术服务|技术|科技|信息|软件|网络|数据服务|数据|电子商务"
    "|电子|通信|通讯|智能|自动化|互联网|餐饮|饮食|酒店|宾馆|旅馆|民宿|食品|饮料|酒业|茶业|茶叶|粮油|农业|农资|种植|养殖|畜牧|水产|林业|园林|绿化"
    "|贸易|商贸|经贸|外贸|进出口|百货|超市|商业|零售|批发|便利|连锁|日用品|服装|服饰|纺织|皮具|鞋业|家具|家居|家电|五金|建材|装饰|装修|装潢|钢材|金属"
    "|机械|机电|设备|仪器|器械|汽车|汽配|汽修|摩托|电器|电气|电力|能源|新能源|石油|化工|塑料|橡胶|包装|印刷|印务|造纸|玻璃|陶瓷|制造|加工|模具|制品"
    "|建筑工程|建筑劳务|建筑|工程|建设|市政|路桥|安装|土石方|劳务派遣|劳务|人力资源|物流|货运|运输|快递|仓储|供应链|航运|客运|出租车"
    "|房地产开发|房地产经纪|房地产|地产|置业|置地|物业|投资|金融|担保|典当|基金|资本|资产|保险|证券|融资租赁|租赁|财务|会计|税务|法律|律师|咨询|顾问"
    "|策划|设计|广告|传媒|文化传播|文化|影视|艺术|出版|会展|教育|培训|学校|幼儿园|体育|健身|旅游|旅行社|娱乐|医疗|医药|药业|药房|医院|诊所|口腔|健康|养老"
    "|美容|美发|化妆品|珠宝|眼镜|钟表|环保|环境|清洁|保洁|家政|保安|安防|消防|检测|认证|开发|发展|经营|管理|服务|实业|企业|国际|产业|控股|工贸|生活|用品"
)
#: How the name of a small business, a school, a club ends; it says what it is, as an industry does.
KINDS = (
    "商行|商店|经营部|经销部|门市部|服务部|营业厅|加工厂|修理厂|工作室|事务所|俱乐部|协会|学会|商会|联合会|促进会|研究会|基金会|研究院|研究所"
    "|服务中心|中心|大学|学院|中学|小学|店|厂|馆|行|部|社|坊|站|场|屋|吧"
)
BRANCH = "(?:分公司|分店|分厂|支行|分行|分校|分院|分部|分社|分所|分理处|连锁店)"
ROADS = "大道|大街|公路|胡同|路|街|巷|弄|道"
VILLAGES = "村|庄|屯|寨|组|队|社|坊|里"

MACROS: Mapping[str, str] = {
    # --- people
    # every way to read a Chinese name of 2 to 6 characters, at most eight: 单丽 -> dan li, chan li, shan li
    "sounds(v)": r"""CASE WHEN regexp_full_match(v, '\p{Han}{2,6}') THEN list_reduce(
        list_transform(string_split(trim(readings(v)), ' '), lambda r: string_split(r, '/')),
        lambda sofar, more: flatten(list_transform(sofar, lambda a: list_transform(more, lambda b: a || ' ' || b)))[:8]) END""",
    # --- organisations
    # the name without brackets that hold its division; 有限公司（东篱店） keeps its branch
    "firm_text(v)": r"""squeezed(regexp_replace(simplified(v),
        '\((\p{Han}{2,6}[省市区县州盟旗镇]|\p{Han}{2,3}|集团)\)(\p{Han})', '\2', 'g'))""",
    "firm_bracket(v)": r"""nullif(regexp_extract(simplified(v), '\((\p{Han}{2,6}[省市区县州盟旗镇]|\p{Han}{2,3})\)\p{Han}', 1), '')""",
    "firm_branch(x)": rf"""nullif(coalesce(nullif(regexp_extract(x, '公司([\p{{Han}}\d]{{2,}})$', 1), ''),
        regexp_extract(x, '((?:第?\d{{1,3}}|\p{{Han}}{{2,3}}){BRANCH})$', 1)), '')""",
    # x without the branch b, and without any legal form
    "firm_body(x, b)": rf"""regexp_replace(CASE WHEN b IS NULL THEN x ELSE left(x, length(x) - length(b)) END, '({LEGAL_FORMS})+$', '')""",
    "firm_division(x)": r"""regexp_extract(x,
        '^((?:\p{Han}{2,7}?(?:省|自治区))?(?:\p{Han}{2,6}?(?:市|自治州|地区))?(?:\p{Han}{1,5}?(?:新区|开发区|区|县|旗))?)\p{Han}{2}', 1)""",
    "firm_industry(x)": rf"""nullif(regexp_extract(x, '^\p{{Han}}{{2}}.*?((?:{INDUSTRIES})*(?:{INDUSTRIES}|{KINDS}))$', 1), '')""",
    # 云泽市东篱区 -> 云泽东篱: one of two divisions holds the other, or they differ
    "bare_division(x)": "nullif(regexp_replace(x, '(省|自治区|市|自治州|地区|新区|开发区|区|县|旗)', '', 'g'), '')",
    "may_agree(a, b)": "coalesce(a = b, true)",
    "may_hold(a, b)": "coalesce(contains(a, b) OR contains(b, a), true)",
    # --- addresses
    # half width, one numeral, one sign between numbers, one word for a building and for a room
    "tens(v)": r"""replace(regexp_replace(regexp_replace(regexp_replace(v, '(\d)十(\d)', '\1\2', 'g'), '(\d)十', '\10', 'g'), '十(\d)', '1\1', 'g'),
        '十', '10')""",
    "arabic(v)": r"""regexp_replace(regexp_replace(regexp_replace(tens(translate(v, '〇零一二三四五六七八九', '00123456789')),
        '(\d)百(\d\d)', '\1\2', 'g'), '(\d)百(\d)', '\10\2', 'g'), '(\d)百', '\100', 'g')""",
    "place_text(v)": r"""regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
        arabic(upper(translate(simplified(v), '—–−~_#', '-----号'))), '[^\p{Han}0-9A-Z-]+', '', 'g'),
        '(\p{Han})([\dA-Z]+)-(\d+)-(\d+)(?:$|室|房|号)', '\1\2栋\3单元\4室'), '第(\d)', '\1', 'g'), '(\d)号?[之-](\d+)号?', '\1-\2号', 'g'), '([\dA-Z])(号楼|号院楼|幢|座|号栋|楼栋)', '\1栋', 'g'),
        '([\dA-Z])(号房间|号房|号室|房间|房|户|铺|号铺)', '\1室', 'g'), '(\d)(门|梯)', '\1单元', 'g')""",
    "place_local(x)": r"""regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(x, '^\p{Han}{1,10}?(省|自治区)', ''),
        '^\p{Han}{1,8}?市', ''), '^(\p{Han}{1,6}?[^小园社])[区县旗](\p{Han}{2})', '\2'), '^\p{Han}{1,5}?(街道|镇|乡)(\p{Han}{2})', '\2'),
        '^\p{Han}{1,5}?(社区|居委会)(\p{Han}{2})', '\2')""",
    "place_district(x)": r"""nullif(regexp_extract(regexp_replace(x, '^\p{Han}{2,8}?市', ''), '^(\p{Han}{1,6}?)[区县旗]\p{Han}{2}', 1), '')""",
    "place_road(x)": rf"""nullif(coalesce(nullif(regexp_extract(x, '^([\p{{Han}}\d]*?[\p{{Han}}\d](?:{ROADS})(?:[东西南北中]段?)?)[\dA-Z]', 1), ''),
        nullif(regexp_extract(x, '^(\p{{Han}}[\p{{Han}}\d]*?(?:{VILLAGES}))\d+号', 1), ''),
        regexp_extract(x, '^([\p{{Han}}\d]*?[\p{{Han}}\d](?:{ROADS}))', 1)), '')""",
    "place_after(x, r)": "CASE WHEN r IS NULL THEN x ELSE substr(x, length(r) + 1) END",
    # 27号, 27-3号, 27 at the end of the road's part, but not 3栋
    "place_number(y)": r"""nullif(coalesce(nullif(regexp_extract(y, '^(\d+)(?:-\d+)*号', 1), ''),
        regexp_extract(y, '^(\d+)(?:-\d+)*(?:$|\p{Han}{2})', 1)), '')""",
    "place_estate(y)": r"""nullif(regexp_extract(regexp_replace(y, '^\d+(-\d+)*号?(院|大院)?', ''), '^(\p{Han}{2,}?)(?:\d|[A-Z]|$)', 1), '')""",
    "place_building(y)": r"""nullif(coalesce(nullif(regexp_extract(y, '([\dA-Z]+)栋', 1), ''), regexp_extract(y, '^\d+-(\d+)号', 1)), '')""",
    "place_unit(y)": r"""nullif(regexp_extract(y, '([\dA-Z]+)单元', 1), '')""",
    "place_room(y)": r"""nullif(coalesce(nullif(regexp_extract(y, '([\dA-Z]+)室', 1), ''),
        regexp_extract(y, '(?:单元|栋|层|楼)-?([\dA-Z]+)号?$', 1)), '')""",
}  # fmt: skip
