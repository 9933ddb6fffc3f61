-- rule:     trim_text
-- kind:     clean
-- does:     removes outer and doubled blanks of every kind, and characters without width
-- zh:       去空白：去掉首尾及连续的空白（含全角空格、制表符、换行）和零宽字符
-- harmless: yes
-- example:  '  张三  ' -> '张三'
-- example:  '\u3000张三\u00a0' -> '张三'
-- example:  '中山\t一路\r\n 2 号' -> '中山 一路 2 号'
-- example:  '\ufeff张\u200b三' -> '张三'
-- example:  ' \u3000 ' -> NULL
-- one look decides whether there is anything to do; most values are left as they are
CASE
  WHEN regexp_matches(value, '^ | $|  |^$|[\x{0009}-\x{000D}\x{0085}\x{00A0}\x{1680}\x{2000}-\x{200D}\x{2028}\x{2029}\x{202F}\x{205F}\x{2060}\x{3000}\x{FEFF}]')
  THEN nullif(
    trim(
      regexp_replace(
        regexp_replace(value, '[\x{200B}-\x{200D}\x{2060}\x{FEFF}]', '', 'g'),
        '[\x{0009}-\x{000D} \x{0085}\x{00A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+', ' ', 'g'
      )
    ),
    ''
  )
  ELSE value
END
