-- rule:     resident_id_valid
-- kind:     check
-- does:     says separately whether shape, birth date, division and check character of an identity number are in order
-- zh:       公民身份号码校验：形式、出生日期、行政区划、校验码分别判定
-- argument: as_of (optional) the day, YYYY-MM-DD, after which nobody on the list can be born
-- lookup:   ref_division(code, name, first_year, last_year)
-- source:   GB 11643-1999; 810000, 820000, 830000 are residence permits of Hong Kong, Macao and Taiwan residents;
-- source:   9 + province + ISO 3166 number is the permanent-resident card of foreigners, form of 2023-12-01
-- beware:   a division counts as known when it ever existed, because numbers keep the division of their first registration
-- example:  '11010519491231002X' -> []
-- example:  '440524188001010014' -> []
-- example:  '110105194912310021' -> [checksum]
-- example:  '110105194902310026' -> [date]
-- example:  '11010519490231002X' -> [date, checksum]
-- example:  '990105194912310023' -> [division]
-- example:  '810000199408230021' -> []
-- example:  '830000199201300022' -> []
-- example:  '911124198108030024' -> []
-- example:  '11010519491231002' -> [shape]
-- example:  '110105194912310O2X' -> [shape]
-- example:  '11010519491231002X', as_of='1949-12-30' -> [date]
-- example:  '11010519491231002X', as_of='1949-12-31' -> []
-- example:  NULL -> NULL
-- step: shaped
regexp_matches(value, '^[0-9]{17}[0-9X]$')
-- step: digits
CASE WHEN shaped THEN TRY_CAST(substr(value, 1, 17) AS BIGINT) END
-- step: born
CASE WHEN shaped THEN concat(substr(value, 7, 4), '-', substr(value, 11, 2), '-', substr(value, 13, 2)) END
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
-- a number without the shape fails on its shape alone: its other parts cannot be told
-- part: shape -> resident_id_misshapen
shaped
-- part: date -> resident_id_date_impossible
NOT shaped
OR (TRY_CAST(born AS DATE) IS NOT NULL AND born >= '1850-01-01' AND (as_of IS NULL OR born <= as_of))
-- part: division -> resident_id_division_unknown
NOT shaped
OR substr(value, 1, 6) IN ('810000', '820000', '830000')
OR regexp_matches(value, '^9(1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])')
OR substr(value, 1, 6) IN (SELECT listed.code FROM ref_division AS listed)
-- part: checksum -> resident_id_checksum_wrong
NOT shaped OR substr('10X98765432', total % 11 + 1, 1) = substr(value, 18, 1)
