-- rule:     date_any_format
-- kind:     clean
-- does:     reads a date in any of the usual spellings, time of day dropped, and writes it as YYYY-MM-DD
-- zh:       日期：识别常见写法（含 Excel 序列值、时间戳），统一为 YYYY-MM-DD
-- finding:  date_unreadable
-- source:   GB/T 7408.1-2023 (ISO 8601-1:2019); Excel serial numbers count days from 1899-12-30
-- beware:   1/31/2024 is ambiguous and unreadable here, see date_month_first; two-digit years as in Excel, 00-29 are 20xx
-- example:  '20240131' -> '2024-01-31'
-- example:  '2024-01-31' -> '2024-01-31'
-- example:  '2024/1/31' -> '2024-01-31'
-- example:  '2024.1.31' -> '2024-01-31'
-- example:  '2021/3/5' -> '2021-03-05'
-- example:  '20210305' -> '2021-03-05'
-- example:  '5-Mar-21' -> '2021-03-05'
-- example:  '44260' -> '2021-03-05'
-- example:  '44260.75' -> '2021-03-05'
-- example:  '2021年3月5日' -> '2021-03-05'
-- example:  '2024年 1月 31日' -> '2024-01-31'
-- example:  '31-Jan-2024' -> '2024-01-31'
-- example:  '2-JUN-87' -> '1987-06-02'
-- example:  '2024-01-31T23:59:59.5+08:00' -> '2024-01-31'
-- example:  '2024/1/31 0:00' -> '2024-01-31'
-- example:  '20240131101112' -> '2024-01-31'
-- example:  '2024年1月31日10时5分' -> '2024-01-31'
-- example:  '2024-02-29' -> '2024-02-29'
-- example:  '2023-02-29' -> NULL
-- example:  '2024-01-3x' -> NULL
-- example:  '2024-01-31 2024-02-01' -> NULL
-- example:  '1/31/2024' -> NULL
-- example:  '202401' -> NULL
-- example:  '0000-01-01' -> NULL
-- example:  '1900-01-01' -> '1900-01-01'
-- step: written
CASE
  WHEN regexp_matches(value, '^[0-9]{4}-[0-9]{2}-[0-9]{2}$') THEN value
  WHEN regexp_matches(value, '^[0-9]{8}([T ]?[0-9]{6}Z?)?$')
    THEN concat(substr(value, 1, 4), '-', substr(value, 5, 2), '-', substr(value, 7, 2))
  WHEN regexp_matches(value, '^([2-7][0-9]{4}|80000)([.][0-9]+)?$')
    THEN CAST(DATE '1899-12-30' + TRY_CAST(substr(value, 1, 5) AS INTEGER) AS VARCHAR)
  WHEN regexp_matches(value, '^[0-9]{4} ?[-/.年] ?[0-9]{1,2} ?[-/.月] ?[0-9]{1,2}( ?[日号])?(([T ] ?|[日号] ?)[0-9]{1,2}[:时点][0-9:.,分秒 ]*(Z|[+-][0-9]{2}:?[0-9]{2})?)?$')
    THEN concat(
      substr(value, 1, 4), '-',
      regexp_extract(value, '^.{4} ?[-/.年] ?([0-9]+)', 1), '-',
      regexp_extract(value, '^.{4} ?[-/.年] ?[0-9]+ ?[-/.月] ?([0-9]+)', 1)
    )
  WHEN regexp_matches(lower(value), '^[0-9]{1,2}[-/ .](jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[-/ .]([0-9]{2}|[0-9]{4})$')
    THEN concat(
      CASE WHEN regexp_matches(value, '[0-9]{4}$') THEN '' WHEN right(value, 2) < '30' THEN '20' ELSE '19' END,
      regexp_extract(value, '([0-9]+)$', 1), '-',
      CAST((strpos('janfebmaraprmayjunjulaugsepoctnovdec', lower(regexp_extract(value, '([A-Za-z]+)', 1))) + 2) // 3 AS VARCHAR), '-',
      regexp_extract(value, '^([0-9]+)', 1)
    )
END
-- result:
CASE WHEN written >= '0001' THEN CAST(TRY_CAST(written AS DATE) AS VARCHAR) END
