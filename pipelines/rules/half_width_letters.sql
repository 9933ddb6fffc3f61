-- rule:     half_width_letters
-- kind:     clean
-- does:     turns full-width Latin letters and digits into half width and leaves Chinese punctuation alone
-- zh:       全角字母数字转半角，保留中文标点
-- harmless: yes
-- example:  'Ｂ座１２楼（东）' -> 'B座12楼（东）'
-- example:  '一，二' -> '一，二'
CASE
  WHEN regexp_matches(value, '[\x{FF10}-\x{FF19}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}]')
  THEN translate(
    value,
    '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ',
    '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  )
  ELSE value
END
