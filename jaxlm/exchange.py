"""Models of Hugging Face's as runs, and runs as models of theirs.

An import is a run folder with one checkpoint, at step 0, that every verb opens. No text belongs to it: its config says
where it came from in `data.source`, and starts from itself (`init`), so that with a text and a name of its own it is a
config to train on:

    jaxlm train runs/gpt2 --set data.source=my_texts/ --name tuned

Left out: optimiser states, downloads.
"""

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlm import __version__, host
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig, CheckpointFolder
from jaxlm.config import dump, parse
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.dataset import DataConfig
from jaxlm.data.objectives import answers, vocabulary
from jaxlm.data.tokenizer_base import Tokenizer
from jaxlm.data.tokenizer_config import SavedConfig
from jaxlm.data.tokenizer_huggingface import open_folder
from jaxlm.errors import UserError
from jaxlm.flat import nested, parameters_sha256
from jaxlm.interop import config_json, huggingface, tokenizer_files, torch_folder
from jaxlm.interop.huggingface import CONFIG
from jaxlm.interop.new_folder import new_folder, require_free
from jaxlm.interop.safetensors_file import Float, Progress
from jaxlm.interop.torch_recurrent import MODEL_TYPES
from jaxlm.mesh import MeshConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.parts import sized
from jaxlm.run_config import IMPORTED, RunConfig
from jaxlm.run_folder import RunFolder, read_json, write_json
from jaxlm.training import layout as layouts
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, averaged

log = logging.getLogger("jaxlm")
START = "decoder_start_token_id"
LENGTH = 1_024  # chosen: most tokens of a row that an import is scored on, GPT-2's context
BATCH = 4  # chosen: small, as the model may be large
STAND_INS = {"masked": "mask token", "spans": "<extra_id_0>, <extra_id_1>, ... or too few"}
MOST_SUPPRESSED = 4_096  # chosen: padded ids that generation_config.json forbids; more of them are no padding


Found = huggingface.Found | torch_folder.Found


class Imported(NamedTuple):
    """What `jaxlm import --json` prints."""

    run: str
    step: int
    architecture: str  # model_type of its config.json
    parameters: int
    parameters_sha256: str
    vocab: int  # ids of the tokenizer
    lossless: bool  # whether the tokenizer gives every text back
    fresh: list[str]  # parameters that the folder lacks: they are drawn at random


class Exported(NamedTuple):
    """What `jaxlm export --json` prints."""

    folder: str
    run: str
    step: int
    architecture: str
    parameters: int
    dtype: str


def import_huggingface(
    folder: str | Path, run: str | Path, *, tokenizer: str | Path | None = None, progress: Progress = lambda *_: None
) -> Imported:
    """Make the run folder `run` of the Hugging Face model in `folder`; its tokenizer may lie elsewhere.

    UserError, and nothing written, where jaxlm cannot compute what that model does, or a file is not what it should be.
    """
    host.start_jax(1)
    source, target = Path(folder), Path(run)
    require_free(target)
    found = look(source)
    ids = special_ids(found)
    theirs = open_folder(source if tokenizer is None else tokenizer, ids)
    if found.cfg.kind == "encoder_decoder" and (type(ids[START]) is not int or theirs.start != ids[START]):
        raise UserError(f"{source / CONFIG}: {START}={ids[START]!r:.80} is no id of its tokenizer: name the right one")
    cfg = config(found, source, target)
    needed = vocabulary(cfg.data.objective, cfg.data.length, theirs)
    if needed > found.vocab:
        more = ""
        if needed > theirs.vocab:
            lacks = f"data.objective.kind={found.objective!r}, as it has no {STAND_INS[found.objective]}"
            more = f", and needs {needed - theirs.vocab} more for {lacks}"
        raise UserError(
            f"the tokenizer in {source if tokenizer is None else tokenizer} has {theirs.vocab:,} ids{more}, but the "
            f"model in {source} only {found.vocab:,}: name the one it was trained with by --tokenizer"
        )
    tell(found, theirs, needed, source)
    if found.fresh:
        log.warning(
            "%s lacks parameters, which are drawn at random and worth nothing until they are trained: %s",
            source,
            ", ".join(found.fresh),
        )
    with new_folder(target) as building:
        inside = RunFolder(building)
        write_json(inside.config, dump(cfg))
        theirs.save(inside.tokenizer)
        params = found.read(progress)
        size = sum(array.size for array in params.values())
        with Checkpoints(inside.checkpoints, CheckpointConfig(asynchronous=False)) as checkpoints:
            progress(0, None, "saving the checkpoint")
            meta = {"seconds": 0.0, "jaxlm": __version__, "imported": str(source.resolve())}
            checkpoints.save(0, {"params": nested(params)}, meta=meta)
        alone = layouts.told(MeshConfig(layout="single"), "auto", host.cores() if host.computes_on_cpu() else None)
        write_json(inside.layout, alone._replace(why="imported").dump())
        inside.write_environment(jax.devices()[:1], host.tune_allocator(), size)
    sha = parameters_sha256({f"params/{name}": array for name, array in params.items()})
    return Imported(str(target), 0, found.model_type, size, sha, theirs.vocab, theirs.lossless, [*found.fresh])


def tell(found: Found, tokenizer: Tokenizer, needed: int, source: Path) -> None:
    """What of config.json and tokenizer cannot be as their model had it, in the log."""
    for role in ("bos", "eos", "pad", "cls", "sep", "mask"):
        said, taken = found.json.get(key := f"{role}_token_id"), tokenizer.specials.get(role)
        if said is not None and taken not in (said if isinstance(said, list) else [said]):
            has = "no such token" if taken is None else taken
            log.warning("%s: %s=%.80r is left out of account, as its tokenizer has %s", source / CONFIG, key, said, has)
    dropped = [key for key, share in found.json.items() if re.search("pdrop|dropout", key) and share]
    if dropped and found.cfg.kind != "recurrent":
        keys = ", ".join(dropped)
        log.info("%s: dropout (%s) is left out: to train on with it, set model.dropout", source / CONFIG, keys)
    if needed > tokenizer.vocab:
        log.warning(
            "the tokenizer has no %s: ids from %d on, which the model has and no text uses, stand for what is hidden",
            STAND_INS[found.objective],
            tokenizer.vocab,
        )
    frame = [role for role in ("cls", "sep") if role not in tokenizer.specials] if found.cfg.kind == "encoder" else []
    if frame:
        log.warning(
            "the tokenizer names no %s token: a text stands between ids %d and %d, which the model may not have "
            "learned so; name it in tokenizer_config.json",
            " and no ".join(frame),
            tokenizer.separator,
            tokenizer.closing,
        )


def look(folder: Path) -> Found:
    """What model is in `folder`, all but its numbers looked at."""
    config = huggingface.read_config(folder)
    recurrent = config.get("model_type") in MODEL_TYPES
    return torch_folder.look(folder, config, str(folder / CONFIG)) if recurrent else huggingface.look(folder)


def special_ids(found: Found) -> dict[str, Any]:
    """config.json, which names what an encoder-decoder begins to write with; silent, T5's begin with their padding."""
    if found.cfg.kind != "encoder_decoder":
        return found.json
    told = (found.json.get(key) for key in (START, "pad_token_id"))
    return found.json | {START: next((number for number in told if number is not None), 0)}


def config(found: Found, source: Path, run: Path) -> RunConfig:
    """The config of an imported run.

    Of BERT's second question, whether one sentence follows another, no objective is made: ours asks for the order of
    two (ALBERT), which that head has not learned.
    """
    length = min(found.length or LENGTH, LENGTH)
    objective, rows = {"kind": found.objective}, "chunked" if found.objective == "spans" else "packed"
    return RunConfig(
        name=re.sub(r"[^\w.-]|^[^A-Za-z0-9]", "-", run.resolve().name, flags=re.ASCII).lstrip("-._") or "imported",
        init=str(run.absolute()),
        data=DataConfig(
            source=f"{IMPORTED}{source})",
            tokenizer=SavedConfig(path=str(run.absolute() / "tokenizer")),
            length=length,
            batch=BATCH,
            rows=rows,
            objective=objective,  # type: ignore[arg-type]
        ),
        model=found.cfg,
        optimizer=AdamWConfig(peak_rate=3e-5),  # to go on with: Devlin et al. 2019 (arXiv:1810.04805), appendix A.3
        loop=LoopConfig(steps=1_000),
    )


def export_huggingface(
    run: str | Path,
    folder: str | Path,
    *,
    step: int | None = None,
    dtype: Float = "float32",
    progress: Progress = lambda *_: None,
) -> Exported:
    """Write a saved step of `run` (None: the newest valid one) as a Hugging Face model into the new folder `folder`.

    Where the run kept a moving average of its parameters, that is what goes out, as it is what `jaxlm eval` scores.
    UserError, and nothing written, for a model that none of theirs computes. A dtype other than float32 rounds.
    """
    host.start_jax(1)
    source, target = RunFolder(run).require(), Path(folder)
    require_free(target)
    cfg = parse(read_json(source.config), RunConfig, origin=str(source.config))
    tokenizer = tokenizers.load(source.tokenizer)
    vocab = vocabulary(cfg.data.objective, cfg.data.length, tokenizer)
    cfg = sized(cfg, CheckpointFolder(source.checkpoints).arrays(), vocab)
    if answers(cfg.data.objective):
        raise UserError(
            f"{source.config} has data.objective.kind={cfg.data.objective.kind!r}, whose head has no place in the "
            f"layouts that jaxlm writes: use it by jaxlm.load, or export the run that it began from"
        )
    length = getattr(cfg.model, "max_length", None) or cfg.data.length
    added, vocab = vocab - tokenizer.vocab, cfg.model.vocab or vocab
    if cfg.data.objective.kind == "prefix" and cfg.model.kind == "decoder":
        raise UserError(
            f"{source.config} has data.objective.kind='prefix': the model reads its prompt from both sides, and the "
            f"decoders of Hugging Face's that jaxlm writes from one, so they would write something else: use it by "
            f"jaxlm.load"
        )
    if isinstance(cfg.model, RecurrentConfig):  # before much is read
        torch_folder.require_layout(cfg.model)
    else:
        config_json.to_json(cfg.model, vocab, length, stacked=False)
    prefix = "average/" if averaged(cfg.optimizer) else "params/"
    with Checkpoints(source.checkpoints, CheckpointConfig(), read_only=True) as checkpoints:
        step, flat, _ = checkpoints.read(step, prefix=prefix)
    params = {name.removeprefix(prefix): array for name, array in flat.items()}
    with new_folder(target) as building:
        writes = cfg.model.kind == "encoder_decoder"
        ids = generation(tokenizer, len(params["embedding"]), added, writes=writes)
        if isinstance(cfg.model, RecurrentConfig):
            kind = torch_folder.write(building, cfg.model, params, ids=ids, dtype=dtype, progress=progress)
        else:
            kind = huggingface.write(
                building, cfg.model, params, length=length, generation=ids, dtype=dtype, progress=progress
            ).model_type
        more = tokenizer_files.added(cfg.data.objective, added)
        tokenizer_files.write(tokenizer, building, length=length, more=more)
    size = sum(array.size for array in params.values())
    return Exported(str(target), str(run), step, kind, size, dtype)


def generation(tokenizer: Tokenizer, vocab: int, added: int = 0, *, writes: bool = False) -> dict[str, Any]:
    """generation_config.json: what opens and closes a text, and that padded ids are none.

    `added` ids of the objective come after those of the tokenizer. `writes`: an encoder-decoder, which begins to write
    with a token of its own.
    """
    ids = {"bos_token_id": tokenizer.separator, "eos_token_id": tokenizer.closing}
    ids["pad_token_id"] = tokenizer.specials.get("pad", tokenizer.closing)
    ids |= {START: tokenizer.start} if writes else {}
    padded = range(tokenizer.vocab + added, vocab)
    return ids | ({"suppress_tokens": list(padded)} if 0 < len(padded) <= MOST_SUPPRESSED else {})
