"""Every setting of a run, as frozen dataclasses; the defaults are the paper's base model.

A config is made by a `configs/NAME.py` file that defines `get_config() -> Config`, changed by dotted
command-line options (`--model.dropout 0.3`), and written as JSON into the work folder of the run, so that
every later verb knows what was trained. Sections and tables in the comments are those of "Attention Is All
You Need" (arXiv 1706.03762).

This file imports nothing heavy: `--help` and error messages do not wait for JAX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import math
import os
from pathlib import Path
from typing import Any, Literal

ComputeDtype = Literal["auto", "float32", "bfloat16"]
"""What matrix products are computed in; auto is bfloat16 where the hardware has it, but float32 on a CPU."""


class UserError(Exception):
    """A mistake that the user can mend. The command line prints its one line and exits with code 2."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The Transformer of §3, with every knob that Table 3 turns."""

    architecture: Literal["encoder_decoder", "decoder_only"] = "encoder_decoder"
    """The paper's, which translates; or its decoder without cross-attention, a language model."""
    vocabulary_size: int = 37000
    """Pieces in the shared vocabulary; the model's size follows the vocabulary that was really trained."""
    num_layers: int = 6
    """N: layers in the encoder, and as many in the decoder."""
    num_decoder_layers: int | None = None
    """Layers in the decoder where it is not as deep as the encoder; None is as deep, as in the paper."""
    d_model: int = 512
    """Width of embeddings and of every sub-layer's output."""
    d_ff: int = 2048
    """Width of the feed-forward network's hidden layer (§3.3)."""
    activation: Literal["relu", "swish", "gelu"] = "relu"
    """max(0, x) as in equation 2, x · sigmoid(x) as in Marian's models, or x · Φ(x) (by tanh) as in GPT-2's."""
    num_heads: int = 8
    """h: parallel attention heads (§3.2.2)."""
    d_k: int = 64
    """Width of one head's queries and keys."""
    d_v: int = 64
    """Width of one head's values."""
    dropout: float = 0.1
    """Residual dropout: on every sub-layer's output and on embeddings plus positions (§5.4)."""
    attention_dropout: float = 0.0
    """Dropout on the attention weights (not in the paper; tensor2tensor's later presets use 0.1)."""
    relu_dropout: float = 0.0
    """Dropout after the ReLU (not in the paper; tensor2tensor's later presets use 0.1)."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """Positional encoding (§3.5; Table 3 row E uses learned)."""
    sinusoid_layout: Literal["interleaved", "concatenated"] = "interleaved"
    """Sines and cosines alternate (the paper), or all sines first (tensor2tensor, Marian)."""
    max_positions: int = 1024
    """Rows of the learned position table; sinusoidal positions have no limit."""
    norm_position: Literal["post", "pre"] = "post"
    """Layer norm after the residual sum (the paper), or before each sub-layer with a final norm."""
    norm_epsilon: float = 1e-6
    """Added to the variance in layer norm."""
    attention_bias: bool = False
    """Biases on the query, key, value and output projections."""
    tied_embeddings: Literal["all", "target", "none"] = "all"
    """Which matrices are one: source = target = output (§3.4), target = output, or none."""
    pretrained_embeddings: str | None = None
    """A file of word vectors (word2vec text or binary, GloVe): rows of the pieces that it has start from them."""
    output_bias: bool = False
    """A bias for every piece on the logits (not in the paper; Marian's models have one)."""
    attention: Literal["auto", "explicit", "fused"] = "auto"
    """How training attends: by einsums, or by TPU kernels that keep the scores on the chip (with attention_dropout 0,
    up to 512 positions); auto is fused on TPU."""
    remat: bool = False
    """Keep only what goes from layer to layer for the backward pass and compute the rest again there: less memory, a
    third more arithmetic, the same numbers."""
    compute_dtype: ComputeDtype = "auto"
    """Dtype of the matrix products; auto is bfloat16 on TPU and GPU (NVIDIA's from Ampere on), float32 on CPU.
    Parameters, softmax, layer norm's statistics, logits and loss are always float32."""

    @property
    def decoder_layers(self) -> int:
        """How many layers the decoder has."""
        return self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the pairs come from, the vocabulary, and the batches (§5.1)."""

    corpus: Literal[
        "phrasebook",
        "multi30k",
        "tatoeba",
        "wmt14",
        "files",
        "penn_treebank",
        "penn_sample",
        "craft",
        "trees",
        "shakespeare",
        "text",
    ] = "wmt14"
    """Which corpus; `files` reads the three paths below, and so do `trees`, for parsing like those before it, and
    `text`, for a language model like the one before it."""
    source: str = "en"
    """Language translated from (ISO 639-1)."""
    target: str = "de"
    """Language translated to; `tree` where the corpus is a treebank."""
    path: str | None = None
    """A local folder that holds the corpus already; None downloads it."""
    train_files: tuple[str, ...] = ()
    """corpus = files: one .tsv[.gz], or a source file and a target file; relative to `path`. Treebanks: files of trees,
    * for any letters, added to the training set. corpus = text: any number."""
    dev_files: tuple[str, ...] = ()
    """corpus = files or trees: the development set, in the same form. corpus = text: none is the last tenth of each
    training file."""
    test_files: tuple[str, ...] = ()
    """corpus = files or trees: the test set, in the same form."""
    train_weights: tuple[float, ...] = ()
    """Treebanks: how often an epoch has the trees of the corpus itself, then of each of `train_files`; () is once."""
    train_pairs: int | None = None
    """Use at most this many training pairs (phrasebook: generate this many)."""
    tree_leaves: Literal["XX", "numbers"] = "XX"
    """Treebanks: what stands for a word in a tree: XX (Vinyals et al. 2014), or a number that the source has too."""
    documents: Literal["none", "file", "paragraph", "line"] = "none"
    """What one text is to a language model, which reads the target side of sentence pairs; none: pairs to translate."""
    context: int = 1024
    """Tokens in a window of a language model's packed text."""
    vocabulary_size: int = 37000
    """Pieces in the vocabulary shared by both languages."""
    vocabulary_model: Literal["bpe", "unigram", "char"] = "bpe"
    """SentencePiece algorithm; char is one piece a character, `vocabulary_size` of them at most."""
    vocabulary_sample: int = 2_000_000
    """Train the vocabulary on at most this many sentences, drawn evenly from the whole corpus."""
    max_length: int = 256
    """Drop training pairs with more pieces than this on either side, end-of-sentence included."""
    max_length_ratio: float = 9.0
    """Drop training pairs in which one side has this many times the pieces of the other."""
    deduplicate: bool = True
    """Drop training pairs that occurred before."""
    source_tokens: int = 25000
    """Slots for source tokens in a batch, over all hosts (§5.1)."""
    target_tokens: int = 25000
    """Slots for target tokens in a batch, over all hosts (§5.1)."""
    num_shapes: int = 12
    """At most this many (rows, source length, target length) shapes; each one is compiled once."""
    batch_multiple: int = 8
    """Rows of every batch are a multiple of this, so that devices and hosts share them evenly."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimiser, schedule, regularisation, and what happens how often (§5)."""

    steps: int = 100_000
    """Parameter updates: 100,000 for base, 300,000 for big (§5.2)."""
    learning_rate: float = 1.0
    """Factor on the schedule of §5.3."""
    warmup_steps: int = 4000
    """Steps of linear warm-up (§5.3)."""
    adam_b1: float = 0.9
    adam_b2: float = 0.98
    adam_epsilon: float = 1e-9
    label_smoothing: float = 0.1
    """Share of the probability mass spread evenly over the vocabulary (§5.4)."""
    accumulation: int = 1
    """Micro-batches summed before one update; each step's rows are divided by it."""
    seed: int = 1
    """Everything random in a run follows from it: parameters, order of the data, dropout."""
    deterministic: bool = False
    """On a GPU: add gradients up in a fixed order, so that the same steps give the same bits; slower. On a CPU and a
    TPU they always do."""
    log_every: int = 100
    """Steps between two lines of metrics."""
    evaluate_every: int = 1000
    """Steps between two evaluations on the development set."""
    evaluate_pairs: int = 1000
    """Score dev BLEU (treebanks: F1) on the first so many development sentences (greedy); 0 turns it off."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints (the paper: 10 minutes)."""
    keep_checkpoints: int = 5
    """Newest checkpoints kept; the one with the best dev score is kept as well."""
    average_last: int = 5
    """Checkpoints averaged at the end of the run: 5 for base, 20 for big (§6.1)."""
    patience: int = 0
    """Stop after so many evaluations without a better dev loss; 0 never stops early."""
    stop_after_skipped: int = 20
    """Stop when so many steps in a row were skipped because their gradient was not finite; looked at with the log."""
    show_translations: int = 3
    """Development sentences whose translation is shown at every evaluation."""


@dataclasses.dataclass(frozen=True)
class DecodeConfig:
    """Beam search (§6.1), and the rules for its output. Raises UserError for a value out of range."""

    beam_size: int = 4
    """Hypotheses kept per sentence; 1 is greedy."""
    alpha: float = 0.6
    """Exponent of the length penalty ((5 + length) / 6) ** alpha."""
    beta: float = 0.0
    """Factor of the coverage penalty that ranks finished hypotheses (Wu et al. 2016; the paper has none)."""
    extra_length: int = 50
    """Output is cut behind the source length plus this many pieces."""
    min_length: int = 0
    """Output ends behind so many pieces at the earliest."""
    max_length: int | None = None
    """Output ends behind so many pieces at the latest, whatever the source; None has no such limit."""
    batch_tokens: int = 4096
    """Slots of hypotheses (rows x beam x source length) decoded together."""

    def __post_init__(self) -> None:
        least = {"beam_size": 1, "alpha": 0, "beta": 0, "extra_length": 0, "min_length": 0, "batch_tokens": 1}
        if self.max_length is not None:
            least["max_length"] = 1
        for name, low in least.items():
            value = getattr(self, name)
            if not low <= value < math.inf:
                raise UserError(f"{name} is {value}, it must be {low} or more")
        if self.max_length is not None and self.min_length > self.max_length:
            raise UserError(f"min_length is {self.min_length}, which is more than max_length, {self.max_length}")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices stand along each axis of the mesh; -1 is as many as there are."""

    data: int = -1
    """Groups of devices that take different rows of a batch and hold the whole model between them."""
    fsdp: int = 1
    """Devices that take different rows and share out parameters and optimiser state; each layer's are gathered
    when it computes."""
    tensor: int = 1
    """Devices that share out heads, the feed-forward's hidden units and the vocabulary of the same rows."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One run. `name` is the config file's; `family` names whose conventions it follows."""

    name: str = "base"
    family: Literal["paper", "t2t", "small", "marian"] = "paper"
    """paper: as published; t2t: as tensor2tensor's later presets; small: our own small-data settings; marian:
    imported from a Marian model."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    decode: DecodeConfig = DecodeConfig()
    mesh: MeshConfig = MeshConfig()


def to_json(config: Config) -> str:
    """Returns the config as indented JSON, one field a line."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Returns the config that `to_json` wrote; raises UserError for a field that this version does not have."""
    raw = json.loads(text)
    sections = {
        "model": ModelConfig,
        "data": DataConfig,
        "train": TrainConfig,
        "decode": DecodeConfig,
        "mesh": MeshConfig,
    }
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name in sections:
            known = {field.name for field in dataclasses.fields(sections[name])}
            unknown = sorted(set(value) - known)
            if unknown:
                raise UserError(
                    f"config.json has {name}.{unknown[0]}, unknown to this version; use the one that wrote it"
                )
            value = sections[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})
        values[name] = value
    return Config(**values)


def differences(old: Config, new: Config) -> list[str]:
    """Returns one line per field that differs: `model.dropout: 0.1 there, 0.3 here`."""
    there, here = _flat(dataclasses.asdict(old)), _flat(dataclasses.asdict(new))
    return [f"{name}: {there[name]!r} there, {here[name]!r} here" for name in here if there.get(name) != here[name]]


MAY_CHANGE = (
    "train.steps",
    "train.log_every",
    "train.evaluate_every",
    "train.evaluate_pairs",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.average_last",
    "train.patience",
    "train.stop_after_skipped",
    "train.show_translations",
    "train.deterministic",
    "model.vocabulary_size",
    "model.remat",
    "model.attention",
    "data.path",
    "decode.",
    "mesh.",
)
"""Fields in which a resumed run may differ: they change how long and how it is watched, not what is learned.
(The model's vocabulary size follows the data's, which may not differ.)"""


def check_same_run(workdir: Path, config: Config) -> None:
    """Raises UserError when the work folder holds a run of another config; the message names what differs."""
    path = workdir / "config.json"
    if path.is_file():
        changed = [line for line in differences(from_json(path.read_text()), config) if not line.startswith(MAY_CHANGE)]
        if changed:
            raise UserError(f"{workdir} holds a run of another config ({'; '.join(changed)}); choose another --workdir")


FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "model": {"norm_position": "post", "attention_dropout": 0.0, "relu_dropout": 0.0},
        "train": {"learning_rate": 1.0, "warmup_steps": 4000, "adam_b2": 0.98},
    },
    "t2t": {
        "model": {"norm_position": "pre", "attention_dropout": 0.1, "relu_dropout": 0.1},
        "train": {"learning_rate": 2.0, "warmup_steps": 8000, "adam_b2": 0.997},
    },
}
"""Where the paper and tensor2tensor's later presets (`transformer_base` since version 3) differ; sizes, dropout, label
smoothing, batches and beam are the same in both."""


def with_family(config: Config, family: str) -> Config:
    """Returns the config with the conventions of `paper` or `t2t` (see FAMILIES), named so; UserError for others."""
    if family not in FAMILIES:
        raise UserError(f"there is no family {family!r} to choose; there are {', '.join(FAMILIES)}")
    sections = {
        section: dataclasses.replace(getattr(config, section), **fields) for section, fields in FAMILIES[family].items()
    }
    return dataclasses.replace(config, family=family, **sections)


def override(config: Config, arguments: list[str]) -> Config:
    """Returns the config changed by `--section.field value …` (or `--section.field=value`) arguments.

    `--family t2t` changes what `with_family` says, before the other arguments do, wherever it stands. Raises UserError
    for a field that there is not, and for a value of the wrong type.
    """
    import difflib

    import tyro

    known = list(_flat(dataclasses.asdict(config)))
    options: list[list[str]] = []
    for argument in arguments:
        if argument.startswith("--") and not argument[2:3].isdigit():
            name, equals, value = argument[2:].partition("=")
            options.append([f"--{name.replace('-', '_')}", *([value] if equals else [])])
        elif options:
            options[-1].append(argument)
        else:
            raise UserError(f"unexpected argument {argument!r}; options look like --model.dropout 0.3")
    for option in sorted(options, key=lambda option: option[0] != "--family"):
        name = option[0][2:]
        if name == "family":
            config = with_family(config, " ".join(option[1:]))
            continue
        if name not in known or name == "name":
            close = difflib.get_close_matches(name, known, 3) or [n for n in known if n.endswith(name.split(".")[-1])]
            hint = f"; did you mean --{', --'.join(close)}?" if close else f"; there are {', '.join(known)}"
            raise UserError(f"there is no setting --{name}{hint}")
        try:
            kind = tyro.conf.FlagConversionOff[Config]
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                config = tyro.cli(kind, default=config, args=option, use_underscores=True)
        except SystemExit:
            section, _, field = name.partition(".")
            expected = type(getattr(config, section)).__annotations__[field]
            raise UserError(f"--{name} {' '.join(option[1:])}: expected {expected}") from None
    return config


def shipped_configs() -> dict[str, Path]:
    """Returns the path of every config that comes with the package, by name, in a checkout or a wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    return {}


def load(name_or_path: str) -> Config:
    """Returns `get_config()` of a shipped config's name or of a path to a config file.

    Raises UserError when there is no such config; the message lists those that exist.
    """
    shipped = shipped_configs()
    is_path = name_or_path.endswith(".py") or os.sep in name_or_path
    path = Path(name_or_path) if is_path else shipped.get(name_or_path)
    if path is None or not path.is_file():
        raise UserError(
            f"there is no config {name_or_path!r}; shipped are {', '.join(shipped)}, and a path to a .py file works too"
        )
    spec = importlib.util.spec_from_file_location(f"wmt_transformer_config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} defines no get_config(); it must return a wmt_transformer.config.Config")
    config = module.get_config()
    return dataclasses.replace(config, name=path.stem)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one, with dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for name, sub in value.items() for k, v in _flat(sub, f"{prefix}.{name}" if prefix else name).items()}
