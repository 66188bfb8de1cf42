"""A Hugging Face `tokenizer.json` as data: what is asked of it, its special tokens, what each of its ids spells.

The file belongs to the library `tokenizers`, which reads it for us (tokenizer_huggingface.py); what the library takes
without a word, or answers with a panic, is looked for here. Older models have no such file, but the parts of one:
`from_parts` puts them together.

Left out: decoders for speech (CTC), and sentencepiece's `tokenizer.model`.
"""

import base64
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from jaxlm.data import charsmap
from jaxlm.errors import UserError

# What a special token is for -> the key that names it, and what it is called where no key does.
ROLES = {
    "bos": ("bos_token", ("<s>", "<|begin_of_text|>", "<|startoftext|>", "<bos>")),
    "eos": ("eos_token", ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>")),
    "cls": ("cls_token", ("[CLS]",)),
    "sep": ("sep_token", ("[SEP]",)),
    "pad": ("pad_token", ("[PAD]", "<pad>")),
    "mask": ("mask_token", ("[MASK]", "<mask>")),
    "unk": ("unk_token", ("[UNK]", "<unk>")),
    "start": ("decoder_start_token", ()),  # what an encoder-decoder begins to write with
}
MOST_IDS = 10_000_000  # chosen: forty times the largest vocabulary we know (Gemma's 262,144)
MOST_CHARACTERS = 4_096  # of a token; chosen: some vocabularies have runs of 128 spaces
MOST_STEP_CHARACTERS = 2_000_000  # chosen: six times those of the largest normalizer we know (nmt_nfkc, 320 KB)
SPACE = "\u2581"


def check(data: dict[str, Any], origin: str) -> None:
    """UserError for what the library would not refuse in a line of its own."""
    model = data.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise UserError(f"{origin} is no tokenizer of the library `tokenizers`: it has no model with a vocab")
    if not isinstance(model.get("merges"), list | None):
        raise UserError(f"{origin}: its model's merges are {model['merges']!r:.80}, not a list of pairs")
    if prefix := model.get("continuing_subword_prefix"):
        rights = (merge[1] if isinstance(merge, list) else str(merge).partition(" ")[2] for merge in _list(model))
        if not isinstance(prefix, str) or any(not str(right).startswith(prefix) for right in rights):
            raise UserError(f"{origin}: a merge does not go on with continuing_subword_prefix={prefix!r}")
    _require_short(data, model, origin)
    normalizers = flattened(data.get("normalizer"), "normalizers")
    for one in normalizers:
        if one.get("type") == "Precompiled" and one.get("precompiled_charsmap") is not None:
            charsmap.check(_decoded(one["precompiled_charsmap"], origin), origin)


def _list(model: dict[str, Any]) -> list:
    return [merge for merge in model.get("merges") or [] if not isinstance(merge, list) or len(merge) == 2]


def _decoded(text: Any, origin: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise UserError(f"{origin}: the normalizer's precompiled_charsmap is damaged, as it is no base64") from None


def _require_short(data: dict[str, Any], model: dict[str, Any], origin: str) -> None:
    """UserError for tokens, or steps around the model, that are longer than any known: text grows by them."""
    tokens = (token[0] if isinstance(token, list) and token else token for token in model["vocab"])
    if (longest := max((len(token) for token in tokens if isinstance(token, str)), default=0)) > MOST_CHARACTERS:
        raise UserError(f"{origin} has a token of {longest:,} characters, more than {MOST_CHARACTERS:,}: is it one?")
    steps = {name: len(json.dumps(part)) for name, part in data.items() if name not in ("model", "added_tokens")}
    largest = max(steps, key=lambda name: steps[name], default="")
    if steps and steps[largest] > MOST_STEP_CHARACTERS:
        raise UserError(
            f"{origin}: its {largest} has {steps[largest]:,} characters, more than {MOST_STEP_CHARACTERS:,}: is it one?"
        )


def flattened(part: Any, inside: str) -> list[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder; a Sequence names them under `inside`."""
    if not isinstance(part, dict):
        return []
    if part.get("type") == "Sequence" and isinstance(part.get(inside), list):
        return [one for step in part[inside] for one in flattened(step, inside)]
    return [part]


# --- special tokens


def special_tokens(
    settings: Iterable[Mapping[str, Any]], ids: Mapping[str, int], special: Collection[int]
) -> dict[str, int]:
    """{role: id} by the first of `settings` that names the role's token, else by what it is usually called.

    `settings` are tokenizer_config.json, special_tokens_map.json and the model's config.json, in that order. The last
    gives numbers, often a library's defaults: they count where the token is one of the file's `special` ones, but that
    a model begins to write with any of its ids.
    """
    found = {}
    for role, (key, usual) in ROLES.items():
        names = [_content(part.get(key)) for part in settings]
        known = [ids[name] for name in names if name is not None and name in ids]
        numbers = [_first(part.get(f"{key}_id")) for part in settings]
        allowed = ids.values() if role == "start" else special
        known += [number for number in numbers if number is not None and number in allowed]
        known += [ids[name] for name in usual if name in ids]
        if known:
            found[role] = known[0]
    return found


def _content(token: Any) -> str | None:
    """A token as settings spell it: its text, or an object that holds the text."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _first(number: Any) -> int | None:
    number = number[0] if isinstance(number, list) and number else number
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def sentinels(ids: Mapping[str, int]) -> tuple[int, ...]:
    """Ids that stand for a hidden span each, in the order they are used: T5's <extra_id_0>, <extra_id_1>, ..."""
    found = itertools.takewhile(lambda i: i is not None, (ids.get(f"<extra_id_{n}>") for n in itertools.count()))
    return tuple(i for i in found if i is not None)


def around(specials: Mapping[str, int]) -> tuple[int, int] | None:
    """(what opens a document, what closes it), or None where no token does either."""
    first = [specials[role] for role in ("bos", "cls", "eos", "sep") if role in specials]
    last = [specials[role] for role in ("eos", "sep", "bos", "cls") if role in specials]
    return (first[0], last[0]) if first else None


def with_hidden(data: dict[str, Any], names: Iterable[str]) -> str | None:
    """The file with the special tokens `names` under other names, so that no text can spell them.

    A model without merges finds any piece of its vocabulary in a text, and "</s>" may be one. None: merges guard them.
    """
    model = data["model"]
    if model.get("type") == "BPE" and not model.get("ignore_merges"):
        return None
    secret = {name: f"\ufdd0{name}\ufdd0" for name in names if name != model.get("unk_token")}
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        vocab = {secret.get(piece, piece): i for piece, i in vocab.items()}
    else:
        unknown = model.get("unk_id")
        vocab = [
            [secret.get(entry[0], entry[0]), *entry[1:]]
            if i != unknown and isinstance(entry, list) and entry
            else entry
            for i, entry in enumerate(vocab)
        ]
    renamed = lambda token: {**token, "content": secret.get(token.get("content"), token.get("content"))}
    added = [renamed(token) if isinstance(token, dict) else token for token in data.get("added_tokens") or []]
    return json.dumps({**data, "added_tokens": added, "model": {**model, "vocab": vocab}})


# --- what ids spell


class Spelling(NamedTuple):
    """How tokens become bytes."""

    of_token: Callable[[str], bytes]
    of_added: Callable[[str], bytes]  # tokens added beside the model's vocabulary


def spelling(decoder: Any, origin: str) -> Spelling:
    """By the decoder of a tokenizer.json; UserError for one that jaxlm does not know."""
    steps = flattened(decoder, "decoders")
    kinds = [step.get("type") for step in steps]
    known = ("ByteLevel", "ByteFallback", "Fuse", "Replace", "Metaspace", "Strip", "WordPiece", "BPEDecoder")
    if unknown := [kind for kind in kinds if kind not in known]:
        raise UserError(f"{origin}: decoder {unknown[0]!r} is not one that jaxlm reads: {', '.join(known)}")
    plain = lambda token: token.encode("utf-8", errors="replace")
    if "ByteLevel" in kinds:
        byte = {character: value for value, character in enumerate(byte_alphabet())}
        return Spelling(lambda token: b"".join(bytes([byte[c]]) if c in byte else plain(c) for c in token), plain)
    if not steps:  # the library joins such tokens with spaces
        return Spelling(lambda token: plain(f" {token}"), lambda token: plain(f" {token}"))

    def spell(token: str) -> bytes:
        if "ByteFallback" in kinds and re.fullmatch("<0x[0-9A-F]{2}>", token):
            return bytes([int(token[3:5], 16)])
        for step in steps:
            token = _step(step, token)
        return plain(token)

    return Spelling(spell, spell)


def _step(step: dict[str, Any], token: str) -> str:
    """`token` in the middle of a text after one step of a decoder."""
    match step.get("type"):
        case "Replace":
            pattern = step.get("pattern")
            old = pattern.get("String") if isinstance(pattern, dict) else None
            return token.replace(old, str(step.get("content", ""))) if isinstance(old, str) and old else token
        case "Metaspace":
            return token.replace(str(step.get("replacement", SPACE)), " ")
        case "WordPiece":
            prefix = str(step.get("prefix", "##"))
            return token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
        case "BPEDecoder":
            suffix = str(step.get("suffix", "</w>"))
            return f"{token.removesuffix(suffix)} " if token.endswith(suffix) else token
    return token  # Fuse and ByteFallback change no single token; Strip is for the ends of a text


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in byte-level BPE (Radford et al. 2019, section 2.2).

    Bytes that print in Latin-1 stand for themselves, the others for the characters from U+0100 on.
    """
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printing else next(others)) for byte in range(256)]


# --- older files


def from_parts(
    vocab: dict[str, Any], merges: list[str] | None, settings: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The tokenizer.json of GPT-2's `vocab.json` and `merges.txt`, or (`merges` None) of BERT's `vocab.txt`."""
    wanted = {_content(part.get(key)) or "" for part in settings for key, _ in ROLES.values()}
    if not wanted & vocab.keys():
        wanted |= {name for _, usual in ROLES.values() for name in usual}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": vocab[name], "content": name, "special": True} | flags for name in sorted(wanted & vocab.keys())]
    chosen = {key: value for part in reversed(list(settings)) for key, value in part.items()}
    common = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "post_processor": None}
    if merges is None:
        lower = bool(chosen.get("do_lower_case", True))
        return common | {
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": bool(chosen.get("tokenize_chinese_chars", True)),
                "strip_accents": chosen.get("strip_accents"),
                "lowercase": lower,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": _bert_frame(vocab),
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": _content(chosen.get("unk_token")) or "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": vocab,
            },
        }
    level = {"add_prefix_space": bool(chosen.get("add_prefix_space", False)), "trim_offsets": True, "use_regex": True}
    pairs = [line.split(" ") for line in merges if line and not line.startswith("#version")]
    return common | {
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel"} | level,
        "decoder": {"type": "ByteLevel"} | level,
        "model": {"type": "BPE", "unk_token": None, "vocab": vocab, "merges": pairs},
    }


def _bert_frame(vocab: dict[str, Any]) -> dict[str, Any] | None:
    if not {"[CLS]", "[SEP]"} <= vocab.keys():
        return None
    frame = lambda name: [name, vocab[name]]
    return {"type": "BertProcessing", "sep": frame("[SEP]"), "cls": frame("[CLS]")}
