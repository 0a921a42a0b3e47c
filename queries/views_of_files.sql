-- Views of the files that target-jsonl writes into output/, with the latest version of each row.
-- In the folder of the Meltano project: duckdb files.duckdb -f queries/views_of_files.sql.
-- File names contain the time of the run, so the latest version of a row is in the file with the
-- latest time in its name. Within a file, later lines are newer. The views read all files again for
-- each query. Tested with DuckDB 1.2 and 1.5.
CREATE SCHEMA IF NOT EXISTS "tuple";

CREATE OR REPLACE VIEW "tuple".calls AS
WITH lines AS (
    SELECT
        *,
        ROW_NUMBER() OVER () AS line_number
    FROM READ_JSON(
        'output/calls-*.jsonl',
        format = 'newline_delimited',
        filename = true,
        columns = {
            id: 'BIGINT',
            started_at: 'TIMESTAMP',
            ended_at: 'TIMESTAMP',
            duration_seconds: 'INTEGER'
        }
    )
)

SELECT * EXCLUDE (filename, line_number)
FROM lines
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY filename DESC, line_number DESC) = 1;

CREATE OR REPLACE VIEW "tuple".call_participations AS
WITH lines AS (
    SELECT
        *,
        ROW_NUMBER() OVER () AS line_number
    FROM READ_JSON(
        'output/call_participations-*.jsonl',
        format = 'newline_delimited',
        filename = true,
        columns = {
            id: 'BIGINT',
            call_id: 'BIGINT',
            call_ended_at: 'TIMESTAMP',
            joined_at: 'TIMESTAMP',
            left_at: 'TIMESTAMP',
            user_email: 'VARCHAR'
        }
    )
)

SELECT * EXCLUDE (filename, line_number)
FROM lines
QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY filename DESC, line_number DESC) = 1;
