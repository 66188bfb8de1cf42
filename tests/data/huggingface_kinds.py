"""Tokenizers of Hugging Face's library, one of each kind that models come with, trained in a moment."""

import functools
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    f"def f{i}(a, b):\n    if a:\n\t\treturn b[{i}]  # naïve 中文 {i * 37}\n\nThe old King sees {i} birds.\n"
    for i in range(60)
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _byte_level() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    made.train_from_iterator(TEXTS, trainer)
    return made


def _llama(legacy: bool = False) -> Tokenizer:
    """SentencePiece's BPE with bytes to fall back on, as Llama 2's file spells it, or (`legacy`) Llama 1's."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if legacy:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    words = [word for text in TEXTS for word in text.replace(" ", " ▁").split(" ")]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>", "<s>", "</s>", *BYTES])
    learner = Tokenizer(models.BPE())
    learner.train_from_iterator(words, trainer)
    learned = json.loads(learner.to_str())["model"]
    data = json.loads(made.to_str())
    data["model"] |= {"vocab": learned["vocab"], "merges": learned["merges"]}
    made = Tokenizer.from_str(json.dumps(data))
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def _unigram() -> Tokenizer:
    """As T5's."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    specials = ["<pad>", "</s>", "<unk>"]
    made.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=200, special_tokens=specials, unk_token="<unk>"))
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def _wordpiece() -> Tokenizer:
    """As BERT's, lower case."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_truncation(8)
    made.enable_padding(length=16)
    return made


def _words() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=["<unk>", "<eos>"]))
    return made


MAKERS = {
    "byte_level": _byte_level,
    "llama": _llama,
    "llama_legacy": functools.partial(_llama, legacy=True),
    "unigram": _unigram,
    "wordpiece": _wordpiece,
    "words": _words,
}


@functools.cache
def content(kind: str) -> str:
    """The tokenizer.json of a kind."""
    return MAKERS[kind]().to_str()


def with_sentinels(folder: Path, count: int = 20) -> Path:
    """The tokenizer.json in `folder` with T5's names of hidden spans: <extra_id_0> has the last of all ids."""
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.add_special_tokens([f"<extra_id_{n}>" for n in reversed(range(count))])
    made.save(str(folder / "tokenizer.json"))
    return folder


def write(kind: str, folder: Path, **files: dict) -> Path:
    """A folder with that tokenizer.json, and with other JSON files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(content(kind), encoding="utf-8")
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder
