-- Which period (UTC) does the data cover, and how many calls and people does it contain?
-- Calls without participants count, too. Deleted accounts don't count as people.
WITH people AS (
    SELECT COUNT(DISTINCT user_email) AS people
    FROM "tuple".call_participations
)

SELECT
    CAST(MIN(each_call.started_at) AS DATE) AS first_call_on,
    CAST(MAX(each_call.ended_at) AS DATE) AS last_call_on,
    COUNT(*) AS calls,
    MAX(people.people) AS people
FROM "tuple".calls AS each_call
CROSS JOIN people
HAVING COUNT(*) > 0;
