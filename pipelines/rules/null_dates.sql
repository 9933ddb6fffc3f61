-- rule:     null_dates
-- kind:     clean
-- does:     empties the dates that systems write when they have none; call it before or after the date rule
-- zh:       占位日期：1900-01-01、9999-12-31 等视为未填
-- harmless: yes
-- beware:   where 9999-12-31 means "for ever", leave this rule out
-- example:  '1900-01-01' -> NULL
-- example:  '9999-12-31' -> NULL
-- example:  '1900/1/1' -> NULL
-- example:  '99991231' -> NULL
-- example:  '0000-00-00 00:00:00' -> NULL
-- example:  '1900-01-02' -> '1900-01-02'
CASE
  WHEN split_part(value, ' ', 1) IN (
    '0000-00-00', '0001-01-01', '1899-12-30', '1899-12-31', '1900-01-00', '1900-01-01', '9999-12-31',
    '00000000', '00010101', '19000101', '99991231',
    '0000/00/00', '0001/1/1', '1900/1/0', '1900/1/1', '1900/01/01', '9999/12/31'
  ) THEN NULL
  ELSE value
END
