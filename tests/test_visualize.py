"""Pictures: they show the numbers that went in. The pixels are read back with matplotlib's own PNG reader."""

import json
import subprocess
import sys
import warnings
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from wmt_transformer.cli.streams import save_picture
from wmt_transformer.files import whole_bytes
from wmt_transformer.letters import visible
from wmt_transformer.visualize import attention, fonts, labels, learning_curves


def dark(path: Path) -> np.ndarray:
    """Returns which pixels are of the darkest blue of the colour map, `[height, width]`."""
    pixels = image.imread(path)[:, :, :3]
    return np.abs(pixels - np.array([8, 48, 107]) / 255).max(axis=-1) < 0.02  # the last colour of "Blues"


def centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def drawn(maps: attention.Maps, path: Path, **options) -> np.ndarray:
    figure = attention.heat_map(maps, **options)
    figure.axes[-1].set_visible(False)  # the scale, which has every colour
    figure.savefig(path, dpi=150)
    return dark(path)


def test_rows_of_the_heat_map_are_queries_from_the_top_and_columns_keys(tmp_path: Path):
    pictures = {}
    for query, key in [(0, 0), (5, 0), (0, 3)]:
        weights = np.zeros((1, 1, 6, 4))
        weights[..., query, key] = 1.0
        pictures[query, key] = centre(drawn(attention.Maps(["b"] * 6, ["a"] * 4, weights), tmp_path / "map.png"))
    first, last_query, last_key = pictures[0, 0], pictures[5, 0], pictures[0, 3]
    assert last_query[0] > first[0] + 50 and abs(last_query[1] - first[1]) < 1
    assert last_key[1] > first[1] + 50 and abs(last_key[0] - first[0]) < 1


def test_each_head_gets_its_own_panel_and_one_head_or_layer_can_be_chosen(tmp_path: Path):
    weights = np.zeros((2, 6, 5, 5))
    weights[1] = np.eye(5)
    maps = attention.Maps(list("abcde"), list("abcde"), weights)
    six, one = drawn(maps, tmp_path / "six.png", title="six heads"), drawn(maps, tmp_path / "one.png", head=3)
    # Six identity matrices of cells of one size colour about six times the pixels of one.
    assert 4 < six.sum() / one.sum() < 8
    assert not drawn(maps, tmp_path / "first layer.png", layer=0).any()


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        *[("▁Fahr", "Fahr"), ("rad", "-rad"), ("▁", "␣"), (".", "."), ("</s>", "</s>"), ("▁,", ","), ("ß", "-ß")],
        *[("▁我", "我"), ("们", "们"), ("<0xE6>", "<0xE6>"), ("<0x2D>", "-"), ("<0x20>", "␣"), ("▁\ufffd", "<byte>")],
    ],
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
    script = (
        "import sys, numpy; from wmt_transformer.visualize import attention;"
        "maps = attention.Maps(['a', 'b'], ['a', 'b'], numpy.eye(2)[None, None]);"
        "attention.heat_map(maps).savefig(sys.argv[1]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "map.png")], check=True)
    assert (tmp_path / "map.png").is_file()


@pytest.mark.parametrize(("heads", "columns"), [(1, 1), (4, 2), (8, 4)])
def test_heads_are_laid_out_near_three_to_two(heads: int, columns: int):
    # By hand: a map of 20 by 23 is 6.8 by 7.84 inches, so four in a row would be 3.5 : 1 and two by two are 0.9 : 1.
    figure = attention.heat_map(attention.Maps(["q"] * 23, ["k"] * 20, np.zeros((1, heads, 23, 20), np.float32)))
    grid = figure.axes[0].get_gridspec()
    assert grid is not None and len(figure.axes) == heads + 1 and grid.ncols == columns


def test_a_heat_map_has_a_scale_from_0_to_1_and_says_what_rows_and_columns_are():
    look = attention.Look("a b", "c", {"cross": attention.Maps(["c"], ["a", "b"], np.full((2, 1, 1, 2), 0.5))})
    figure = attention.picture(look)
    assert figure.axes[-1].get_ylim() == (0, 1) and figure.axes[-1].get_ylabel() == "attention weight"
    assert (figure.get_supylabel(), figure.get_supxlabel()) == ("target piece being written", "source pieces")
    assert " ".join(figure.get_suptitle().split()).endswith(
        "attention from target to source (cross-attention), layer 2 of 2"
    )


# ---- Users' text means nothing

ODD = ["$5", "and", "$6", "$$", "\\frac", "_x^2", "[bold]", "\x1b[31m", "\u202eevil", "\u0301x", "שלום", "<b>&"]


def texts(figure) -> list:
    panel = figure.axes[0]
    return [*panel.get_xticklabels(), *panel.get_yticklabels()]


def test_no_text_is_a_formula_or_an_instruction_in_a_picture(tmp_path: Path):
    maps = attention.Maps(ODD, ODD, np.full((1, 1, len(ODD), len(ODD)), 0.5))
    figure = attention.heat_map(maps, title=" ".join(ODD))
    shown = [one.get_text() for one in texts(figure)]
    assert shown[: len(ODD)] == ["$5", "and", "$6", "$$", *map(visible, ODD[4:])]
    assert [one._preprocess_math(one.get_text())[1] for one in texts(figure)] == [False] * 2 * len(ODD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a machine may have no font with Hebrew letters
        for kind in ("png", "svg"):
            figure.savefig(tmp_path / f"map.{kind}", dpi=40)
    document = (tmp_path / "map.svg").read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(document)
    assert "\x1b" not in document


def test_a_run_of_any_name_is_in_the_legend_of_the_learning_curves(tmp_path: Path, monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: drawn.append(figure))
    runs = [write_run(tmp_path / name, [{"step": 1, "dev/loss": 2.0}]) for name in ("_first", "$a$", "$$")]
    learning_curves.plot(runs, tmp_path / "curves.png")
    legend = drawn[0].axes[1].get_legend().get_texts()
    assert [one.get_text() for one in legend] == [" _first", "$a$", "$$"]
    assert not any(one._preprocess_math(one.get_text())[1] for one in legend)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ē 日本 שלום \U0001f469\u200d\U0001f469", "plain ē 日本 שלום \U0001f469\u200d\U0001f469"),
        ("a\x00b\tc\x7f\x9b", "a<U+0000>b<U+0009>c<U+007F><U+009B>"),
        ("\u202eabc\u2066", "<U+202E>abc<U+2066>"),
        ("\u0301a\u0301", "\u25cc\u0301a\u0301"),
        ("\udc80", "\ufffd"),
    ],
)
def test_every_character_is_seen(text: str, shown: str):
    assert visible(text) == shown


@pytest.mark.parametrize(("pieces", "dots"), [(6, 150.0), (240, None)])
def test_a_saved_picture_has_150_dots_an_inch_and_at_most_8000_a_side(tmp_path, pieces: int, dots: float | None):
    maps = attention.Maps(["a"] * 2, ["b"] * pieces, np.zeros((1, 1, 2, pieces)))
    figure = attention.heat_map(maps)
    with whole_bytes(tmp_path / "map.png") as out:
        save_picture(figure, out, "png")
    height, width, _ = image.imread(tmp_path / "map.png").shape
    inches = figure.get_size_inches()
    assert abs(width / height - inches[0] / inches[1]) < 0.01 * width / height
    assert width <= 8000 and (width == pytest.approx(dots * inches[0], abs=1) if dots else width >= 7999)


# ---- Labels in Chinese


@pytest.fixture
def chinese(monkeypatch):
    """Returns `use_chinese`, whose changes to matplotlib end with the test."""
    import matplotlib
    from matplotlib.text import Text

    monkeypatch.setattr(Text, "set_text", Text.set_text)
    with matplotlib.rc_context():
        yield labels.use_chinese


def said(maps: attention.Maps, title: str = "") -> set[str]:
    from matplotlib.text import Text

    figure = attention.heat_map(maps, title=title, rows="source piece", columns="source pieces")
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj(Text)} - {""}


MAPS = attention.Maps(["cat", "position"], ["cat", "4"], np.full((1, 2, 2, 2), 0.5))


def test_labels_are_chinese_where_a_font_has_the_letters_and_no_box_is_drawn(chinese):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            fonts.families("词元")
        except UserWarning:
            pytest.skip("there is no font with Chinese letters (Debian: apt install fonts-noto-cjk)")
        chinese()
        chinese()  # a cell that is run again
        found = said(
            MAPS, "a red cat\nself-attention of the decoder, layer 2 of 12"
        )  # warns of a letter without a font
    assert {"第 1 个头", "第 2 个头", "注意力权重", "源语词元", "cat", "4"} <= found
    pattern = labels.WORDS["self-attention of the decoder, layer # of #"]
    assert "a red cat\n" + pattern.replace("#", "2", 1).replace("#", "12", 1) in found


def test_labels_stay_english_where_no_font_has_the_letters(chinese, monkeypatch):
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    chinese()
    assert {"head 1", "head 2", "attention weight", "source piece", "source pieces"} <= said(MAPS)
