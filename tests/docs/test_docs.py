"""The documents say what is there: what they name exists, what exists is named, and their examples work."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from catalog.registry import Catalog
from catalog.yaml_file import build, read_mapping
from pipelines.contract_check import check
from pipelines.reference_docs import REFERENCE, commands, generated
from pipelines.rules import load_rule
from quality.expectations import Kind
from warehouse.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh.md")


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control, and new ones that will be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(path), re.M | re.S)


def code(path: Path) -> Iterator[str]:
    """Every line of a fenced block and every span between backticks."""
    fence = r"^```.*?^```"
    for block in re.findall(fence, text(path), re.M | re.S):
        yield from block.splitlines()[1:-1]
    yield from re.findall(r"`([^`\n]+)`", re.sub(fence, "", text(path), flags=re.M | re.S))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- commands, targets, variables -----------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", text(ROOT / "Makefile"), re.M))


@pytest.mark.parametrize("path", documents(), ids=name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    named = {found[1] for line in code(path) if (found := re.match(r"\s*make ([a-z-]+)", line))}
    assert named <= targets()


@pytest.mark.parametrize("path", documents(), ids=name)
def test_every_command_that_is_named_exists_and_takes_its_options(path: Path) -> None:
    known = {full.removeprefix("dmp "): {o for p in command.params for o in p.opts} for full, command in commands()}
    for line in code(path):
        for command, rest in re.findall(r"(?<![\w-])dmp ((?:(?:contract|model|review) )?[a-z]+)([^|>#]*)", line):
            assert command in known, line
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known[command] | {"--help"}, line


@pytest.mark.parametrize("readme", READMES)
def test_every_command_and_target_is_documented(readme: str) -> None:
    written = text(ROOT / readme)
    assert [full for full, _ in commands() if f"| `{full}` |" not in written] == []
    assert [target for target in sorted(targets()) if f"| `make {target}` |" not in written] == []


def test_every_target_is_in_the_contributors_table() -> None:
    assert [t for t in sorted(targets()) if f"| `make {t}` |" not in text(ROOT / "CONTRIBUTING.md")] == []


@pytest.mark.parametrize("readme", READMES)
def test_the_configuration_table_is_the_variables_that_the_code_reads(readme: str) -> None:
    product = ("catalog", "warehouse", "quality", "pipelines", "dags", "config")
    read = {v for p in tracked() if p.suffix == ".py" and name(p).startswith(product) for v in re.findall(r"DMP_[A-Z]+", text(p))}
    assert set(re.findall(r"^\| `(DMP_[A-Z]+)` \|", text(ROOT / readme), re.M)) == read


def test_both_readmes_show_the_same_commands_links_and_sections() -> None:
    def shape(readme: str) -> tuple[list[str], list[str], int]:
        shell = [line.split("#")[0].strip() for block in blocks(ROOT / readme, "sh") for line in block.splitlines()]
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text(ROOT / readme)) if link not in READMES]
        return shell, sorted(links), len(re.findall(r"^## ", text(ROOT / readme), re.M))

    assert shape("README.md") == shape("README.zh.md")


# --- what is generated ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(generated()), ids=name)
def test_generated_files_are_fresh(path: Path) -> None:
    assert text(path) == generated()[path], "run `make generated` and commit what it writes"


def test_the_reference_lists_every_rule_kind_and_code_of_the_folders() -> None:
    stems = [p.stem for folder in ("pipelines/rules/*.sql", "quality/expectations/*.yaml") for p in ROOT.glob(folder)]
    codes = yaml.safe_load(text(ROOT / "quality" / "findings.yaml"))
    assert [word for word in (*stems, *codes) if f"| `{word}` |" not in text(REFERENCE)] == []


# --- what the documents point at ------------------------------------------------------------------


def slugs(path: Path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", documents(), ids=name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", text(path), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


@cache
def names_of_tests() -> frozenset[str]:
    modules = [p for p in tracked() if name(p).startswith("tests/") and p.suffix == ".py"]
    return frozenset(found for p in modules for found in re.findall(r"def (test_\w+)", text(p)))


@pytest.mark.parametrize("path", documents(), ids=name)
def test_every_file_function_and_test_that_is_named_exists(path: Path) -> None:
    folders = {p.relative_to(ROOT).parts[0] for p in tracked()}
    for span in code(path):
        if found := re.fullmatch(r"((?:[a-z_]+/)+[\w.-]+\.(?:py|yaml|sql|csv|md|json))(?:: (\w+).*)?", span):
            file, function = ROOT / found[1], found[2]
            if found[1].split("/")[0] in folders:
                assert file.is_file(), span
                assert function is None or re.search(rf"(def|class) {function}\b|^{function}\b", text(file), re.M), span
        if span.startswith("test_") and span.isidentifier():
            assert span in names_of_tests(), span


def test_the_architecture_page_states_the_grain_of_every_table() -> None:
    assert [t for t, (grain, _) in TABLES.items() if f"| `{t}` | {grain} |" not in text(ROOT / "ARCHITECTURE.md")] == []


def test_every_decision_says_why_on_what_evidence_and_what_would_break_it() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(folder.glob("[0-9]*.md"))
    assert [int(p.name[:4]) for p in records] == list(range(1, len(records) + 1))
    for path in records:
        assert f"]({path.name})" in text(folder / "README.md"), path.name
        for part in ("Context", "Decision", "Evidence", "What would break it"):
            assert f"**{part}.**" in text(path), (path.name, part)


def test_nothing_tracked_names_a_place_of_the_machine_it_was_written_on() -> None:
    place = re.compile(r"(?<![\w.~/-])/(?:work|root|home|farm|Users)/\w")
    for path in tracked():
        try:
            found = place.search(text(path))
        except UnicodeDecodeError:
            continue
        assert not found, f"{name(path)}: {found and found[0]}"


# --- examples work --------------------------------------------------------------------------------


@pytest.mark.parametrize("readme", READMES)
def test_the_contract_of_the_readme_is_sound(readme: str, tmp_path: Path) -> None:
    (contract,) = blocks(ROOT / readme, "yaml")
    for folder in ("sources", "entities"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sources" / "culture__library_card.yaml").write_text(contract, encoding="utf-8")
    assert check(Catalog(tmp_path)) == []


def test_the_rule_and_the_kind_of_the_recipes_can_be_read(tmp_path: Path) -> None:
    (rule,) = blocks(ROOT / "CONTRIBUTING.md", "sql")
    (kind,) = blocks(ROOT / "CONTRIBUTING.md", "yaml")
    (tmp_path / "postcode.sql").write_text(rule, encoding="utf-8")
    (tmp_path / "kind.yaml").write_text(kind, encoding="utf-8")
    assert load_rule(tmp_path / "postcode.sql").name == "postcode"
    assert build(Kind, read_mapping(tmp_path / "kind.yaml"), tmp_path / "kind.yaml").counts == "values"
