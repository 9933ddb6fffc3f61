-- rule:     date_month_first
-- kind:     clean
-- does:     reads a date written month first, as in 1/31/2024, and writes it as YYYY-MM-DD
-- zh:       日期（月在前）：如 1/31/2024，统一为 YYYY-MM-DD
-- finding:  date_unreadable
-- beware:   only for a source that is known to write the month first; 3/4/2024 is 4 March here
-- example:  '1/31/2024' -> '2024-01-31'
-- example:  '03-04-2024' -> '2024-03-04'
-- example:  '1/31/2024 1:05:00 PM' -> '2024-01-31'
-- example:  '31/1/2024' -> NULL
-- example:  '2024-01-31' -> '2024-01-31'
-- step: written
CASE
  WHEN regexp_matches(value, '^[0-9]{4}-[0-9]{2}-[0-9]{2}$') THEN value
  WHEN regexp_matches(value, '^[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}( [0-9]{1,2}:[0-9]{2}(:[0-9]{2})?( ?[AaPp][Mm])?)?$')
    THEN concat(
      regexp_extract(value, '([0-9]{4})', 1), '-',
      regexp_extract(value, '^([0-9]+)', 1), '-',
      regexp_extract(value, '^[0-9]+[-/.]([0-9]+)', 1)
    )
END
-- result:
CASE WHEN written >= '0001' THEN CAST(TRY_CAST(written AS DATE) AS VARCHAR) END
