-- rule:     marital_code
-- kind:     clean
-- does:     writes a marital status as its two digits
-- zh:       婚姻状况代码：10 未婚 20 已婚 21 初婚 22 再婚 23 复婚 30 丧偶 40 离婚 90 未说明
-- finding:  marital_unreadable
-- source:   GB/T 2261.2-2003
-- beware:   single-digit lists of other systems (1, 2, 3) differ from each other and are unreadable; leave null_tokens out before it
-- example:  '未婚' -> '10'
-- example:  '已婚' -> '20'
-- example:  '有配偶' -> '20'
-- example:  '初婚' -> '21'
-- example:  '离异' -> '40'
-- example:  '丧偶' -> '30'
-- example:  '未说明的婚姻状况' -> '90'
-- example:  'single' -> '10'
-- example:  '20' -> '20'
-- example:  '1' -> NULL
-- example:  '50' -> NULL
CASE
  WHEN value IN ('10', '20', '21', '22', '23', '30', '40', '90') THEN value
  WHEN lower(value) IN ('未婚', '未', 'single', 'unmarried', 'never married') THEN '10'
  WHEN lower(value) IN ('已婚', '已', '有配偶', '结婚', 'married') THEN '20'
  WHEN value IN ('初婚', '初婚有配偶') THEN '21'
  WHEN value IN ('再婚', '再婚有配偶') THEN '22'
  WHEN value IN ('复婚', '复婚有配偶') THEN '23'
  WHEN lower(value) IN ('丧偶', 'widowed') THEN '30'
  WHEN lower(value) IN ('离婚', '离异', 'divorced') THEN '40'
  WHEN lower(value) IN ('未说明的婚姻状况', '未说明', '不详', '未知', 'not stated', 'unknown') THEN '90'
END
