"""The built package: its contents, its metadata, and whether it runs without the source."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from email import message_from_string
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from uv import find_uv_bin

from tests.conftest import ROOT, clean_environment

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("package")]

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
LOWER, UPPER = {">=", "==", "~="}, {"<", "==", "~="}


def uv(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run uv outside of any project."""
    return subprocess.run(
        [find_uv_bin(), *arguments],
        cwd=ROOT.anchor,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def build(source: Path, folder: Path, *formats: str) -> None:
    """Build distributions into a folder."""
    built = uv("build", "--quiet", *formats, f"--out-dir={folder}", source)
    assert built.returncode == 0, built.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the contents of all files in a wheel, by name."""
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both distributions, each built directly from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "--sdist", "--wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel."""
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    """The source distribution."""
    (path,) = dist.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The metadata of the wheel."""
    (text,) = (data for name, data in contents(wheel).items() if name.endswith("/METADATA"))
    return message_from_string(text.decode())


def test_wheel_contains_only_the_package(wheel: Path) -> None:
    names = {name for name in contents(wheel) if ".dist-info/" not in name}

    in_checkout = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tap_tuple").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == in_checkout
    assert {"tap_tuple/tap.py", "tap_tuple/py.typed", "tap_tuple/sandbox/cli.py"} <= names


def test_source_distribution_builds_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    build(sdist, tmp_path, "--wheel")

    (rebuilt,) = tmp_path.glob("*.whl")
    assert rebuilt.name == wheel.name
    assert contents(rebuilt) == contents(wheel)


def test_source_distribution_contains_the_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"LICENSE", "README.md", "pyproject.toml", "meltano.yml", "tap-tuple.yml"} <= names
    assert {"tests/conftest.py", "tests/catalog.json", ".github/workflows/test.yml"} <= names
    assert not {"uv.lock", ".venv/pyvenv.cfg"} & names
    assert [name for name in names if "__pycache__" in name] == []


def test_metadata_names_license_and_python_versions(metadata: Message) -> None:
    classifiers = metadata.get_all("Classifier", [])
    named = [c.rpartition(" ")[2] for c in classifiers if c.startswith("Programming Language ::")]

    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert [version for version in named if version[0].isdigit()] == list(PYTHONS)
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(">=3.11")
    assert "Typing :: Typed" in classifiers
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_dependencies_have_lower_and_upper_bounds(metadata: Message) -> None:
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]

    assert {"requests", "singer-sdk"} <= {requirement.name for requirement in requirements}
    for requirement in requirements:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators & LOWER, f"{requirement} has no lower bound"
        assert operators & UPPER, f"{requirement} has no upper bound"


def find_python(version: str) -> str | None:
    """Return the path of an installed Python, or None.

    pyenv's shims only work for the versions in PYENV_VERSION.
    """
    found = uv("python", "find", "--no-project", "--system", version, PYENV_VERSION=version)
    return found.stdout.strip() if found.returncode == 0 else None


@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_runs_on_every_supported_python(version: str, wheel: Path, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"expected: this machine has no Python {version}")
    installed = [
        uv("venv", "--quiet", f"--python={python}", tmp_path / "venv"),
        uv("pip", "install", "--quiet", f"--python={tmp_path / 'venv'}", wheel),
    ]
    assert [step.stderr for step in installed if step.returncode] == []

    def run(command: str, *arguments: str) -> str:
        done = subprocess.run(
            [tmp_path / "venv" / "bin" / command, *arguments],
            cwd=tmp_path,
            env=clean_environment() | {"PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("python", "--version").startswith(f"Python {version}.")
    assert run("tap-tuple", "--version").startswith(f"tap-tuple v{wheel.name.split('-')[1]},")
    catalog = json.loads(run("tap-tuple", "--discover"))
    assert catalog == json.loads((ROOT / "tests/catalog.json").read_text("utf-8"))
    messages = [json.loads(line) for line in run("tap-tuple-sandbox", "--test").splitlines()]
    assert {"calls", "call_participations"} == {
        message["stream"] for message in messages if message["type"] == "RECORD"
    }
