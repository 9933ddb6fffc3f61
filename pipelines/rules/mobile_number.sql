-- rule:     mobile_number
-- kind:     clean
-- does:     keeps the eleven digits of a mainland mobile number
-- zh:       手机号：保留十一位数字
-- finding:  phone_unreadable
-- beware:   two numbers in one cell are unreadable; 13800000000 has the form of a number and passes
-- example:  '+86 138-0013-8000' -> '13800138000'
-- example:  '8613800138000' -> '13800138000'
-- example:  '0086 138 0013 8000' -> '13800138000'
-- example:  '013800138000' -> '13800138000'
-- example:  '未知' -> NULL
-- example:  '11111111111' -> NULL
-- example:  '1380013800' -> NULL
-- example:  '13800138000/13900139000' -> NULL
-- example:  '020-83331234' -> NULL
-- example:  '1.38001E+10' -> NULL
-- step: digits
CASE WHEN length(value) = 11 THEN value ELSE translate(value, ' -()（）+.', '') END
-- result:
CASE WHEN regexp_matches(digits, '^(0|86|0086)?1[3-9][0-9]{9}$') THEN right(digits, 11) END
