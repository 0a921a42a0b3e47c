-- When was each pair of people last in a call together? Calls with more than two people count, too.
-- The most recent pairs come first. If left_at is null, the person is assumed to have stayed until
-- the end of the call. Deleted accounts are left out.
WITH stays AS (
    SELECT
        call_id,
        user_email,
        joined_at,
        COALESCE(left_at, call_ended_at) AS stayed_until
    FROM "tuple".call_participations
    -- Leave out stays of zero length, because they don't overlap with anyone's.
    WHERE joined_at < COALESCE(left_at, call_ended_at)
)

SELECT
    one.user_email AS person_a,
    other.user_email AS person_b,
    CAST(MAX(LEAST(one.stayed_until, other.stayed_until)) AS DATE) AS last_paired_on
FROM stays AS one
INNER JOIN stays AS other
    ON one.call_id = other.call_id
    AND one.user_email < other.user_email
    AND one.joined_at < other.stayed_until
    AND other.joined_at < one.stayed_until
GROUP BY one.user_email, other.user_email
ORDER BY last_paired_on DESC, person_a, person_b;
