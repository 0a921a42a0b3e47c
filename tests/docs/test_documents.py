"""The documents match the code, and their links work."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from tap_tuple.tap import TapTuple
from tests.conftest import ROOT, TapCommand
from tests.docs.columns import COLUMNS_PAGE, render_columns
from tests.docs.documents import DOCUMENTS, between, block, blocks, commands_to_run, text_of

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
SETTINGS = ROOT / "docs/settings.md"
TROUBLESHOOTING = ROOT / "docs/troubleshooting.md"
OWN_SETTINGS_COUNT = 8
MELTANO = "meltano>=4.4,<5"
PYTHON = "--python >=3.11,<3.14"

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


def settings_table() -> str:
    """Render the table of settings from the schema that ``--about`` shows."""
    schema = TapTuple.config_jsonschema
    lines = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    for name, setting in list(schema["properties"].items())[:OWN_SETTINGS_COUNT]:
        default = "required, secret" if name in schema["required"] else ""
        if "default" in setting:
            default = f"`{setting['default']}`"
        lines.append(f"| `{name}` | {default} | {setting['description']} |")
    return "\n".join(lines)


def prose(document: Path) -> str:
    """Return a document without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text_of(document), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub generates for a document's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"\[(.+)\]\(.*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_documented_settings_match_the_tap() -> None:
    assert between("settings", SETTINGS).strip() == settings_table()


def test_documented_capabilities_match_the_tap() -> None:
    named = between("capabilities", SETTINGS)

    assert named == ", ".join(f"`{each}`" for each in TapTuple.capabilities)


def test_documented_columns_match_the_catalog(tap: TapCommand) -> None:
    for stream in tap.discover()["streams"]:
        documented = between(f"columns of {stream['tap_stream_id']}", COLUMNS_PAGE)

        assert documented.strip() == render_columns(stream["schema"])


def test_readme_is_shorter_than_200_lines() -> None:
    assert len(text_of(README).splitlines()) < 200


def test_every_document_is_tested() -> None:
    assert sorted(DOCUMENTS) == sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@each_document
def test_links_to_files_and_headings_work(document: Path) -> None:
    links = re.findall(r"\]\(([^):]+)\)", prose(document))
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert links or document.name == "CHANGELOG.md"
    assert broken == []


def test_readme_links_to_every_document() -> None:
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^):]+)\)", prose(README))}

    assert {path.relative_to(ROOT).as_posix() for path in DOCUMENTS[1:]} <= linked


def test_shell_blocks_are_marked_with_unique_names() -> None:
    shell = [each for each in blocks() if each.language in {"sh", "bash", "shell", "console"}]
    names = [each.name for each in commands_to_run()]

    assert len(names) > 15
    assert len(names) == len(set(names))
    for each in shell:
        assert re.fullmatch(r"(run|not run|file): .+", each.mark), each


def test_code_blocks_are_valid() -> None:
    for each in blocks():
        if each.language == "python":
            ast.parse(each.text)
        if each.language in {"yaml", "json"}:
            assert YAML(typ="safe").load(each.text), each
        assert each.language != "py", each


def test_meltano_commands_have_version_bounds() -> None:
    paths = [*DOCUMENTS, *ROOT.glob(".github/**/*.*"), *ROOT.glob("*.yml")]
    lines = "\n".join(path.read_text("utf-8") for path in paths).replace('", "', " ").splitlines()
    installs = re.compile(r"(?:uvx|install)\b.*(?<![\w./-])meltano(?![\w/-])")
    named = [line.replace("'", "") for line in lines if installs.search(line)]

    assert len(named) > 3
    for command in named:
        assert MELTANO in command.replace("[postgres]", "")
        assert PYTHON in command


def test_troubleshooting_messages_exist_in_the_code() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "tap_tuple").rglob("*.py"))
    joined = re.sub(r'"\n\s+f?"', "", source)
    _, _, section = text_of(TROUBLESHOOTING).partition("## The tap says")
    messages = re.findall(r"^\| `([^`]+)`", section.partition("\n## ")[0], re.MULTILINE)

    assert len(messages) > 8
    assert [message for message in messages if message not in joined] == []


def test_every_query_is_documented() -> None:
    linked = re.findall(r"\]\(\.\./(queries/\w+\.sql)\)", text_of(ROOT / "docs/questions.md"))

    assert sorted(linked) == sorted(
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("queries/*.sql")
    )


def test_ci_script_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = block("not run: these are the tests").text

    assert command.count("\n") == 1
    assert f"\n{command}" in script


def test_changelog_has_an_unreleased_section() -> None:
    headings = re.findall(r"^## (.+)$", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each) for each in headings[1:])


def test_documents_do_not_mention_a_package_index() -> None:
    index = re.compile(r"(?:files\.)?py" + r"(?:pi\.org|thonhosted\.org)")

    assert [path.name for path in DOCUMENTS if index.search(text_of(path))] == []
