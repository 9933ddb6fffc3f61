-- rule:     lower
-- kind:     clean
-- does:     writes Latin letters in lower case
-- zh:       转小写
-- harmless: yes
-- example:  'A-12' -> 'a-12'
lower(value)
