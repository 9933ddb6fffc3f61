-- rule:     phone
-- kind:     clean
-- does:     reads a mobile number as mobile_number does, else a fixed-line number as fixed_phone does
-- zh:       电话：手机号或固定电话
-- argument: area_code (optional) the area code of numbers written without one, for example '020'
-- finding:  phone_unreadable
-- example:  '+86 138-0013-8000' -> '13800138000'
-- example:  '(020)8333-1234' -> '020-83331234'
-- example:  '020-83331234-801' -> '020-83331234-801'
-- example:  '83331234', area_code='020' -> '020-83331234'
-- example:  '83331234' -> NULL
-- example:  '无' -> NULL
-- step: digits
CASE WHEN length(value) = 11 THEN value ELSE translate(value, ' -()（）+.', '') END
-- step: mobile
CASE WHEN regexp_matches(digits, '^(0|86|0086)?1[3-9][0-9]{9}$') THEN right(digits, 11) END
-- step: marked
CASE
  WHEN mobile IS NOT NULL THEN ''
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
CASE
  WHEN mobile IS NOT NULL THEN mobile
  WHEN substr(understood, 1, 1) = '=' THEN substr(understood, 2)
END
