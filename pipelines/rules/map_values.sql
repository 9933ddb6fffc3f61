-- rule:     map_values
-- kind:     clean
-- does:     gives a value its agreed spelling, by a list that the contract writes down; other values stay
-- zh:       按约定的对照表统一写法，表中没有的值不变
-- harmless: yes
-- argument: spellings the list in single quotes, as in 'Friuli V. G. => Friuli Venezia Giulia; Trento => P.A. Trento'
-- beware:   after trim_text: the whole value must be one on the left, letter case and blanks included
-- beware:   no value on the right may stand on the left as well, and none may hold ; or =>
-- example:  'Trento', spellings='Friuli V. G. => Friuli Venezia Giulia; Trento => P.A. Trento' -> 'P.A. Trento'
-- example:  'P.A. Trento', spellings='Friuli V. G. => Friuli Venezia Giulia; Trento => P.A. Trento' -> 'P.A. Trento'
-- example:  '市监局', spellings='市监局 => 市场监督管理局; 工商局 => 市场监督管理局' -> '市场监督管理局'
-- example:  'Trent', spellings='Trento => P.A. Trento' -> 'Trent'
-- example:  'a;b => c', spellings='b => c' -> 'a;b => c'
-- example:  NULL, spellings='a => b' -> NULL
-- step: line
concat('; ', value, ' => ')
-- step: place
CASE WHEN strpos(value, ';') = 0 AND strpos(value, '=>') = 0 THEN strpos(concat('; ', spellings), line) ELSE 0 END
-- result:
CASE WHEN place > 0 THEN trim(split_part(substr(concat('; ', spellings), place + length(line)), ';', 1)) ELSE value END
