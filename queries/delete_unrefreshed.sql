-- Deletes what a full refresh didn't bring: calls and participations that Tuple no longer has.
-- Replace REFRESHED_AT by the time (UTC) at which the refresh began, for example 2026-03-15T14:30:00Z.
-- Only rows between the first and the last refreshed one are deleted. So nothing that the refresh didn't
-- reach gets lost, even if it was interrupted or never ran. It needs the loader's metadata columns.
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
