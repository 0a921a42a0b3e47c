-- Who paired with only one or two others in the 90 days before the newest call ended? If
-- left_at is null, the person is assumed to have stayed until the end of the call. Deleted
-- accounts don't count as people.
WITH stays AS (
    SELECT
        call_id,
        user_email,
        joined_at,
        COALESCE(left_at, call_ended_at) AS stayed_until
    FROM "tuple".call_participations
    WHERE
        joined_at < COALESCE(left_at, call_ended_at)
        AND call_ended_at > (SELECT MAX(ended_at) - INTERVAL '90 days' FROM "tuple".calls)
)

SELECT
    one.user_email,
    COUNT(DISTINCT other.user_email) AS partners
FROM stays AS one
INNER JOIN stays AS other
    ON one.call_id = other.call_id
    AND one.user_email <> other.user_email
    AND one.joined_at < other.stayed_until
    AND other.joined_at < one.stayed_until
GROUP BY one.user_email
HAVING COUNT(DISTINCT other.user_email) <= 2
ORDER BY partners, one.user_email;
