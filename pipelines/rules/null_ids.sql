-- rule:     null_ids
-- kind:     clean
-- does:     empties identity numbers and codes that stand for none: one character repeated, a row of digits
-- zh:       占位证件号：111111111111111111、000000、123456789012345678 等视为未填
-- harmless: yes
-- beware:   six and more characters; a short code such as 000 may be meant
-- example:  '111111111111111111' -> NULL
-- example:  '000000000000000' -> NULL
-- example:  '123456789012345678' -> NULL
-- example:  'XXXXXXXXXXXXXXXXXX' -> NULL
-- example:  '99999999' -> NULL
-- example:  '000' -> '000'
-- example:  '110105194912310021' -> '110105194912310021'
CASE
  WHEN length(value) >= 6 AND regexp_matches(upper(value), '^(0+|1+|2+|3+|4+|5+|6+|7+|8+|9+|X+|1234567890?|123456789012345|12345678901234567[8X])$')
  THEN NULL
  ELSE value
END
