-- 复算：从 A、B 两个计数起，把本报告的每一个得分重新算一遍，再与公布的得分逐一比较。
-- Recalculation: every score of this report once more, from the two counts A and B up, compared with the scores published.
--
-- 用法：装一个 DuckDB（duckdb.org，单个文件；以 1.5 版测试），在本文件所在的文件夹里运行
-- How to use it: with DuckDB (duckdb.org, a single file; tested with 1.5), in the folder of this file, run
--
--     duckdb < recalculate.sql
--
-- 或 / or, with Python:
--
--     python -c "import duckdb; print(duckdb.sql(open('recalculate.sql', encoding='utf-8').read()))"
--
-- 只读旁边的五个 CSV，不写任何文件，不联网。最后一张表是结论：differences 一栏全为 0，就是一致。
-- It reads the five CSV files beside it, writes no file and needs no network. The last table is the verdict: agreement is
-- 0 in its column `differences`.
--
--     checks.csv       A、B、权重、约定的下限和目标      the counts, weights, floors and targets of every check
--     sources.csv      数据源：部门、类别、应报期数      sources: department, tier, due slots
--     departments.csv  部门：整改、目录字段的计数        departments: counts of corrections and catalogue fields
--     policy.csv       评分办法的全部数字                every figure of the scoring policy
--     scores.csv       公布的得分，只用于最后的比较      the published scores, read for the comparison only
--
-- 算术：DuckDB 的除法用二进制浮点数，会把恰在一半的数舍错，所以这里只用整数相除。
-- 每个数先放大成整数：A、B、权重、下限、目标放大 10^12 倍，X 以百万分之一计，得分以百分之一计。
-- Arithmetic: DuckDB divides in binary floating point, which may round a tie the wrong way, so only whole numbers are divided
-- here. Figures are enlarged first: A, B, weights, floors and targets by 10^12; X is counted in millionths, scores in hundredths.


-- 0 两个算式 -------------------------------------------------------------------------------------------------------------
--   Two helpers

-- 四舍五入到整数：被除数与除数都是整数，且不为负。 Half up to a whole number, for whole numbers that are not negative.
-- (2n + d) / 2d = n/d + 1/2；“//”取整。 The sign // keeps the whole part of a quotient.
CREATE OR REPLACE TEMP MACRO half_up(dividend, divisor) AS (2 * dividend + divisor) // (2 * divisor);

-- CSV 里的数（可能带防公式的撇号）放大 10^12 倍。 A number of a CSV, without the apostrophe that disarms a sign, times 10^12.
CREATE OR REPLACE TEMP MACRO enlarged(printed) AS
    CAST(CAST(ltrim(printed, '''') AS DECIMAL(38, 12)) * CAST(1000000000000 AS DECIMAL(13, 0)) AS HUGEINT);

-- 印出的样子：百分之一计的得分两位小数，百万分之一计的比率六位小数。 As printed: scores to 2 places, ratios to 6.
CREATE OR REPLACE TEMP MACRO as_score(hundredths) AS
    CAST(CAST(hundredths AS DECIMAL(18, 0)) * CAST('0.01' AS DECIMAL(3, 2)) AS VARCHAR);
CREATE OR REPLACE TEMP MACRO as_ratio(millionths) AS
    CAST(CAST(millionths AS DECIMAL(18, 0)) * CAST('0.000001' AS DECIMAL(7, 6)) AS VARCHAR);


-- 1 读入 ------------------------------------------------------------------------------------------------------------------
--   Read what is given

CREATE OR REPLACE TEMP TABLE printed_check AS
SELECT * FROM read_csv('checks.csv', header = true, delim = ',', quote = '"', escape = '"', all_varchar = true);

CREATE OR REPLACE TEMP TABLE printed_score AS
SELECT * FROM read_csv('scores.csv', header = true, delim = ',', quote = '"', escape = '"', all_varchar = true);

CREATE OR REPLACE TEMP TABLE printed_source AS
SELECT * FROM read_csv('sources.csv', header = true, delim = ',', quote = '"', escape = '"', all_varchar = true);

CREATE OR REPLACE TEMP TABLE printed_department AS
SELECT * FROM read_csv('departments.csv', header = true, delim = ',', quote = '"', escape = '"', all_varchar = true);

-- 评分办法：一行一个数字；以摘要区分各版本。 The policy: one figure per row; its digest tells versions apart.
CREATE OR REPLACE TEMP TABLE figure AS
SELECT policy_digest AS policy, part, item, item_zh, item_en, enlarged(value) AS value
FROM read_csv('policy.csv', header = true, delim = ',', quote = '"', escape = '"', all_varchar = true);


-- 2 检查：下限与目标，X，Y ------------------------------------------------------------------------------------------------
--   Checks: floor and target, X, Y

-- 检查自己约定的下限、目标优先，其次是评分办法按检查种类规定的，再次是按子指标规定的。
-- 只约定下限而高于目标时，目标随之提高；只约定目标而低于下限时，下限随之降低。
-- A check's own floor and target come first, then those of its kind, then those of its sub-indicator.
-- A lone floor above the target raises the target to it; a lone target below the floor lowers the floor.
CREATE OR REPLACE TEMP TABLE bounded_check AS
WITH given AS (
    SELECT
        c.source, c.policy_digest AS policy, c."check", c.sub_indicator,
        CAST(c.weight AS HUGEINT) AS weight,
        enlarged(c.a) AS a,
        enlarged(c.b) AS b,
        c.major = '1' AS major,
        c.problem IS NOT NULL AND c.problem = 'failed_to_run' AS failed_to_run,
        enlarged(c.own_floor) AS own_floor,
        enlarged(c.own_target) AS own_target,
        coalesce(kind_floor.value, usual_floor.value) AS policy_floor,
        coalesce(kind_target.value, usual_target.value) AS policy_target,
        -- Y = 100 X：无下限与目标。 No floor and target.
        c.plain = '1' OR (kind_plain.value IS NOT NULL AND c.own_target IS NULL) AS plain
    FROM printed_check AS c
    LEFT JOIN figure AS kind_plain ON kind_plain.policy = c.policy_digest AND kind_plain.part = 'kind_plain' AND kind_plain.item = c.kind
    LEFT JOIN figure AS kind_floor ON kind_floor.policy = c.policy_digest AND kind_floor.part = 'kind_floor' AND kind_floor.item = c.kind
    LEFT JOIN figure AS kind_target
        ON kind_target.policy = c.policy_digest AND kind_target.part = 'kind_target' AND kind_target.item = c.kind
    LEFT JOIN figure AS usual_floor
        ON usual_floor.policy = c.policy_digest AND usual_floor.part = 'floor' AND usual_floor.item = c.sub_indicator
    LEFT JOIN figure AS usual_target
        ON usual_target.policy = c.policy_digest AND usual_target.part = 'target' AND usual_target.item = c.sub_indicator
)
SELECT
    *,
    CASE
        WHEN plain THEN own_floor
        WHEN own_target IS NULL THEN coalesce(own_floor, policy_floor)
        ELSE coalesce(own_floor, least(policy_floor, own_target))
    END AS floor,
    CASE
        WHEN plain THEN NULL
        WHEN own_target IS NULL THEN greatest(policy_target, coalesce(own_floor, policy_floor))
        ELSE own_target
    END AS target
FROM given;

-- X = A / B，六位小数；0303 重复率与 0305 脏数据出现率数的是坏的元素，X = 1 - A / B。
-- 检查自身没能运行，或计数不可能（A 为负或大于 B）：X = 0。B = 0：不适用，留空，不算满分。
-- X = A / B to 6 places; 0303 (duplicates) and 0305 (dirty data) count bad elements: X = 1 - A / B.
-- A check that failed to run, or whose counts cannot be (A negative or above B): X = 0. B = 0: not applicable, empty, never 100.
CREATE OR REPLACE TEMP TABLE ratio_check AS
SELECT
    *,
    CASE
        WHEN failed_to_run THEN 'failed_to_run'
        WHEN a < 0 OR a > b THEN 'impossible_counts'
    END AS problem,
    CASE
        WHEN failed_to_run OR a < 0 OR a > b THEN CAST(0 AS HUGEINT)
        WHEN b = 0 THEN NULL
        WHEN sub_indicator IN ('0303', '0305') THEN half_up(1000000 * (b - a), b)
        ELSE half_up(1000000 * a, b)
    END AS x,
    CASE
        WHEN sub_indicator IN ('0303', '0305') AND NOT failed_to_run AND a >= 0 AND a <= b AND b > 0 THEN half_up(1000000 * a, b)
    END AS raw_rate
FROM bounded_check;

-- Y：达到目标 100 分，恰在下限 60 分，其间与其下按直线；没有下限与目标的，Y = 100 X。两位小数。
-- Y: 100 from the target up, 60 at the floor, straight lines between and below; without floor and target Y = 100 X. 2 places.
CREATE OR REPLACE TEMP TABLE recalculated_check AS
SELECT
    *,
    x IS NOT NULL AND floor IS NOT NULL AND x * 1000000 < floor AS below_floor,
    CASE
        WHEN x IS NULL THEN NULL
        WHEN floor IS NULL OR target IS NULL THEN half_up(x, 100)
        WHEN x * 1000000 >= target THEN CAST(10000 AS HUGEINT)
        WHEN x * 1000000 >= floor
            -- 60 + 40 (X - f) / (t - f)，以百分之一计 in hundredths
            THEN half_up(6000 * (target - floor) + 4000 * (x * 1000000 - floor), target - floor)
        ELSE half_up(6000 * x * 1000000, floor)
    END AS y
FROM ratio_check;


-- 3 子指标、维度：不适用的退出，权重按其余的重新归一 -----------------------------------------------------------------------
--   Sub-indicators and dimensions: what does not apply drops out, the weights are renormalised over the rest

-- S = Σ(w Y) / Σ(w)，每个数据源二十个子指标各一行。 One row per source and each of the twenty sub-indicators.
CREATE OR REPLACE TEMP TABLE sub_indicator AS
WITH mean AS (
    SELECT source, sub_indicator, half_up(sum(weight * y), sum(weight)) AS score
    FROM recalculated_check
    WHERE y IS NOT NULL
    GROUP BY source, sub_indicator
)
SELECT s.source, s.policy_digest AS policy, v.item AS code, v.value AS weight, mean.score
FROM printed_source AS s
JOIN figure AS v ON v.policy = s.policy_digest AND v.part = 'sub_indicator_weight'
LEFT JOIN mean ON mean.source = s.source AND mean.sub_indicator = v.item;

-- D = Σ(v S) / Σ(v)；覆盖率 = 适用的 v 之和 / 全部 v 之和。 Coverage = the v that apply over all v.
CREATE OR REPLACE TEMP TABLE dimension AS
SELECT
    source,
    policy,
    left(code, 2) AS code,
    half_up(sum(weight * score), sum(weight) FILTER (score IS NOT NULL)) AS score,
    half_up(1000000 * coalesce(sum(weight) FILTER (score IS NOT NULL), 0), sum(weight)) AS coverage
FROM sub_indicator
GROUP BY source, policy, left(code, 2);


-- 4 数据源：T，Q，封顶，O -------------------------------------------------------------------------------------------------
--   Sources: T, Q, the cap, O

-- Q 封顶前：五个维度（时效性 05 除外）的加权平均。 Q before the cap: mean of the five dimensions other than 05, timeliness.
CREATE OR REPLACE TEMP TABLE uncapped AS
SELECT d.source, half_up(sum(w.value * d.score), sum(w.value) FILTER (d.score IS NOT NULL)) AS q
FROM dimension AS d
JOIN figure AS w ON w.policy = d.policy AND w.part = 'dimension_weight' AND w.item = d.code
GROUP BY d.source;

-- 重要检查低于下限：一项封顶，两项及以上封得更低。 Major checks below their floor: one caps Q, several cap it lower.
CREATE OR REPLACE TEMP TABLE cap AS
SELECT low.source, low.majors, limits.value AS cap
FROM (
    SELECT source, policy, count(*) AS majors
    FROM recalculated_check
    WHERE major AND below_floor
    GROUP BY source, policy
) AS low
JOIN figure AS limits
    ON limits.policy = low.policy AND limits.part = 'cap'
    AND limits.item = CASE WHEN low.majors = 1 THEN 'one_major' ELSE 'several_majors' END;

-- O = 0.4 T + 0.6 Q（权重见评分办法），缺一则以另一个为准。 Weights as in the policy; where one is missing the other stands alone.
CREATE OR REPLACE TEMP TABLE recalculated_source AS
WITH coverage AS (
    SELECT
        source,
        half_up(1000000 * coalesce(sum(weight) FILTER (score IS NOT NULL), 0), sum(weight)) AS of_all,
        half_up(
            1000000 * coalesce(sum(weight) FILTER (score IS NOT NULL AND left(code, 2) <> '05'), 0),
            sum(weight) FILTER (left(code, 2) <> '05')
        ) AS of_quality
    FROM sub_indicator
    GROUP BY source
),
parts AS (
    SELECT
        s.source,
        s.policy_digest AS policy,
        t.score AS t,
        t.coverage AS coverage_t,
        u.q AS q_uncapped,
        coalesce(c.majors, 0) AS majors,
        c.cap,
        -- 10^12 / 100 = 10^10
        CASE WHEN c.cap IS NULL OR u.q IS NULL THEN u.q ELSE least(u.q, half_up(c.cap, 10000000000)) END AS q,
        v.of_quality AS coverage_q,
        v.of_all AS coverage_o
    FROM printed_source AS s
    JOIN dimension AS t ON t.source = s.source AND t.code = '05'
    JOIN uncapped AS u ON u.source = s.source
    JOIN coverage AS v ON v.source = s.source
    LEFT JOIN cap AS c ON c.source = s.source
)
SELECT
    p.*,
    half_up(
        coalesce(wt.value * p.t, 0) + coalesce(wq.value * p.q, 0),
        nullif(
            CASE WHEN p.t IS NULL THEN 0 ELSE wt.value END + CASE WHEN p.q IS NULL THEN 0 ELSE wq.value END,
            0
        )
    ) AS o
FROM parts AS p
JOIN figure AS wt ON wt.policy = p.policy AND wt.part = 'overall_weight' AND wt.item = 'T'
JOIN figure AS wq ON wq.policy = p.policy AND wq.part = 'overall_weight' AND wq.item = 'Q';


-- 5 部门：M，R，K，指数 I，排名 -------------------------------------------------------------------------------------------
--   Departments: M, R, K, the index I, the rank

CREATE OR REPLACE TEMP TABLE recalculated_department AS
WITH sources AS (
    -- M：各数据源 O 按类别权重的平均，与行数无关。 Mean of the sources' O by tier; row counts play no part.
    SELECT s.department, half_up(sum(u.value * o.o), sum(u.value) FILTER (o.o IS NOT NULL)) AS m
    FROM printed_source AS s
    JOIN recalculated_source AS o ON o.source = s.source
    JOIN printed_department AS d ON d.department = s.department
    JOIN figure AS u ON u.policy = d.policy_digest AND u.part = 'source_weight' AND u.item = s.tier
    GROUP BY s.department
),
observed AS (
    SELECT department, sum(CAST(due_slots AS HUGEINT)) AS due_slots
    FROM printed_source
    GROUP BY department
),
parts AS (
    SELECT
        d.department,
        d.policy_digest AS policy,
        o.due_slots,
        s.m,
        -- 100 x 分子 / 分母，以百分之一计；分母为 0 不适用。 In hundredths; nothing due or required: not applicable.
        half_up(10000 * CAST(d.corrections_on_time AS HUGEINT), nullif(CAST(d.corrections_due AS HUGEINT), 0)) AS r,
        half_up(10000 * CAST(d.catalogue_valid AS HUGEINT), nullif(CAST(d.catalogue_required AS HUGEINT), 0)) AS k
    FROM printed_department AS d
    LEFT JOIN sources AS s ON s.department = d.department
    LEFT JOIN observed AS o ON o.department = d.department
),
indexed AS (
    SELECT
        p.*,
        -- 没有一个数据源有得分，就没有指数。 No source with a score: no index.
        CASE WHEN p.m IS NOT NULL THEN half_up(
            wm.value * p.m + coalesce(wr.value * p.r, 0) + coalesce(wk.value * p.k, 0),
            wm.value + CASE WHEN p.r IS NULL THEN 0 ELSE wr.value END + CASE WHEN p.k IS NULL THEN 0 ELSE wk.value END
        ) END AS i
    FROM parts AS p
    JOIN figure AS wm ON wm.policy = p.policy AND wm.part = 'department_weight' AND wm.item = 'M'
    JOIN figure AS wr ON wr.policy = p.policy AND wr.part = 'department_weight' AND wr.item = 'R'
    JOIN figure AS wk ON wk.policy = p.policy AND wk.part = 'department_weight' AND wk.item = 'K'
),
-- 排名：应报期数够的部门按 I 排，同分同名次（1、2、2、4）。 Rank by I among those with enough due slots; equals share (1, 2, 2, 4).
ranked AS (
    SELECT n.department, rank() OVER (ORDER BY n.i DESC) AS rank
    FROM indexed AS n
    JOIN figure AS least_slots ON least_slots.policy = n.policy AND least_slots.part = 'ranking'
    WHERE n.i IS NOT NULL AND n.due_slots * 1000000000000 >= least_slots.value
)
SELECT n.*, ranked.rank
FROM indexed AS n
LEFT JOIN ranked ON ranked.department = n.department;


-- 6 全市：T，Q，O 按数据源类别权重的平均 ---------------------------------------------------------------------------------
--   The city: means of T, Q and O by tier

CREATE OR REPLACE TEMP TABLE recalculated_city AS
SELECT
    any_value(d.policy_digest) AS policy,
    half_up(sum(u.value * r.t), sum(u.value) FILTER (r.t IS NOT NULL)) AS t,
    half_up(sum(u.value * r.q), sum(u.value) FILTER (r.q IS NOT NULL)) AS q,
    half_up(sum(u.value * r.o), sum(u.value) FILTER (r.o IS NOT NULL)) AS o
FROM printed_source AS s
JOIN recalculated_source AS r ON r.source = s.source
JOIN printed_department AS d ON d.department = s.department
JOIN figure AS u ON u.policy = d.policy_digest AND u.part = 'source_weight' AND u.item = s.tier;


-- 7 与公布的比较 ----------------------------------------------------------------------------------------------------------
--   Comparison with what was published

-- 复算的全部得分，形如 scores.csv。 All recalculated scores, in the form of scores.csv.
CREATE OR REPLACE TEMP TABLE recalculated_score AS
SELECT 'sub_indicator' AS level, source AS subject, code AS item, score, CAST(NULL AS HUGEINT) AS coverage, policy
FROM sub_indicator
UNION ALL SELECT 'dimension', source, code, score, coverage, policy FROM dimension
UNION ALL SELECT 'source', source, 'T', t, coverage_t, policy FROM recalculated_source
UNION ALL SELECT 'source', source, 'Q_uncapped', q_uncapped, coverage_q, policy FROM recalculated_source WHERE cap IS NOT NULL
UNION ALL SELECT 'source', source, 'Q', q, coverage_q, policy FROM recalculated_source
UNION ALL SELECT 'source', source, 'O', o, coverage_o, policy FROM recalculated_source
UNION ALL SELECT 'department', department, 'M', m, NULL, policy FROM recalculated_department
UNION ALL SELECT 'department', department, 'R', r, NULL, policy FROM recalculated_department
UNION ALL SELECT 'department', department, 'K', k, NULL, policy FROM recalculated_department
UNION ALL SELECT 'department', department, 'I', i, NULL, policy FROM recalculated_department
UNION ALL SELECT 'city', 'city', 'T', t, NULL, policy FROM recalculated_city
UNION ALL SELECT 'city', 'city', 'Q', q, NULL, policy FROM recalculated_city
UNION ALL SELECT 'city', 'city', 'O', o, NULL, policy FROM recalculated_city;

-- 等级：得分达到的最高一档；部门只有指数 I 有等级。 The highest grade reached; of a department only I has one.
CREATE OR REPLACE TEMP TABLE recalculated_grade AS
SELECT s.level, s.subject, s.item, arg_max(g.item_zh, g.value) AS grade_zh, arg_max(g.item_en, g.value) AS grade_en
FROM recalculated_score AS s
JOIN figure AS g ON g.policy = s.policy AND g.part = 'grade' AND s.score * 10000000000 >= g.value
WHERE s.level <> 'department' OR s.item = 'I'
GROUP BY s.level, s.subject, s.item;

-- 一行一个数：公布的与复算的，都按印出的样子。 One row per figure: published and recalculated, both as printed.
CREATE OR REPLACE TEMP TABLE compared AS
WITH published AS (
    SELECT
        'check' AS level, source AS subject, "check" AS item,
        unnest(['x', 'raw_rate', 'floor', 'target', 'y', 'below_floor', 'problem']) AS figure,
        unnest([
            x, raw_rate, CAST(enlarged(floor) AS VARCHAR), CAST(enlarged(target) AS VARCHAR), y, below_floor, problem
        ]) AS value
    FROM printed_check
    UNION ALL
    SELECT level, subject, item, unnest(['score', 'coverage', 'grade_zh', 'grade_en']), unnest([score, coverage, grade_zh, grade_en])
    FROM printed_score
    UNION ALL
    SELECT 'department', department, 'rank', 'rank', rank FROM printed_department
),
recalculated AS (
    SELECT
        'check' AS level, source AS subject, "check" AS item,
        unnest(['x', 'raw_rate', 'floor', 'target', 'y', 'below_floor', 'problem']) AS figure,
        unnest([
            as_ratio(x), as_ratio(raw_rate), CAST(floor AS VARCHAR), CAST(target AS VARCHAR), as_score(y),
            CASE WHEN below_floor THEN '1' ELSE '0' END, problem
        ]) AS value
    FROM recalculated_check
    UNION ALL
    SELECT
        s.level, s.subject, s.item,
        unnest(['score', 'coverage', 'grade_zh', 'grade_en']),
        unnest([as_score(s.score), as_ratio(s.coverage), g.grade_zh, g.grade_en])
    FROM recalculated_score AS s
    LEFT JOIN recalculated_grade AS g ON g.level = s.level AND g.subject = s.subject AND g.item = s.item
    UNION ALL
    SELECT 'department', department, 'rank', 'rank', CAST(rank AS VARCHAR) FROM recalculated_department
)
SELECT
    coalesce(p.level, r.level) AS level,
    coalesce(p.subject, r.subject) AS subject,
    coalesce(p.item, r.item) AS item,
    coalesce(p.figure, r.figure) AS figure,
    p.value AS published,
    r.value AS recalculated,
    -- 两边都有这一行，且值相同（都为空也算相同）。 Both sides have the row, and the same value (both empty is the same).
    p.level IS NULL OR r.level IS NULL OR p.value IS DISTINCT FROM r.value AS differs
FROM published AS p
FULL JOIN recalculated AS r
    ON p.level = r.level AND p.subject = r.subject AND p.item = r.item AND p.figure = r.figure;


-- 8 印出 ------------------------------------------------------------------------------------------------------------------
--   Print

-- 数据源，由低到高。 Sources, lowest first.
SELECT
    s.source, s.title_zh, s.title_en, as_score(r.t) AS T, as_score(r.q_uncapped) AS Q_uncapped, r.majors, as_score(r.q) AS Q,
    as_score(r.o) AS O, g.grade_zh, g.grade_en, as_ratio(r.coverage_o) AS coverage
FROM printed_source AS s
JOIN recalculated_source AS r ON r.source = s.source
LEFT JOIN recalculated_grade AS g ON g.level = 'source' AND g.subject = s.source AND g.item = 'O'
ORDER BY r.o NULLS LAST, s.source;

-- 部门，按排名。 Departments as ranked.
SELECT
    d.rank, p.department, p.title_zh, p.title_en, as_score(d.m) AS M, as_score(d.r) AS R, as_score(d.k) AS K,
    as_score(d.i) AS I, g.grade_zh, g.grade_en, d.due_slots
FROM printed_department AS p
JOIN recalculated_department AS d ON d.department = p.department
LEFT JOIN recalculated_grade AS g ON g.level = 'department' AND g.subject = p.department AND g.item = 'I'
ORDER BY d.rank NULLS LAST, p.department;

-- 不一致之处（应为空）。 Differences (none expected).
SELECT level, subject, item, figure, published, recalculated FROM compared WHERE differs ORDER BY ALL;

-- 结论：比较了多少个数，有几个不一致。 The verdict: figures compared, and how many differ.
SELECT coalesce(level, '合计 all') AS level, count(*) AS figures, count(*) FILTER (differs) AS differences
FROM compared
GROUP BY ROLLUP (level)
ORDER BY grouping(level), level;
