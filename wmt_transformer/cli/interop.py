"""Verbs that write a run in another program's format, or read one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb
from wmt_transformer.cli.streams import say
from wmt_transformer.config import UserError
from wmt_transformer.experiment import run_config
from wmt_transformer.files import whole_file

if TYPE_CHECKING:  # it brings JAX
    from wmt_transformer.interop.verification import Comparison

_BLEU = "translate the test set by both programs, greedily, and put both BLEU into the report"


def add(verb: AddVerb) -> None:
    """Adds the verbs to the command line."""
    sub = verb(import_marian)
    sub.add_argument(
        "model",
        metavar="FOLDER",
        help="a Marian model as transformers saves it, or its name on the Hugging Face Hub: Helsinki-NLP/opus-mt-en-de",
    )
    sub.add_argument("--revision", help="a branch, tag or commit of the hub's (default: its main branch)")
    sub.add_argument("--workdir", required=True, help="folder of the run to write, whole or not at all")

    for run in (export_marian, export_ctranslate2):
        sub = verb(run)
        sub.add_argument("--workdir", required=True, help="folder of the run")
        sub.add_argument("--output", metavar="FOLDER", required=True, help="folder to write, whole or not at all")
        sub.add_argument("--checkpoint", help=CHECKPOINT)
        sub.add_argument("--bleu", action="store_true", help=_BLEU)
        if run is export_marian:
            sub.add_argument(
                "--license", help="for its model card, such as cc-by-4.0 (default: its parent's, if known)"
            )
    kinds = ("float32", "float16", "int8")
    sub.add_argument("--quantization", choices=kinds, default=kinds[0], help="of the weights (default: %(default)s)")
    sub = verb(export_onnx)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    sub.add_argument("--output", metavar="FOLDER", required=True, help="folder to write, whole or not at all")
    sub.add_argument(
        "--precision", choices=kinds, nargs="+", default=kinds, help="of the matrices (default: all three)"
    )
    sub.add_argument("--checkpoint", help=CHECKPOINT)
    sub.add_argument("--bleu", action="store_true", help=_BLEU)

    sub = verb(export_embeddings)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    sub.add_argument("--output", metavar="FILE", required=True, help="file to write, whole or not at all")
    sub.add_argument("--side", choices=("target", "source"), default="target", help="where these have a table each")
    sub.add_argument("--checkpoint", help=CHECKPOINT)


def import_marian(options: argparse.Namespace, overrides: list[str]) -> None:
    """Makes a run of a Hugging Face Marian model, by its folder or its name on the Hub, which `translate` can use."""
    from wmt_transformer.interop import hub

    folder, origin = hub.locate(options.model, options.revision)

    from wmt_transformer.interop import marian  # brings JAX, which a download that fails should not wait for

    settings = marian.import_run(folder, options.workdir, origin)
    model, search = settings.model, settings.decode
    say(
        f"wrote {options.workdir}: {model.num_layers} + {model.decoder_layers} layers, d_model {model.d_model}, "
        f"{model.vocabulary_size:,} pieces; beam {search.beam_size}, alpha {search.alpha:g}; "
        f"from {origin}"
    )
    say(f"next: wmt-transformer translate --workdir {options.workdir}")


def export_marian(options: argparse.Namespace, overrides: list[str]) -> None:
    """Writes a run as a Hugging Face Marian model, which `transformers` loads, with its model card."""
    from wmt_transformer.interop import marian_export
    from wmt_transformer.interop.model_card import Provenance

    workdir = Path(options.workdir)
    settings = run_config(workdir)
    params = _params(workdir, options.checkpoint)
    found = Provenance.of(workdir, options.checkpoint, options.license)
    compared = marian_export.export(settings, params, workdir / "data", options.output, found, options.bleu)
    say(f"wrote {options.output}: MarianMTModel.from_pretrained({options.output!r}) loads it, and MarianTokenizer too")
    _say(compared)
    if not found.license:
        say(f"no licence is known for {options.output}/README.md: state one with --license before you publish it")


def export_ctranslate2(options: argparse.Namespace, overrides: list[str]) -> None:
    """Writes a run as a CTranslate2 model, with its SentencePiece file beside it.

    CTranslate2 takes the pieces of a text that is normalised (NFC, single spaces) and adds the end of a source itself:

        import ctranslate2, sentencepiece, unicodedata
        pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/vocabulary.model")
        text = " ".join(unicodedata.normalize("NFC", "A man in a red shirt rides a bicycle.").split())
        translator = ctranslate2.Translator(folder)
        (result,) = translator.translate_batch([pieces.encode(text, out_type=str)], beam_size=4, length_penalty=0.4)
        print(pieces.decode(result.hypotheses[0]))

    Its length penalty is not ours: for translations of about n pieces, alpha n / (n + 6) comes nearest to our alpha.
    A model imported from Marian has source.spm and target.spm in place of vocabulary.model, and normalises by itself.
    """
    from wmt_transformer.interop import ctranslate2

    workdir = Path(options.workdir)
    settings = run_config(workdir)
    params = _params(workdir, options.checkpoint)
    compared = ctranslate2.export(
        settings, params, workdir / "data", options.output, options.quantization, options.bleu
    )
    say(f"wrote {options.output}, which ctranslate2.Translator({options.output!r}) loads")
    _say(compared)


def export_onnx(options: argparse.Namespace, overrides: list[str]) -> None:
    """Writes a run as ONNX graphs, which transformers.js loads as a MarianMT model, and onnxruntime without it.

    In JavaScript, in a browser or in Node, with the folder served below /models/:

        import { env, pipeline } from "@huggingface/transformers";
        env.allowLocalModels = true;
        const translate = await pipeline("translation", "FOLDER", { dtype: "fp32" });
        console.log(await translate("A man in a red shirt rides a bicycle."));

    dtype is fp32, fp16 or q8, for --precision float32, float16 and int8. It searches greedily: beam 1.
    """
    from wmt_transformer.interop import onnx_export

    workdir = Path(options.workdir)
    settings = run_config(workdir)
    params = _params(workdir, options.checkpoint)
    compared = onnx_export.export(settings, params, workdir / "data", options.output, options.precision, options.bleu)
    say(f"wrote {options.output}, which transformers.js loads as a MarianMT model: {', '.join(options.precision)}")
    _say(compared)


def export_embeddings(options: argparse.Namespace, overrides: list[str]) -> None:
    """Writes a run's embeddings as word2vec text, which gensim's KeyedVectors loads."""
    import numpy as np

    from wmt_transformer.data import embeddings
    from wmt_transformer.data.marian_vocabulary import MarianVocabulary
    from wmt_transformer.data.vocabulary_files import load_vocabulary

    workdir = Path(options.workdir)
    settings = run_config(workdir)
    words = load_vocabulary(workdir / "data")
    if isinstance(words, MarianVocabulary):
        raise UserError(
            f"{workdir} was imported from Marian, whose pieces have ids of their own; export-marian keeps both"
        )
    with whole_file(options.output) as out:
        params = _params(workdir, options.checkpoint)
        side = options.side if settings.model.tied_embeddings != "all" else "target"
        table = np.asarray(params[f"{side}_embedding"]["table"])
        names = sorted(words.ids(), key=words.ids().__getitem__)
        embeddings.write(out, names, table)
    say(f"wrote {options.output}: {len(table):,} pieces, {table.shape[1]} numbers each")
    say(f"gensim.models.KeyedVectors.load_word2vec_format({options.output!r}) loads it")


def _say(compared: Comparison) -> None:
    """Says how an export was compared, and the BLEU that was measured."""
    for line in (str(compared), *compared.scores()):
        say(line)


def _params(workdir: Path, which: str | None) -> Any:
    """Returns the parameters of a checkpoint, and says which it is where it is not the newest."""
    from wmt_transformer import checkpoint
    from wmt_transformer.decode.runs import older_than_newest

    if used := older_than_newest(workdir, which):
        say(used)
    return checkpoint.load_params(workdir, which)
