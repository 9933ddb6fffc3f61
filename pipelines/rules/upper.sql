-- rule:     upper
-- kind:     clean
-- does:     writes Latin letters in upper case
-- zh:       转大写
-- harmless: yes
-- example:  '11010519491231002x' -> '11010519491231002X'
upper(value)
