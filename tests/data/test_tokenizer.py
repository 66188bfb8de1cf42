"""Tokenizers lose nothing, say what is wrong, and are the same on every machine."""

import functools
import itertools
import os
import shutil

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxlm.config import override
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer import BytesConfig, SentencePieceConfig
from jaxlm.errors import Damaged, UserError

CODE = [
    f"def f{i}(a, b):\n    if a:\n\t\treturn b[{i}]  # naïve 中文 {i * 37}\n\n\nclass A{i}:\n        pass\n"
    for i in range(150)
]
RESERVED = "\0\t\u2581\u2585\ufdd0\ufdd1\ufdd2\ufdd3"
ALL = {
    "bytes": BytesConfig(),
    "bpe": SentencePieceConfig(model="bpe", vocab=400),
    "unigram": SentencePieceConfig(model="unigram", vocab=400),
    "char": SentencePieceConfig(model="char", vocab=400),
    "bpe without bytes": SentencePieceConfig(model="bpe", vocab=150, byte_fallback=False),
    "unigram without bytes": SentencePieceConfig(model="unigram", vocab=150, byte_fallback=False),
    "char without bytes": SentencePieceConfig(model="char", vocab=400, byte_fallback=False),
}
LOSSLESS = ["bytes", "bpe", "unigram", "char"]


@functools.cache
def trained(name: str) -> tokenizers.Tokenizer:
    return tokenizers.train(ALL[name], CODE, seed=0)


# Any text that UTF-8 can spell: unassigned, private and noncharacters too; and what models trip over.
SNIPPETS = [
    *RESERVED, "<unk>", "<separator>", "<s>", "</s>", "<0x41>", "<0x00>", "▁▁", " ", "    ", "\n", "\r\n",
    "\x85", "\u2028", "\u00a0", "\u200b", "\ufeff", "\ue000", "\U0010ffff", "\ufffe", "\ufffd", "e\u0301",
    "é", "ﬁ", "Ａ", "def f1(a, b):\n", "\t\t", "👩‍👩‍👧", "\u0600", "\U000e0001",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(SNIPPETS) | st.text(st.characters(exclude_categories=["Cs"]))).map("".join)


@pytest.mark.parametrize("name", LOSSLESS)
@hypothesis.given(TEXT)
@hypothesis.example("".join(SNIPPETS))
def test_decoding_what_was_encoded_gives_the_text_back(name, text):
    tokenizer = trained(name)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids.dtype == np.int32 and (ids != tokenizer.separator).all()
    assert ids.size == 0 or (ids.min() >= 0 and ids.max() < tokenizer.vocab)


@pytest.mark.parametrize("name", [name for name in ALL if "without" in name])
@hypothesis.given(st.text(st.sampled_from(sorted(set("".join(CODE))))))
def test_without_bytes_every_text_of_the_training_characters_comes_back(name, text):
    assert trained(name).decode(trained(name).encode(text)) == text


@pytest.mark.parametrize("name", LOSSLESS)
@hypothesis.given(st.lists(st.integers(0, 256)), st.lists(st.integers(0, 256)))
def test_bytes_of_two_sequences_are_the_bytes_of_their_join(name, a, b):
    tokenizer = trained(name)
    assert tokenizer.decode_bytes(a) + tokenizer.decode_bytes(b) == tokenizer.decode_bytes(a + b)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_its_texts_one_by_one(name):
    texts = [*CODE[:5], "", CODE[7] * 3]
    for got, text in zip(trained(name).encode_batch(texts), texts, strict=True):
        np.testing.assert_array_equal(got, trained(name).encode(text))
    assert trained(name).encode_batch([]) == []


@pytest.mark.parametrize("name", ALL)
def test_the_separator_decodes_to_nothing(name):
    tokenizer = trained(name)
    ids = [tokenizer.separator, *tokenizer.encode("if a"), tokenizer.separator]
    assert tokenizer.decode(ids) == "if a" == tokenizer.decode(np.array(ids, np.uint16))


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    trained(name).save(tmp_path / "tokenizer")
    again = tokenizers.load(tmp_path / "tokenizer")
    assert (again.digest, again.vocab, again.separator) == (
        trained(name).digest, trained(name).vocab, trained(name).separator,
    )  # fmt: skip
    np.testing.assert_array_equal(again.encode(CODE[3]), trained(name).encode(CODE[3]))


@pytest.mark.parametrize("name", ["bpe", "unigram", "char"])
def test_training_again_gives_the_same_bytes_and_another_config_gives_others(name):
    assert tokenizers.train(ALL[name], iter(CODE), seed=0).digest == trained(name).digest
    assert len({trained(other).digest for other in ALL}) == len(ALL)


def test_a_small_sample_depends_on_the_seed():
    cfg = SentencePieceConfig(vocab=300, sample_bytes=5_000)
    texts = [text * 40 for text in CODE]
    digests = [tokenizers.train(cfg, texts, seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_indentation_and_tabs_become_pieces():
    for name in ("bpe", "unigram"):
        assert trained(name).encode("        ").size <= 2
    tabs = tokenizers.train(SentencePieceConfig(vocab=280), ["\t\tgo()\n\t\tdone()\n"] * 50, seed=0)
    assert tabs.encode("\t\t").size == 1


def test_bytes_have_257_ids():
    tokenizer = trained("bytes")
    assert (tokenizer.vocab, tokenizer.separator) == (257, 256)
    assert tokenizer.encode("é\0").tolist() == [0xC3, 0xA9, 0]


def test_characters_alone_need_two_specials_more():
    text = "".join(map(chr, range(32, 97)))  # 65 characters
    tokenizer = tokenizers.train(SentencePieceConfig(model="char", byte_fallback=False), [text], seed=0)
    assert tokenizer.vocab == 67
    assert tokenizer.encode(text).size == 65


def test_tiny_shakespeare_has_65_characters_and_two_specials(real_data):
    text = (real_data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    training, rest = text[: int(len(text) * 0.9)], text[int(len(text) * 0.9) :]
    cfg = SentencePieceConfig(model="char", byte_fallback=False, sample_bytes=10_000)
    tokenizer = tokenizers.train(cfg, [training], seed=0)
    assert tokenizer.vocab == 67
    assert tokenizer.encode(rest).size == len(rest) and tokenizer.decode(tokenizer.encode(rest)) == rest


@pytest.mark.parametrize("model", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("text", ["\n", "a\n", "\r\n", "\t", "\0", "\u2581", "\u2585", " ", "\n\n\n"])
def test_without_bytes_characters_that_sentencepiece_skips_are_known(model, text):
    cfg = SentencePieceConfig(model=model, vocab=1_000, byte_fallback=False)
    most = len({*text, " "}) + 2 if model == "char" else None
    try:
        tokenizer = tokenizers.train(cfg, [text] * 3, seed=0)
    except UserError as error:
        most = int(str(error).split("at most ")[1].split()[0])
        tokenizer = tokenizers.train(cfg.model_copy(update={"vocab": most}), [text] * 3, seed=0)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab <= most


def test_without_bytes_a_character_that_the_sample_missed_is_known():
    cfg = SentencePieceConfig(model="char", byte_fallback=False, sample_bytes=10)
    tokenizer = tokenizers.train(cfg, ["a" * 9_000, "中\n", "b" * 9_000], seed=0)
    assert tokenizer.decode(tokenizer.encode("中ab\n")) == "中ab\n"


@pytest.mark.parametrize("character", ["中", "\ufdd1", "\u2581", "\0"])
def test_without_bytes_an_unknown_character_is_named(character):
    tokenizer = tokenizers.train(SentencePieceConfig(model="char", byte_fallback=False), ["some text"], seed=0)
    with pytest.raises(UserError, match=rf"U\+{ord(character):04X}.*byte_fallback=True"):
        tokenizer.encode(f"some {character} text")


@pytest.mark.parametrize("model, fallback", list(itertools.product(["unigram", "bpe"], [True, False])))
def test_a_vocabulary_larger_than_the_corpus_allows_names_the_largest(model, fallback):
    cfg = SentencePieceConfig(model=model, vocab=50_000, byte_fallback=fallback)
    with pytest.raises(UserError, match=r"vocab=50000 .* at most \d+ pieces; set data.tokenizer.vocab") as error:
        tokenizers.train(cfg, CODE, seed=0)
    most = int(str(error.value).split("at most ")[1].split()[0])
    assert tokenizers.train(cfg.model_copy(update={"vocab": most}), CODE, seed=0).vocab == most
    with pytest.raises(UserError, match="at most"):
        tokenizers.train(cfg.model_copy(update={"vocab": most + 1}), CODE, seed=0)


@pytest.mark.parametrize("model", ["unigram", "bpe", "char"])
def test_a_vocabulary_too_small_for_the_characters_says_so(model):
    cfg = SentencePieceConfig(model=model, vocab=20, byte_fallback=False)
    with pytest.raises(UserError, match=r"vocab=20 is too small.*data.tokenizer.vocab"):
        tokenizers.train(cfg, CODE, seed=0)


def test_bytes_that_do_not_fit_the_vocabulary_are_refused_by_the_config():
    data = DataConfig(source="stdlib", length=8, batch=1)
    with pytest.raises(UserError, match="vocab=100 with byte_fallback=True"):
        override(data, ["tokenizer.vocab=100"])


@pytest.mark.parametrize("texts", [[], [""], ["\ufdd0"]])
def test_an_empty_training_text_is_the_users_mistake(texts):
    with pytest.raises(UserError, match="the training text is empty"):
        tokenizers.train(SentencePieceConfig(), texts, seed=0)


def test_one_word_trains_up_to_its_largest_vocabulary():
    with pytest.raises(UserError, match=r"set data\.tokenizer\.vocab=270 or less"):
        tokenizers.train(SentencePieceConfig(), ["hello"], seed=0)
    tokenizer = tokenizers.train(SentencePieceConfig(vocab=270), ["hello"], seed=0)
    assert tokenizer.encode("hello").size == 1


@pytest.mark.parametrize("name", LOSSLESS)
def test_half_a_surrogate_pair_is_the_users_mistake(name):
    with pytest.raises(UserError, match=r"U\+D800 at character 3"):
        trained(name).encode("abc\ud800")


@pytest.mark.parametrize("ids", [[0, 9_999], [-1]])
def test_an_id_outside_the_vocabulary_is_named(ids):
    with pytest.raises(UserError, match=rf"token {ids[-1]} is not in this tokenizer: its ids are 0 to 256"):
        trained("bytes").decode(ids)


@pytest.mark.parametrize("line", ["x" * 2_000_000, " " * 300_000, "word " * 400_000, "\ufdd1" * 200_000])
def test_a_huge_line_comes_back(line):
    assert trained("bpe").decode(trained("bpe").encode(line)) == line


def test_cutting_a_long_text_at_a_space_changes_no_token(monkeypatch):
    text = "".join(CODE)
    whole = trained("bpe").encode(text)  # unigram breaks ties between equal scores by what follows
    monkeypatch.setattr(tokenizers, "PART_CHARACTERS", 100)
    np.testing.assert_array_equal(trained("bpe").encode(text), whole)


def test_a_folder_without_a_tokenizer_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="holds no tokenizer"):
        tokenizers.load(tmp_path / "nowhere")


def test_no_flipped_byte_of_a_saved_tokenizer_is_silent(tmp_path):
    trained("bpe").save(tmp_path / "good")
    random = np.random.default_rng(0)
    for trial in range(120):
        bad = tmp_path / f"bad{trial}"
        shutil.copytree(tmp_path / "good", bad)
        path = bad / random.choice(os.listdir(bad))
        data = bytearray(path.read_bytes())
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        with pytest.raises((Damaged, UserError)):
            tokenizers.load(bad)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 1_000, b"\x0a\xff\xff\xff\xff\x0f"])
def test_a_model_file_that_is_none_is_damage(content, tmp_path):
    trained("bpe").save(tmp_path)
    (tmp_path / "sentencepiece.model").write_bytes(content)
    with pytest.raises(Damaged):
        tokenizers.load(tmp_path)


def test_a_truncated_or_missing_model_is_damage(tmp_path):
    trained("unigram").save(tmp_path)
    model = tmp_path / "sentencepiece.model"
    whole = model.read_bytes()
    for size in range(0, len(whole), len(whole) // 40):
        model.write_bytes(whole[:size])
        with pytest.raises(Damaged):
            tokenizers.load(tmp_path)
    model.unlink()
    with pytest.raises(Damaged, match="missing"):
        tokenizers.load(tmp_path)


def test_the_model_of_another_tokenizer_is_noticed(tmp_path):
    trained("bpe").save(tmp_path)
    trained("unigram").save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "sentencepiece.model", tmp_path)
    with pytest.raises(Damaged, match="is not the model"):
        tokenizers.load(tmp_path)


def test_training_prints_nothing(capfd):
    tokenizers.train(ALL["unigram"], CODE, seed=5)
    with pytest.raises(UserError):
        tokenizers.train(SentencePieceConfig(), ["hello"], seed=0)
    assert capfd.readouterr() == ("", "")
