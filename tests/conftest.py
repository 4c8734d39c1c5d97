"""What every test shares: CPU only, shapes checked while tests run, and the folder of real data if any.

The jaxtyping import hook makes beartype check each signature of the package, so that a shape error fails in
the function that makes it. It has to be installed before the package is imported, hence here.
"""

import os
import shutil
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the tests' tolerances are those of float32 on a CPU
# Most of the tests' time is compilation: LLVM's own optimisations would double it, for programs that run for a moment.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
# The second run finds the programs here. `make clean` empties it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import hypothesis
import jaxtyping
import pytest

ROOT = Path(__file__).parents[1]
# Not the phrasebook's: it has no arrays, and its many small functions take eight times as long when they are checked.
FILES = [
    path for path in ROOT.glob("wmt_transformer/**/*.py") if path.stem[0] != "_" and path.parent.stem != "phrasebook"
]
jaxtyping.install_import_hook(
    [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES], "beartype.beartype"
)

# No deadline: a property's first example may compile. Derandomised in CI, where a commit passes or fails every time;
# elsewhere every run tries new examples.
hypothesis.settings.register_profile("project", deadline=None, derandomize="CI" in os.environ, database=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Returns the folder with multi30k/, tatoeba/, …, or skips: real text is no part of this repository."""
    folder = os.environ.get("WMT_TRANSFORMER_DATA")
    if not folder:
        pytest.skip("WMT_TRANSFORMER_DATA is not set: it names a folder with multi30k/, tatoeba/, newstest/")
    return Path(folder)


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    """A folder with a toy corpus, its config, and a finished run of it in `run`."""
    folder = tmp_path_factory.mktemp("toy")
    import commands  # brings the package, which the hook above has to see first
    import numpy as np

    random = np.random.default_rng(0)
    for split, count in (("train", 200), ("dev", 8)):
        lines = [" ".join(random.choice(commands.WORDS, random.integers(2, 9))) for _ in range(count)]
        (folder / f"{split}.en").write_text("\n".join(lines) + "\n")
        (folder / f"{split}.de").write_text("\n".join(line.upper() for line in lines) + "\n")
    (folder / "toy.py").write_text(commands.CONFIG.format(path=str(folder)))
    os.environ["WMT_TRANSFORMER_CACHE"] = str(folder / "cache")
    assert commands.run("train", folder / "toy.py", "--workdir", folder / "run") == 0
    assert commands.run("average", "--workdir", folder / "run") == 0
    return folder


@pytest.fixture
def copy(toy, tmp_path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(toy / "run", tmp_path / "run"))


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, or skips; `browser.get_log("browser")` returns what pages wrote to its console."""
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("there is no chromium and chromedriver to open pages with (Debian: apt install chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()
