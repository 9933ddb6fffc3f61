-- rule:     email_lower
-- kind:     clean
-- does:     writes an e-mail address in lower case without blanks
-- zh:       电子邮箱：转小写、去空格
-- finding:  email_unreadable
-- example:  'Zhang.San@Example.CN' -> 'zhang.san@example.cn'
-- example:  ' a@b.gov.cn' -> 'a@b.gov.cn'
-- example:  'a@b' -> NULL
-- example:  'a@b.cn; c@d.cn' -> NULL
CASE
  WHEN regexp_matches(replace(value, ' ', ''), '^[^@,;，；]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*[.][A-Za-z]{2,}$')
  THEN lower(replace(value, ' ', ''))
END
