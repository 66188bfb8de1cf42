"""Byte-level BPE and WordPiece, trained by Hugging Face's library `tokenizers`: the files that it reads again.

    byte_bpe    merges of bytes within words (Radford et al. 2019, section 2.2; BPE: Sennrich et al. 2016)
    wordpiece   BERT's (Devlin et al. 2019, arXiv:1810.04805): its normaliser and words; pieces that go on begin with ##

The library's trainer breaks ties by the numbers of the pieces it begins with, and numbers some of them as they come out
of a hash table, whose order differs from process to process. So all of them are handed to it in our order, and the same
sample gives the same bytes for any number of threads. Its WordPiece learns the commonest pair, as BPE does, and not
the pair that is likeliest beside its parts; it reads as BERT does, the longest piece first.

Left out: dropout of merges; normalisation for byte-level BPE, which would lose text.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, trainers

from jaxlm.data.tokenizer_config import ByteBpeConfig, WordPieceConfig
from jaxlm.data.tokenizer_json import byte_alphabet, from_parts
from jaxlm.errors import UserError

SEPARATOR = "<|endoftext|>"  # as GPT-2 calls it
BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
LEAST_COUNT = 2  # of a pair in the sample, as in the library's own recipes: what is seen once is no habit of a language

# How a text is cut into words, where not as GPT-2 does, whose pattern is built into the library. Llama 3's (in its
# tokenizer.json) is OpenAI's of cl100k: a mark may begin a word, digits go by three, line ends with what is before.
PATTERNS = {
    "gpt2": None,
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
}


def fit(cfg: ByteBpeConfig | WordPieceConfig, chunks: Sequence[str]) -> dict[str, bytes]:
    """The files of a tokenizer for `chunks`, by name; UserError where they do not suit the vocab."""
    if not any(chunk.strip() for chunk in chunks):
        raise UserError("the training text is empty, so no tokenizer can be trained: give more text, or kind=bytes")
    made, settings = _byte_bpe(cfg, chunks) if isinstance(cfg, ByteBpeConfig) else _wordpiece(cfg, chunks)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,  # it would take the space before a full stop away
        "add_bos_token": False,
        "add_eos_token": False,
        **settings,
    }
    return {
        "tokenizer.json": json.dumps(made, ensure_ascii=False).encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    }


def _byte_bpe(cfg: ByteBpeConfig, chunks: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = {"bos_token": SEPARATOR, "eos_token": SEPARATOR, "pad_token": SEPARATOR}
    trainer = trainers.BpeTrainer(
        vocab_size=cfg.vocab, min_frequency=LEAST_COUNT, show_progress=False,
        special_tokens=[SEPARATOR], initial_alphabet=byte_alphabet(),
    )  # fmt: skip
    whole = lambda vocab, merges: _cut_by(PATTERNS[cfg.words], from_parts(vocab, merges, [settings]))
    learned = _learned(cfg, whole({}, []), trainer, chunks)
    return whole(learned["vocab"], [" ".join(pair) for pair in learned["merges"]]), settings


def _cut_by(pattern: str | None, made: dict[str, Any]) -> dict[str, Any]:
    """`made`, a byte-level tokenizer.json, with words cut by `pattern`; None: as it is."""
    if pattern is None:
        return made
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {**made["pre_tokenizer"], "use_regex": False}
    return made | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]}}


def _wordpiece(cfg: WordPieceConfig, chunks: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = {**BERT, "do_lower_case": cfg.lowercase, "strip_accents": None, "tokenize_chinese_chars": True}
    first = from_parts({name: i for i, name in enumerate(BERT.values())}, None, [settings])
    letters, inside = _letters(Tokenizer.from_str(json.dumps(first)), chunks, cfg.coverage)
    begun = [*BERT.values(), *letters, *(f"##{letter}" for letter in inside)]
    if len(begun) >= cfg.vocab:
        raise UserError(
            f"vocab={cfg.vocab} is too small: {len(BERT)} specials and the {len(letters):,} commonest characters of "
            f"this text, as a word begins and goes on with them, need {len(begun):,}; set data.tokenizer.vocab to more "
            f"than that, or lower data.tokenizer.coverage={cfg.coverage:g}"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=cfg.vocab, min_frequency=LEAST_COUNT, show_progress=False, continuing_subword_prefix="##",
        special_tokens=begun, initial_alphabet=letters, limit_alphabet=len(letters),
    )  # fmt: skip
    vocab = _learned(cfg, first, trainer, chunks)["vocab"]
    return from_parts(vocab, None, [settings]), settings


def _letters(bert: Tokenizer, chunks: Sequence[str], coverage: float) -> tuple[list[str], list[str]]:
    """(characters that make up `coverage` of the normalised text, those of them that a word can go on with)."""
    counts: Counter[str] = Counter()
    for chunk in chunks:
        counts.update(bert.normalizer.normalize_str(chunk))
    common = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    wanted, kept = coverage * sum(counts[c] for c in common), 0
    letters = []
    for character in common:
        if kept >= wanted:
            break
        letters.append(character)
        kept += counts[character]
    words = lambda text: bert.pre_tokenizer.pre_tokenize_str(bert.normalizer.normalize_str(text))
    letters.sort()
    return letters, [c for c in letters if len(words(f"a{c}a")) == 1]


def _learned(cfg: ByteBpeConfig | WordPieceConfig, made: dict[str, Any], trainer: Any, chunks: Sequence[str]):
    """The model that `trainer` makes of `chunks`, as data, its vocab in the order of ids."""
    learner = Tokenizer.from_str(json.dumps(made))
    learner.train_from_iterator(iter(chunks), trainer)
    model = json.loads(learner.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda entry: entry[1]))
    if len(vocab) < cfg.vocab:
        raise UserError(
            f"vocab={cfg.vocab} is more than this text allows: pieces that stand in it at least {LEAST_COUNT} times "
            f"make at most {len(vocab)} pieces; set data.tokenizer.vocab={len(vocab)} or less, give more text, or "
            f"choose kind=bytes"
        )
    return model | {"vocab": vocab}
