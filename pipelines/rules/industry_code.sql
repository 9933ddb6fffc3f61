-- rule:     industry_code
-- kind:     clean
-- does:     writes an industry as section letter and digits; the letter is added where it is left out, a section's name becomes its letter
-- zh:       行业代码：统一为门类字母加数字（缺字母则补上），门类名称转为字母
-- argument: digits (optional) the number of digits the source always writes, for example '3', where it writes them without the letter
-- finding:  industry_unreadable
-- source:   GB/T 4754-2017: divisions 01-97 in the sections A-T
-- beware:   three digits without the letter are either a group (131) or a class that lost its zero (0131): unreadable unless `digits`
-- beware:   says that the source writes groups. Says nothing about whether group and class exist, nor about codes of 2011 that moved
-- example:  'C1310' -> 'C1310'
-- example:  'c 1310' -> 'C1310'
-- example:  '1310' -> 'C1310'
-- example:  '0111' -> 'A0111'
-- example:  '70' -> 'K70'
-- example:  'A111' -> 'A0111'
-- example:  'C131' -> 'C131'
-- example:  '131', digits='3' -> 'C131'
-- example:  '制造业' -> 'C'
-- example:  '农林牧渔业' -> 'A'
-- example:  '教育' -> 'P'
-- example:  'C' -> 'C'
-- example:  'I6510' -> 'I6510'
-- example:  '131' -> NULL
-- example:  'A1310' -> NULL
-- example:  '9810' -> NULL
-- example:  '软件' -> NULL
-- step: compact
upper(translate(value, ' -.', ''))
-- step: letter
regexp_extract(compact, '^([A-T])[0-9]*$', 1)
-- step: figures
regexp_extract(compact, '^[A-T]?([0-9]{2,4})$', 1)
-- sections A, B: divisions 01-12 have lost their zero where three digits cannot be a group of the section named
-- step: completed
CASE
  WHEN length(figures) = 3 AND letter IN ('A', 'B') AND substr(figures, 1, 1) <> '0' AND NOT (letter = 'B' AND substr(figures, 1, 2) IN ('10', '11', '12'))
  THEN concat('0', figures)
  WHEN length(figures) = 3 AND letter = '' AND substr(figures, 1, 1) <> '0' AND coalesce(digits, '') <> '3' THEN ''
  ELSE figures
END
-- step: division
substr(completed, 1, 2)
-- step: section
CASE
  WHEN division BETWEEN '01' AND '05' THEN 'A'
  WHEN division BETWEEN '06' AND '12' THEN 'B'
  WHEN division BETWEEN '13' AND '43' THEN 'C'
  WHEN division BETWEEN '44' AND '46' THEN 'D'
  WHEN division BETWEEN '47' AND '50' THEN 'E'
  WHEN division BETWEEN '51' AND '52' THEN 'F'
  WHEN division BETWEEN '53' AND '60' THEN 'G'
  WHEN division BETWEEN '61' AND '62' THEN 'H'
  WHEN division BETWEEN '63' AND '65' THEN 'I'
  WHEN division BETWEEN '66' AND '69' THEN 'J'
  WHEN division = '70' THEN 'K'
  WHEN division BETWEEN '71' AND '72' THEN 'L'
  WHEN division BETWEEN '73' AND '75' THEN 'M'
  WHEN division BETWEEN '76' AND '79' THEN 'N'
  WHEN division BETWEEN '80' AND '82' THEN 'O'
  WHEN division = '83' THEN 'P'
  WHEN division BETWEEN '84' AND '85' THEN 'Q'
  WHEN division BETWEEN '86' AND '90' THEN 'R'
  WHEN division BETWEEN '91' AND '96' THEN 'S'
  WHEN division = '97' THEN 'T'
END
-- step: word
regexp_replace(translate(value, '、，,和 ', ''), '业$', '')
-- result:
CASE
  WHEN regexp_matches(compact, '^[A-T]$') THEN compact
  WHEN completed <> '' THEN CASE WHEN section IS NOT NULL AND (letter = '' OR letter = section) THEN concat(section, completed) END
  WHEN word IN ('农林牧渔', '农业林业畜牧渔') THEN 'A'
  WHEN word IN ('采矿') THEN 'B'
  WHEN word IN ('制造') THEN 'C'
  WHEN word IN ('电力热力燃气及水生产供应', '电力热力燃气及水的生产供应') THEN 'D'
  WHEN word IN ('建筑') THEN 'E'
  WHEN word IN ('批发零售') THEN 'F'
  WHEN word IN ('交通运输仓储邮政') THEN 'G'
  WHEN word IN ('住宿餐饮') THEN 'H'
  WHEN word IN ('信息传输软件信息技术服务') THEN 'I'
  WHEN word IN ('金融') THEN 'J'
  WHEN word IN ('房地产') THEN 'K'
  WHEN word IN ('租赁商务服务') THEN 'L'
  WHEN word IN ('科学研究技术服务') THEN 'M'
  WHEN word IN ('水利环境公共设施管理') THEN 'N'
  WHEN word IN ('居民服务修理其他服务') THEN 'O'
  WHEN word IN ('教育') THEN 'P'
  WHEN word IN ('卫生社会工作') THEN 'Q'
  WHEN word IN ('文化体育娱乐') THEN 'R'
  WHEN word IN ('公共管理社会保障社会组织') THEN 'S'
  WHEN word IN ('国际组织') THEN 'T'
END
