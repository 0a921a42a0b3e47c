"""Run the sandbox until it is stopped: ``python -m tap_tuple.sandbox``."""

from __future__ import annotations

from contextlib import suppress

import click

from tap_tuple.sandbox.company import DEFAULT_SEED, Company
from tap_tuple.sandbox.server import PATH, Sandbox


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="The port to listen on.",
)
@click.option(
    "--seed", default=DEFAULT_SEED, show_default=True, help="Selects the fictional company."
)
def serve(port: int, seed: int) -> None:
    """Run a mock of Tuple's API on 127.0.0.1, and print how to reach it."""
    try:
        served = Sandbox(Company(seed), port=port)
    except OSError as error:
        msg = f"Port {port} is unavailable: {error.strerror}. Choose another --port."
        raise click.ClickException(msg) from None
    with served as sandbox, suppress(KeyboardInterrupt):
        click.echo(f"export TAP_TUPLE_API_URL={sandbox.url}")
        click.echo(f"export TAP_TUPLE_API_TOKEN={sandbox.token}")
        click.echo(
            f"curl -H 'Authorization: Bearer {sandbox.token}' "
            f"'{sandbox.url}{PATH}?since=2020-01-01T00:00:00Z&per_page=1'"
        )
        sandbox.serve()


if __name__ == "__main__":
    serve()
