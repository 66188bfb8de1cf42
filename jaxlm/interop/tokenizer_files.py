"""Our tokenizers as files that Hugging Face's libraries open: tokenizer.json and tokenizer_config.json.

Ids are the same for every text but these:
    - one that spells the separator, "<separator>": there it is the token, as every special token is unless a call says
      split_special_tokens=True; here it is text;
    - without byte_fallback, one with a character that the training split did not have: there it is the unknown token,
      here an error;
    - for unigram, one with two best segmentations of the same score, such as 20 spaces as 12 and 8 or 8 and 12:
      SentencePiece adds scores in single precision and so takes either, they add in double and take the latter; and one
      that spells a byte piece such as "<0x0A>".
What was imported goes out as it came, byte for byte; byte-level BPE and WordPiece trained here are such files already,
and gain what the objective added.

A piece stands here as it stands in the text, space and tab included: their models need no U+2581, so no stand-ins.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlm.data.foreign import parse_object
from jaxlm.data.masking import Masked
from jaxlm.data.objectives import ObjectiveConfig
from jaxlm.data.tokenizer import Piece, SentencePieceTokenizer
from jaxlm.data.tokenizer_base import Tokenizer
from jaxlm.data.tokenizer_config import HuggingFaceConfig, SentencePieceConfig
from jaxlm.data.tokenizer_huggingface import HuggingFaceTokenizer
from jaxlm.data.tokenizer_json import byte_alphabet

SEPARATOR = "<separator>"
MASK, SENTINEL = "<mask>", "<extra_id_{}>"  # as RoBERTa's and T5's are called
UNKNOWN = "\ufdd0unknown\ufdd0"
FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
SETTINGS = {  # of SentencePiece and bytes; those of the others were made when they were trained
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,  # it would take the space before a full stop away
    "add_bos_token": False,  # as here; True puts the separator before a text, as `jaxlm generate` does
    "add_eos_token": False,
    **dict.fromkeys(("bos_token", "eos_token", "pad_token"), SEPARATOR),
}


def write(tokenizer: Tokenizer, folder: Path, *, length: int, more: Sequence[str] = ()) -> None:
    """Write the files of `tokenizer` into `folder`; `length` is the most tokens that its model reads.

    `more` are names of ids that come after the tokenizer's own: `added(objective, count)`.
    """
    if isinstance(tokenizer, HuggingFaceTokenizer):
        for name, content in tokenizer.files.items():
            (folder / name).write_bytes(content)
        if isinstance(tokenizer.config, HuggingFaceConfig):
            return
        made, settings = (parse_object(tokenizer.files[name], name) for name in (FILE, CONFIG))
    else:
        made, settings = as_json(tokenizer), SETTINGS
    known = made["model"]["vocab"]
    spelled = known if isinstance(known, dict) else {piece for piece, _ in known}
    more = [_not_in(spelled, name) for name in more]
    made["added_tokens"] += [_special(tokenizer.vocab + n, name) for n, name in enumerate(more)]
    _write_json(folder / FILE, made)
    named: dict[str, Any] = {"model_max_length": length}
    masks = [name for name in more if name.startswith(MASK.rstrip(">"))]
    if masks:
        named |= {"mask_token": masks[0], "cls_token": settings["bos_token"], "sep_token": settings["bos_token"]}
    if sentinels := [name for name in more if name not in masks]:
        named["additional_special_tokens"] = sentinels
    _write_json(folder / CONFIG, settings | named)


def added(objective: ObjectiveConfig, count: int) -> list[str]:
    """Names of the `count` ids that `objective` added to those of a tokenizer."""
    if isinstance(objective, Masked):
        return [MASK] * count
    return [SENTINEL.format(n) for n in range(count)]


def _not_in(spelled: Collection[str], name: str) -> str:
    """`name`, or one like it that is no piece: the library would take the piece for the token."""
    while name in spelled:
        name = f"{name[:-1]}_>"
    return name


def as_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The tokenizer.json of one of our own."""
    common = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None}
    if not isinstance(tokenizer, SentencePieceTokenizer):
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        vocab = {character: byte for byte, character in enumerate(byte_alphabet())}
        return common | {
            "added_tokens": [_special(tokenizer.separator, SEPARATOR)],
            "pre_tokenizer": level,
            "decoder": level,
            "model": _bpe(vocab, [], unknown=None, bytes_=False),
        }
    pieces = tokenizer.pieces()
    assert isinstance(tokenizer.config, SentencePieceConfig) and pieces[tokenizer.separator].text == SEPARATOR
    fallback = any(piece.kind == "byte" for piece in pieces)
    if tokenizer.config.model == "unigram":
        model = _unigram(pieces, fallback)
    else:
        vocab = {piece.text: i for i, piece in enumerate(pieces)}
        model = _bpe(vocab, merges(pieces), unknown=pieces[0].text, bytes_=fallback)
    return common | {
        "added_tokens": [_special(tokenizer.separator, SEPARATOR)],  # an unknown one, "<unk>", may stand in any text
        "pre_tokenizer": _apart_from_bytes() if tokenizer.config.model == "unigram" and fallback else None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": model,
    }


def merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Pairs that BPE joins, the most urgent first.

    SentencePiece joins the pair whose union has the best score, however that is cut in two; so each piece gives a pair
    for each cut into two pieces.
    """
    score = {piece.text: piece.score for piece in pieces if piece.kind == "text"}
    found = []
    for text in sorted(score, key=lambda text: -score[text]):
        cuts = ((text[:i], text[i:]) for i in range(1, len(text)))
        found += [(left, right) for left, right in cuts if left in score and right in score]
    return found


def _bpe(vocab: Mapping[str, int], pairs: list, *, unknown: str | None, bytes_: bool) -> dict[str, Any]:
    return {
        "type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": bytes_, "ignore_merges": False,
        "vocab": vocab, "merges": pairs,
    }  # fmt: skip


def _unigram(pieces: Sequence[Piece], fallback: bool) -> dict[str, Any]:
    """Its pieces are found in a text by their names, so the unknown one has a name that is no text."""
    scored = [[UNKNOWN if piece.kind == "unknown" else piece.text, piece.score] for piece in pieces]
    return {"type": "Unigram", "unk_id": 0, "byte_fallback": fallback, "vocab": scored}


def _apart_from_bytes() -> dict[str, Any]:
    """Cuts a text that spells a byte piece behind its "<": their unigram would find the piece in the text."""
    return {"type": "Split", "pattern": {"Regex": "<(?=0x[0-9A-F]{2}>)"}, "behavior": "Isolated", "invert": False}


def _special(number: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **flags, "special": True}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
