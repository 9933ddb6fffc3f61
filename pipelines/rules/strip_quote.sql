-- rule:     strip_quote
-- kind:     clean
-- does:     removes the leading quote by which Excel marks a number as text
-- zh:       去前导撇号：Excel 文本型数字前的 '
-- harmless: yes
-- example:  '''11010519491231002X' -> '11010519491231002X'
-- example:  '‘440305' -> '440305'
-- example:  'O''Neil' -> 'O''Neil'
nullif(ltrim(value, '''‘’＇`'), '')
