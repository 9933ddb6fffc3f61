-- rule:     division_current
-- kind:     clean
-- does:     replaces an abolished county code by that of its successor on the given day; one without a successor stays
-- zh:       行政区划代码按指定日期换为现行代码（撤县设区、更名、合并）；查不到后继的保持原样，由 division_known 报告
-- harmless: yes
-- argument: as_of (optional) a column, or a day YYYY-MM-DD, whose list counts; without it, the newest list
-- lookup:   ref_division_successor(code, successor, first_year, last_year)
-- source:   yearly lists of GB/T 2260 codes: one new code of the same name in the same province; mergers that were decreed:
-- source:   catalog/standards/division_successor.csv
-- beware:   six digits only: towns and villages are numbered anew below a new county. What was divided among several has no
-- beware:   successor. Put division_known with the same day after it: what is still not on the list is reported there
-- example:  '440524' -> '440513'
-- example:  '440524', as_of='2000-05-01' -> '440582'
-- example:  '440524', as_of='1990-05-01' -> '440524'
-- example:  '110105' -> '110105'
-- example:  '990105' -> '990105'
-- example:  '440524007' -> '440524007'
-- step: as_of_year
coalesce(TRY_CAST(substr(as_of, 1, 4) AS INTEGER), 9999)
-- result:
coalesce(
  (
    SELECT listed.successor FROM ref_division_successor AS listed
    WHERE listed.code = value AND as_of_year BETWEEN listed.first_year AND listed.last_year
  ),
  value
)
