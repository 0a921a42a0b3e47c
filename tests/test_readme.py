"""The README is true: its tables, its commands, and what a newcomer gets who follows them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Any

import pytest

from tap_tuple.tap import TapTuple
from tests.conftest import ROOT, clean_environment, make_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_tuple.sandbox import Sandbox

README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN_SETTINGS = 8


def between(name: str) -> str:
    """Return the part of the README between two markers."""
    (part,) = re.findall(f"<!-- {name} -->(.*?)<!-- /{name} -->", README, re.DOTALL)
    return str(part)


def settings_table() -> str:
    """Render the table of settings from what ``--about`` says."""
    schema = TapTuple.config_jsonschema
    lines = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for name, setting in list(schema["properties"].items())[:OWN_SETTINGS]:
        default = "required, secret" if name in schema["required"] else ""
        if "default" in setting:
            default = f"`{setting['default']}`"
        lines.append(f"| `{name}` | {default} | {setting['description']} |")
    return "\n".join(lines)


def test_the_settings_are_those_of_about() -> None:
    assert between("settings").strip() == settings_table()


def test_the_capabilities_are_those_of_about() -> None:
    assert between("capabilities") == ", ".join(f"`{each}`" for each in TapTuple.capabilities)


def test_the_script_for_any_machine_runs_the_tests_as_the_readme_says() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert "\npip install uv && uv run pytest\n" in README
    assert "\npip install uv && uv run pytest\n" in script


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert "CONTRIBUTING.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_messages_under_troubleshooting_are_the_taps_own() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "tap_tuple").rglob("*.py"))
    joined = re.sub(r'"\n\s+f?"', "", source)
    said = re.findall(r"^\| `([^`]+)`", README.split("## Troubleshooting")[1], re.MULTILINE)

    assert len(said) > 8
    assert [message for message in said if message not in joined] == []


@pytest.mark.slow
@pytest.mark.xdist_group("newcomer")
def test_a_newcomer_gets_what_the_readme_promises(
    serve: Callable[..., Sandbox],
    postgres: str,
    tmp_path: Path,
) -> None:
    """Every block of shell commands runs as it stands, but for names of one's own in it."""
    sandbox = serve(make_calls(30))
    clone = clone_of_this_checkout(tmp_path)
    environment = newcomers_environment(tmp_path) | {
        "TAP_TUPLE_API_URL": sandbox.url,
        "TAP_TUPLE_START_DATE": "2026-01-01",
    }
    own = {
        "sk-tuple-...": sandbox.token,
        "postgresql+psycopg://user:password@localhost/warehouse": postgres.replace(
            "postgresql://", "postgresql+psycopg://"
        ),
    }
    blocks = re.findall(r"<!-- run -->\n```sh\n(.*?)```", README, re.DOTALL)
    printed = ""
    for block in blocks:
        commands = block
        for shown, mine in own.items():
            commands = commands.replace(shown, mine)
        printed += run_as_newcomer(commands, clone, environment)

    assert len(blocks) == 7
    assert "Plugin configuration is valid" in printed
    assert "@lumen.example" in printed, "the first question has no answer"
    assert "calls: 30 rows written, 30 calls read in 1 request," in printed
    bookmarks = json.loads(re.findall(r'^(\{"singer_state".*)$', printed, re.MULTILINE)[-1])
    assert set(bookmarks["singer_state"]["bookmarks"]) == {"calls", "call_participations"}


def clone_of_this_checkout(folder: Path) -> Path:
    """Copy what a clone would have, and nothing that is ignored."""
    clone = folder / "tap-tuple"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    return clone


def newcomers_environment(folder: Path) -> dict[str, str]:
    """Return the environment of somebody with Python and pip, and nothing else."""
    python = folder / "python"
    venv.create(python, with_pip=True)
    # This suite's own environment is not theirs.
    own = str(ROOT / ".venv")
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if not entry.startswith(own)]
    environment = clean_environment() | {
        "PATH": os.pathsep.join([str(python / "bin"), *path]),
        "MELTANO_CLI_LOG_FORMAT": "uncolored",
        "NO_COLOR": "1",
    }
    environment.pop("VIRTUAL_ENV", None)
    return environment


def run_as_newcomer(commands: str, folder: Path, environment: dict[str, str]) -> str:
    """Run shell commands, each of which has to succeed."""
    done: Any = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return str(done.stdout)


if __name__ == "__main__":
    sys.stdout.write(f"{settings_table()}\n")
