"""Names say what a thing does, and a file's place says what it is about."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "cli", "core", "db", "domain", "evaluation", "flows", "pipelines", "rag")
BANNED = {"utils", "util", "helpers", "helper", "manager", "managers", "process", "data", "misc", "common", "stuff"}
LONGEST_FILE = 500


def modules() -> Iterator[Path]:
    """Every module but the migrations, which are written once and never touched again."""
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if path.parent.name != "versions")


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    for path in modules():
        yield path.relative_to(ROOT), ast.parse(path.read_text())


def test_no_module_is_named_for_nothing() -> None:
    named = {path.relative_to(ROOT) for path in modules() if BANNED & set(path.stem.split("_"))}
    assert not named


def test_no_flow_file_bears_a_package_name() -> None:
    """A flow is run from its file's folder, where such a name would hide the package from its neighbours."""
    assert not {path.name for path in (ROOT / "flows").glob("*.py") if path.stem in PACKAGES}


def test_every_module_says_why_it_exists() -> None:
    silent = [path for path, tree in parsed() if tree.body and not ast.get_docstring(tree)]
    assert not silent


def test_no_file_is_too_long_to_read() -> None:
    tests = (ROOT / "tests").rglob("*.py")
    long = {
        path.relative_to(ROOT) for path in (*modules(), *tests) if len(path.read_text().splitlines()) > LONGEST_FILE
    }
    assert not long


def test_get_never_returns_none_and_find_may() -> None:
    wrong = []
    for path, tree in parsed():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.returns is None:
                continue
            returned = ast.unparse(node.returns).strip("\"'")
            may_be_none = bool(re.search(r"(\| None$|^Optional\[)", returned))
            if node.name.startswith("get_") and may_be_none:
                wrong.append(f"{path}: {node.name} may return None: name it find_")
    assert not wrong


def test_product_names_no_registry_host_and_no_path_of_a_machine() -> None:
    hosts = re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.|deb\.debian\.org|ghcr\.io|docker\.io|(?<![\w.])/(work|home|Users)/\w"
    )
    files = [
        path for path in ROOT.glob("*") if path.is_file() and path.suffix in {".toml", ".md", ".yaml", ".lock", ""}
    ]
    files += [*modules(), *(ROOT / ".ci").glob("*"), *(ROOT / "docs").rglob("*.md")]
    named = {path.relative_to(ROOT): found.group() for path in files if (found := hosts.search(path.read_text()))}
    assert not named


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_package(package: str) -> None:
    assert (ROOT / "tests" / package / "__init__.py").is_file()
