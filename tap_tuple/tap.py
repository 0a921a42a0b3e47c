"""The tap: its settings and its two streams."""

from __future__ import annotations

import logging
import os
import re
import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

from dotenv import find_dotenv, load_dotenv
from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import PluginBase
from typing_extensions import override

from tap_tuple.client import TOKENS_PAGE
from tap_tuple.command import OneLineErrorsCommand
from tap_tuple.errors import SettingsError
from tap_tuple.files import check_catalog, check_config, check_state
from tap_tuple.messages import LineWriter
from tap_tuple.settings import INTEGER_LIMITS, problems
from tap_tuple.streams import CallParticipations, Calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import IO

    import click
    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.plugin_base import _ConfigInput

NOT_OFFERED = ("batch_config", "emit_activate_version_messages")
"""Settings of the SDK that have no effect here."""

SIGNAL_EXIT_CODE = 128
"""Added to a signal's number, as shells do: a run that was stopped is not a run that is done."""


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
            SettingsError: If a setting cannot be used; a line per setting says what to do.
        """
        given = {name: value for name, value in (config or {}).items() if value is not None}
        if parse_env_config:
            load_dotenv(find_dotenv(usecwd=True))
        try:
            super().__init__(
                config=given,
                parse_env_config=parse_env_config,
                validate_config=validate_config,
                **kwargs,
            )
        except ConfigValidationError as error:
            # The SDK's own lines quote the value, which may be the token.
            lines = list(problems(self.config)) or [
                f"{name} has a value of the wrong type: see --about."
                for name in _names_in(error.errors)
            ]
            raise SettingsError("\n".join(lines) or str(error)) from None
        except ValueError:
            if wrong := _wrong_integers_in_environment(self._env_var_prefix):
                raise SettingsError("\n".join(wrong)) from None
            raise
        if validate_config and (wrong := list(problems(self.config))):
            raise SettingsError("\n".join(wrong))
        for name in NOT_OFFERED:
            if self.config.get(name):
                self.logger.warning("%s has no effect: tap-tuple does not offer it.", name)
        for name in sorted(self.config.keys() - self.config_jsonschema["properties"].keys()):
            if name not in NOT_OFFERED:
                self.logger.warning("%s is no setting of tap-tuple, and has no effect.", name)

    @override
    def setup_mapper(self) -> None:
        """Let the map of a stream that is not selected stand.

        The SDK (singer-sdk 0.54) takes such a stream's columns away first and then fails on a map
        that needs them. But a filter of calls counts for their participations too.
        """
        # At DEBUG it quotes what a filter makes of a row, which may be an email.
        logging.getLogger("singer_sdk.mapper").setLevel(logging.INFO)
        PluginBase.setup_mapper(self)
        catalog = deepcopy(self.catalog)
        for entry in catalog.streams:
            entry.metadata.root.selected = True
        self.mapper.register_raw_streams_from_catalog(catalog)
        for stream in self.streams.values():
            if stream.name not in self.mapper.stream_maps:
                # A catalog may leave the parent of the stream that it selects out.
                self.mapper.register_raw_stream_schema(
                    stream.name, stream.schema, stream.primary_keys
                )

    @override
    def discover_streams(self) -> Sequence[Stream]:
        return [Calls(self), CallParticipations(self)]

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
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop at once: the last STATE is out already, and says what a target has in full.

        The SDK's handler (singer-sdk 0.54) writes another STATE, which would wait for a target
        that has stopped reading, and exits with 0, as if the run were done.
        """
        self.logger.warning("Stopped by signal %d; the next run goes on at the bookmark.", signum)
        sys.exit(SIGNAL_EXIT_CODE + signum)

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
        )


def _names_in(errors: list[str]) -> list[str]:
    """Name the settings that the SDK's errors are about, without the values that they quote."""
    return [name for error in errors for name in re.findall(r" in config\['(\w+)'", error)[-1:]]


def _wrong_integers_in_environment(prefix: str) -> list[str]:
    """Name the settings whose variable the SDK could not read as a whole number."""
    variables = {f"{prefix}{name.upper()}": name for name in INTEGER_LIMITS}
    return [
        f"{name} is {os.environ[variable]!r} (in {variable}): set it to a whole number."
        for variable, name in variables.items()
        if not os.environ.get(variable, "0").strip().lstrip("+-").isdecimal()
    ]
