-- rule:     undamaged
-- kind:     clean
-- does:     leaves an identifier alone, and finds one that a spreadsheet turned into a number: 1.10105E+17, or 440106199001011000.0
-- zh:       号码未被表格软件损坏：科学计数法、带小数尾巴、身份证号末三位变成 000 的，报告而不修补
-- argument: kind (optional) 'resident_id' where the column holds identity numbers: 18 digits that end in 000 with a wrong check character
-- finding:  identifier_damaged
-- source:   a number of a spreadsheet keeps 15 significant digits (IEEE 754), and is shown as 1.10105E+17 beyond eleven
-- beware:   is put into every text column that is a key or has a check, before the rule for its meaning; nobody needs to write it
-- example:  '11010519491231002X' -> '11010519491231002X'
-- example:  '1.10105E+17' -> NULL
-- example:  '4.40106e+17' -> NULL
-- example:  '440106199001011000.0' -> NULL
-- example:  '13800138000.0' -> NULL
-- example:  '440106199001011000' -> '440106199001011000'
-- example:  '440106199001011000', kind='resident_id' -> NULL
-- example:  '110105194912311000', kind='resident_id' -> NULL
-- example:  '110105194912310021', kind='resident_id' -> '110105194912310021'
-- example:  '1E05' -> '1E05'
-- example:  'A-1.5' -> 'A-1.5'
-- step: shown
regexp_matches(value, '^[0-9]([.][0-9]+)?[Ee][+][0-9]{2}$|^[0-9]{9,}[.]0+$')
-- step: digits
CASE
  WHEN kind = 'resident_id' AND regexp_matches(value, '^[1-9][0-9]{5}(18|19|20)[0-9]{7}000$')
  THEN TRY_CAST(substr(value, 1, 15) AS BIGINT)
END
-- step: total
digits // 100000000000000 * 7
+ digits // 10000000000000 % 10 * 9
+ digits // 1000000000000 % 10 * 10
+ digits // 100000000000 % 10 * 5
+ digits // 10000000000 % 10 * 8
+ digits // 1000000000 % 10 * 4
+ digits // 100000000 % 10 * 2
+ digits // 10000000 % 10 * 1
+ digits // 1000000 % 10 * 6
+ digits // 100000 % 10 * 3
+ digits // 10000 % 10 * 7
+ digits // 1000 % 10 * 9
+ digits // 100 % 10 * 10
+ digits // 10 % 10 * 5
+ digits % 10 * 8
-- the check character is 0 where the total leaves 1
-- result:
CASE WHEN shown OR (digits IS NOT NULL AND total % 11 <> 1) THEN NULL ELSE value END
