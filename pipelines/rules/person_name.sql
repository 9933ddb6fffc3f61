-- rule:     person_name
-- kind:     clean
-- does:     unifies the middle dot to ·, removes blanks between Chinese characters and marks at the end
-- zh:       姓名：间隔号统一为“·”，去汉字间空格和末尾符号
-- harmless: yes
-- example:  '张 三' -> '张三'
-- example:  '欧 阳 小 明' -> '欧阳小明'
-- example:  '阿依古丽•买买提' -> '阿依古丽·买买提'
-- example:  '阿依古丽．买买提' -> '阿依古丽·买买提'
-- example:  '阿依古丽 ‧ 买买提' -> '阿依古丽·买买提'
-- example:  '阿依古丽.买买提' -> '阿依古丽·买买提'
-- example:  '张三*' -> '张三'
-- example:  'John A. Smith' -> 'John A. Smith'
-- step: dotted
CASE WHEN regexp_matches(value, '[•．‧・･∙⋅]') THEN translate(value, '•．‧・･∙⋅', '·······') ELSE value END
-- a match takes its right neighbour with it, so every other gap is left for the second pass
-- step: joined
CASE
  WHEN regexp_matches(dotted, '[ .]')
  THEN regexp_replace(
    regexp_replace(
      regexp_replace(
        regexp_replace(dotted, '([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}·]) +([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}·])', '\1\2', 'g'),
        '([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}·]) +([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}·])', '\1\2', 'g'
      ),
      '([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}]) ?[.] ?([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}])', '\1·\2', 'g'
    ),
    '([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}]) ?[.] ?([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}])', '\1·\2', 'g'
  )
  ELSE dotted
END
-- result:
CASE WHEN regexp_matches(joined, '[ ，。、,;；*]$') THEN nullif(rtrim(joined, ' ，。、,;；*'), '') ELSE joined END
