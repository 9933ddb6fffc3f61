-- rule:     datetime_any_format
-- kind:     clean
-- does:     reads a point in time in any of the usual spellings and writes it as YYYY-MM-DD HH:MM:SS, Chinese standard time
-- zh:       日期时间：识别常见写法，统一为东八区 YYYY-MM-DD HH:MM:SS
-- finding:  datetime_unreadable
-- source:   GB/T 7408.1-2023 (ISO 8601-1:2019); Excel serial numbers count days from 1899-12-30
-- beware:   a text without a zone is Chinese standard time already; a date alone is midnight
-- example:  '2024-01-31 10:11:12' -> '2024-01-31 10:11:12'
-- example:  '2024-01-31T10:11:12.250+08:00' -> '2024-01-31 10:11:12.25'
-- example:  '2024-01-31T20:11:12Z' -> '2024-02-01 04:11:12'
-- example:  '2024-01-31T10:11:12-0330' -> '2024-01-31 21:41:12'
-- example:  '2024/1/31 9:05' -> '2024-01-31 09:05:00'
-- example:  '20240131101112' -> '2024-01-31 10:11:12'
-- example:  '20240131T101112' -> '2024-01-31 10:11:12'
-- example:  '2024年1月31日 10时11分12秒' -> '2024-01-31 10:11:12'
-- example:  '2024年1月31日10时' -> '2024-01-31 10:00:00'
-- example:  '2024-01-31' -> '2024-01-31 00:00:00'
-- example:  '44260.5' -> '2021-03-05 12:00:00'
-- example:  '2024-01-31 25:00' -> NULL
-- example:  '2024-02-30 10:00' -> NULL
-- example:  '10:11:12' -> NULL
-- step: written
CASE
  WHEN regexp_matches(value, '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$') THEN value
  WHEN regexp_matches(value, '^[0-9]{8}[T ]?[0-9]{6}(Z|[+-][0-9]{2}:?[0-9]{2})?$')
    THEN concat(
      substr(value, 1, 4), '-', substr(value, 5, 2), '-', substr(value, 7, 2), ' ',
      regexp_extract(value, '^[0-9]{8}[T ]?([0-9]{2})', 1), ':',
      regexp_extract(value, '^[0-9]{8}[T ]?[0-9]{2}([0-9]{2})', 1), ':',
      regexp_extract(value, '^[0-9]{8}[T ]?[0-9]{4}([0-9]{2})', 1)
    )
  WHEN regexp_matches(value, '^[0-9]{8}$')
    THEN concat(substr(value, 1, 4), '-', substr(value, 5, 2), '-', substr(value, 7, 2), ' 00:00:00')
  WHEN regexp_matches(value, '^([2-7][0-9]{4}|80000)([.][0-9]+)?$')
    THEN CAST(
      TRY_CAST(DATE '1899-12-30' + TRY_CAST(substr(value, 1, 5) AS INTEGER) AS TIMESTAMP)
      + INTERVAL 1 SECOND * TRY_CAST(TRY_CAST(concat('0', substr(value, 6, 16)) AS DOUBLE) * 86400 AS INTEGER) AS VARCHAR
    )
  WHEN regexp_matches(value, '^[0-9]{4} ?[-/.年] ?[0-9]{1,2} ?[-/.月] ?[0-9]{1,2}( ?[日号])?(([T ] ?|[日号] ?)[0-9]{1,2}([:时点]|[:时点] ?[0-9]{1,2}分?|[:时点] ?[0-9]{1,2}[:分] ?[0-9]{1,2}([.,][0-9]{1,6})?秒?) ?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$')
    THEN concat(
      substr(value, 1, 4), '-',
      regexp_extract(value, '^.{4} ?[-/.年] ?([0-9]+)', 1), '-',
      regexp_extract(value, '^.{4} ?[-/.年] ?[0-9]+ ?[-/.月] ?([0-9]+)', 1), ' ',
      coalesce(nullif(regexp_extract(value, '([0-9]+)[:时点]', 1), ''), '00'), ':',
      coalesce(nullif(regexp_extract(value, '[:时点] ?([0-9]+)', 1), ''), '00'), ':',
      coalesce(nullif(replace(regexp_extract(value, '[:时点] ?[0-9]+[:分] ?([0-9]+([.,][0-9]+)?)', 1), ',', '.'), ''), '00')
    )
END
-- step: zone
CASE WHEN length(value) = 19 THEN '' ELSE regexp_extract(value, '[T: ].*(Z|[+-][0-9]{2}:?[0-9]{2})$', 1) END
-- step: minutes_east
CASE
  WHEN zone = '' THEN 480
  WHEN zone = 'Z' THEN 0
  ELSE CASE WHEN substr(zone, 1, 1) = '-' THEN -1 ELSE 1 END
    * (TRY_CAST(substr(zone, 2, 2) AS INTEGER) * 60 + TRY_CAST(right(zone, 2) AS INTEGER))
END
-- result:
CASE
  WHEN written >= '0001' THEN CAST(TRY_CAST(written AS TIMESTAMP) + INTERVAL 1 MINUTE * (480 - minutes_east) AS VARCHAR)
END
