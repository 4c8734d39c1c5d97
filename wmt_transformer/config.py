"""Every setting of a run, as frozen dataclasses; the defaults are the paper's base model.

This is the schema alone: each setting with its default, its range and its meaning, and a check of every value when it
is given. How a config is found by name, changed by command-line options and kept in the folder of a run is in
`experiment.py`. Sections and tables in the comments are those of "Attention Is All You Need" (arXiv 1706.03762).

This file imports nothing heavy: `--help` and error messages do not wait for JAX.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from wmt_transformer.ranges import (
    AtLeastOne,
    AtLeastZero,
    Beam,
    Count,
    CountOrZero,
    Exponent,
    Form,
    Positive,
    Range,
    Share,
    Size,
    Weight,
    kinds,
    mistake,
)

ComputeDtype = Literal["auto", "float32", "bfloat16"]
"""What matrix products are computed in; auto is bfloat16 where the hardware has it, but float32 on a CPU."""
DecodeDtype = Literal[ComputeDtype, "int8"]
"""What decoding computes matrix products in: as above, or weights and products in 8 bits, on a CPU."""
NamedElsewhere = Annotated[
    str, Form(r"hf:[^:=@\s]+(:[^:=@\s]+)?(@[^:=@\s]+)?|mtdata:[^:=\s]+", "hf:NAME[:CONFIG][@REVISION] or mtdata:ID")
]
"""A corpus by the name that it has in somebody else's collection."""


class UserError(Exception):
    """A mistake that the user can mend. The command line prints its one line and exits with code 2.

    >>> import wmt_transformer as wt
    >>> wt.load_config("quickstart", model={"dropout": 1.5})
    Traceback (most recent call last):
    wmt_transformer.config.UserError: model.dropout is 1.5; it must be a number, 0 or more and below 1
    """


class Checked:
    """A section of a config. Raises UserError for a value of another type than its field's, or out of its range."""

    def __post_init__(self) -> None:
        check(type(self), vars(self))


def check(section: type, values: Mapping[str, object]) -> None:
    """Raises UserError for the first value that a field of the section cannot have."""
    for field, value in values.items():
        if expected := mistake(value, kinds(section)[field]):
            name = f"{section.__name__.removesuffix('Config').lower()}.{field}".removeprefix(".")
            raise UserError(f"{name} is {value!r}; it must be {expected}")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
    """The Transformer of §3, with every knob that Table 3 turns."""

    architecture: Literal["encoder_decoder", "decoder_only"] = "encoder_decoder"
    """The paper's model, which translates, or its decoder without cross-attention, a language model."""
    vocabulary_size: Count = 37000
    """Pieces in the shared vocabulary; training sets it to the size of the vocabulary that was prepared."""
    num_layers: Count = 6
    """N: layers in the encoder, and in the decoder unless num_decoder_layers says otherwise."""
    num_decoder_layers: Count | None = None
    """Layers in the decoder; None: as many as in the encoder, as in the paper."""
    d_model: Count = 512
    """Width of embeddings and of every sub-layer's output."""
    d_ff: Count = 2048
    """Width of the feed-forward network's hidden layer (§3.3)."""
    activation: Literal["relu", "swish", "gelu"] = "relu"
    """max(0, x) as in equation 2, x · sigmoid(x) as in Marian's models, or x · Φ(x) (by tanh) as in GPT-2's."""
    num_heads: Count = 8
    """h: parallel attention heads (§3.2.2)."""
    d_k: Count = 64
    """Width of one head's queries and keys."""
    d_v: Count = 64
    """Width of one head's values."""
    dropout: Share = 0.1
    """Residual dropout: on every sub-layer's output and on embeddings plus positions (§5.4)."""
    attention_dropout: Share = 0.0
    """Dropout on the attention weights (not in the paper; tensor2tensor's later presets use 0.1)."""
    relu_dropout: Share = 0.0
    """Dropout after the ReLU (not in the paper; tensor2tensor's later presets use 0.1)."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """Positional encoding (§3.5; Table 3 row E uses learned)."""
    sinusoid_layout: Literal["interleaved", "concatenated"] = "interleaved"
    """Sines and cosines alternate (the paper), or all sines come first (tensor2tensor, Marian)."""
    max_positions: Count = 1024
    """Rows of the learned position table; sinusoidal positions have no limit."""
    norm_position: Literal["post", "pre"] = "post"
    """Layer norm after the residual sum (the paper), or before each sub-layer with a final norm."""
    norm_epsilon: Positive = 1e-6
    """Added to the variance in layer norm."""
    attention_bias: bool = False
    """Biases on the query, key, value and output projections."""
    tied_embeddings: Literal["all", "target", "none"] = "all"
    """Which matrices are shared: source = target = output (§3.4), target = output, or none."""
    pretrained_embeddings: str | None = None
    """A file of word vectors (word2vec text or binary, GloVe): pieces that it has start from its vectors."""
    output_bias: bool = False
    """A bias for every piece on the logits (not in the paper; Marian's models have one)."""
    attention: Literal["auto", "explicit", "fused", "cudnn"] = "auto"
    """How training computes attention: by einsums (explicit), or by kernels that keep the scores on the chip, where
    attention_dropout is 0: fused is ours for TPUs (up to 512 positions), cudnn is NVIDIA's (bfloat16); auto takes these
    where they are faster."""
    remat: bool = False
    """Store only the inputs of each layer for the backward pass and compute the rest again: less memory, a third more
    arithmetic, the same result."""
    compute_dtype: ComputeDtype = "auto"
    """Dtype of the matrix products; auto is bfloat16 on TPU and GPU (NVIDIA's from Ampere on), float32 on CPU.
    Parameters, softmax, layer norm's statistics, logits and loss are always float32."""

    @property
    def decoder_layers(self) -> int:
        """Number of layers in the decoder."""
        return self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers


@dataclasses.dataclass(frozen=True)
class DataConfig(Checked):
    """Where the pairs come from, the vocabulary, and the batches (§5.1)."""

    corpus: (
        Literal[
            "phrasebook",
            "multi30k",
            "tatoeba",
            "wmt14",
            "wmt16",
            "iwslt14",
            "iwslt17",
            "files",
            "penn_treebank",
            "penn_sample",
            "craft",
            "trees",
            "shakespeare",
            "text",
        ]
        | NamedElsewhere
    ) = "wmt14"
    """Which corpus. `files` (translation), `trees` (parsing) and `text` (language model) read the files named below;
    hf:NAME[:CONFIG][@REVISION] is a data set of the Hugging Face hub, mtdata:ID one of mtdata's index."""
    source: str = "en"
    """Language translated from (ISO 639-1)."""
    target: str = "de"
    """Language translated to; `tree` where the corpus is a treebank."""
    path: str | None = None
    """A folder that already holds the corpus; None downloads it."""
    train_files: tuple[str, ...] = ()
    """corpus = files: one .tsv[.gz], or a source file and a target file; relative to `path`. Treebanks: files of trees
    (* stands for any characters), added to the training set. corpus = text: any number of files. corpus = hf:…: the
    split to read, or a part of it, such as train[1000:]."""
    dev_files: tuple[str, ...] = ()
    """corpus = files or trees: the development set, in the same form. corpus = text: where none is given, the last
    tenth of each training file. corpus = hf:…: the split, as in train_files. corpus = mtdata:…: the
    IDs."""
    test_files: tuple[str, ...] = ()
    """The test set, in the same form."""
    more_corpora: tuple[str, ...] = ()
    """Corpora to train on besides `corpus`: NAME, NAME=FOLDER, files=FILE[,FILE] or text=FILE[,…], with :SOURCE-TARGET
    after it where its languages are others, as in `tatoeba:en-fr`. Development and test sets are those of `corpus`."""
    train_weights: tuple[Weight, ...] = ()
    """How often an epoch has the pairs, or the text, of `corpus`, then of each of `more_corpora`; (): once each.
    Treebanks: the trees of the corpus itself, then those of each of `train_files`."""
    temperature: AtLeastOne = 1.0
    """Several corpora: small ones are repeated as if all were sampled in proportion to size ** (1 / temperature); 1:
    not at all. Weights count besides."""
    tags: tuple[str, ...] = ()
    """A word before every source of `corpus`, then of each of `more_corpora`, which is one piece of the vocabulary:
    `>>de<<` names the target language of a model that knows several; '': none."""
    train_pairs: Count | None = None
    """Use at most this many training pairs (phrasebook: generate this many)."""
    tree_leaves: Literal["XX", "numbers"] = "XX"
    """Treebanks: what replaces a word in a tree: XX (Vinyals et al. 2014), or a number that the source has too."""
    documents: Literal["none", "file", "paragraph", "line"] = "none"
    """What counts as one text for a language model; none: the run translates. Of sentence pairs a language model reads
    the target side."""
    context: Count = 1024
    """Tokens in a window of a language model's packed text."""
    vocabulary: str | None = None
    """A vocabulary to use instead of training one: a SentencePiece model, a run, or a folder with Marian's source.spm,
    target.spm and vocab.json."""
    vocabulary_size: Count = 37000
    """Pieces in the vocabulary shared by both languages, where it is trained."""
    vocabulary_model: Literal["bpe", "unigram", "char"] = "bpe"
    """SentencePiece algorithm; char: each character is a piece, at most `vocabulary_size` of them."""
    vocabulary_sample: Count = 2_000_000
    """Train the vocabulary on at most this many sentences, spread evenly over the corpus."""
    subword_sampling: Share = 0.0
    """Training pairs are cut at random: a vocabulary of byte pairs skips each merge with this probability (BPE-dropout;
    Provilkov et al. 2020 take 0.1), a unigram one draws a segmentation in proportion to its probability to this power
    (Kudo 2018 takes 0.2); 0: always cut the same way."""
    subword_samples: Count = 8
    """Segmentations drawn of each training pair; an epoch has one of them, the next epoch the next. Cutting takes this
    many times as long, and more; in a batch a pair has room for its longest one."""
    max_length: Count = 256
    """Drop training pairs with more pieces than this on either side, end-of-sentence included."""
    max_length_ratio: Positive = 9.0
    """Drop training pairs in which one side has more than this many times the pieces of the other."""
    deduplicate: bool = True
    """Drop training pairs that repeat an earlier pair."""
    source_tokens: Count = 25000
    """Slots for source tokens in a batch, all hosts together, padding included (§5.1)."""
    target_tokens: Count = 25000
    """Slots for target tokens in a batch, all hosts together, padding included (§5.1)."""
    num_shapes: Count | None = None
    """At most this many shapes of batches (rows, source length, target length); each one is compiled once. None: one
    for every 600 steps that the run is given when it begins, 12 at most; it keeps them."""
    batch_multiple: Count = 8
    """Rows of every batch are a multiple of this, so that devices and hosts share them evenly."""


@dataclasses.dataclass(frozen=True)
class TrainConfig(Checked):
    """Optimiser, schedule, regularisation, and what happens how often (§5)."""

    steps: Count = 100_000
    """Parameter updates: 100,000 for base, 300,000 for big (§5.2)."""
    epochs: Annotated[float, Range(0, 1_000_000, above_low=True)] | None = None
    """End after this many passes over the training data, whatever `steps` says; None: after `steps`."""
    schedule: Literal["inverse_square_root", "constant", "linear", "cosine"] = "inverse_square_root"
    """The learning rate after warm-up: falls as 1 / √step (§5.3), stays, or falls to 0 at the last step, in a line or
    as half a cosine."""
    learning_rate: Positive = 1.0
    """Factor on the schedule of §5.3; with the other schedules the learning rate itself at the end of warm-up, such as
    3e-4."""
    warmup_steps: Count = 4000
    """Steps of linear warm-up (§5.3)."""
    adam_b1: Share = 0.9
    """β1: decay of Adam's mean of the gradients (§5.3)."""
    adam_b2: Share = 0.98
    """β2: decay of Adam's mean of the squared gradients (§5.3)."""
    adam_epsilon: Positive = 1e-9
    """ε: added to the root of the squared gradients' mean (§5.3)."""
    weight_decay: AtLeastZero = 0.0
    """Each update also takes this times the learning rate of every weight off it (AdamW), but not of biases, layer
    norms' scales and frozen parameters (the paper has none)."""
    clip_norm: Positive | None = None
    """A gradient whose norm, over all parameters, is larger is scaled down to this norm; None: never (the paper)."""
    ema_decay: Share = 0.0
    """Decay of a running mean of the parameters over the updates, (1 + n) / (10 + n) in update n while that is less:
    the mean is what is evaluated, averaged and translated with; 0: the parameters themselves are (the paper)."""
    freeze: tuple[str, ...] = ()
    """Parameters that stay as they are: regular expressions, each for whole names, such as encoder/.* or
    .*embedding/table; a pattern that matches none is refused, and the names are listed."""
    label_smoothing: Share = 0.1
    """Share of the probability mass spread evenly over the vocabulary (§5.4)."""
    accumulation: Count = 1
    """Micro-batches that each batch is split into; their gradients are summed before the update."""
    seed: CountOrZero = 1
    """Everything random in a run follows from it: initial parameters, order of the data, dropout."""
    deterministic: bool = False
    """On a GPU: add gradients up in a fixed order, so that the same steps give the same bits; slower. On a CPU and a
    TPU they always do."""
    log_every: Count = 100
    """Steps between two lines of metrics."""
    evaluate_every: Count = 1000
    """Steps between two evaluations on the development set."""
    evaluate_pairs: CountOrZero = 1000
    """Measure BLEU (treebanks: F1) of greedy output for this many development sentences, the first ones; 0: do not."""
    checkpoint_every: Count = 1000
    """Steps between two checkpoints. The paper saves every 10 minutes, which is no number of steps: at its speed (base
    0.4 s a step, big 1.0 s; §5.2) about 1,500 of base and 600 of big."""
    keep_checkpoints: Count = 5
    """Newest checkpoints kept, and besides them the one with the best dev score."""
    average_last: Count = 5
    """Checkpoints that `average` takes the mean of: 5 for base, 20 for big (§6.1); at most keep_checkpoints."""
    patience: CountOrZero = 0
    """Stop after this many evaluations in a row without a better dev loss (or score); 0: never stop early."""
    patience_measure: Literal["loss", "score"] = "loss"
    """What has to get better: the dev loss, or the dev score (BLEU or F1; minus the loss where neither is measured)."""
    stop_after_skipped: Count = 20
    """Stop when this many steps in a row were skipped because their gradient was not finite; checked every log_every
    steps."""
    show_translations: CountOrZero = 3
    """Development sentences whose translations are shown at each evaluation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average_last > self.keep_checkpoints:
            raise UserError(
                f"average_last is {self.average_last}, which is more than keep_checkpoints, {self.keep_checkpoints}: "
                "checkpoints that are not kept cannot be averaged"
            )
        if self.schedule != "inverse_square_root" and self.learning_rate > 0.1:
            raise UserError(
                f"learning_rate is {self.learning_rate:g}, and with schedule {self.schedule} that is the rate itself, "
                "where Adam needs much less than 0.1; set --train.learning_rate, for instance to 3e-4"
            )
        for pattern in self.freeze:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"freeze: {pattern!r} is no regular expression: {error}") from error


@dataclasses.dataclass(frozen=True)
class DecodeConfig(Checked):
    """Beam search (§6.1), and the rules for its output."""

    beam_size: Beam = 4
    """Hypotheses kept for each sentence; 1 is greedy search."""
    alpha: Exponent = 0.6
    """Exponent of the length penalty ((5 + length) / 6) ** alpha."""
    beta: AtLeastZero = 0.0
    """Factor of the coverage penalty that ranks finished hypotheses (Wu et al. 2016; the paper has none)."""
    extra_length: CountOrZero = 50
    """Output is at most this many pieces longer than the source (§6.1)."""
    min_length: CountOrZero = 0
    """Output is at least this many pieces long."""
    max_length: Count | None = None
    """Output is at most this many pieces long, whatever the source; None: no such limit."""
    batch_tokens: Count | None = None
    """Slots decoded together: sentences x beam_size x source length; None: 4,096, on a GPU 32,768."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length is not None and self.min_length > self.max_length:
            raise UserError(f"min_length is {self.min_length}, which is more than max_length, {self.max_length}")


@dataclasses.dataclass(frozen=True)
class MeshConfig(Checked):
    """Devices along each axis of the mesh; one axis may be -1, which takes the devices that the others leave."""

    data: Size = -1
    """Groups of devices; each takes other rows of a batch and computes with the whole model. Where other axes are 1,
    each holds and updates a part of parameters and optimiser state, and the parameters are gathered once a step."""
    fsdp: Size = 1
    """Devices that take other rows of a batch and split parameters and optimiser state; a layer's parameters are
    gathered when it computes."""
    tensor: Size = 1
    """Devices that take the same rows and split heads, the feed-forward's hidden units and the vocabulary."""


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """One run: its name (that of the config file), the conventions that it follows, and its settings by section.

    Without arguments it is the paper's base model.

    >>> import wmt_transformer as wt
    >>> config = wt.Config()
    >>> config.model.d_model, config.model.num_heads, config.train.warmup_steps
    (512, 8, 4000)
    """

    name: str = "base"
    family: Literal["paper", "t2t", "small", "marian"] = "paper"
    """paper: as published; t2t: as tensor2tensor's later presets; small: our own small-data settings; marian:
    imported from a Marian model."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    decode: DecodeConfig = DecodeConfig()
    mesh: MeshConfig = MeshConfig()
