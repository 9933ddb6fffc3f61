-- rule:     division_known
-- kind:     check
-- does:     says whether the county part (first six digits) of a division code is on the list of its day
-- zh:       行政区划代码在列：按指定日期判断前六位是否有效；不给日期则只看是否曾经有效
-- argument: as_of (optional) a column, or a day YYYY-MM-DD, that says which year's list counts; without it, any year's
-- lookup:   ref_division(code, name, first_year, last_year)
-- source:   GB/T 2260 and the yearly lists of the Ministry of Civil Affairs
-- beware:   lists show the end of a year, so a code that left the list during a year passes for all of that year;
-- beware:   an empty first_year or last_year means no limit
-- example:  '110105' -> []
-- example:  '110105007' -> []
-- example:  '990105' -> [known]
-- example:  '110103' -> []
-- example:  '110103', as_of='2009-05-01' -> []
-- example:  '110103', as_of='2010-05-01' -> []
-- example:  '110103', as_of='2015-05-01' -> [known]
-- example:  '440309', as_of='2015-05-01' -> [known]
-- example:  '440309', as_of='2024-05-01' -> []
-- example:  NULL -> NULL
-- step: county
substr(value, 1, 6)
-- step: as_of_year
TRY_CAST(substr(as_of, 1, 4) AS INTEGER)
-- part: known -> division_unknown
EXISTS (
  SELECT 1 FROM ref_division AS listed
  WHERE listed.code = county
    AND (as_of_year IS NULL OR as_of_year BETWEEN coalesce(listed.first_year, 0) AND coalesce(listed.last_year, 9999) + 1)
)
