"""The definition for Meltano Hub matches the tap and works in a new project."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from uv import find_uv_bin

from tests.conftest import ROOT, TapCommand, config_for, make_calls
from tests.docs.documents import block
from tests.docs.newcomer import REPOSITORY
from tests.meltano_project import MeltanoProject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import SandboxFactory
    from tests.fork_server import ForkServer

DEFINITION = ROOT / "tap-tuple.yml"

# Fields that only the Hub's pages use. Meltano doesn't recognize them.
HUB_ONLY = {
    "domain_url",
    "keywords",
    "maintenance_status",
    "next_steps",
    "prereq",
    "quality",
    "settings_preamble",
    "supported_python_versions",
    "usage",
}
REJECTED_BY_THE_HUB = {"ext_repo", "plugin_type"}

# Settings of the SDK that have no effect: the tap doesn't depend on the faker package, and no
# column is nested, so flattening has no names to build.
UNLISTED_SETTINGS = {"faker_config", "flattening_max_key_length", "flattening_separator"}


@cache
def definition() -> dict[str, Any]:
    """Return the definition as the Hub reads it."""
    read: dict[str, Any] = YAML(typ="safe").load(DEFINITION)
    return read


def project_extractor() -> dict[str, Any]:
    """Return the extractor from this repository's meltano.yml."""
    project = YAML(typ="safe").load(ROOT / "meltano.yml")
    extractor: dict[str, Any] = project["plugins"]["extractors"][0]
    return extractor


@pytest.fixture(scope="module")
def about(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> dict[str, Any]:
    """The output of --about."""
    tap = TapCommand(tmp_path_factory.mktemp("about"), fork_server)
    output: dict[str, Any] = json.loads(tap("--about", "--format=json").stdout)
    return output


def expected_settings(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the settings that a Meltano definition should list, in the tap's order."""
    settings = []
    for name, schema in about["settings"]["properties"].items():
        if name in UNLISTED_SETTINGS:
            continue
        (kind,) = (each for each in schema["type"] if each != "null")
        setting = {
            "name": name,
            "label": schema["title"],
            "description": schema["description"],
            "kind": "date_iso8601" if schema.get("format") == "date-time" else kind,
        }
        if schema.get("secret"):
            setting["sensitive"] = True
        if "default" in schema:
            setting["value"] = schema["default"]
        settings.append(setting)
    return settings


def sorted_by_name(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort settings the way the Hub does."""
    return sorted(items, key=lambda item: str(item["name"]))


def test_hub_settings_match_the_tap(about: dict[str, Any]) -> None:
    assert definition()["settings"] == sorted_by_name(expected_settings(about))


def test_project_settings_match_the_tap(about: dict[str, Any]) -> None:
    assert project_extractor()["settings"] == expected_settings(about)


@pytest.mark.parametrize("extractor", [definition, project_extractor])
def test_capabilities_and_required_settings_match_the_tap(
    extractor: Callable[[], dict[str, Any]], about: dict[str, Any]
) -> None:
    assert extractor()["capabilities"] == sorted(about["capabilities"])
    assert extractor()["settings_group_validation"] == [about["settings"]["required"]]


def test_hub_python_versions_match_the_tap(about: dict[str, Any]) -> None:
    assert definition()["supported_python_versions"] == about["supported_python_versions"]


def test_definition_matches_meltanos_schema() -> None:
    schema = json.loads((files("meltano.schemas") / "meltano.schema.json").read_text("utf-8"))
    validator = Draft202012Validator(
        {"$ref": "#/$defs/plugins/extractors", "$defs": schema["$defs"]}
    )
    known = {key: value for key, value in definition().items() if key not in HUB_ONLY}

    assert [error.message for error in validator.iter_errors(known)] == []
    assert not validator.is_valid({**known, "title": "not a key of Meltano"})


def test_definition_has_all_fields_for_the_hub() -> None:
    assert set(definition()) >= HUB_ONLY
    assert not REJECTED_BY_THE_HUB & set(definition())
    assert definition()["name"] == "tap-tuple"
    # The URL of the repository, until the package is published.
    assert definition()["pip_url"] == REPOSITORY
    assert definition()["logo_url"] == "/assets/logos/extractors/tuple.svg"


def test_definition_keys_are_sorted() -> None:
    def unsorted(value: Any) -> Iterator[list[str]]:
        if isinstance(value, dict):
            if list(value) != sorted(value):
                yield list(value)
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                yield from unsorted(each)

    assert list(unsorted(definition())) == []


def test_documented_streams_match_the_catalog(tap: TapCommand) -> None:
    rows = [line.split(" | ") for line in section("Streams").splitlines() if "| `" in line]
    described = {
        quoted(name)[0]: (quoted(keys), quoted(replication_key), quoted(columns))
        for name, _, keys, replication_key, columns in rows
    }

    assert described == {
        stream["tap_stream_id"]: (
            stream["key_properties"],
            [stream["replication_key"]],
            list(stream["schema"]["properties"]),
        )
        for stream in tap.discover()["streams"]
    }


def test_documented_privacy_settings_hide_every_email(
    tap: TapCommand, serve: SandboxFactory
) -> None:
    (advice,) = re.findall(r"```yaml\n(.+?)```", section("Privacy"), re.DOTALL)
    settings = YAML(typ="safe").load(advice.replace("$HASH_KEY", "pepper"))["config"]
    calls = make_calls(3)
    calls[2]["call_participations"][1]["user"] = {"email": None}

    run = tap(config=config_for(serve(calls), **settings))

    hashes = [row["user_email"] for row in run.records("call_participations")]
    assert "@" not in run.stdout + run.stderr
    assert hashes[0] == hashes[2] != hashes[1] == hashes[3]
    assert len(hashes[0]) == 64
    assert hashes[5] is None


def test_documented_error_messages_exist_in_the_code() -> None:
    texts = {text for path in (ROOT / "tap_tuple").rglob("*.py") for text in texts_in(path)}
    messages = re.findall(r"^- `(.+?)`: ", section("Troubleshooting"), re.MULTILINE)

    assert len(messages) > 5
    assert [m for m in messages if not any(m in text for text in texts)] == []


def section(title: str) -> str:
    """Return a section of the usage notes."""
    usage: str = definition()["usage"]
    _, _, rest = usage.partition(f"## {title}\n")
    assert rest
    return rest.partition("\n## ")[0]


def quoted(text: str) -> list[str]:
    """Return everything in backticks."""
    return re.findall(r"`(.+?)`", text)


def texts_in(path: Path) -> Iterator[str]:
    """Yield the string literals of a module, including the constant parts of f-strings."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture
def empty_project(tmp_path: Path) -> MeltanoProject:
    """An empty project, created by Meltano."""
    MeltanoProject(tmp_path)("init", "project", "--no-usage-stats")
    return MeltanoProject(tmp_path / "project")


@pytest.fixture
def checkout_definition(tmp_path: Path) -> Path:
    """The definition, with a wheel of this checkout instead of the repository's URL."""
    subprocess.run(
        [find_uv_bin(), "build", "--quiet", "--wheel", f"--out-dir={tmp_path}"],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    local = tmp_path / DEFINITION.name
    text = DEFINITION.read_text("utf-8")
    local.write_text(text.replace(f"pip_url: {REPOSITORY}\n", f"pip_url: {wheel}\n"), "utf-8")
    return local


def write_loader_definition(name: str, folder: Path) -> Path:
    """Write a loader definition like the Hub's: with defaults, and no settings marked sensitive."""
    defaults = {
        "default_target_schema": "$MELTANO_EXTRACT__LOAD_SCHEMA",
        "destination_path": "output",
    }
    project = YAML(typ="safe").load(ROOT / "meltano.yml")
    (loader,) = (each for each in project["plugins"]["loaders"] if each["name"] == name)
    settings = [{key: s[key] for key in ("name", "kind") if key in s} for s in loader["settings"]]
    for setting in settings:
        if setting["name"] in defaults:
            setting["value"] = defaults[setting["name"]]
    kept = {key: loader[key] for key in ("name", "namespace", "pip_url")}
    path = folder / f"{name}.yml"
    YAML().dump({**kept, "variant": "meltanolabs", "settings": settings}, path)
    return path


@pytest.mark.slow
@pytest.mark.xdist_group("hub")
def test_documented_steps_load_calls_into_a_new_project(
    empty_project: MeltanoProject,
    checkout_definition: Path,
    serve: SandboxFactory,
    postgres: str,
    tmp_path: Path,
) -> None:
    """Run every command as documented, except for the URLs, the token and the downloads."""
    calls = make_calls(25)
    sandbox = serve(calls)
    replacements = {
        "https://raw.githubusercontent.com/tap-tuple/tap-tuple/main/tap-tuple.yml": str(
            checkout_definition
        ),
        "sk-tuple-...": sandbox.token,
        "postgresql+psycopg://user:password@localhost/warehouse": postgres.replace(
            "://", "+psycopg://"
        ),
        **{
            f"meltano add {name}\n": f"meltano add {name} --from-ref "
            f"{write_loader_definition(name, tmp_path)}\n"
            for name in ("target-jsonl", "target-postgres")
        },
    }
    readme = block("run: project").text
    steps = re.findall(r"```bash\n(.+?)```", definition()["next_steps"], re.DOTALL)
    # Run each command only once, because both lists start with the token.
    commands = "".join(dict.fromkeys("".join([readme, *steps]).splitlines(keepends=True)))
    assert "".join(steps[:2]) in readme
    for documented, local in replacements.items():
        assert documented in commands
        commands = commands.replace(documented, local)

    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute("DROP SCHEMA IF EXISTS tap_tuple CASCADE")
        empty_project.run_shell(commands, {"TAP_TUPLE_API_URL": sandbox.url})
        rows = database.execute(
            "SELECT count(*), min(ended_at)::text FROM tap_tuple.calls"
        ).fetchone()
        database.execute("DROP SCHEMA tap_tuple CASCADE")

    assert rows == (25, "2026-03-02 09:01:00")
    assert len(list((empty_project.folder / "output").glob("call*.jsonl"))) == 2
    meltano_yml = (empty_project.folder / "meltano.yml").read_text("utf-8")
    assert "hourly-tuple-to-postgres" in meltano_yml
    assert sandbox.token not in meltano_yml
    assert urlsplit(postgres).netloc not in meltano_yml
    assert len((empty_project.folder / "sandbox.jsonl").read_text("utf-8").splitlines()) > 20_000
