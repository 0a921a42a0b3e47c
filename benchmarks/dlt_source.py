"""Reads the same calls with dlt: ``python -m benchmarks.dlt_source --help``.

It uses dlt's `rest_api` source with a single resource. dlt turns the list of participations in each
call into a child table. This is a separate script, because dlt is only in the `bench` group.
"""

from __future__ import annotations

import importlib

import click

# Not a plain import, because the type checker runs without the `bench` group.
dlt = importlib.import_module("dlt")
rest_api = importlib.import_module("dlt.sources.rest_api")

DATASET = "tuple"


@click.command()
@click.option("--url", required=True, help="The base URL of the API.")
@click.option("--folder", required=True, help="The folder for dlt's files.")
@click.option("--duckdb", help="A DuckDB file to load into.")
@click.option("--postgres", help="The URL of a PostgreSQL database to load into.")
def main(url: str, folder: str, duckdb: str | None, postgres: str | None) -> None:
    """Extract the calls, and load them if a database is given."""
    destination = None
    if duckdb:
        destination = dlt.destinations.duckdb(duckdb)
    elif postgres:
        destination = dlt.destinations.postgres(postgres)
    pipeline = dlt.pipeline(
        "calls", pipelines_dir=folder, destination=destination, dataset_name=DATASET
    )
    source = rest_api.rest_api_source(
        {
            "client": {
                "base_url": url,
                "auth": {"type": "bearer", "token": "sk-tuple-benchmark"},
                "paginator": "header_link",
            },
            "resources": [
                {
                    "name": "calls",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "api/v2/call_usage",
                        "params": {"since": "{incremental.start_value}", "per_page": 1000},
                        "incremental": {
                            "cursor_path": "ended_at",
                            "initial_value": "1970-01-01T00:00:00Z",
                        },
                    },
                }
            ],
        }
    )
    if destination:
        pipeline.run(source).raise_on_failed_jobs()
    else:
        pipeline.extract(source)


if __name__ == "__main__":
    main()
