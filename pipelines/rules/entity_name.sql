-- rule:     entity_name
-- kind:     clean
-- does:     unifies brackets to full width, removes blanks between Chinese characters and punctuation at the end
-- zh:       单位名称：括号统一为全角，去汉字间空格和末尾标点
-- harmless: yes
-- beware:   half_width turns the brackets back, so call it before, not after
-- example:  '广州(某某)科技有限公司' -> '广州（某某）科技有限公司'
-- example:  '广州（某某)科技有限公司' -> '广州（某某）科技有限公司'
-- example:  '广 州 某某 有限公司。' -> '广州某某有限公司'
-- example:  '某某有限公司.' -> '某某有限公司'
-- example:  '某某（广州） 有限公司；' -> '某某（广州）有限公司'
-- example:  'Some Trading Co., Ltd.' -> 'Some Trading Co., Ltd.'
-- example:  'ABC 有限公司' -> 'ABC 有限公司'
-- step: bracketed
CASE WHEN regexp_matches(value, '[()]') THEN translate(value, '()', '（）') ELSE value END
-- a match takes its right neighbour with it, so every other blank is left for the second pass
-- step: joined
CASE
  WHEN strpos(bracketed, ' ') > 0
  THEN regexp_replace(
    regexp_replace(bracketed, '([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}（）]) +([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}（）])', '\1\2', 'g'),
    '([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}（）]) +([\x{3007}\x{3400}-\x{9FFF}\x{20000}-\x{323AF}（）])', '\1\2', 'g'
  )
  ELSE bracketed
END
-- result:
CASE
  WHEN regexp_matches(joined, '[ ，。、；：,;:*．]$|(^|[^A-Za-z])[.]+$')
  THEN nullif(rtrim(joined, ' ，。、；：,;:*.．'), '')
  ELSE joined
END
