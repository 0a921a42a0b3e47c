-- When did newcomers first pair, and with whom? No date means that they haven't paired yet.
-- Newcomers are people first seen over 30 days after the data begins. If left_at is null, the
-- person is assumed to have stayed until the end of the call. Deleted accounts count as partners,
-- but not as newcomers.
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

newcomers AS (
    SELECT
        user_email,
        MIN(joined_at) AS first_seen_at
    FROM "tuple".call_participations
    WHERE user_email IS NOT NULL
    GROUP BY user_email
    HAVING MIN(joined_at) > (SELECT MIN(started_at) + INTERVAL '30 days' FROM "tuple".calls)
),

together AS (
    SELECT
        one.user_email,
        one.call_id,
        GREATEST(one.joined_at, other.joined_at) AS began_at,
        COALESCE(other.user_email, '(deleted account)') AS partner
    FROM stays AS one
    INNER JOIN stays AS other
        ON one.call_id = other.call_id
        AND one.user_email IS DISTINCT FROM other.user_email
        AND one.joined_at < other.stayed_until
        AND other.joined_at < one.stayed_until
),

ordered AS (
    SELECT
        user_email,
        call_id,
        began_at,
        partner,
        FIRST_VALUE(call_id) OVER (
            PARTITION BY user_email
            ORDER BY began_at, call_id
        ) AS first_call_id
    FROM together
),

-- When each person first paired, and everyone they met in that call
first_pairings AS (
    SELECT
        user_email,
        MIN(began_at) AS paired_at,
        STRING_AGG(DISTINCT partner, ', ' ORDER BY partner) AS partners
    FROM ordered
    WHERE call_id = first_call_id
    GROUP BY user_email
)

SELECT
    newcomers.user_email,
    CAST(newcomers.first_seen_at AS DATE) AS first_seen_on,
    CAST(first_pairings.paired_at AS DATE) AS first_paired_on,
    first_pairings.partners AS first_paired_with,
    CAST(first_pairings.paired_at AS DATE) - CAST(newcomers.first_seen_at AS DATE) AS days_between
FROM newcomers
LEFT JOIN first_pairings ON newcomers.user_email = first_pairings.user_email
ORDER BY newcomers.first_seen_at, newcomers.user_email;
