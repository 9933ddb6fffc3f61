-- rule:     integer
-- kind:     clean
-- does:     reads a whole number: thousands separators out, a fraction of zeros dropped
-- zh:       整数：去千分位，小数部分为零则去掉
-- finding:  integer_unreadable
-- example:  '12' -> '12'
-- example:  '-3' -> '-3'
-- example:  '+7' -> '7'
-- example:  '12.0' -> '12'
-- example:  '1,234' -> '1234'
-- example:  '1，234，567' -> '1234567'
-- example:  '12.5' -> NULL
-- example:  '1,23' -> NULL
-- example:  '十二' -> NULL
CASE
  WHEN regexp_matches(value, '^-?[0-9]+$') THEN value
  WHEN regexp_matches(value, '^ *[-+]?([0-9]{1,3}([,， ][0-9]{3})+|[0-9]+)([.]0*)? *$')
  THEN translate(split_part(value, '.', 1), '+,， ', '')
END
