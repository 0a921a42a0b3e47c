-- In how many calls was each pair of people together, and for how many minutes? Calls with more
-- than two people count, too. A call or a minute counts only once, even if someone rejoins. If
-- left_at is null, the person is assumed to have stayed until the end of the call. Deleted accounts
-- are left out, and so are pairs who spent less than a minute together.
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

-- One row per pair of overlapping stays. After a rejoin, these rows may overlap one another.
together AS (
    SELECT
        one.user_email AS person_a,
        other.user_email AS person_b,
        one.call_id,
        GREATEST(one.joined_at, other.joined_at) AS began_at,
        LEAST(one.stayed_until, other.stayed_until) AS ended_at
    FROM stays AS one
    INNER JOIN stays AS other
        ON one.call_id = other.call_id
        AND one.user_email < other.user_email
        AND one.joined_at < other.stayed_until
        AND other.joined_at < one.stayed_until
),

counted AS (
    SELECT
        person_a,
        person_b,
        call_id,
        began_at,
        ended_at,
        COALESCE(
            MAX(ended_at) OVER (
                PARTITION BY person_a, person_b
                ORDER BY began_at, ended_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            began_at
        ) AS counted_until
    FROM together
),

-- Time that no earlier row has counted. It may be zero.
added AS (
    SELECT
        person_a,
        person_b,
        call_id,
        EXTRACT(
            EPOCH FROM (GREATEST(ended_at, counted_until) - GREATEST(began_at, counted_until))
        ) AS seconds
    FROM counted
)

SELECT
    person_a,
    person_b,
    COUNT(DISTINCT call_id) AS calls,
    CAST(SUM(seconds) / 60 AS DECIMAL(10, 1)) AS minutes
FROM added
GROUP BY person_a, person_b
HAVING SUM(seconds) >= 60
ORDER BY minutes DESC, person_a, person_b;
