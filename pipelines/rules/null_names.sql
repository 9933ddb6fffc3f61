-- rule:     null_names
-- kind:     clean
-- does:     empties what stands in for a person's name: test entries, 无名氏, XXX
-- zh:       占位姓名：测试、无名氏、XXX、某某 等视为未填
-- harmless: yes
-- beware:   张三 and 李四 are names of living people and stay; 某某之子 (a newborn without a name) stays, it says whose
-- example:  '测试' -> NULL
-- example:  '测试用户1' -> NULL
-- example:  '无名氏' -> NULL
-- example:  'XXX' -> NULL
-- example:  '某某' -> NULL
-- example:  'Test' -> NULL
-- example:  '张三' -> '张三'
-- example:  '吴明' -> '吴明'
CASE
  WHEN length(value) <= 12 AND regexp_matches(
    lower(value),
    '^(测试(人员|用户|数据|姓名|账号)?|test(er|user|name)?|姓名|无名氏?|无姓名|匿名|佚名|某某?|某某某|未命名|未取名|待定|x{2,}|[*＊]{2,}|[?？]+|aa+|123+4?5?6?)[ _-]?[0-9]{0,4}$'
  ) THEN NULL
  ELSE value
END
