"""The house's own rules, read from the sources: what no linter knows and reviews forget."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from daybook.settings import PREFIX, Settings
from domain import errors
from domain.errors import DaybookError
from domain.events import EVENT_TYPES

ROOT = Path(__file__).parent.parent
ROOMS = ("daybook", "domain", "projections", "commands", "replay", "adapters", "api", "migrations")
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
IMPURE = {"time", "random", "os", "asyncio", "socket"}
FOR_TESTS_AND_DAYBOOK = ("adapters.localnet", "adapters.simulated")
DIRECTIVE = re.compile(r"#\s*(noqa|type:\s*ignore|nosec|pragma)\b(?P<rest>.*)")
REASON = re.compile(r"\s(?:-|#)\s.*\w{3,}")  # words behind a dash or a second hash


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def load_event_types() -> None:
    for path in sources("domain"):
        if path.name == "events.py":
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_every_event_type_has_a_golden_file() -> None:
    """Yesterday's bytes are kept: one file for each schema version an event type ever had."""
    load_event_types()
    missing = [
        f"tests/golden/{topic}.v{version}.json"
        for topic, event in sorted(EVENT_TYPES.items())
        for version in range(1, event.class_version + 1)
        if not (ROOT / "tests" / "golden" / f"{topic}.v{version}.json").is_file()
    ]
    assert not missing


def test_every_golden_file_belongs_to_an_event_type() -> None:
    load_event_types()
    files = (ROOT / "tests" / "golden").glob("*.json")
    strays = [path.name for path in files if path.name.rsplit(".v", 1)[0] not in EVENT_TYPES]
    assert not strays


def read_models() -> list[Path]:
    """The files that name a read model; the others in `projections` serve them."""
    return [
        path
        for path in sources("projections")
        if any(
            isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "NAME"
            for node in tree(path).body
        )
    ]


def test_every_read_model_has_a_version() -> None:
    assert read_models()
    for path in read_models():
        module = importlib.import_module(f"projections.{path.stem}")
        assert path.stem == module.NAME, f"{name(path)} names its read model {module.NAME!r}"
        assert isinstance(module.VERSION, int), f"{name(path)} has no VERSION"


@pytest.mark.parametrize("path", read_models(), ids=lambda path: path.stem)
def test_every_read_model_is_rebuilt_in_a_test(path: Path) -> None:
    """Some file of tests/projections both names the read model and rebuilds it."""
    tests = [test.read_text() for test in sources("tests/projections")]
    assert any("rebuil" in text and (path.stem in text or "ALL" in text) for text in tests)


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """Every class stands once in the drawing at the top of domain/errors.py, under its base."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)\s{2,}", line)
        if found:
            depth = len(found["branch"]) // 4
            above = [*above[:depth], found["name"]]
            drawn[found["name"]] = above[depth - 1] if depth else "Exception"
    real = {
        value.__name__: value.__bases__[0].__name__
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, DaybookError)
    }
    assert drawn == real


def test_every_package_says_what_it_is_for_in_one_line() -> None:
    for package in (path for path in sources(*ROOMS) if path.name == "__init__.py"):
        says = ast.get_docstring(tree(package)) or ""
        assert says, f"{name(package)} has no docstring"
        assert len(says.splitlines()) == 1, f"{name(package)} says it in more than one line"


@pytest.mark.parametrize("room", ROOMS)
def test_every_folder_is_a_package(room: str) -> None:
    for folder in {path.parent for path in sources(room)}:
        revisions = folder == ROOT / "migrations" / "versions"  # alembic loads these by path
        assert revisions or (folder / "__init__.py").is_file(), f"{name(folder)} has no __init__.py"


def test_files_and_functions_stay_readable() -> None:
    long = []
    for path in sources(*ROOMS):
        lines = len(path.read_text().splitlines())
        if lines > MAX_FILE_LINES:
            long.append(f"{name(path)}: {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{name(path)}: {node.name} has {length} lines")
    assert not long


def test_the_domain_knows_no_floats() -> None:
    """Money and prices are whole numbers and exact ratios: no float literal, name or true division."""
    floats = []
    for path in (path for path in sources("domain") if path.name != "errors.py"):  # errors name time-outs
        for node in ast.walk(tree(path)):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            named = isinstance(node, ast.Name) and node.id == "float"
            divided = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
            if literal or named or divided:
                floats.append(f"{name(path)}:{getattr(node, 'lineno', 0)}")
    assert not floats


def test_the_domain_imports_the_standard_library_and_eventsourcing_alone() -> None:
    strangers = []
    for path in sources("domain"):
        for module in imported(path):
            top = module.split(".")[0]
            pure = top in sys.stdlib_module_names and top not in IMPURE
            if not (pure or top == "domain" or module == "eventsourcing.domain"):
                strangers.append(f"{name(path)} imports {module}")
    assert not strangers


def test_production_code_knows_no_stand_ins() -> None:
    leaks = [
        f"{name(path)} imports {module}"
        for path in sources(*ROOMS)
        for module in imported(path)
        if module.startswith(FOR_TESTS_AND_DAYBOOK)
        and not name(path).startswith(
            ("daybook/", *(f"{one.replace('.', '/')}/" for one in FOR_TESTS_AND_DAYBOOK))
        )
    ]
    assert not leaks


def test_tests_are_no_packages() -> None:
    """They mirror the rooms; as packages they would hide them."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_ignore_carries_its_reason() -> None:
    bare = []
    for path in sources(*ROOMS, "tests", "benchmarks", "examples"):
        with tokenize.open(path) as file:
            comments = [
                one for one in tokenize.generate_tokens(file.readline) if one.type == tokenize.COMMENT
            ]
        for comment in comments:
            found = DIRECTIVE.search(comment.string)
            if found and not REASON.search(found["rest"]):
                bare.append(f"{name(path)}:{comment.start[0]} {comment.string}")
    assert not bare


def test_every_make_target_is_in_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    documented = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    assert documented == set(phony[1].split())
    assert len(makefile.splitlines()) < 45


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for path in folder.glob("[0-9]*.md"):
        assert path.name in index, f"docs/decisions/README.md does not list {path.name}"
        for part in ("Context", "Decision", "Consequences", "Not chosen"):
            assert f"**{part}.**" in path.read_text(), f"{name(path)} does not tell its {part.lower()}"


def settings_with_defaults() -> dict[str, object]:
    """Every setting by its variable's name, those of sections included."""
    known: dict[str, object] = {}
    for setting, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for part, inner in section.model_fields.items():
                known[f"{PREFIX}{setting}__{part}".upper()] = inner.default
        else:
            known[f"{PREFIX}{setting}".upper()] = field.default
    return known


def test_the_examples_name_every_setting_and_its_default() -> None:
    """`.env.example` and docs/reference/settings.md hold exactly the settings there are."""
    known = settings_with_defaults()
    example = dict(re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    described = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.MULTILINE))
    assert example.keys() == known.keys()
    assert described.keys() == known.keys()
    for setting, default in known.items():
        if default is not None and default != ():
            assert example[setting] == described[setting] == str(default), setting


def test_markdown_links_lead_somewhere() -> None:
    broken = [
        f"{name(path)} -> {target}"
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert not broken


def test_every_adapter_is_named_where_adapters_are_kept_apart() -> None:
    """A new folder under adapters/ must join the contracts that list them one by one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    folders = {f"adapters.{path.parent.name}" for path in (ROOT / "adapters").glob("*/__init__.py")}
    for contract in contracts:
        named = {*contract.get("source_modules", ()), *contract.get("forbidden_modules", ())}
        if "adapters.embedded" in named:
            assert named >= folders, contract["name"]
