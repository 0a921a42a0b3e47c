-- How many hours did each person spend in calls with somebody else, by ISO week (UTC)? Time
-- together counts for the week in which it began. Overlapping time counts only once, for example in
-- a group or after a rejoin. If left_at is null, the person is assumed to have stayed until the end
-- of the call. Deleted accounts count as partners, but not as people.
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

-- One row per overlap with somebody else's stay. In a group, these rows overlap one another.
together AS (
    SELECT
        one.user_email,
        GREATEST(one.joined_at, other.joined_at) AS began_at,
        LEAST(one.stayed_until, other.stayed_until) AS ended_at
    FROM stays AS one
    INNER JOIN stays AS other
        ON one.call_id = other.call_id
        AND one.user_email IS DISTINCT FROM other.user_email
        AND one.joined_at < other.stayed_until
        AND other.joined_at < one.stayed_until
    WHERE one.user_email IS NOT NULL
),

counted AS (
    SELECT
        user_email,
        began_at,
        ended_at,
        COALESCE(
            MAX(ended_at) OVER (
                PARTITION BY user_email
                ORDER BY began_at, ended_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            began_at
        ) AS counted_until
    FROM together
),

-- Time that no earlier row has counted.
added AS (
    SELECT
        user_email,
        CAST(DATE_TRUNC('week', began_at) AS DATE) AS week,
        EXTRACT(EPOCH FROM (ended_at - GREATEST(began_at, counted_until))) AS seconds
    FROM counted
    WHERE ended_at > counted_until
)

SELECT
    user_email,
    week,
    CAST(SUM(seconds) / 3600 AS DECIMAL(10, 2)) AS hours
FROM added
GROUP BY user_email, week
ORDER BY week DESC, hours DESC, user_email;
