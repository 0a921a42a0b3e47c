"""The tap class."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.mapper import PluginMapper
from singer_sdk.singerlib import Catalog
from typing_extensions import override

from tap_tuple.settings import (
    SCHEMA,
    environment_problems,
    load_dotenv_file,
    locate_invalid_values,
    normalize,
    normalize_environment,
    problems,
    type_problems,
)
from tap_tuple.singer import command
from tap_tuple.singer.pagewise import PagewiseStream, explain_failed_map
from tap_tuple.singer.writer import LineWriter
from tap_tuple.streams import CallParticipations, Calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath
    from typing import IO

    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.plugin_base import _ConfigInput

    Config = dict[str, Any] | PurePath | str | list[PurePath | str] | None

STREAM_TYPES = (Calls, CallParticipations)

CONFIG_ADVICE = 'Write the settings as a JSON object, for example {"start_date": "2026-01-31"}.'


class TapTuple(Tap):
    """Singer tap for completed calls in Tuple, the remote pair programming app."""

    name = "tap-tuple"
    message_writer_class = LineWriter

    # BATCH and ACTIVATE_VERSION are left out. `PagewiseStream` says why.
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

    config_jsonschema = SCHEMA
    help_text = (
        "Read a team's completed calls and their participants from Tuple, and write them to "
        "standard output as Singer messages, for a Singer target to load."
    )

    @override
    def __init__(
        self, *, config: Config = None, parse_env_config: bool = False, **kwargs: Any
    ) -> None:
        """Validate the settings before doing anything else.

        Args:
            config: Settings, or the path of a file with settings, or a list of such paths.
            parse_env_config: Whether to read settings from the environment and from ``.env``.
            **kwargs: As in the SDK.

        Raises:
            ConfigurationError: If settings are invalid. The message has one line for each.
        """
        self.append_builtin_config(self.config_jsonschema)
        if parse_env_config:
            load_dotenv_file(self.logger)
            normalize_environment(self.config_jsonschema, self.name)
            command.reject_any(environment_problems(self.config_jsonschema, self.name))
        settings = normalize(load_config(config))
        # The SDK's validation crashes on some values of the wrong type, and quotes others.
        command.reject_any(type_problems(settings, self.config_jsonschema))
        try:
            super().__init__(config=settings, parse_env_config=parse_env_config, **kwargs)
        except ConfigValidationError as error:
            self._check_settings()
            command.reject_any(locate_invalid_values(error.errors))

        self._check_bookmarks()
        # Replace the signal handlers that the SDK has just installed.
        command.stop_on_signals()
        unknown_settings = self.config.keys() - self.config_jsonschema["properties"].keys()
        for name in sorted(unknown_settings):
            self.logger.warning("Ignoring unknown setting %r.", name)

    def _check_settings(self) -> None:
        columns = {stream.name: stream.schema["properties"] for stream in STREAM_TYPES}
        command.reject_any(problems(self.config, self.config_jsonschema, columns))

    def _check_bookmarks(self) -> None:
        """Report an invalid bookmark before any output."""
        for stream in self.streams.values():
            if isinstance(stream, PagewiseStream):
                stream.check_bookmark()

    @override
    def setup_mapper(self) -> None:
        """Keep the maps of deselected streams, because a parent's filter also affects its child.

        The SDK removes the columns of a deselected stream first, and may then fail on its map.
        """
        # Streams and maps are built from the settings, so check those first.
        self._check_settings()
        self.mapper = PluginMapper(plugin_config=dict(self.config), logger=self.logger)
        catalog = deepcopy(self.catalog)
        for entry in catalog.streams:
            entry.metadata.root.selected = True
            if entry.tap_stream_id in self.streams:
                entry.key_properties = self.streams[entry.tap_stream_id].primary_keys
            with explain_failed_map(entry.tap_stream_id, self.config):
                one_stream = Catalog({entry.tap_stream_id: entry})
                self.mapper.register_raw_streams_from_catalog(one_stream)
        for stream in self.streams.values():
            # A catalog may leave out the parent of the stream that it selects.
            if stream.name not in self.mapper.stream_maps:
                with explain_failed_map(stream.name, self.config):
                    self.mapper.register_raw_stream_schema(
                        stream.name, stream.schema, stream.primary_keys
                    )

    @override
    def discover_streams(self) -> Sequence[Stream]:
        return [stream_type(self) for stream_type in STREAM_TYPES]

    @override
    @classmethod
    def get_singer_command(cls) -> click.Command:
        command_line = super().get_singer_command()
        command_line.help = cls.help_text
        for option in command_line.params:
            if isinstance(option.type, click.File):
                # Open files lazily. With --test, they are never read, so they'd never be closed.
                option.type = click.File(lazy=True)
        return command_line

    @override
    @classmethod
    def invoke(
        cls, *, state: IO[str] | None = None, catalog: IO[str] | None = None, **kwargs: Any
    ) -> None:
        super().invoke(
            state=command.check_state(state, cls.logger) if state else None,
            catalog=command.check_catalog(catalog) if catalog else None,
            **kwargs,
        )

    @override
    @classmethod
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        """Read each file only once, because a pipe can't be read again."""
        environment = tuple(path for path in value if path == "ENV")
        files = [path for path in value if path != "ENV"]
        config_input = super().cb_config(ctx, param, environment)
        for path in files:
            settings = command.load_object(Path(path), f"--config {path}", CONFIG_ADVICE)
            config_input.config.update(settings)
        return config_input


def load_config(config: Config) -> dict[str, Any]:
    """Return `config` as a dict, loaded from files if it is a path or a list of paths."""
    if config is None:
        return {}
    if isinstance(config, dict):
        return config
    paths = config if isinstance(config, list) else [config]
    settings: dict[str, Any] = {}
    for path in paths:
        settings.update(command.load_object(Path(path), f"config {path}", CONFIG_ADVICE))
    return settings
