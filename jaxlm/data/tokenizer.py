"""Our own tokenizers: text to ids and back, without loss for any text that UTF-8 can spell.

Bytes, or SentencePiece (Kudo & Richardson 2018, arXiv:1808.06226; unigram: Kudo 2018, arXiv:1804.10959;
BPE: Sennrich et al. 2016, arXiv:1508.07909) with identity normalisation, no dummy prefix, white space kept.
What SentencePiece would lose goes around it (stand_ins.py). Here too is the door to all of them: `train` and `load`.

Left out: sampling of segmentations; byte-level BPE and WordPiece are trained in tokenizer_training.py, and they and
tokenizers made elsewhere are read in tokenizer_huggingface.py.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import sentencepiece

from jaxlm.config import Config, parse
from jaxlm.data import sentencepiece_file, tokenizer_huggingface, tokenizer_training, tried
from jaxlm.data.foreign import read_bytes
from jaxlm.data.sample import CHUNK_CHARACTERS, bounded_sample, cut
from jaxlm.data.stand_ins import STAND_INS, put_in, set_apart, take_out
from jaxlm.data.tokenizer_base import FACTS, FORMAT_VERSION, MODEL, PART_CHARACTERS, Tokenizer, digest, utf8
from jaxlm.data.tokenizer_config import (
    ByteBpeConfig,
    BytesConfig,
    HuggingFaceConfig,
    SavedConfig,
    SentencePieceConfig,
    TokenizerConfig,
    WordPieceConfig,
)
from jaxlm.data.word_memory import WordMemory
from jaxlm.errors import Damaged, UserError
from jaxlm.hashing import leads_inside, read_sealed, told

UNKNOWN, SEPARATOR = 0, 1  # of a SentencePiece model; ids of bytes and learned pieces follow
_THREADS = 4  # of training: their number changes the model, so it is the same on every machine


class Piece(NamedTuple):
    """What an id of a SentencePiece model is."""

    kind: Literal["unknown", "separator", "byte", "text"]
    text: str  # as it stands in the text; of a byte, as the model names it: "<0x0A>"
    score: float  # log-probability of a unigram piece; minus the rank of a BPE merge


class SentencePieceTokenizer(Tokenizer):
    def __init__(self, config: SentencePieceConfig, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        super().__init__(config, _piece_bytes(self._processor), SEPARATOR, model)
        self._byte_ids = np.array([self._processor.piece_to_id(f"<0x{b:02X}>") for b in range(256)], np.int32)
        self._fallback = config.byte_fallback
        learned = [c for c, stand_in in STAND_INS.items() if self._processor.piece_to_id(stand_in) != UNKNOWN]
        self._plain_ids: Callable[[list[str]], list[np.ndarray]] = self._as_a_whole
        if config.model != "unigram" and not any(re.search(b"[^ ] ", piece) for piece in self._pieces):
            self._plain_ids = WordMemory(self._encode).ids
        self._apart = "".join(STAND_INS.values()) + "".join(STAND_INS.keys() - set(learned))

    def pieces(self) -> list[Piece]:
        """What each id is, for programs that read other files."""
        processor = self._processor
        return [
            Piece("unknown" if i == UNKNOWN else "separator", processor.id_to_piece(i), 0.0)
            if i in (UNKNOWN, SEPARATOR)
            else Piece("byte", processor.id_to_piece(i), processor.get_score(i))
            if processor.is_byte(i)
            else Piece("text", self._pieces[i].decode("utf-8"), processor.get_score(i))
            for i in range(self.vocab)
        ]

    @property
    def unknown(self) -> int:
        return UNKNOWN

    def spells_bytes(self) -> np.ndarray:
        return np.array([self._processor.is_byte(i) for i in range(self.vocab)])

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        spans = [
            [pair for part in cut(text, PART_CHARACTERS) for pair in set_apart(part, self._apart)] for text in texts
        ]
        encoded = iter(self._plain_ids([put_in(text) for pairs in spans for text, _ in pairs]))
        return [
            self._joined(text, [(next(encoded), raw) for _, raw in pairs])
            for text, pairs in zip(texts, spans, strict=True)
        ]

    def _as_a_whole(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array(ids, np.int32) for ids in self._encode(texts)]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return self._processor.encode([utf8(text) for text in texts], num_threads=1)

    def _joined(self, text: str, pairs: list[tuple[np.ndarray, str]]) -> np.ndarray:
        parts = []
        for ids, raw in pairs:
            parts.append(ids)
            if raw:
                parts.append(self._byte_ids[np.frombuffer(raw.encode("utf-8"), np.uint8)])
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not self._fallback and (ids == UNKNOWN).any():
            raise UserError(self._unknown(text))
        return ids

    def _unknown(self, text: str) -> str:
        place, character = next((p, c) for p, c in enumerate(text) if not self._knows(c))
        around = text[max(place - 20, 0) : place + 20]
        return (
            f"the tokenizer does not know {character!r} (U+{ord(character):04X}, in {around!r}): "
            f"byte_fallback=False knows the characters of the training split only; "
            f"set data.tokenizer.byte_fallback=True"
        )

    def _knows(self, character: str) -> bool:
        piece = put_in(character).replace(" ", "\u2581")
        return character not in self._apart and self._processor.piece_to_id(piece) != UNKNOWN


def train(cfg: TokenizerConfig, texts: Iterable[str], seed: int) -> Tokenizer:
    """Fit a tokenizer to a sample of `texts` that `cfg.sample_bytes` bounds; reads them once.

    The same texts, config and seed give the same bytes. UserError where the text is too little for the vocab.
    """
    if isinstance(cfg, SavedConfig | HuggingFaceConfig):
        return load_saved(cfg)
    if isinstance(cfg, BytesConfig):
        return Tokenizer(cfg, [bytes([b]) for b in range(256)] + [b""], separator=256)
    if isinstance(cfg, ByteBpeConfig | WordPieceConfig):
        files = tokenizer_training.fit(cfg, bounded_sample(texts, cfg.sample_bytes, seed))
        tried.note_ours("tokenizers", files[tokenizer_huggingface.FILE])
        return tokenizer_huggingface.HuggingFaceTokenizer(cfg, files, {})
    alphabet: set[str] = set()  # noted where it must be complete; the sample may miss some of it
    stream = (put_in(part) for text in texts for part, _ in set_apart(text, "".join(STAND_INS.values())))
    if not cfg.byte_fallback:
        stream = _noting(stream, alphabet)
    chunks = bounded_sample(stream, cfg.sample_bytes, seed)
    # SentencePiece strips the newlines that end a chunk, so they do not count, and a space guards them here.
    if missing := alphabet.difference(*(chunk.rstrip("\r\n") for chunk in chunks)):
        chunks += cut("".join(sorted(missing)) + " ", CHUNK_CHARACTERS)
    if cfg.model == "char" and not cfg.byte_fallback and len(alphabet) + 2 > cfg.vocab:
        raise UserError(
            f"vocab={cfg.vocab} is too small: the training text has {len(alphabet)} characters, and there "
            f"are 2 specials; set data.tokenizer.vocab={len(alphabet) + 2} or more, or byte_fallback=True"
        )
    model = _fit(cfg, chunks)
    tried.note_ours("sentencepiece", model)
    return SentencePieceTokenizer(cfg, model)


def load_saved(cfg: SavedConfig | HuggingFaceConfig) -> Tokenizer:
    """The tokenizer that a config names by its folder."""
    if isinstance(cfg, HuggingFaceConfig):
        if not Path(cfg.path).is_dir() or not cfg.path:
            raise UserError(
                f"data.tokenizer.path={cfg.path!r} is no folder: name the one that holds the tokenizer.json"
            )
        return tokenizer_huggingface.open_folder(cfg.path)
    if tokenizer_huggingface.is_theirs(Path(cfg.path)):
        raise UserError(
            f"data.tokenizer.path={cfg.path!r} holds a tokenizer of Hugging Face's, not of jaxlm: "
            f"set data.tokenizer.kind=huggingface"
        )
    if not (Path(cfg.path) / FACTS).is_file():
        raise UserError(
            f"data.tokenizer.path={cfg.path!r} holds no tokenizer of jaxlm (it has no {FACTS}): name the folder "
            f"'tokenizer' in a run folder, e.g. --set data.tokenizer.path=runs/mine/tokenizer"
        )
    return load(cfg.path)


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer that `save` wrote; UserError where there is none, Damaged where the bytes changed."""
    folder = Path(folder)
    if not (folder / FACTS).is_file():
        raise UserError(
            f"{folder} holds no tokenizer of jaxlm (it has no {FACTS}): copy the one beside the run's shards, "
            f"which its data.json names"
        )
    facts = read_sealed(folder / FACTS)
    if facts.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder}: format_version={facts.get('format_version')!r}, this jaxlm reads {FORMAT_VERSION}: "
            f"use the version of jaxlm that made it, or prepare the data again"
        )
    told(facts, {"config": dict, "digest": str}, str(folder / FACTS))
    cfg = parse({"tokenizer": facts["config"]}, _AnyConfig, origin=str(folder / FACTS)).tokenizer
    if isinstance(cfg, tokenizer_huggingface.LibraryConfig):
        return tokenizer_huggingface.load(folder, cfg, facts)
    if not isinstance(cfg, SentencePieceConfig):
        return train(cfg, [], seed=0)
    if isinstance(cfg, SavedConfig):  # whose folder is another's: none is saved so
        raise Damaged(f"{folder / FACTS} names another tokenizer, {cfg.path!r:.80}: jaxlm did not write it so")
    model = folder / MODEL
    if not leads_inside(folder.resolve(), model):
        raise Damaged(f"{model} leads out of the folder: copy what it leads to")
    if not model.is_file() or not model.stat().st_size:
        raise Damaged(f"{model} is missing or empty: copy the whole folder, or prepare the data again")
    content = read_bytes(model, sentencepiece_file.MOST_BYTES)
    if digest(cfg, content) != facts["digest"]:
        raise Damaged(f"{model} is not the model that {FACTS} belongs to, or it is damaged")
    tried.require("sentencepiece", content, str(model))
    return SentencePieceTokenizer(cfg, content)


class _AnyConfig(Config):
    tokenizer: TokenizerConfig


def _fit(cfg: SentencePieceConfig, chunks: list[str]) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(chunks),
            model_writer=model,
            model_type=cfg.model,
            vocab_size=cfg.vocab,
            byte_fallback=cfg.byte_fallback,
            # With bytes to fall back on, the rarest 1 in 2,000 characters need no piece (its default).
            character_coverage=0.9995 if cfg.byte_fallback and cfg.model != "char" else 1.0,
            hard_vocab_limit=cfg.model != "char",
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            unk_id=UNKNOWN,
            bos_id=SEPARATOR,
            bos_piece="<separator>",
            eos_id=-1,
            pad_id=-1,
            max_sentence_length=8 * CHUNK_CHARACTERS,  # bytes: no chunk is skipped
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(_explain(cfg, str(error))) from None
    return model.getvalue()


def _explain(cfg: SentencePieceConfig, message: str) -> str:
    if most := re.search(r"value <= (\d+)", message):
        return (
            f"vocab={cfg.vocab} is more than this text allows: a {cfg.model} model of it has at most "
            f"{most[1]} pieces; set data.tokenizer.vocab={most[1]} or less, give more text, or "
            f"choose kind=bytes"
        )
    if least := re.search(r"vs (\d+)\. Increase vocab_size", message):
        return (
            f"vocab={cfg.vocab} is too small: specials, bytes and the single characters of this text need "
            f"{least[1]}; set data.tokenizer.vocab to more than that, or choose kind=byte_bpe or kind=bytes"
        )
    if "sentences_.empty()" in message:
        return "the training text is empty, so no tokenizer can be trained: give more text, or kind=bytes"
    return f"SentencePiece could not train {cfg!r}: {message}"


def _piece_bytes(processor: sentencepiece.SentencePieceProcessor) -> list[bytes]:
    """What each id stands for; refuses a model that is not of our making."""
    ids = range(processor.vocab_size())
    if len(ids) <= SEPARATOR or not processor.is_unknown(UNKNOWN) or not processor.is_control(SEPARATOR):
        raise UserError(
            f"this SentencePiece model was not trained by jaxlm: id {UNKNOWN} must be the unknown piece and "
            f"id {SEPARATOR} the separator"
        )
    return [_bytes_of(processor, i) for i in ids]


def _bytes_of(processor: sentencepiece.SentencePieceProcessor, i: int) -> bytes:
    if processor.is_unknown(i):
        return "\ufffd".encode()
    if processor.is_control(i):
        return b""
    piece = processor.id_to_piece(i)
    if processor.is_byte(i):
        return bytes([int(piece[3:5], 16)])
    return take_out(piece.replace("\u2581", " ")).encode("utf-8")


def _noting(texts: Iterable[str], alphabet: set[str]) -> Iterator[str]:
    for text in texts:
        alphabet.update(text)
        yield text
