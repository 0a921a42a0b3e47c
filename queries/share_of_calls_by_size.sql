-- How many calls have one participant, two, or more? "Unknown" means that a call has no
-- participations. Someone who rejoins counts only once. All deleted accounts in a call count as one
-- participant.
WITH sizes AS (
    SELECT
        call_id,
        COUNT(DISTINCT COALESCE(user_email, '')) AS people
    FROM "tuple".call_participations
    GROUP BY call_id
),

sized_calls AS (
    SELECT
        CASE
            WHEN sizes.people IS NULL THEN '0 (unknown)'
            WHEN sizes.people = 1 THEN '1 (solo)'
            WHEN sizes.people = 2 THEN '2 (pair)'
            ELSE '3+ (group)'
        END AS participants
    FROM "tuple".calls AS each_call
    LEFT JOIN sizes ON each_call.id = sizes.call_id
)

SELECT
    participants,
    COUNT(*) AS calls,
    CAST(100.0 * COUNT(*) / SUM(COUNT(*)) OVER () AS DECIMAL(5, 2)) AS percent
FROM sized_calls
GROUP BY participants
ORDER BY participants;
