-- rule:     resident_id
-- kind:     clean
-- does:     writes an identity number as 18 characters: blanks and hyphens out, X in upper case, old 15 digits extended
-- zh:       公民身份号码：去空格和连字符、x 转大写、15 位升 18 位
-- finding:  resident_id_unreadable
-- source:   GB 11643-1999 (15 digits: 19 goes in after position 6, the check character, ISO 7064 MOD 11-2, at the end)
-- beware:   says nothing about whether the number is valid, see resident_id_valid; extended-width digits need half_width first
-- example:  '11010519491231002X' -> '11010519491231002X'
-- example:  '11010519491231002x' -> '11010519491231002X'
-- example:  '110105 19491231 002x' -> '11010519491231002X'
-- example:  '440524188001010014' -> '440524188001010014'
-- example:  '110105491231002' -> '11010519491231002X'
-- example:  '1.10105E+17' -> NULL
-- example:  '110105********002X' -> NULL
-- example:  '1101051949123100' -> NULL
-- step: compact
upper(CASE WHEN length(value) IN (15, 18) THEN value ELSE translate(value, ' -', '') END)
-- step: extended
CASE
  WHEN regexp_matches(compact, '^[0-9]{17}[0-9X]$') THEN compact
  WHEN regexp_matches(compact, '^[0-9]{15}$') THEN concat(substr(compact, 1, 6), '19', substr(compact, 7, 9))
END
-- step: digits
CASE WHEN length(extended) = 17 THEN TRY_CAST(extended AS BIGINT) END
-- step: total
(digits // 10000000000000000) * 7
+ (digits // 1000000000000000 % 10) * 9
+ (digits // 100000000000000 % 10) * 10
+ (digits // 10000000000000 % 10) * 5
+ (digits // 1000000000000 % 10) * 8
+ (digits // 100000000000 % 10) * 4
+ (digits // 10000000000 % 10) * 2
+ (digits // 1000000000 % 10) * 1
+ (digits // 100000000 % 10) * 6
+ (digits // 10000000 % 10) * 3
+ (digits // 1000000 % 10) * 7
+ (digits // 100000 % 10) * 9
+ (digits // 10000 % 10) * 10
+ (digits // 1000 % 10) * 5
+ (digits // 100 % 10) * 8
+ (digits // 10 % 10) * 4
+ (digits % 10) * 2
-- result:
CASE WHEN length(extended) = 17 THEN concat(extended, substr('10X98765432', total % 11 + 1, 1)) ELSE extended END
