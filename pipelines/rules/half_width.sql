-- rule:     half_width
-- kind:     clean
-- does:     turns full-width ASCII forms and the ideographic space into half width; for numbers, codes, dates
-- zh:       全角转半角：字母、数字、标点和空格
-- harmless: yes
-- beware:   Chinese prose loses its own commas and brackets; use half_width_letters there, and entity_name after it for names.
-- example:  'Ａ１' -> 'A1'
-- example:  '１１０１０５１９４９１２３１００２Ｘ' -> '11010519491231002X'
-- example:  '（０２０）８３３３－１２３４' -> '(020)8333-1234'
-- example:  '２０２４／１／３１' -> '2024/1/31'
-- example:  '甲。乙' -> '甲。乙'
-- translate is slow, so only where there is something to translate
CASE
  WHEN regexp_matches(value, '[\x{FF01}-\x{FF5E}\x{3000}]')
  THEN translate(
    value,
    '！＂＃＄％＆＇（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［＼］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　',
    '!"#$%&''()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~ '
  )
  ELSE value
END
