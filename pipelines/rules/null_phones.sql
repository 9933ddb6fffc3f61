-- rule:     null_phones
-- kind:     clean
-- does:     empties telephone numbers that nobody has: one digit repeated, a row of digits, 13800000000
-- zh:       占位电话：13800000000、11111111111、12345678 等视为未填
-- harmless: yes
-- beware:   call it before the phone rule too, which finds some of them unreadable
-- example:  '13800000000' -> NULL
-- example:  '11111111111' -> NULL
-- example:  '00000000' -> NULL
-- example:  '12345678' -> NULL
-- example:  '12345678901' -> NULL
-- example:  '020-00000000' -> NULL
-- example:  '13800138000' -> '13800138000'
-- example:  '88888888' -> '88888888'
-- example:  '020-83331234' -> '020-83331234'
-- step: digits
translate(value, ' -()（）+', '')
-- result:
CASE
  WHEN regexp_matches(digits, '^(0+|1+|9{11,}|1[3-9]0{9}|1[3-9][0-9]0{8}|1[3-9]1{9}|1[3-9]9{9}|0[0-9]{2,3}(0{7,8}|1{7,8})|1234567(8|89|890|8901|8910)?|0123456789)$')
  THEN NULL
  ELSE value
END
