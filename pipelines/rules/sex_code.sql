-- rule:     sex_code
-- kind:     clean
-- does:     writes a sex as its code: 0 unknown, 1 male, 2 female, 9 not stated
-- zh:       性别代码：0 未知 1 男 2 女 9 未说明
-- finding:  sex_unreadable
-- source:   GB/T 2261.1-2003
-- beware:   a source that writes 0 for women needs its own mapping, 0 is unknown here; leave null_tokens out before it
-- example:  '男' -> '1'
-- example:  '女性' -> '2'
-- example:  'M' -> '1'
-- example:  'female' -> '2'
-- example:  '1' -> '1'
-- example:  '2' -> '2'
-- example:  '0' -> '0'
-- example:  '未知' -> '0'
-- example:  '9' -> '9'
-- example:  '未说明的性别' -> '9'
-- example:  '3' -> NULL
CASE
  WHEN lower(value) IN ('1', '男', '男性', 'm', 'male') THEN '1'
  WHEN lower(value) IN ('2', '女', '女性', 'f', 'female') THEN '2'
  WHEN lower(value) IN ('0', '未知', '未知的性别', '不详', 'u', 'unknown') THEN '0'
  WHEN lower(value) IN ('9', '未说明', '未说明的性别') THEN '9'
END
