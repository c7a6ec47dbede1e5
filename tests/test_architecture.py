"""The house rules that a machine can check, over every file of the package."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "noiseproof").rglob("*.py"))
SCRIPTS = sorted(
    path for room in ("benchmarks", "examples", "research") for path in (ROOT / room).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "common", "core"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def trees(paths: list[Path]) -> Iterator[tuple[Path, ast.Module]]:
    return ((path, tree_of(path)) for path in paths)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 50
    assert len(TESTS) > 20


def test_files_are_at_most_400_lines() -> None:
    lengths = {name_of(p): p.read_bytes().count(b"\n") for p in SOURCES + SCRIPTS + TESTS}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_files_and_folders_are_named_for_what_they_hold() -> None:
    for path in SOURCES + SCRIPTS:
        parts = path.relative_to(ROOT).parts
        assert not NAMELESS & {part.removesuffix(".py") for part in parts}, path


def test_nothing_is_subclassed_save_named_tuple() -> None:
    for path, tree in trees(SOURCES):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                # `jax.jit` takes no tuple for a function: what is called is a frozen dataclass.
                if "dataclass(frozen=True)" in map(ast.unparse, node.decorator_list):
                    assert not bases, (path, node.name)
                    continue
                # Settings and records are structs of msgspec, which checks them as they are read;
                # PyTorch knows an optimizer, and a watch over its functions, by their base.
                allowed = ["NamedTuple", "Struct"]
                allowed += ["torch.optim.Optimizer", "TorchFunctionMode"] * (
                    path.parts[-2] == "torch"
                )
                assert len(bases) == 1, (path, node.name)
                assert bases[0] in allowed, (path, node.name)


def test_structs_are_frozen_and_know_their_fields() -> None:
    for path, tree in trees(SOURCES):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and "Struct" in map(ast.unparse, node.bases):
                options = {keyword.arg for keyword in node.keywords}
                assert options >= {"frozen", "forbid_unknown_fields"}, (path, node.name)


def test_key_is_the_last_positional_argument() -> None:
    for path, tree in trees(SOURCES):
        for function in functions(tree):
            names = [argument.arg for argument in function.args.args]
            if any(name in ("key", "keys") or name.endswith("_key") for name in names):
                assert names[-1] in ("key", "keys") or names[-1].endswith("_key"), (
                    path,
                    function.name,
                    names,
                )


def test_annotations_are_not_postponed() -> None:
    for path, tree in trees(SOURCES):
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "__future__"), path


def test_every_function_says_its_types() -> None:
    for path, tree in trees(SOURCES):
        for function in functions(tree):
            assert function.returns is not None, (path, function.name)
            for argument in function.args.args + function.args.kwonlyargs:
                if argument.arg == "self":
                    continue
                assert argument.annotation is not None, (path, function.name, argument.arg)


def test_no_work_is_left_in_comments() -> None:
    for path in SOURCES + SCRIPTS:
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text("utf-8")), path


def called_names(tree: ast.Module) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_nothing_unsafe_is_called() -> None:
    for path, tree in trees(SOURCES + SCRIPTS + TESTS):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "pickle" not in ast.unparse(node), path
            if isinstance(node, ast.keyword):
                assert not (
                    node.arg in ("allow_pickle", "shell")
                    and isinstance(node.value, ast.Constant)
                    and node.value.value is True
                ), path
        assert not {"eval", "exec", "os.system"} & set(called_names(tree)), path


def test_the_library_prints_only_in_commands() -> None:
    for path, tree in trees(SOURCES):
        assert "print" not in set(called_names(tree)), path


def test_only_the_door_knows_configs() -> None:
    for path, tree in trees(SOURCES):
        room = path.relative_to(ROOT / "src" / "noiseproof").parts[0]
        if room in ("experiment", "terminal", "commands", "cli.py", "__init__.py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("noiseproof.experiment"), path
