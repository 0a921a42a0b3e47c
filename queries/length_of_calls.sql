-- How long are calls? Half of them last longer than the median, and one in ten longer than the 90th
-- percentile. Calls without a duration are left out.
SELECT
    COUNT(*) AS calls,
    CAST(
        PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY duration_seconds) / 60 AS DECIMAL(10, 1)
    ) AS median_minutes,
    CAST(
        PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY duration_seconds) / 60 AS DECIMAL(10, 1)
    ) AS ninetieth_percentile_minutes
FROM "tuple".calls
WHERE duration_seconds IS NOT NULL
HAVING COUNT(*) > 0;
