-- rule:     digits_only
-- kind:     clean
-- does:     keeps the digits and drops everything else
-- zh:       只保留数字
-- finding:  digits_missing
-- beware:   letters are dropped without a word; for identifiers use the rule made for them
-- example:  '〔2024〕12号' -> '202412'
-- example:  'A-17' -> '17'
-- example:  '号' -> NULL
nullif(regexp_replace(value, '[^0-9]', '', 'g'), '')
