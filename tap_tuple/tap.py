"""The tap: its two streams, and what it sets up of the SDK."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.mapper import PluginMapper
from typing_extensions import override

from tap_tuple.settings import SCHEMA, load_environment, problems
from tap_tuple.singer import command
from tap_tuple.singer.writer import LineWriter
from tap_tuple.streams import CallParticipations, Calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    import click
    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.plugin_base import _ConfigInput

PRIVATE = re.compile(r"(?i)sk-tuple-[^\s'\",;)\]}]+|[^\s'\"<>(@]{1,64}@[^\s'\"<>)]{1,255}")
"""What looks like a token or an email; bounded, or a long word would take time by its square."""


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

    config_jsonschema = SCHEMA

    @override
    def __init__(self, *, config: dict[str, Any] | None = None, **kwargs: Any) -> None:  # ty: ignore[incompatible-method-override]
        """Check the settings before anything else is done with them: null counts as left out.

        Raises:
            ConfigurationError: If a setting cannot be used; a line per setting says what to do.
        """
        given = {name: value for name, value in (config or {}).items() if value is not None}
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        if kwargs.get("parse_env_config"):
            command.refuse_any(load_environment(schema, self.name))
        try:
            super().__init__(config=given, **kwargs)
        except (AttributeError, ConfigValidationError) as error:
            # The SDK's own lines quote the value, such as the token; a bad `__else__` breaks them.
            self._check_settings()
            if isinstance(error, AttributeError):
                raise
            command.refuse("Correct stream_maps, faker_config or flattening_*: see the SDK's docs.")
        # A bookmark that cannot be used is named before anything is written.
        _ = [getattr(stream, "bookmark", None) for stream in self.streams.values()]
        command.stop_on_signals(self.logger)
        for name in sorted(self.config.keys() - schema["properties"].keys()):
            self.logger.warning("Ignoring unknown setting %s.", name)

    def _check_settings(self) -> None:
        columns = {each.name: each.schema["properties"] for each in (Calls, CallParticipations)}
        command.refuse_any(problems(self.config, self.config_jsonschema, columns))

    @override
    def setup_mapper(self) -> None:
        """Keep the stream maps of deselected streams: a filter counts for the child's rows too.

        The SDK takes a deselected stream's columns away first, and may then fail on its map.
        """
        # What follows makes the streams, and the maps, of settings that have to be right.
        self._check_settings()
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
        return [Calls(self), CallParticipations(self)]

    @override
    @classmethod
    def invoke(
        cls, *, state: IO[str] | None = None, catalog: IO[str] | None = None, **kwargs: Any
    ) -> None:
        state = state and command.check_state(state)
        catalog = catalog and command.check_catalog(catalog)
        super().invoke(state=state, catalog=catalog, **kwargs)

    @override
    @classmethod
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        loaded = super().cb_config(ctx, param, tuple(path for path in value if path == "ENV"))
        for path in value:
            # The SDK would read a file once more, which a pipe cannot be.
            if path != "ENV":
                loaded.config.update(command.load_object(Path(path), f"--config {path}"))
        return loaded
