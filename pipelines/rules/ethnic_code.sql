-- rule:     ethnic_code
-- kind:     clean
-- does:     writes one of the 56 peoples as its two digits: from the digits, the name with or without 族, or the two letters
-- zh:       民族代码：由汉字名称（有无“族”字均可）、数字或字母代码统一为两位数字
-- finding:  ethnic_unreadable
-- source:   GB/T 3304-1991, names as used today; 97 (other) and 98 (of foreign descent) as in household registers
-- beware:   蒙 and 维 are taken for 蒙古 and 维吾尔; leave null_tokens before it, 未知 is no people
-- example:  '汉族' -> '01'
-- example:  '汉' -> '01'
-- example:  '土' -> '30'
-- example:  '土家族' -> '15'
-- example:  '维吾尔' -> '05'
-- example:  '蒙族' -> '02'
-- example:  '毛难族' -> '36'
-- example:  'HA' -> '01'
-- example:  '01' -> '01'
-- example:  '1' -> '01'
-- example:  '56' -> '56'
-- example:  '其他' -> '97'
-- example:  '57' -> NULL
-- example:  '汉人' -> NULL
-- example:  '族' -> NULL
-- step: word
CASE WHEN length(value) > 1 THEN regexp_replace(value, '族$', '') ELSE value END
-- the code stands behind the name in the list; = and | keep a name from being found inside a longer one
-- step: place
CASE
  WHEN word = '' OR regexp_matches(word, '[=|0-9]') THEN 0
  ELSE strpos(
    '|汉=01|蒙古=02|回=03|藏=04|维吾尔=05|苗=06|彝=07|壮=08|布依=09|朝鲜=10|满=11|侗=12|瑶=13|白=14|土家=15|哈尼=16|哈萨克=17|傣=18|黎=19|傈僳=20|佤=21|畲=22|高山=23|拉祜=24|水=25|东乡=26|纳西=27|景颇=28|柯尔克孜=29|土=30|达斡尔=31|仫佬=32|羌=33|布朗=34|撒拉=35|毛南=36|仡佬=37|锡伯=38|阿昌=39|普米=40|塔吉克=41|怒=42|乌孜别克=43|俄罗斯=44|鄂温克=45|德昂=46|保安=47|裕固=48|京=49|塔塔尔=50|独龙=51|鄂伦春=52|赫哲=53|门巴=54|珞巴=55|基诺=56|维=05|蒙=02|毛难=36|崩龙=46|其他=97|未识别民=97|穿青人=97|外国血统=98|外国血统中国籍人士=98|入籍=98|HA=01|MG=02|HU=03|ZA=04|UG=05|MH=06|YI=07|ZH=08|BY=09|CS=10|MA=11|DO=12|YA=13|BA=14|TJ=15|HN=16|KZ=17|DA=18|LI=19|LS=20|VA=21|SH=22|GS=23|LH=24|SU=25|DX=26|NX=27|JP=28|KG=29|TU=30|DU=31|ML=32|QI=33|BL=34|SL=35|MN=36|GL=37|XB=38|AC=39|PM=40|TA=41|NU=42|UZ=43|RS=44|EW=45|DE=46|BN=47|YG=48|GI=49|TT=50|DR=51|OR=52|HZ=53|MB=54|LB=55|JN=56|',
    concat('|', upper(word), '=')
  )
END
-- result:
CASE
  WHEN regexp_matches(value, '^(0?[1-9]|[1-4][0-9]|5[0-6]|97|98)$') THEN right(concat('0', value), 2)
  WHEN place > 0
  THEN substr(
    '|汉=01|蒙古=02|回=03|藏=04|维吾尔=05|苗=06|彝=07|壮=08|布依=09|朝鲜=10|满=11|侗=12|瑶=13|白=14|土家=15|哈尼=16|哈萨克=17|傣=18|黎=19|傈僳=20|佤=21|畲=22|高山=23|拉祜=24|水=25|东乡=26|纳西=27|景颇=28|柯尔克孜=29|土=30|达斡尔=31|仫佬=32|羌=33|布朗=34|撒拉=35|毛南=36|仡佬=37|锡伯=38|阿昌=39|普米=40|塔吉克=41|怒=42|乌孜别克=43|俄罗斯=44|鄂温克=45|德昂=46|保安=47|裕固=48|京=49|塔塔尔=50|独龙=51|鄂伦春=52|赫哲=53|门巴=54|珞巴=55|基诺=56|维=05|蒙=02|毛难=36|崩龙=46|其他=97|未识别民=97|穿青人=97|外国血统=98|外国血统中国籍人士=98|入籍=98|HA=01|MG=02|HU=03|ZA=04|UG=05|MH=06|YI=07|ZH=08|BY=09|CS=10|MA=11|DO=12|YA=13|BA=14|TJ=15|HN=16|KZ=17|DA=18|LI=19|LS=20|VA=21|SH=22|GS=23|LH=24|SU=25|DX=26|NX=27|JP=28|KG=29|TU=30|DU=31|ML=32|QI=33|BL=34|SL=35|MN=36|GL=37|XB=38|AC=39|PM=40|TA=41|NU=42|UZ=43|RS=44|EW=45|DE=46|BN=47|YG=48|GI=49|TT=50|DR=51|OR=52|HZ=53|MB=54|LB=55|JN=56|',
    place + length(word) + 2, 2
  )
END
