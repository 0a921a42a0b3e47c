-- Deletes rows that a full refresh didn't send: calls and participations that Tuple no longer has.
-- Replace REFRESHED_AT with the time (UTC) when the refresh began, for example
-- 2026-03-15T14:30:00Z. In each table, this finds the earliest and the latest end time among the
-- rows that the refresh sent. It deletes rows that the refresh didn't send, but only those with an
-- end time between these two. So rows that the refresh didn't reach are kept, even if it was
-- interrupted or never ran. This needs the loader's metadata columns.
BEGIN;

DELETE FROM "tuple".call_participations
WHERE
    COALESCE(_sdc_extracted_at < CAST('REFRESHED_AT' AS TIMESTAMP), TRUE)
    AND call_ended_at > (
        SELECT MIN(call_ended_at)
        FROM "tuple".call_participations
        WHERE _sdc_extracted_at >= CAST('REFRESHED_AT' AS TIMESTAMP)
    )
    AND call_ended_at < (
        SELECT MAX(call_ended_at)
        FROM "tuple".call_participations
        WHERE _sdc_extracted_at >= CAST('REFRESHED_AT' AS TIMESTAMP)
    );

DELETE FROM "tuple".calls
WHERE
    COALESCE(_sdc_extracted_at < CAST('REFRESHED_AT' AS TIMESTAMP), TRUE)
    AND ended_at > (
        SELECT MIN(ended_at)
        FROM "tuple".calls
        WHERE _sdc_extracted_at >= CAST('REFRESHED_AT' AS TIMESTAMP)
    )
    AND ended_at < (
        SELECT MAX(ended_at)
        FROM "tuple".calls
        WHERE _sdc_extracted_at >= CAST('REFRESHED_AT' AS TIMESTAMP)
    );

COMMIT;
