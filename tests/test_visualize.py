"""Pictures: they show the numbers that went in. The pixels are read back with matplotlib's own PNG reader."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from wmt_transformer.visualize import attention, learning_curves


def dark(path: Path) -> np.ndarray:
    """Returns which pixels are of the darkest blue of the colour map, `[height, width]`."""
    pixels = image.imread(path)[:, :, :3]
    return np.abs(pixels - np.array([8, 48, 107]) / 255).max(axis=-1) < 0.02  # the last colour of "Blues"


def centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def test_rows_of_the_heat_map_are_target_pieces_from_the_top_and_columns_source_pieces(tmp_path: Path):
    weights = np.zeros((6, 4))
    pictures = {}
    for target, source in [(0, 0), (5, 0), (0, 3)]:
        weights[:] = 0.0
        weights[target, source] = 1.0
        attention.heat_map(weights, ["▁a"] * 4, ["▁b"] * 6, tmp_path / "map.png")
        pictures[target, source] = centre(dark(tmp_path / "map.png"))
    first, last_target, last_source = pictures[0, 0], pictures[5, 0], pictures[0, 3]
    assert last_target[0] > first[0] + 50 and abs(last_target[1] - first[1]) < 1
    assert last_source[1] > first[1] + 50 and abs(last_source[0] - first[0]) < 1


def test_each_head_gets_its_own_panel(tmp_path: Path):
    one, six = np.eye(5)[None], np.zeros((6, 5, 5))
    six[:] = np.eye(5)
    pieces = [f"▁{letter}" for letter in "abcde"]
    attention.heat_map(one, pieces, pieces, tmp_path / "one.png")
    attention.heat_map(six, pieces, pieces, tmp_path / "deep" / "folder" / "six.png", title="six heads")
    # Six identity matrices of cells of one size colour about six times the pixels of one.
    ratio = dark(tmp_path / "deep" / "folder" / "six.png").sum() / dark(tmp_path / "one.png").sum()
    assert 4 < ratio < 8


def test_labels_that_do_not_fit_the_weights_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        attention.heat_map(np.zeros((2, 3)), ["▁a", "▁b"], ["▁c", "▁d", "▁e"], tmp_path / "map.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("piece", "shown"),
    [("▁Fahr", "Fahr"), ("rad", "-rad"), ("▁", "␣"), (".", "."), ("</s>", "</s>"), ("▁,", ","), ("ß", "-ß")],
)
def test_labels_read_like_words(piece: str, shown: str):
    assert attention.label(piece) == shown


def write_run(folder: Path, lines: list[dict]) -> Path:
    folder.mkdir(parents=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_curve_holds_the_steps_that_have_a_finite_value():
    lines = [{"step": 1, "train/loss": 3.0}, {"step": 2, "dev/bleu": 5.0}, {"step": 2, "train/loss": None}]
    assert learning_curves.curve([*lines, {"step": 3, "train/loss": 0.0}], "train/loss") == (
        [1, 3],
        [3.0, 0.0],
    )


def test_learning_curves_of_two_runs_are_drawn_in_two_colours(tmp_path: Path):
    files = []
    for name, offset in (("first", 0.0), ("second", 1.0)):
        lines = [
            {"step": step, "train/nats_per_token": 5.0 - step + offset, "dev/bleu": 10.0 * step} for step in (1, 2, 3)
        ]
        files.append(write_run(tmp_path / name, [*lines, {"step": 3, "dev/loss": 2.0}]))
    learning_curves.plot(files, tmp_path / "curves.png")
    pixels = np.round(image.imread(tmp_path / "curves.png")[:, :, :3] * 255).astype(int)
    left, right = np.split(pixels, 2, axis=1)
    for colour in ([31, 119, 180], [255, 127, 14]):  # matplotlib's C0 and C1
        assert (left == colour).all(axis=-1).any() and (right == colour).all(axis=-1).any()


def test_drawing_leaves_no_figure_open_and_does_not_choose_a_backend(tmp_path: Path):
    import subprocess
    import sys

    script = (
        "import sys, numpy, pathlib; from wmt_transformer.visualize import attention;"
        "attention.heat_map(numpy.eye(2), ['a', 'b'], ['a', 'b'], pathlib.Path(sys.argv[1]) / 'map.png');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert (tmp_path / "map.png").is_file()
