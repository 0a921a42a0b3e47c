-- Who didn't pair in the 14 days before the newest call ended, and when did they last pair? No date
-- means never. The last column shows when they were last in a call, with or without others. If
-- left_at is null, the person is assumed to have stayed until the end of the call. Deleted accounts
-- count as partners, but not as people.
WITH stays AS (
    SELECT
        call_id,
        user_email,
        joined_at,
        COALESCE(left_at, call_ended_at) AS stayed_until
    FROM "tuple".call_participations
    -- Leave out stays of zero length, because they don't overlap with anyone's.
    WHERE joined_at < COALESCE(left_at, call_ended_at)
),

together AS (
    SELECT
        one.user_email,
        MAX(LEAST(one.stayed_until, other.stayed_until)) AS last_together_at
    FROM stays AS one
    INNER JOIN stays AS other
        ON one.call_id = other.call_id
        AND one.user_email IS DISTINCT FROM other.user_email
        AND one.joined_at < other.stayed_until
        AND other.joined_at < one.stayed_until
    GROUP BY one.user_email
),

people AS (
    SELECT
        user_email,
        MIN(joined_at) AS first_seen_at,
        MAX(COALESCE(left_at, call_ended_at)) AS last_seen_at
    FROM "tuple".call_participations
    WHERE user_email IS NOT NULL
    GROUP BY user_email
),

newest_call AS (
    SELECT MAX(ended_at) AS ended_at
    FROM "tuple".calls
)

SELECT
    people.user_email,
    CAST(together.last_together_at AS DATE) AS last_paired_on,
    CAST(people.last_seen_at AS DATE) AS last_seen_on
FROM people
LEFT JOIN together ON people.user_email = together.user_email
CROSS JOIN newest_call
-- For people who have never paired, the time when they joined their first call counts instead.
WHERE
    COALESCE(together.last_together_at, people.first_seen_at)
    < newest_call.ended_at - INTERVAL '14 days'
ORDER BY last_paired_on DESC NULLS LAST, people.user_email;
