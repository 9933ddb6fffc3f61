-- rule:     null_tokens
-- kind:     clean
-- does:     empties a value that only says that there is none
-- zh:       空值占位词：无、不详、未知、NULL 等整格内容视为未填
-- harmless: yes
-- beware:   not for sex codes, where 未知 is an answer
-- example:  '无' -> NULL
-- example:  '不详' -> NULL
-- example:  'N/A' -> NULL
-- example:  'NULL' -> NULL
-- example:  ' -- ' -> NULL
-- example:  '\\N' -> NULL
-- example:  '无锡' -> '无锡'
-- example:  '0' -> '0'
CASE
  WHEN length(value) <= 8 AND lower(trim(value)) IN (
    '', '无', '空', '暂无', '没有', '无数据', '无资料', '无信息', '不详', '不明', '不清', '不祥', '未知', '未填', '未填写',
    '未提供', '未登记', '待查', '待定', '待补', '待补充',
    'n/a', '#n/a', 'null', '(null)', '<null>', '\n', 'none', 'nan', 'nil', 'undefined',
    '-', '--', '---', '－', '－－', '—', '——', '/', '//', '\', '／', '、', '.', '*', '?', '？'
  ) THEN NULL
  ELSE value
END
