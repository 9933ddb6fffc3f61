-- rule:     credit_code_valid
-- kind:     check
-- does:     says separately whether the parts of a unified social credit code and its two check characters are in order
-- zh:       统一社会信用代码校验：形式、登记管理部门与机构类别、区划、主体标识码校验码、校验码分别判定
-- source:   GB 32100-2015 with amendment 1 of 2016: alphabet without I O S V Z, check character ISO 7064-like modulo 31;
-- source:   GB 11714: positions 9-17 are the organisation code with its own check character modulo 11
-- beware:   the division is judged by its form only, because it is that of the registration day
-- example:  '91350100M000100Y43' -> []
-- example:  '91350100M000100Y44' -> [checksum]
-- example:  '91350100M000100Y56' -> [organisation]
-- example:  '9135O100M000100Y43' -> [shape]
-- example:  '91350100M000100Y4' -> [shape]
-- example:  '97350100M000100Y4G' -> [authority]
-- example:  '91990100M000100Y4U' -> [division]
-- example:  'N2350100M000100Y4J' -> []
-- example:  'A1100000M000100Y4T' -> []
-- example:  'Y1350100M000100Y4D' -> []
-- example:  NULL -> NULL
-- step: shaped
regexp_matches(value, '^[0-9A-HJ-NP-RTUWXY]{18}$')
-- the place in the alphabet is the character's value; 0 is not in it, and strpos says 0 for that
-- step: total
CASE WHEN shaped THEN
strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 1, 1)) * 1
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 2, 1)) * 3
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 3, 1)) * 9
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 4, 1)) * 27
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 5, 1)) * 19
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 6, 1)) * 26
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 7, 1)) * 16
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 8, 1)) * 17
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 9, 1)) * 20
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 10, 1)) * 29
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 11, 1)) * 25
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 12, 1)) * 13
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 13, 1)) * 8
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 14, 1)) * 24
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 15, 1)) * 10
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 16, 1)) * 30
+ strpos('123456789ABCDEFGHJKLMNPQRTUWXY', substr(value, 17, 1)) * 28
END
-- step: organisation_total
CASE WHEN shaped THEN
strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 9, 1)) * 3
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 10, 1)) * 7
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 11, 1)) * 9
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 12, 1)) * 10
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 13, 1)) * 5
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 14, 1)) * 8
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 15, 1)) * 4
+ strpos('123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', substr(value, 16, 1)) * 2
END
-- a code without the shape fails on its shape alone: its other parts cannot be told
-- part: shape -> credit_code_misshapen
shaped
-- part: authority -> credit_code_authority_unknown
NOT shaped OR substr(value, 1, 2) IN (
  '11', '12', '13', '19',
  '21', '29',
  '31', '32', '33', '34', '35', '39',
  '41', '49',
  '51', '52', '53', '59',
  '61', '62', '69',
  '71', '72', '79',
  '81', '89',
  '91', '92', '93',
  'A1', 'A9',
  'N1', 'N2', 'N3', 'N9',
  'Y1'
)
-- part: division -> credit_code_division_misshapen
NOT shaped OR regexp_matches(value, '^..(100000|(1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])[0-9]{4})')
-- part: organisation -> credit_code_organisation_checksum_wrong
NOT shaped OR substr('0X987654321', organisation_total % 11 + 1, 1) = substr(value, 17, 1)
-- part: checksum -> credit_code_checksum_wrong
NOT shaped OR substr('0123456789ABCDEFGHJKLMNPQRTUWXY', (31 - total % 31) % 31 + 1, 1) = substr(value, 18, 1)
