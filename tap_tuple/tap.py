"""The tap: its settings and its two streams."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

from dotenv import find_dotenv, load_dotenv
from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.mapper import PluginMapper
from typing_extensions import override

from tap_tuple.api.client import TOKENS_PAGE
from tap_tuple.settings import INTEGER_LIMITS, environment_problems, problems
from tap_tuple.singer.command import (
    OneLineErrorsCommand,
    UsageError,
    check_catalog,
    check_config,
    check_state,
    stop_on_signals,
)
from tap_tuple.singer.writer import LineWriter
from tap_tuple.streams import CallParticipations, Calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    import click
    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.plugin_base import _ConfigInput

STREAMS = (Calls, CallParticipations)

PRIVATE = re.compile(r"(?i)sk-tuple-[^\s'\",;)\]}]+|[^\s'\"<>(]+@[^\s'\"<>)]+")
"""What looks like a token or an email; no log line shows it."""


class TapTuple(Tap):
    """Singer tap for Tuple, the remote pair programming app: completed calls and who took part."""

    name = "tap-tuple"
    message_writer_class = LineWriter

    # Neither BATCH nor ACTIVATE_VERSION: the streams say why.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.DISCOVER,
        TapCapabilities.STATE,
        TapCapabilities.TEST,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property(
            "api_token",
            th.StringType,
            required=True,
            secret=True,
            title="API token",
            description=(
                "A token of your team for Tuple's usage API; it begins with `sk-tuple-`. Team "
                f"owners and managers create one at {TOKENS_PAGE}."
            ),
        ),
        th.Property(
            "start_date",
            th.DateTimeType,
            title="Start date",
            description=(
                "Read calls that ended at or after it; without it, all history. A date alone is "
                "its midnight, and without a zone it is UTC."
            ),
        ),
        th.Property(
            "end_date",
            th.DateTimeType,
            title="End date",
            description=(
                "Read calls that ended before it; without it, those that ended before the run "
                "starts."
            ),
        ),
        th.Property(
            "lookback_window",
            th.IntegerType(minimum=INTEGER_LIMITS["lookback_window"][0]),
            default=3600,
            title="Lookback window",
            description=(
                "Seconds before the bookmark that each run reads again, for calls that Tuple "
                "finalises late. 0 switches it off."
            ),
        ),
        th.Property(
            "page_size",
            th.IntegerType(
                minimum=INTEGER_LIMITS["page_size"][0],
                maximum=INTEGER_LIMITS["page_size"][1],
            ),
            default=1000,
            title="Page size",
            description="Calls per request, from 1 to 1000.",
        ),
        th.Property(
            "requests_per_minute",
            th.IntegerType(minimum=INTEGER_LIMITS["requests_per_minute"][0]),
            default=60,
            title="Requests per minute",
            description=(
                "The tap's share of the 60 requests a minute that Tuple grants to all "
                "integrations of a team together."
            ),
        ),
        th.Property(
            "api_url",
            th.StringType,
            default="https://production.tuple.app",
            title="API URL",
            description=("Where Tuple is: an https address, or plain http to the local machine."),
        ),
        th.Property(
            "user_agent",
            th.StringType,
            title="User agent",
            description=(
                "What the tap calls itself in its requests; without it, `tap-tuple/<version>`."
            ),
        ),
    ).to_dict()

    @override
    def __init__(  # ty: ignore[incompatible-method-override] - paths are read by the command line
        self,
        *,
        config: dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        **kwargs: Any,
    ) -> None:
        """Check the settings before anything else is done with them.

        Args:
            config: The settings; one that is null counts as left out.
            parse_env_config: Whether to take settings from the environment, and from the `.env`
                of the working folder or one above it.
            validate_config: Whether the settings must be right; discovery does without.
            **kwargs: As `singer_sdk.Tap` takes them.

        Raises:
            UsageError: If a setting cannot be used; a line per setting says what to do.
        """
        given = {name: value for name, value in (config or {}).items() if value is not None}
        if parse_env_config:
            self._check_environment()
        columns = {stream.name: stream.schema["properties"] for stream in STREAMS}
        try:
            super().__init__(
                config=given,
                parse_env_config=parse_env_config,
                validate_config=validate_config,
                **kwargs,
            )
        except ConfigValidationError:
            # The SDK's own lines quote the value, which may be the token.
            _refuse(problems(self.config, columns))
            _refuse(["A setting has a value of the wrong type: see --about."])
        if validate_config:
            _refuse(problems(self.config, columns))
        stop_on_signals(self.logger)
        for name in sorted(self.config.keys() - self.config_jsonschema["properties"].keys()):
            self.logger.warning("Ignoring unknown setting %s.", name)

    @classmethod
    def _check_environment(cls) -> None:
        """Load `.env`, and check what the SDK cannot read in one line."""
        try:
            load_dotenv(find_dotenv(usecwd=True))
        except (OSError, UnicodeDecodeError):
            msg = ".env cannot be read: make it readable, and UTF-8 text."
            raise UsageError(msg) from None
        schema = deepcopy(cls.config_jsonschema)
        cls.append_builtin_config(schema)
        _refuse(environment_problems(schema, f"{cls.name.upper().replace('-', '_')}_"))

    @override
    def setup_mapper(self) -> None:
        """Keep the stream maps of deselected streams: a filter counts for the child's rows too.

        The SDK takes a deselected stream's columns away first, and may then fail on its map.
        """
        self.mapper = PluginMapper(plugin_config=dict(self.config), logger=self.logger)
        catalog = deepcopy(self.catalog)
        for entry in catalog.streams:
            entry.metadata.root.selected = True
        self.mapper.register_raw_streams_from_catalog(catalog)
        for stream in self.streams.values():
            if stream.name not in self.mapper.stream_maps:
                # A catalog may leave out the parent of the stream that it selects.
                self.mapper.register_raw_stream_schema(
                    stream.name, stream.schema, stream.primary_keys
                )

    @override
    def discover_streams(self) -> Sequence[Stream]:
        return [stream(self) for stream in STREAMS]

    @override
    @classmethod
    def invoke(
        cls,
        *,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().invoke(state=check_state(state), catalog=check_catalog(catalog), **kwargs)

    @override
    @classmethod
    def cb_config(
        cls,
        ctx: click.Context,
        param: click.Option,
        value: tuple[str, ...],
    ) -> _ConfigInput:
        for path in value:
            check_config(path)
        return super().cb_config(ctx, param, value)

    @override
    @classmethod
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        return OneLineErrorsCommand(
            name=command.name,
            callback=command.callback,
            context_settings=command.context_settings,
            params=command.params,
            help=command.help,
            logger=cls.logger,
            private=PRIVATE,
        )


def _refuse(problems: Iterable[str]) -> None:
    lines = list(problems)
    if lines:
        raise UsageError("\n".join(lines))
