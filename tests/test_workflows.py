"""The files in .github are valid, secure and consistent with the rest of the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(
    set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {GITHUB / "ISSUE_TEMPLATE/config.yml"}
)


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool from this Python environment in the repository."""
    return subprocess.run(
        [Path(sys.executable).with_name(name), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    """Return the jobs of a workflow by their ids."""
    read: dict[str, dict[str, Any]] = YAML(typ="safe").load(workflow)["jobs"]
    return read


def commands(workflow: Path) -> set[str]:
    """Return all command lines in a workflow."""
    steps = [step for job in jobs(workflow).values() for step in job.get("steps", ())]
    return {line for step in steps for line in str(step.get("run", "")).splitlines()}


@pytest.mark.parametrize(
    ("schema", "documents"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_github_files_match_their_schemas(schema: str, documents: list[Path]) -> None:
    checked = run_tool("check-jsonschema", "--builtin-schema", schema, *documents)

    assert checked.returncode == 0, checked.stdout


def test_zizmor_reports_no_findings() -> None:
    audited = run_tool("zizmor", "--offline", "--persona=auditor", "--no-ignores", GITHUB)

    assert audited.returncode == 0, audited.stdout
    assert audited.stdout.count("completed") == len(WORKFLOWS) + 1


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_with_a_version_comment(workflow: Path) -> None:
    lines = re.findall(r"uses: (.+)", workflow.read_text("utf-8"))
    external = [line for line in lines if not line.startswith("$/")]

    assert lines
    assert [
        x for x in external if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", x)
    ] == []


def test_each_action_has_the_same_version_everywhere() -> None:
    pins = {
        pin for path in WORKFLOWS for pin in re.findall(r"uses: (\S+@.+)", path.read_text("utf-8"))
    }

    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_declares_its_permissions(workflow: Path) -> None:
    assert YAML(typ="safe").load(workflow)["permissions"] == {}
    assert all("permissions" in job for job in jobs(workflow).values())


def test_workflow_runs_every_command_of_the_ci_script() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    wanted = set(re.findall(r"^.*(uv run .+)$", script, re.MULTILINE))

    assert len(wanted) > 3
    assert wanted <= commands(GITHUB / "workflows/test.yml")


def test_release_publishes_the_tested_packages() -> None:
    release = jobs(GITHUB / "workflows/release.yml")
    tests = jobs(GITHUB / "workflows/test.yml")

    assert release["tests"]["uses"] == "$/.github/workflows/test.yml"
    assert release["publish"]["needs"] == "tests"
    assert release["publish"]["permissions"] == {"id-token": "write"}
    for job in (release["publish"], release["announce"], tests["wheel"]):
        downloads = [step["with"] for step in job["steps"] if "download" in step.get("uses", "")]
        assert downloads == [{"name": "Packages", "path": "dist"}]


@pytest.mark.parametrize(("token", "output"), [("", "is-set=\n"), ("sk-tuple-x", "is-set=true\n")])
def test_api_workflow_skips_its_steps_without_a_token(
    token: str, output: str, tmp_path: Path
) -> None:
    first_step, *other_steps = jobs(GITHUB / "workflows/api.yml")["check"]["steps"]

    subprocess.run(
        ["bash", "-c", first_step["run"]],  # noqa: S607
        env={"TOKEN": token, "GITHUB_OUTPUT": str(tmp_path / "output")},
        check=True,
    )

    assert (tmp_path / "output").read_text("utf-8") == output
    assert {step["if"] for step in other_steps} == {"steps.token.outputs.is-set"}


def test_paths_ignored_in_workflows_exist() -> None:
    ignored = {
        path
        for workflow in WORKFLOWS
        for line in commands(workflow)
        for path in re.findall(r"--ignore=(\S+)", line)
    }

    assert ignored
    assert [path for path in ignored if not (ROOT / path).exists()] == []


def test_contributing_guide_lists_every_module() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    package = ROOT / "tap_tuple"
    modules = {path.relative_to(ROOT).as_posix() for path in package.glob("[!_]*.py")}
    folders = {f"{path.parent.relative_to(ROOT)}/" for path in package.glob("*/__init__.py")}

    assert {name for name in modules | folders if f"`{name}`" not in guide} == set()
    named = re.findall(r"`((?:tap_tuple|tests|queries|docs)/[\w./]*)`", guide)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []
