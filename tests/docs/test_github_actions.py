"""The workflow that generates a weekly report. Its steps run unchanged, but without GitHub."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, make_calls
from tests.docs.newcomer import Newcomer
from tests.meltano_project import needs_target_duckdb
from tests.test_workflows import GITHUB, run_tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import SandboxFactory

WORKFLOW = ROOT / "docs/github-actions/pairing-report.yml"


def steps() -> list[dict[str, Any]]:
    """Return the steps of the only job."""
    (job,) = YAML(typ="safe").load(WORKFLOW)["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def run_steps(newcomer: Newcomer, token: str) -> str:
    """Run the commands of all steps in a clone, and return their output."""
    printed = ""
    for step in steps():
        if "run" in step:
            environment = {
                name: value.replace("${{ secrets.TUPLE_API_TOKEN }}", token)
                for name, value in step.get("env", {}).items()
            }
            newcomer.environment |= {"TAP_TUPLE_API_TOKEN": ""} | environment
            printed += newcomer.run(step["run"])
    return printed


def test_workflow_matches_the_github_schema() -> None:
    checked = run_tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)

    assert checked.returncode == 0, checked.stdout


def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    (folder / WORKFLOW.name).write_bytes(WORKFLOW.read_bytes())

    audited = run_tool("zizmor", "--offline", "--persona=auditor", "--no-ignores", folder)

    assert audited.returncode == 0, audited.stdout
    assert "completed" in audited.stdout


def test_action_versions_match_our_own_workflows() -> None:
    pins = set(re.findall(r"uses: (\S+@.+)", WORKFLOW.read_text("utf-8")))
    own_workflows = "".join(path.read_text("utf-8") for path in GITHUB.glob("workflows/*.yml"))
    named_elsewhere = {pin for pin in pins if pin.partition("@")[0] in own_workflows}

    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin) for pin in pins)
    assert len(named_elsewhere) > 1
    assert {pin for pin in named_elsewhere if pin not in own_workflows} == set()


def test_tap_tuple_version_is_pinned() -> None:
    (checkout,) = (step["with"] for step in steps() if "checkout" in step.get("uses", ""))

    assert re.fullmatch(r"[0-9a-f]{40}|v\d+\.\d+\.\d+", checkout["ref"])


def test_token_is_passed_only_to_steps_that_need_it() -> None:
    names = [step["name"] for step in steps() if "secrets" in str(step)]

    assert names == ["Look for the token", "Read all calls"]


def test_missing_token_is_reported_on_one_line() -> None:
    done = subprocess.run(
        ["bash", "-e", "-c", steps()[0]["run"]],  # noqa: S607
        env={"TAP_TUPLE_API_TOKEN": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout.startswith("::error::The secret TUPLE_API_TOKEN is missing.")
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
@pytest.mark.xdist_group("pairing report")
@needs_target_duckdb
def test_workflow_generates_the_report_and_a_summary(serve: SandboxFactory, tmp_path: Path) -> None:
    sandbox = serve(make_calls(20))
    summary = tmp_path / "summary.md"
    newcomer = Newcomer(tmp_path, TAP_TUPLE_API_URL=sandbox.url, GITHUB_STEP_SUMMARY=str(summary))

    printed = run_steps(newcomer, sandbox.token)

    report = (newcomer.clone / "report.html").read_text("utf-8")
    assert "How 2 people paired" in report
    assert "person0" in report
    assert "2026-03-02" in summary.read_text("utf-8")
    assert "| 2 (pair)" in summary.read_text("utf-8")
    assert "person0" not in printed + summary.read_text("utf-8")
    assert sandbox.token not in printed
