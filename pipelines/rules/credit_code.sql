-- rule:     credit_code
-- kind:     clean
-- does:     writes a unified social credit code as 18 characters: blanks and hyphens out, upper case
-- zh:       统一社会信用代码：去空格和连字符、转大写，须为 18 位字母数字
-- finding:  credit_code_unreadable
-- source:   GB 32100-2015
-- beware:   repairs no O for 0 or I for 1; that is a suggestion for the sender, credit_code_valid reports the letter
-- example:  '91350100M000100Y43' -> '91350100M000100Y43'
-- example:  '91350100m000100y43' -> '91350100M000100Y43'
-- example:  '9135 0100 M000 100Y 43' -> '91350100M000100Y43'
-- example:  '91350100-M000100Y4-3' -> '91350100M000100Y43'
-- example:  '9135O100M000100Y43' -> '9135O100M000100Y43'
-- example:  'M000100Y4' -> NULL
-- example:  '350100000000018' -> NULL
-- step: compact
upper(CASE WHEN length(value) = 18 THEN value ELSE translate(value, ' -', '') END)
-- result:
CASE WHEN regexp_matches(compact, '^[0-9A-Z]{18}$') THEN compact END
