-- rule:     amount
-- kind:     clean
-- does:     reads an amount of money with its unit (千, 万, 百万, 亿 and so on) and writes it in 元, exactly
-- zh:       金额：识别 千、万、百万、亿 等单位和全角数字，统一折合为元
-- argument: unit (optional) the unit of an amount written without one, for example '万元'; a literal or a column
-- finding:  amount_unreadable
-- beware:   other currencies and words such as 约 are unreadable; so are 3万5 and 3亿5000, where nobody knows the unit of the end;
-- beware:   for plain numbers without units use number
-- example:  '1234.50' -> '1234.50'
-- example:  '1,234,567.89' -> '1234567.89'
-- example:  '1,234.5万元' -> '12345000'
-- example:  '300万' -> '3000000'
-- example:  '1.23456万元' -> '12345.6'
-- example:  '0.5亿元' -> '50000000'
-- example:  '5百万元整' -> '5000000'
-- example:  '2千元' -> '2000'
-- example:  '1.5万亿元' -> '1500000000000'
-- example:  '3亿5000万元' -> '350000000'
-- example:  '3亿200万1234.5元' -> '302001234.5'
-- example:  '3亿5000元' -> '300005000'
-- example:  '1万2345元' -> '12345'
-- example:  '１２３．５万元' -> '1235000'
-- example:  '人民币 300 万元' -> '3000000'
-- example:  '¥1,200元' -> '1200'
-- example:  '-3万元' -> '-30000'
-- example:  '（1.2万元）' -> '-12000'
-- example:  '1234.5', unit='万元' -> '12345000'
-- example:  '1234.5', unit='元' -> '1234.5'
-- example:  '300元', unit='万元' -> '300'
-- example:  '2亿', unit='万元' -> '200000000'
-- example:  '1234.5', unit='万美元' -> NULL
-- example:  '300万美元' -> NULL
-- example:  '约300万元' -> NULL
-- example:  '3万5' -> NULL
-- example:  '3亿5000' -> NULL
-- example:  '1,5万元' -> NULL
-- example:  '万元' -> NULL
-- step: written
CASE
  WHEN regexp_matches(value, '^-?[0-9][0-9.,]*[十百千万亿]*元?$') THEN value
  ELSE trim(regexp_replace(
    translate(value, '０１２３４５６７８９．，（）－−＋', '0123456789.,()--+'),
    '^ *(人民币|RMB|CNY)[:： ]*|[¥￥]| *人民币 *$', '', 'g'
  ))
END
-- step: size
CASE
  WHEN NOT regexp_matches(written, '^[-+(]') THEN written
  WHEN regexp_matches(written, '^[(].*[)]$') THEN trim(substr(written, 2, length(written) - 2))
  ELSE regexp_replace(written, '^[-+] ?', '')
END
-- two or three parts, each with its unit: 3亿5000万, 1万2345元; the lower ones fill four digits
-- step: parts
CASE
  WHEN NOT regexp_matches(size, '[亿万][0-9]') THEN NULL
  WHEN regexp_matches(size, '^[0-9]+亿([0-9]{1,4}万([0-9]{4}([.][0-9]+)?|[0-9]{1,4}([.][0-9]+)?元)?|[0-9]{1,4}([.][0-9]+)?元)元?[整正]?$')
  THEN concat(
    regexp_extract(size, '^([0-9]+)', 1),
    right(concat('0000', regexp_extract(size, '([0-9]+)万', 1)), 4),
    right(concat('0000', regexp_extract(size, '[亿万]([0-9]+)([.][0-9]+)?(元|圆)?[整正]?$', 1)), 4),
    regexp_extract(size, '([.][0-9]+)', 1)
  )
  WHEN regexp_matches(size, '^[0-9]+万([0-9]{4}([.][0-9]+)?|[0-9]{1,4}([.][0-9]+)?元)(元|圆)?[整正]?$')
  THEN concat(
    regexp_extract(size, '^([0-9]+)', 1),
    right(concat('0000', regexp_extract(size, '万([0-9]+)', 1)), 4),
    regexp_extract(size, '([.][0-9]+)', 1)
  )
END
-- step: single
CASE
  WHEN parts IS NOT NULL THEN parts
  WHEN regexp_matches(size, '^([0-9]{1,3}([, ][0-9]{3})+|[0-9]*)([.][0-9]+)? ?(万亿|[十百千]?[万亿]|百|千)?(元|圆)?[整正]?$')
    AND regexp_matches(size, '[0-9]')
  THEN CASE WHEN regexp_matches(size, '^[0-9.]+$') THEN size ELSE regexp_replace(size, '[^0-9.]', '', 'g') END
END
-- step: scale
CASE
  WHEN parts IS NOT NULL THEN ''
  WHEN regexp_matches(size, '^[0-9.]+$') THEN coalesce(regexp_replace(unit, '元$', ''), '')
  WHEN regexp_matches(size, '[百千万亿]') THEN regexp_extract(size, '(万亿|[十百千]?[万亿]|百|千)', 1)
  WHEN regexp_matches(size, '[元圆]') THEN ''
  ELSE coalesce(regexp_replace(unit, '元$', ''), '')
END
-- step: zeros
CASE scale
  WHEN '' THEN ''
  WHEN '百' THEN '00'
  WHEN '千' THEN '000'
  WHEN '万' THEN '0000'
  WHEN '十万' THEN '00000'
  WHEN '百万' THEN '000000'
  WHEN '千万' THEN '0000000'
  WHEN '亿' THEN '00000000'
  WHEN '十亿' THEN '000000000'
  WHEN '百亿' THEN '0000000000'
  WHEN '千亿' THEN '00000000000'
  WHEN '万亿' THEN '000000000000'
END
-- the point moves to the right by as many places as there are zeros; nothing is rounded
-- step: fraction
split_part(single, '.', 2)
-- step: whole
coalesce(
  nullif(ltrim(concat(split_part(single, '.', 1), substr(concat(fraction, zeros), 1, length(zeros))), '0'), ''), '0'
)
-- result:
CASE
  WHEN zeros = '' AND regexp_matches(value, '^-?[0-9]+([.][0-9]+)?$') THEN value
  WHEN single IS NOT NULL AND zeros IS NOT NULL
  THEN concat(
    CASE WHEN regexp_matches(written, '^[-(]') THEN '-' ELSE '' END,
    whole,
    CASE WHEN length(fraction) > length(zeros) THEN concat('.', substr(fraction, length(zeros) + 1)) ELSE '' END
  )
END
