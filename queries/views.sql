-- Views for dashboards such as Metabase, Grafana or Lightdash. Run this file once, and again
-- after each update of the tap.
-- PostgreSQL: psql "$DATABASE_URL" -f queries/views.sql. DuckDB: duckdb FILE -f queries/views.sql.
-- All times and weeks are in UTC. If left_at is null, the person is assumed to have stayed until
-- the end of the call. The queries in this folder don't need the views, so they also work with
-- read-only access.

-- One row per stay of a person in a call. Stays of zero length are left out.
CREATE OR REPLACE VIEW "tuple".stays AS
SELECT
    id,
    call_id,
    user_email,
    joined_at,
    COALESCE(left_at, call_ended_at) AS stayed_until
FROM "tuple".call_participations
WHERE joined_at < COALESCE(left_at, call_ended_at);

-- One row per call and pair of people, with their minutes together. A minute counts only once,
-- even if someone rejoins. Deleted accounts are left out.
CREATE OR REPLACE VIEW "tuple".pair_calls AS
WITH together AS (
    SELECT
        one.user_email AS person_a,
        other.user_email AS person_b,
        one.call_id,
        GREATEST(one.joined_at, other.joined_at) AS began_at,
        LEAST(one.stayed_until, other.stayed_until) AS ended_at
    FROM "tuple".stays AS one
    INNER JOIN "tuple".stays AS other
        ON one.call_id = other.call_id
        AND one.user_email < other.user_email
        AND one.joined_at < other.stayed_until
        AND other.joined_at < one.stayed_until
),

counted AS (
    SELECT
        *,
        COALESCE(
            MAX(ended_at) OVER (
                PARTITION BY person_a, person_b, call_id
                ORDER BY began_at, ended_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            began_at
        ) AS counted_until
    FROM together
)

SELECT
    person_a,
    person_b,
    call_id,
    MIN(began_at) AS began_at,
    CAST(
        SUM(
            EXTRACT(
                EPOCH FROM (GREATEST(ended_at, counted_until) - GREATEST(began_at, counted_until))
            )
        ) / 60 AS DECIMAL(12, 2)
    ) AS minutes
FROM counted
GROUP BY person_a, person_b, call_id;

-- One row per week (given as its Monday) and pair of people. A call counts for the week in which
-- the pair's time together began.
CREATE OR REPLACE VIEW "tuple".pair_weeks AS
SELECT
    person_a,
    person_b,
    CAST(DATE_TRUNC('week', began_at) AS DATE) AS week,
    COUNT(*) AS calls,
    SUM(minutes) AS minutes
FROM "tuple".pair_calls
GROUP BY person_a, person_b, CAST(DATE_TRUNC('week', began_at) AS DATE);

-- One row per person and week (its Monday), with their hours in calls with somebody else. An hour
-- in a group of three is one hour for each of them. Deleted accounts count as partners, but not as
-- people.
CREATE OR REPLACE VIEW "tuple".person_weeks AS
WITH company AS (
    SELECT
        one.user_email,
        GREATEST(one.joined_at, other.joined_at) AS began_at,
        LEAST(one.stayed_until, other.stayed_until) AS ended_at
    FROM "tuple".stays AS one
    INNER JOIN "tuple".stays AS other
        ON one.call_id = other.call_id
        AND one.user_email IS DISTINCT FROM other.user_email
        AND one.joined_at < other.stayed_until
        AND other.joined_at < one.stayed_until
    WHERE one.user_email IS NOT NULL
),

counted AS (
    SELECT
        *,
        COALESCE(
            MAX(ended_at) OVER (
                PARTITION BY user_email
                ORDER BY began_at, ended_at
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            began_at
        ) AS counted_until
    FROM company
)

SELECT
    user_email,
    CAST(DATE_TRUNC('week', began_at) AS DATE) AS week,
    CAST(
        SUM(EXTRACT(EPOCH FROM (ended_at - GREATEST(began_at, counted_until)))) / 3600
        AS DECIMAL(10, 2)
    ) AS hours
FROM counted
WHERE ended_at > counted_until
GROUP BY user_email, CAST(DATE_TRUNC('week', began_at) AS DATE);
