"""Installs the loaders in meltano.yml, each in a separate environment."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from uv import find_uv_bin

from benchmarks.measure import Command
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CACHE = ROOT / ".cache" / "benchmark"


@dataclass(frozen=True, slots=True)
class Loader:
    """A loader, as defined in meltano.yml."""

    name: str
    pip_url: str
    config: dict[str, Any]
    env: dict[str, str]

    def command(self, folder: Path, **settings: Any) -> Command:
        """Return the command that loads the messages from its standard input.

        Args:
            folder: A folder for the settings file.
            **settings: Settings that override those in meltano.yml.
        """
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(self.config | settings))
        return Command([str(self.install()), "--config", str(path)], self.env)

    def install(self) -> Path:
        """Install the loader, unless the version in meltano.yml is already installed.

        Returns:
            The path of its executable.
        """
        home = CACHE / self.name
        installed = home / "pip_url"
        if not installed.exists() or installed.read_text() != self.pip_url:
            uv = find_uv_bin()
            subprocess.run([uv, "venv", "--clear", "--python", sys.executable, home], check=True)
            subprocess.run(
                [uv, "pip", "install", "--python", home, *self.pip_url.split()], check=True
            )
            installed.write_text(self.pip_url)
        return home / "bin" / self.name


def loader(name: str) -> Loader:
    """Find a loader in meltano.yml."""
    project = YAML(typ="safe").load(ROOT / "meltano.yml")
    (plugin,) = (each for each in project["plugins"]["loaders"] if each["name"] == name)
    return Loader(name, plugin["pip_url"], plugin.get("config", {}), plugin.get("env", {}))
