-- rule:     division_code
-- kind:     clean
-- does:     keeps a division code of 6 (county), 9 (town) or 12 digits (village or residents' committee)
-- zh:       行政区划代码：6、9 或 12 位数字
-- finding:  division_code_unreadable
-- source:   GB/T 2260-2007 and GB/T 10114-2003; the statistical code appends three digits
-- beware:   judges the form, see division_known; a province (4-digit tail of zeros) has nothing below it
-- example:  '440305' -> '440305'
-- example:  '440305 007' -> '440305007'
-- example:  '441900003000' -> '441900003000'
-- example:  '440000' -> '440000'
-- example:  '440000001' -> NULL
-- example:  '4403' -> NULL
-- example:  '990105' -> NULL
-- example:  '440305.0' -> NULL
-- example:  '南山区' -> NULL
-- step: compact
translate(value, ' -', '')
-- result:
CASE
  WHEN regexp_matches(compact, '^(1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])([0-9]{4}|[0-9]{7}|[0-9]{10})$')
    AND (substr(compact, 3, 2) <> '00' OR regexp_matches(compact, '^..0+$'))
  THEN compact
END
