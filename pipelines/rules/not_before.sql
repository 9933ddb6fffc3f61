-- rule:     not_before
-- kind:     check
-- does:     says whether a date is the same as, or later than, that of another column; blank or unreadable ones pass
-- zh:       日期先后：不早于另一列的日期（有一个为空或读不出则不判断）
-- argument: start the earlier date: another column, or a day YYYY-MM-DD
-- beware:   to count the rows for a score, use the expectation dates_in_order; this one can refuse the row or empty the value
-- example:  '2024-03-01', start='2024-01-31' -> []
-- example:  '2024-03-01', start='2024-03-01' -> []
-- example:  '2024-03-01', start='2024-03-02' -> [order]
-- example:  '1999-12-31', start='2000-01-01' -> [order]
-- example:  '2024-03-01 08:00:00', start='2024-03-01' -> []
-- example:  '没有', start='2024-03-01' -> []
-- example:  NULL, start='2024-03-01' -> NULL
-- part: order -> dates_out_of_order
TRY_CAST(substr(value, 1, 10) AS DATE) IS NULL
OR TRY_CAST(substr(start, 1, 10) AS DATE) IS NULL
OR TRY_CAST(substr(value, 1, 10) AS DATE) >= TRY_CAST(substr(start, 1, 10) AS DATE)
