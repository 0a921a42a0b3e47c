"""The failures that a person can act on: each is one line that says what to do."""

from __future__ import annotations

from singer_sdk.exceptions import ConfigurationError, FatalSyncError


class SettingsError(ConfigurationError):
    """A setting, or a file given on the command line, has a value that cannot be used."""


class UnexpectedAnswerError(FatalSyncError):
    """The API answered with calls that cannot be right, and asking again did not help."""


class TargetGoneError(FatalSyncError):
    """The target stopped reading before the tap was done."""
