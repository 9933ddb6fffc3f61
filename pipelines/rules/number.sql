-- rule:     number
-- kind:     clean
-- does:     reads an amount: thousands separators, currency sign, brackets for minus; writes plain digits
-- zh:       数值：去千分位、货币符号，括号表示负数
-- finding:  number_unreadable
-- beware:   no unit is converted: 万元 and % are unreadable; 1,5 is no number, because a separator stands before three digits
-- example:  '1234.50' -> '1234.50'
-- example:  '1,234,567.89' -> '1234567.89'
-- example:  '1，234' -> '1234'
-- example:  '1 234 567' -> '1234567'
-- example:  '¥1,200' -> '1200'
-- example:  '￥ 1200.00元' -> '1200.00'
-- example:  '(1,200.5)' -> '-1200.5'
-- example:  '（300）' -> '-300'
-- example:  '+5' -> '5'
-- example:  '-¥5' -> '-5'
-- example:  '.5' -> '0.5'
-- example:  '1,5' -> NULL
-- example:  '5%' -> NULL
-- example:  '300万元' -> NULL
-- example:  '1.2E+05' -> NULL
-- example:  '1-2' -> NULL
-- step: magnitude
CASE
  WHEN regexp_matches(value, '^-?[0-9]+([.][0-9]+)?$') THEN NULL
  WHEN regexp_matches(value, '^ *([-+−]? *[¥￥]?|[¥￥] *[-+−]?|[(（] *[¥￥]?) *([0-9]{1,3}([,， ][0-9]{3})+|[0-9]*)([.][0-9]+)? *元? *[)）]? *$')
    AND regexp_matches(value, '[0-9]')
    AND regexp_matches(value, '[(（]') = regexp_matches(value, '[)）]')
  THEN regexp_replace(value, '[^0-9.]', '', 'g')
  ELSE ''
END
-- result:
CASE
  WHEN magnitude IS NULL THEN value
  WHEN magnitude <> '' THEN concat(
    CASE WHEN regexp_matches(value, '[-−(（]') THEN '-' ELSE '' END,
    CASE WHEN substr(magnitude, 1, 1) = '.' THEN '0' ELSE '' END,
    magnitude
  )
END
