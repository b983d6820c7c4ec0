"""What documents point to is there, and what they tell a person to call can be called."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from splittraining.api.conditions import REASONS
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.cli.arguments import PLUGIN, build_parser, build_plugin_parser
from splittraining.local.accepted import accept_manifest
from splittraining.local.manifest import load_manifest
from support.house_support import ROOT, find_blocks, list_documents, list_files, list_make_targets, name_of

DOCUMENTS = list_documents()
TEXTS = [path for path in list_files() if path.suffix in {".md", ".py", ".toml", ".yaml"} or path.name == "Makefile"]
README = (ROOT / "README.md").read_text()


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def list_commands() -> list[tuple[Path, str]]:
    """Lists the `splittraining` and `kubectl splittraining` lines that documents show in their code blocks."""
    found = []
    for path in DOCUMENTS:
        for block in (*find_blocks(path.read_text(), "console"), *find_blocks(path.read_text(), "")):
            lines = [line.split("  #")[0].strip() for line in block.splitlines()]
            found += [(path, line) for line in lines if re.match(rf"(\.venv/bin/)?splittraining |{PLUGIN} ", line)]
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https://", target):
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), f"{name_of(path)} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", to.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{target} names no heading"


def test_pages_that_a_file_names_are_there() -> None:
    pattern = re.compile(r"(?<![\w/.-])(?:docs|examples|tests)/[\w./-]+\.(?:md|py|yaml)\b")
    named = [(name_of(path), page) for path in TEXTS for page in pattern.findall(path.read_text())]
    # Some examples of names are no files: tests/unit/api/test_x.py.
    assert not [(name, page) for name, page in named if not ((ROOT / page).exists() or page.endswith("_x.py"))]


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml"], ids=name_of)
def test_make_targets_that_a_document_names_are_in_make_help(path: Path) -> None:
    named = set(re.findall(r"`make ([a-z0-9-]+)", path.read_text()))
    for line in re.findall(r"^\s*(?:[a-z0-9 -]+ )?make ([a-z0-9 -]+)", path.read_text(), re.MULTILINE):
        if path.suffix != ".md":
            named |= set(line.split())
    for block in find_blocks(path.read_text(), "console"):
        named |= set(re.findall(r"^make ([a-z0-9-]+)", block, re.MULTILINE))
    assert named <= set(list_make_targets())


def test_ci_calls_what_the_readme_tells_a_person_to_call() -> None:
    told = set(re.findall(r"make ([a-z0-9-]+)", README))
    called = set()
    for line in re.findall(r"^make (.+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE):
        called |= set(line.split())
    assert {"demo", "demo-cluster", "test-all"} <= told & called
    assert called <= set(list_make_targets())


@pytest.mark.parametrize("line", sorted({line for _, line in list_commands()}))
def test_commands_that_a_document_shows_can_be_called(line: str) -> None:
    if line.startswith(PLUGIN):
        arguments = build_plugin_parser(version="0").parse_args(shlex.split(line)[2:])
    else:
        arguments = build_parser(version="0").parse_args(shlex.split(line)[1:])
    manifest = getattr(arguments, "filename", Path("training.yaml"))
    # "training.yaml" alone stands for the reader's own.
    assert manifest == Path("training.yaml") or (ROOT / manifest).is_file()


def test_the_readme_shows_all_commands() -> None:
    usage = build_parser(version="0").format_help()
    commands = re.findall(r"^    (\w+)  ", usage, re.MULTILINE)
    shown = {
        shlex.split(line.removeprefix("kubectl "))[1]
        for path, line in list_commands()
        if path.name == "README.md" and path.parent == ROOT
    }
    assert shown == set(commands)


def test_the_manifest_of_the_readme_is_a_training_that_can_run(tmp_path: Path) -> None:
    (manifest,) = find_blocks(README, "yaml")
    (tmp_path / "training.yaml").write_text(manifest)
    (tmp_path / "xray_model.py").write_text("")
    accepted = accept_manifest(load_manifest(tmp_path / "training.yaml", source_folders={"xray-code": tmp_path}))
    assert [party.name for party in accepted.contract.clients] == ["st-mary", "st-luke"]


def test_the_page_of_exit_codes_has_a_row_for_each_with_its_remedy() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if re.match(r"\| \d", line)]
    assert [(int(row[0]), row[1], row[4]) for row in rows] == [
        (code.value, code.name, REMEDIES[code]) for code in ExitCode
    ]
    assert all(row[3] for row in rows), "a code without a meaning"


def test_the_page_of_reasons_says_of_each_what_to_do() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if re.match(r"\| [A-Z]", line)
    ]
    told = [(row[0], row[1]) for row in rows]
    assert told == [(condition, reason) for condition, reasons in REASONS.items() for reason in reasons]
    assert all(row[2] and row[3] for row in rows)


def test_a_change_names_its_kind() -> None:
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for path in (ROOT / "docs" / "changes").glob("*.md"):
        if path.name != "README.md":
            assert set(re.findall(r"^#+ (\w+)$", path.read_text(), re.MULTILINE)) <= kinds, path.name


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name[:4] for name in listed] == [f"{number:04}" for number in range(1, len(listed) + 1)]
