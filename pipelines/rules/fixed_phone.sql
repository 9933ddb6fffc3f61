-- rule:     fixed_phone
-- kind:     clean
-- does:     writes a fixed-line number as area code-number, with -extension where there is one
-- zh:       固定电话：区号-号码，有分机则再加 -分机
-- argument: area_code (optional) the area code of numbers written without one, for example '020'
-- finding:  phone_unreadable
-- beware:   without an area code, written or given, a local number is unreadable
-- example:  '020-83331234' -> '020-83331234'
-- example:  '(010) 6512 3456' -> '010-65123456'
-- example:  '（020）83331234' -> '020-83331234'
-- example:  '02083331234' -> '020-83331234'
-- example:  '0311-8666123' -> '0311-8666123'
-- example:  '+86 755 8333 1234' -> '0755-83331234'
-- example:  '020-83331234转801' -> '020-83331234-801'
-- example:  '020-83331234-801' -> '020-83331234-801'
-- example:  '020-83331234 ext. 801' -> '020-83331234-801'
-- example:  '8333-1234', area_code='020' -> '020-83331234'
-- example:  '83331234' -> NULL
-- example:  '13800138000' -> NULL
-- example:  '=' -> NULL
-- step: marked
CASE
  WHEN regexp_matches(value, '^0[0-9]{2,3}-[0-9]{7,8}$') THEN value
  ELSE regexp_replace(translate(lower(value), '（）－—=', '()--'), ' *(转接|转|分机|ext[.]?|x|#)[ :]*', '-', 'g')
END
-- step: whole
CASE
  WHEN area_code IS NOT NULL AND regexp_matches(marked, '^[1-9][0-9]{2,3}[- ]?[0-9]{4}(-[0-9]{1,6})?$')
  THEN concat(area_code, '-', marked)
  ELSE marked
END
-- a number that is understood is marked by = so that it can be told from one that was left as it is
-- step: understood
regexp_replace(whole, '^[(]?(([+]|00)86[) -]*[(]?0?|0)(10|2[0-9]|[3-9][0-9]{2})[) -]*([1-9][0-9]{2,3})[- ]?([0-9]{4})(-[0-9]{1,6})?$', '=0\3-\4\5\6')
-- result:
CASE WHEN substr(understood, 1, 1) = '=' THEN substr(understood, 2) END
