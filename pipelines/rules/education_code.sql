-- rule:     education_code
-- kind:     clean
-- does:     writes an education as its two digits, from the code or from words
-- zh:       学历代码：由文字（博士、本科、大专、高中毕业等）统一为两位数字
-- finding:  education_unreadable
-- source:   GB/T 4658-2006
-- beware:   a level without a word about completion is the code of the level (本科 20, 大专 30, 高中 60); 博士, 硕士, 中专, 职高
-- beware:   and 技校 have no such code and are taken as completed (11, 14, 41, 44, 47). 文盲 is 90 since 2006
-- example:  '博士研究生' -> '11'
-- example:  '硕士' -> '14'
-- example:  '研究生' -> '10'
-- example:  '本科' -> '20'
-- example:  '大学本科毕业' -> '21'
-- example:  '大学本科肄业' -> '23'
-- example:  '大专' -> '30'
-- example:  '专科毕业' -> '31'
-- example:  '中专' -> '41'
-- example:  '职高' -> '44'
-- example:  '技校' -> '47'
-- example:  '高中' -> '60'
-- example:  '高中毕业' -> '61'
-- example:  '初中' -> '70'
-- example:  '初中肄业' -> '73'
-- example:  '小学' -> '80'
-- example:  '文盲或半文盲' -> '90'
-- example:  '31' -> '31'
-- example:  '99' -> NULL
-- example:  '大学' -> NULL
-- step: word
regexp_replace(regexp_replace(value, '(毕业|结业|肄业)生?$', ''), '(教育|学历|文化程度?)$', '')
-- step: end_word
regexp_extract(value, '(毕业|结业|肄业)生?$', 1)
-- step: level
CASE
  WHEN word IN ('研究生') THEN '10'
  WHEN word IN ('博士', '博士研究生') THEN '11'
  WHEN word IN ('硕士', '硕士研究生') THEN '14'
  WHEN word IN ('研究生班') THEN '17'
  WHEN word IN ('本科', '大学本科', '全日制本科', '普通本科') THEN '20'
  WHEN word IN ('专科', '大专', '大学专科', '高职', '专科（高职）', '专科(高职)', '高等职业') THEN '30'
  WHEN word IN ('中等职业') THEN '40'
  WHEN word IN ('中专', '中等专科') THEN '41'
  WHEN word IN ('职高', '职业高中') THEN '44'
  WHEN word IN ('技校', '技工学校', '技工') THEN '47'
  WHEN word IN ('高中', '普通高中', '普通高级中学', '高级中学') THEN '60'
  WHEN word IN ('初中', '初级中学') THEN '70'
  WHEN word IN ('小学') THEN '80'
  WHEN word IN ('其他', '文盲', '半文盲', '文盲或半文盲', '文盲半文盲', '未上过学') THEN '90'
END
-- a level that ends in 0 names no completion: 1, 2, 3 follow; one that names it already is the first of its three
-- result:
CASE
  WHEN value IN (
    '10', '11', '12', '13', '14', '15', '16', '17', '18', '19', '20', '21', '22', '23', '28', '30', '31', '32', '33',
    '40', '41', '42', '43', '44', '45', '46', '47', '48', '49', '60', '61', '62', '63', '70', '71', '73', '80', '81', '83', '90'
  ) THEN value
  WHEN end_word = '' THEN level
  WHEN level IN ('70', '80') AND end_word = '结业' THEN NULL
  WHEN level IN ('20', '30', '60', '70', '80') THEN concat(
    substr(level, 1, 1), CASE end_word WHEN '毕业' THEN '1' WHEN '结业' THEN '2' ELSE '3' END
  )
  WHEN level IN ('11', '14', '17', '41', '44', '47') THEN CAST(
    TRY_CAST(level AS INTEGER) + CASE end_word WHEN '毕业' THEN 0 WHEN '结业' THEN 1 ELSE 2 END AS VARCHAR
  )
END
