-- How many calls ended in each month (UTC)? Months without calls are left out.
-- `tap-tuple-check --months --format csv` prints Tuple's own counts in the same format.
SELECT
    SUBSTR(CAST(ended_at AS VARCHAR), 1, 7) AS "month",
    COUNT(*) AS calls
FROM "tuple".calls
GROUP BY 1
ORDER BY 1;
