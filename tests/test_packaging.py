"""The package as a whole: its parts depend on each other in one direction, and a wheel holds all it needs."""

import ast
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "wmt_transformer"
DESIGN = ROOT / "docs" / "en" / "design.md"

# Walls beside the one-way street: a model is scored and used without a corpus, decoding without an optimiser, and what
# stands beside the paper does not know each other.
APART = {"baselines", "interop", "visualize"}
FORBIDDEN = {("model", "data"), ("decode", "train"), *((one, other) for one in APART for other in APART - {one})}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def tree_of_the_design() -> list[str]:
    """Returns the paths below the package in the order in which the tree of docs/en/design.md gives them.

    A folder's own `__init__.py` comes after the files that the tree gives below it.
    """
    block = re.search(r"^```\nwmt_transformer/\n(.*?)^```", DESIGN.read_text("utf-8"), re.S | re.M)
    assert block, f"{DESIGN} has no tree of wmt_transformer/"
    order: list[str] = []
    folders: list[str] = []
    for line in block[1].splitlines():
        names = re.match(r"((?:  )+)((?:\w+(?:\.py|/)(?:, )?)+)(?: +[●○]|$)", line)
        if not names:
            continue
        depth = len(names[1]) // 2
        if depth == 0 or not line.startswith("  "):
            break
        while len(folders) >= depth:
            order.append(f"{folders.pop()}__init__.py")
        for name in names[2].split(", "):
            path = (folders[-1] if folders else "") + name
            if name.endswith("/"):
                folders.append(path)
            else:
                order.append(path)
    while folders:
        order.append(f"{folders.pop()}__init__.py")
    return order


PLACE = {path: place for place, path in enumerate(tree_of_the_design())}


def imported(path: Path, only_at_module_level: bool = False) -> set[str]:
    """Returns the dotted names that a file imports, those inside functions included unless told otherwise."""
    names = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import; the house writes them out"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        later |= isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"  # which no run imports
        if not (only_at_module_level and later):
            pending += ast.iter_child_nodes(node)
    return names


def module_path(name: str) -> str | None:
    """Returns the path below the package of the module that a dotted name is, or is in."""
    words = name.split(".")[1:]
    for count in range(len(words), 0, -1):
        for path in ("/".join(words[:count]) + ".py", "/".join([*words[:count], "__init__.py"])):
            if (PACKAGE / path).is_file():
                return path
    return None


def test_the_tree_of_the_design_gives_every_file_once():
    files = [str(path.relative_to(PACKAGE)) for path in MODULES]
    order = tree_of_the_design()
    assert len(order) == len(set(order))
    listed = {path for path in files if not path.endswith(("__init__.py", "__main__.py"))}
    assert listed == {path for path in order if not path.endswith("__init__.py")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_in_one_direction(path: Path):
    here = str(path.relative_to(PACKAGE))
    for name in imported(path):
        there = module_path(name) if name.startswith("wmt_transformer.") else None
        if there is None or there == here:
            continue  # another package, or __version__
        # What runs a package imports it; the package does not know that it can be run.
        assert here.endswith("__main__.py") or PLACE[there] < PLACE[here], f"{here} imports {there}, which is below it"
        assert (here.split("/")[0], there.split("/")[0]) not in FORBIDDEN, f"{here} imports {name}"


def test_heavy_and_optional_packages_are_imported_inside_the_function_that_needs_them():
    heavy = {"torch", "transformers", "ctranslate2", "tensorflow_datasets", "matplotlib", "tensorboardX"}
    for path in MODULES:
        found = {name.split(".")[0] for name in imported(path, only_at_module_level=True)} & heavy
        assert not found, f"{path} imports {found} at module level"


def test_tensorflow_is_never_imported_and_orbax_in_one_file_only():
    for path in MODULES:
        packages = {name.split(".")[0] for name in imported(path)}
        assert "tensorflow" not in packages, path
        assert "orbax" not in packages or path.name == "checkpoint.py", path


def test_the_command_line_starts_without_jax():
    script = "import sys, wmt_transformer.cli; print(*sorted({'jax', 'flax', 'orbax'} & set(sys.modules)))"
    assert run_python(script, cwd=ROOT) == []  # jax takes one to three seconds to import: --help must not wait for it


def run_python(script: str, *arguments: str, cwd: Path, path: Path | None = None) -> list[str]:
    """Runs a script in another process and returns the words that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else None
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def hatchling(hook: str, project: Path, out: Path) -> Path:
    """Builds as pip would, but without a network or an isolated environment; returns the file."""
    script = f"import sys, hatchling.build as b; print(b.{hook}(sys.argv[1]))"
    return out / run_python(script, str(out), cwd=project)[-1]


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hatchling("build_sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(source_distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the source distribution, as on a package index, so that it tests both."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(source_distribution) as archive:
        archive.extractall(unpacked, filter="data")
    (project,) = unpacked.iterdir()
    return hatchling("build_wheel", project, tmp_path_factory.mktemp("wheel"))


def test_the_source_distribution_holds_the_project_and_nothing_else(source_distribution: Path):
    with tarfile.open(source_distribution) as archive:
        inside = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    assert {
        "wmt_transformer",
        "configs",
        "tests",
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "docs",
        "Makefile",
    } <= inside
    assert not inside & {".venv", "runs", ".git", "dist"}


def test_a_wheel_holds_code_configs_type_marker_licence_and_command(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (commands,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "wmt-transformer = wmt_transformer.cli:main" in archive.read(commands).decode()
    code = {
        str(path.relative_to(ROOT))
        for ending in ("py", "txt", "js", "css", "html")
        for path in PACKAGE.rglob(f"*.{ending}")
    }
    configs = {f"wmt_transformer/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    assert code | configs | {"wmt_transformer/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "configs/", "benchmarks/")) for name in names)


def test_an_installed_wheel_finds_its_configs_from_an_unrelated_folder(wheel: Path, tmp_path: Path):
    installed, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    script = (
        "from wmt_transformer import config, experiment; print(config.__file__, experiment.load('multi30k_en_de').name)"
    )
    found = run_python(script, cwd=elsewhere, path=installed)
    assert found == [str(installed / "wmt_transformer" / "config.py"), "multi30k_en_de"]
