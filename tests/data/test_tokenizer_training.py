"""Byte-level BPE loses nothing, WordPiece says that it does, and both are the same for any number of threads."""

import functools
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from tokenizers import Tokenizer as Library

from jaxlm.config import override
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data import tokenizer_training
from jaxlm.data.dataset import DataConfig
from jaxlm.data.masking import choose
from jaxlm.data.tokenizer_config import ByteBpeConfig, WordPieceConfig
from jaxlm.data.tokenizer_huggingface import open_folder
from jaxlm.errors import Damaged, UserError
from tests.data.test_tokenizer import CODE, SNIPPETS, TEXT

SPECIALS = "<|endoftext|> [PAD][UNK] [CLS] a[SEP]b [MASK] ##ing <separator>"
ALL = {
    "llama3": ByteBpeConfig(vocab=400),
    "gpt2": ByteBpeConfig(vocab=400, words="gpt2"),
    "wordpiece": WordPieceConfig(vocab=150),
    "cased": WordPieceConfig(vocab=150, lowercase=False),
}
LOSSLESS, LOSSY = ["llama3", "gpt2"], ["wordpiece", "cased"]


@functools.cache
def trained(name: str) -> tokenizers.Tokenizer:
    return tokenizers.train(ALL[name], CODE, seed=0)


@pytest.mark.parametrize("name", LOSSLESS)
@hypothesis.given(TEXT)
@hypothesis.example("".join(SNIPPETS) + SPECIALS)
@hypothesis.example("".join(map(chr, range(0x300))))
def test_byte_bpe_gives_every_text_back(name, text):
    tokenizer = trained(name)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and tokenizer.lossless
    assert ids.dtype == np.int32 and (ids != tokenizer.separator).all()


@pytest.mark.parametrize("name", LOSSLESS)
def test_half_a_surrogate_pair_is_the_users_mistake(name):
    with pytest.raises(UserError, match=r"U\+D800 at character 3"):
        trained(name).encode("abc\ud800")


@pytest.mark.parametrize("name", LOSSLESS)
def test_where_a_token_of_byte_bpe_begins_is_known(name):
    text = "naïve 中文 if a:\n"
    ids = trained(name).encode(text)
    data = text.encode()
    for start, piece in zip(trained(name).starts(ids), ids, strict=True):
        assert data[start:].startswith(trained(name).decode_bytes([piece]))


@pytest.mark.parametrize("name", LOSSY)
def test_wordpiece_says_that_it_loses_text(name):
    assert not trained(name).lossless
    with pytest.raises(UserError, match="'wordpiece' does not keep all of a text"):
        trained(name).starts([7])


@pytest.mark.parametrize("name", LOSSY)
def test_wordpiece_reads_words_as_bert_does(name):
    words = tokenizer_training.BERT.values()
    text = "DEF F1(a, b): " if name == "wordpiece" else "def f1(a, b): "
    assert trained(name).decode(trained(name).encode(text)) == "def f1 ( a , b ) :"
    ids = trained(name).encode(f"{' '.join(words)} def")
    frame = {i for role, i in trained(name).specials.items() if role != "unk"}
    assert not set(ids.tolist()) & frame
    assert trained(name).encode("語")[0] == trained(name).specials["unk"]


def test_wordpiece_has_the_specials_of_bert_in_front():
    tokenizer = trained("wordpiece")
    assert tokenizer.specials == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    assert (tokenizer.separator, tokenizer.closing, tokenizer.mask) == (2, 3, 4)
    assert trained("gpt2").separator == trained("gpt2").closing == 0 and trained("gpt2").mask is None


def test_every_word_of_known_characters_is_known():
    tokenizer = trained("wordpiece")
    letters = sorted({c for c in "".join(CODE).lower() if c.isascii() and c.isalnum()})
    text = " ".join(a + b for a, b in itertools.product(letters, letters))
    assert tokenizer.specials["unk"] not in tokenizer.encode(text)


@pytest.mark.parametrize("name", ALL)
def test_a_word_begins_where_its_first_piece_does(name):
    """Whole words that are hidden: pieces after ##, or without the space before, go with those they go on from."""
    tokenizer = trained(name)
    ids = tokenizer.encode("def fibres returned classified")
    begins = tokenizer.begins_word()[ids]
    begins[0] = True  # a text's first word has no space before it in byte-level BPE
    assert begins.sum() == 4 and ids.size > 4
    pieces = [tokenizer.decode_bytes(word).decode().strip() for word in np.split(ids, np.flatnonzero(begins)[1:])]
    assert pieces == ["def", "fibres", "returned", "classified"]
    for seed in range(20):
        chosen = choose(ids.size, ids.size // 2, begins, np.random.default_rng(seed))
        words = np.cumsum(begins) - 1
        assert all((words[chosen] == word).sum() in (0, (words == word).sum()) for word in set(words))


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    trained(name).save(tmp_path)
    again = tokenizers.load(tmp_path)
    for fact in ("config", "digest", "vocab", "separator", "closing", "specials", "lossless"):
        assert getattr(again, fact) == getattr(trained(name), fact), fact
    np.testing.assert_array_equal(again.encode(CODE[3]), trained(name).encode(CODE[3]))


def test_no_flipped_byte_of_a_saved_tokenizer_is_silent(tmp_path):
    trained("llama3").save(tmp_path / "good")
    random = np.random.default_rng(0)
    for trial in range(15):
        bad = tmp_path / f"bad{trial}"
        shutil.copytree(tmp_path / "good", bad)
        path = random.choice([path for path in bad.rglob("*") if path.is_file()])
        data = bytearray(path.read_bytes())
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        with pytest.raises((Damaged, UserError)):
            tokenizers.load(bad)


def test_each_config_makes_a_tokenizer_of_its_own():
    assert len({trained(name).digest for name in ALL}) == len(ALL)


PROGRAM = """
import sys
from jaxlm.data.tokenizer import train
from jaxlm.data.tokenizer_config import ByteBpeConfig, WordPieceConfig
texts = [f"Der {i} naïve König {i * 7919 % 1000} zähmt {chr(0x4e00 + i)} wolf{chr(97 + i % 26)}" for i in range(400)]
for cfg in (ByteBpeConfig(vocab=450), WordPieceConfig(vocab=450, coverage=0.98)):
    print(train(cfg, texts, seed=0).digest)
"""


def test_training_gives_the_same_bytes_in_every_process_and_for_any_number_of_threads():
    told = []
    for threads in ("1", "3"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        run = [sys.executable, "-c", PROGRAM]
        told.append(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.split())
    assert len(told[0]) == 2 and told[0] == told[1]


def test_a_small_sample_depends_on_the_seed():
    cfg = ByteBpeConfig(vocab=330, sample_bytes=5_000)
    digests = [tokenizers.train(cfg, CODE, seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("cfg", [ByteBpeConfig(vocab=50_000), WordPieceConfig(vocab=50_000)])
def test_a_vocabulary_larger_than_the_text_allows_names_the_largest(cfg):
    with pytest.raises(UserError, match=r"vocab=50000 .* at most \d+ pieces; set data.tokenizer.vocab") as error:
        tokenizers.train(cfg, CODE, seed=0)
    most = int(str(error.value).split("at most ")[1].split()[0])
    assert tokenizers.train(cfg.model_copy(update={"vocab": most}), CODE, seed=0).vocab == most
    with pytest.raises(UserError, match=f"at most {most} pieces"):
        tokenizers.train(cfg.model_copy(update={"vocab": most + 1}), CODE, seed=0)


def test_a_vocabulary_too_small_for_the_characters_says_so():
    with pytest.raises(UserError, match=r"vocab=60 is too small.* need (\d+); set data.tokenizer.vocab") as error:
        tokenizers.train(WordPieceConfig(vocab=60), CODE, seed=0)
    least = int(str(error.value).split(" need ")[1].split(";")[0]) + 1
    assert tokenizers.train(WordPieceConfig(vocab=least), CODE, seed=0).vocab == least


@pytest.mark.parametrize("kind, vocab", [("byte_bpe", 257), ("wordpiece", 7)])
def test_a_vocabulary_without_room_is_refused_by_the_config(kind, vocab):
    data = DataConfig(source="stdlib", length=8, batch=1)
    with pytest.raises(UserError, match=rf"vocab.*greater than {vocab}"):
        override(data, [f"tokenizer.kind={kind}", f"tokenizer.vocab={vocab}"])


@pytest.mark.parametrize("name", ["llama3", "wordpiece"])
@pytest.mark.parametrize("texts", [[], [""], [" \n"]])
def test_an_empty_training_text_is_the_users_mistake(name, texts):
    with pytest.raises(UserError, match="the training text is empty"):
        tokenizers.train(ALL[name], texts, seed=0)


def test_rare_characters_are_left_to_the_unknown_token():
    texts = ["tea " * 3_000 + "龘"]  # specials, a, e, t, ##a, ##e, ##t, and two merges
    few = tokenizers.train(WordPieceConfig(vocab=13, coverage=0.999), texts, seed=0)
    all_ = tokenizers.train(WordPieceConfig(vocab=14, coverage=1.0), texts, seed=0)
    assert few.encode("龘")[0] == few.specials["unk"] != all_.encode("龘")[0]


def test_the_files_are_what_the_library_reads(tmp_path):
    for name in ALL:
        trained(name).save(tmp_path / name)
        folder = tmp_path / name / "huggingface"
        library = Library.from_file(str(folder / "tokenizer.json"))
        for text in [*CODE[:5], "".join(SNIPPETS)]:
            assert library.encode(text, add_special_tokens=False).ids == trained(name).encode(text).tolist()
        assert open_folder(folder).specials == trained(name).specials


@pytest.mark.parametrize("name", ["llama3", "wordpiece"])
def test_shards_are_made_with_it(name, tmp_path, caplog):
    (tmp_path / "text.txt").write_text("\n".join(CODE), encoding="utf-8")
    data = DataConfig(source=str(tmp_path / "text.txt"), length=16, batch=2, tokenizer=ALL[name])
    data = override(data, ["split.kind=contiguous"])
    made = prepare(data, tmp_path / "shards")
    assert ("does not keep all of a text" in caplog.text) == (name == "wordpiece")
    again = tokenizers.load(made.folder / "tokenizer")
    assert again.config == ALL[name] and made.vocab == again.vocab
    text = again.decode(made.tokens("train")[1:-1])
    assert "\n".join(CODE).startswith(text) == (name == "llama3") and len(text) > 1_000


def test_real_text_comes_back(real_data):
    names = ("tinyshakespeare/input.txt", "wikitext-2-valid/valid.txt", "chinese-classics/mengzi.json")
    texts = [Path(real_data / name).read_text(encoding="utf-8")[:100_000] for name in names]
    tokenizer = tokenizers.train(ByteBpeConfig(vocab=2_000), texts, seed=0)
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert tokenizer.decode(ids) == text
