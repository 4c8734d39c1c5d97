"""Our translator as ONNX: the folder that transformers.js loads as a MarianMT model, and onnxruntime without it.

    config.json, generation_config.json, tokenizer.json, tokenizer_config.json
    onnx/encoder_model.onnx, onnx/decoder_model_merged.onnx    float32; _fp16 and _quantized beside them

Ids stay ours. What searches is the program that loads it, and transformers.js searches greedily: the config says so.
An output there has at most `max_length` tokens, here 50 pieces more than its source.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wmt_transformer.config import Config, UserError
from wmt_transformer.data.vocabulary_files import load_vocabulary
from wmt_transformer.decode.runs import sized
from wmt_transformer.files import whole_folder
from wmt_transformer.interop import onnx_model
from wmt_transformer.interop.marian_export import their_config, their_search
from wmt_transformer.interop.marian_folder import write_json
from wmt_transformer.interop.onnx_graph import Precision, package
from wmt_transformer.interop.tokenizer_json import tokenizer_config, tokenizer_json
from wmt_transformer.interop.verification import REPORT, Comparison, Sample, compared
from wmt_transformer.special_tokens import BOS, EOS, PAD

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SUFFIXES: dict[Precision, str] = {"float32": "", "float16": "_fp16", "int8": "_quantized"}
"""What transformers.js adds to a file's name for its dtype: fp32, fp16 or q8."""
_FILES = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "onnx", REPORT}


def export(
    config: Config,
    params: Mapping[str, Any],
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    precisions: Sequence[Precision] = tuple(SUFFIXES),
    bleu: bool = False,
) -> Comparison:
    """Writes a model and its vocabulary as a folder of ONNX graphs, whole or not at all; returns how they compare.

    Where onnxruntime is installed, a few sentences are translated by both programs before the folder is there.

    Args:
      config: the run's.
      params: of a checkpoint.
      data: the run's data folder, with its vocabulary.
      output: the folder. It may exist if it is empty or an earlier export, which is then replaced.
      precisions: how matrices are stored, a pair of files for each.
      bleu: measure it on the run's test set, of greedy search (see `verification.py`).

    Raises:
      UserError: onnx is not installed, the model does not translate, the vocabulary is another model's or cannot be a
        tokenizer.json, onnxruntime translates otherwise, or `output` holds other things or cannot be written.
    """
    package()
    if config.model.architecture != "encoder_decoder":
        raise UserError("it is a language model, and these graphs translate; export a translation run")
    model = sized(config.model, params, load_vocabulary(data))
    tokenizer = tokenizer_json(Path(data))
    longest = positions(config)
    with whole_folder(Path(output), "--output", _FILES) as out:
        write_json(out / "config.json", their_config(model, longest))
        greedily = dataclasses.replace(config.decode, beam_size=1)
        write_json(out / "generation_config.json", their_search(greedily, longest))
        write_json(out / "tokenizer.json", tokenizer)
        write_json(out / "tokenizer_config.json", tokenizer_config(config.data.source, config.data.target, longest))
        (out / "onnx").mkdir()
        for precision in precisions:
            for name, make in (("encoder_model", onnx_model.encoder), ("decoder_model_merged", onnx_model.decoder)):
                graph = make(model, params, precision, longest)
                (out / "onnx" / f"{name}{SUFFIXES[precision]}.onnx").write_bytes(graph.SerializeToString())
        sample, translated = (
            partial(Sample.of, config, params, Path(data), longest),
            partial(_translated, out, precisions),
        )
        result = compared("onnxruntime", ("onnxruntime",), sample, translated, bleu)
        result.write(out)
    return result


def positions(config: Config) -> int:
    """Returns how many tokens a source or an output of the graphs may have."""
    if config.model.positions == "learned":
        return config.model.max_positions
    return max(1024, config.data.max_length + config.decode.extra_length)


def _translated(folder: Path, precisions: Sequence[Precision], sample: Sample) -> dict[str, list[list[int]]]:
    """Returns what onnxruntime makes of a sample, greedily, as ids."""
    graphs = {precision: OnnxTranslator(folder, precision) for precision in precisions}
    return {
        precision: [one.greedy(ids, most) for ids, most in zip(sample.sources, sample.limits, strict=True)]
        for precision, one in graphs.items()
    }


class OnnxTranslator:
    """The graphs of an exported folder in onnxruntime, searched greedily: sources in, outputs out, as ids.

    Raises UserError where onnxruntime is not installed.
    """

    def __init__(self, folder: Path, precision: Precision = "float32"):
        try:
            import onnxruntime
        except ImportError:
            raise UserError("onnxruntime is not installed; run: pip install 'onnxruntime>=1.20'") from None

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # one sentence at a time is too little for several

        def loaded(name: str) -> InferenceSession:
            path = folder / "onnx" / f"{name}{SUFFIXES[precision]}.onnx"
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        self._encoder, self._decoder = loaded("encoder_model"), loaded("decoder_model_merged")
        self._outputs = [one.name for one in self._decoder.get_outputs()]

    def encode(self, source: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what the decoder has to know of sources `[batch, length]`, padded with PAD, to begin with."""
        mask = (source != PAD).astype(np.int64)
        (states,) = self._encoder.run(None, {"input_ids": source.astype(np.int64), "attention_mask": mask})
        sizes = {"batch_size": len(source)}  # every other axis that has a name is a length, and 0
        known = {"encoder_attention_mask": mask, "encoder_hidden_states": states, "use_cache_branch": np.zeros(1, bool)}
        for one in self._decoder.get_inputs():
            if one.name.startswith("past_key_values"):
                shape = [n if isinstance(n, int) else sizes.get(n, 0) for n in one.shape]
                known[one.name] = np.zeros(shape, np.float32)
        return known

    def step(self, known: dict[str, np.ndarray], tokens: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Returns the logits `[batch, length, vocabulary]` after tokens `[batch, length]`, and what is known then."""
        found: Any = self._decoder.run(None, known | {"input_ids": tokens.astype(np.int64)})
        named: dict[str, np.ndarray] = dict(zip(self._outputs, found, strict=True))
        logits = named.pop("logits")
        caches = {name.replace("present", "past_key_values"): cache for name, cache in named.items()}
        return logits, known | caches | {"use_cache_branch": np.ones(1, bool)}

    def greedy(self, source: list[int], longest: int) -> list[int]:
        """Returns the likeliest next token again and again, up to EOS, which is left out, or `longest` tokens."""
        known, token = self.encode(np.array([source])), BOS
        output: list[int] = []
        while len(output) < longest:
            logits, known = self.step(known, np.array([[token]]))
            logits[..., [PAD, BOS]] = -np.inf
            token = int(logits[0, -1].argmax())
            if token == EOS:
                break
            output.append(token)
        return output
