-- rule:     boolean_word
-- kind:     clean
-- does:     writes yes or no, in the usual words, as true or false
-- zh:       是否：是/否、Y/N、1/0 等统一为 true/false
-- finding:  boolean_unreadable
-- example:  '是' -> 'true'
-- example:  '否' -> 'false'
-- example:  'Y' -> 'true'
-- example:  'no' -> 'false'
-- example:  'TRUE' -> 'true'
-- example:  '0' -> 'false'
-- example:  '可能' -> NULL
CASE
  WHEN lower(value) IN ('是', '对', 'y', 'yes', 't', 'true', '1', '√') THEN 'true'
  WHEN lower(value) IN ('否', '不是', 'n', 'no', 'f', 'false', '0', '×') THEN 'false'
END
