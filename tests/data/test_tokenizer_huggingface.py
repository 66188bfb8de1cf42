"""Tokenizers made elsewhere: the library's own ids, no special token out of text, and files that nobody can trust."""

import functools
import itertools
import json
import shutil

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from tokenizers import Tokenizer

from jaxlm.config import override
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data import tokenizer_huggingface
from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import HuggingFaceConfig
from jaxlm.data.tokenizer_huggingface import HuggingFaceTokenizer, open_folder
from jaxlm.errors import Damaged, UserError
from tests.data.huggingface_kinds import MAKERS, TEXTS, content, with_sentinels, write

SPELLED = "a </s> b<s>c [SEP][CLS] <|endoftext|> <eos> <pad>[MASK] <0x41>"
PLAIN = [*TEXTS[:4], "", " ", "a", " two  spaces ", "ÜNÏ ﬁ 漢字 \t x", "\n\n"]
EXACT = {"byte_level", "llama_legacy"}  # the last but for U+2581, which it reads as a space


@functools.cache
def made(kind: str) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(HuggingFaceConfig(), {"tokenizer.json": content(kind).encode()}, {})


@pytest.mark.parametrize("kind", MAKERS)
def test_ids_are_those_of_the_library(kind):
    library = Tokenizer.from_str(content(kind))
    library.no_truncation()
    library.no_padding()
    for text, ids in zip(PLAIN, made(kind).encode_batch(PLAIN), strict=True):
        assert ids.tolist() == library.encode(text, add_special_tokens=False).ids, text
        assert ids.dtype == np.int32
    assert made(kind).vocab == library.get_vocab_size()


@pytest.mark.parametrize("kind", MAKERS)
def test_text_that_spells_a_special_token_is_text(kind):
    tokenizer = made(kind)
    ids = set(tokenizer.encode(SPELLED).tolist())
    assert not ids & {i for role, i in tokenizer.specials.items() if role != "unk"}
    if kind in (*EXACT, "llama"):
        assert tokenizer.decode(tokenizer.encode(SPELLED)) == SPELLED


@pytest.mark.parametrize("kind", MAKERS)
def test_what_loses_nothing_says_so_and_what_loses_something_too(kind):
    assert made(kind).lossless == (kind == "byte_level")
    back = [made(kind).decode(ids) for ids in made(kind).encode_batch(PLAIN)]
    assert (back == PLAIN) == (kind in EXACT)


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t▁<>/s"))


@pytest.mark.parametrize("kind", sorted(EXACT))
@hypothesis.given(TEXT)
def test_decoding_what_was_encoded_gives_the_text_back(kind, text):
    wanted = text if kind == "byte_level" else text.replace("▁", " ")
    assert made(kind).decode(made(kind).encode(text)) == wanted


@pytest.mark.parametrize("kind", MAKERS)
def test_bytes_of_two_sequences_are_the_bytes_of_their_join(kind):
    tokenizer, rng = made(kind), np.random.default_rng(0)
    for _ in range(50):
        a, b = (rng.integers(0, tokenizer.vocab, rng.integers(0, 9)) for _ in range(2))
        joined = tokenizer.decode_bytes(np.concatenate([a, b]).astype(int))
        assert tokenizer.decode_bytes(a) + tokenizer.decode_bytes(b) == joined


def test_lossy_kinds_decode_to_what_people_expect():
    text = "The old King, sees 3 birds."
    assert made("wordpiece").decode(made("wordpiece").encode(text)) == "the old king , sees 3 birds ."
    assert made("unigram").decode(made("unigram").encode("The old King sees")) == "The old King sees"
    assert made("words").decode(made("words").encode("The old ???")) == "The old\ufffd"


@pytest.mark.parametrize(
    "kind, opens, closes",
    [
        ("byte_level", "<|endoftext|>", "<|endoftext|>"),
        ("llama", "<s>", "</s>"),
        ("unigram", "</s>", "</s>"),
        ("wordpiece", "[CLS]", "[SEP]"),
        ("words", "<eos>", "<eos>"),
    ],
)
def test_what_opens_and_closes_a_document(kind, opens, closes):
    tokenizer, library = made(kind), Tokenizer.from_str(content(kind))
    assert (tokenizer.separator, tokenizer.closing) == (library.token_to_id(opens), library.token_to_id(closes))
    assert tokenizer.decode([tokenizer.separator, tokenizer.closing]) == ""


def test_settings_name_the_special_tokens(tmp_path):
    named = {"bos_token": {"content": "def"}, "pad_token": "return", "sep_token": "no such token"}
    tokenizer = open_folder(write("words", tmp_path, tokenizer_config=named), {"eos_token_id": [0, 1]})
    library = Tokenizer.from_str(content("words"))
    assert tokenizer.specials["bos"] == tokenizer.separator == library.token_to_id("def")
    assert tokenizer.specials["pad"] == library.token_to_id("return")
    assert tokenizer.closing == 0 and "sep" not in tokenizer.specials


def test_numbers_that_are_no_special_token_are_a_librarys_defaults(tmp_path):
    tokenizer = open_folder(write("byte_level", tmp_path), {"bos_token_id": 1, "eos_token_id": 2})
    assert tokenizer.separator == tokenizer.closing == 0  # <|endoftext|>


@pytest.mark.parametrize("kind", ["byte_level", "llama", "llama_legacy", "wordpiece"])
def test_a_long_text_is_encoded_in_parts_to_the_same_ids(kind, monkeypatch):
    text = " ".join(TEXTS)
    whole = made(kind).encode(text)
    monkeypatch.setattr(tokenizer_huggingface, "PART_CHARACTERS", 50)
    monkeypatch.setattr(tokenizer_huggingface, "PARTS_AT_ONCE", 3)
    np.testing.assert_array_equal(made(kind).encode(text), whole)


@pytest.mark.parametrize("kind", MAKERS)
def test_saved_and_loaded_it_is_the_same_and_its_files_are_as_they_were(kind, tmp_path):
    folder = write(kind, tmp_path / "theirs", tokenizer_config={"model_max_length": 9}, special_tokens_map={})
    tokenizer = open_folder(folder, {"eos_token_id": 1})
    tokenizer.save(tmp_path / "ours")
    again = tokenizers.load(tmp_path / "ours")
    assert (again.digest, again.separator, again.closing) == (tokenizer.digest, tokenizer.separator, tokenizer.closing)
    assert again.specials == tokenizer.specials and again.vocab == tokenizer.vocab
    np.testing.assert_array_equal(again.encode(TEXTS[0]), tokenizer.encode(TEXTS[0]))
    assert {p.name: p.read_bytes() for p in (tmp_path / "ours" / "huggingface").iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


def test_no_flipped_byte_of_a_saved_tokenizer_is_silent(tmp_path):
    made("wordpiece").save(tmp_path / "good")
    files = [p.relative_to(tmp_path / "good") for p in (tmp_path / "good").rglob("*") if p.is_file()]
    random = np.random.default_rng(0)
    for trial in range(40):
        bad = shutil.copytree(tmp_path / "good", tmp_path / f"bad{trial}")
        path = bad / files[trial % len(files)]
        data = bytearray(path.read_bytes())
        data[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(data)
        with pytest.raises((Damaged, UserError)):
            tokenizers.load(bad)
    (tmp_path / "good" / "huggingface" / "tokenizer.json").unlink()
    with pytest.raises(Damaged, match="missing"):
        tokenizers.load(tmp_path / "good")


# --- older models: the parts of a tokenizer.json


def test_vocab_and_merges_make_the_tokenizer_they_are_part_of(tmp_path):
    model = json.loads(content("byte_level"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *(merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])]
    (tmp_path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = open_folder(tmp_path)
    for text in [*PLAIN, SPELLED]:
        np.testing.assert_array_equal(tokenizer.encode(text), made("byte_level").encode(text))
    assert tokenizer.separator == made("byte_level").separator and tokenizer.lossless


@pytest.mark.parametrize("lower", [True, False])
def test_a_list_of_word_pieces_makes_berts_tokenizer(lower, tmp_path):
    vocab = json.loads(content("wordpiece"))["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    tokenizer = open_folder(tmp_path)
    same = [np.array_equal(tokenizer.encode(text), made("wordpiece").encode(text)) for text in PLAIN]
    assert all(same) == lower
    assert (tokenizer.separator, tokenizer.closing) == (2, 3) and tokenizer.specials["mask"] == 4


def test_t5s_own_ids_are_for_hidden_spans_and_to_begin_with(tmp_path):
    plain = open_folder(write("unigram", tmp_path / "plain"))
    assert (plain.sentinels, plain.start) == ((), plain.separator) and not {"sentinels", "start"} & plain.facts().keys()
    folder = with_sentinels(write("unigram", tmp_path / "t5"))
    tokenizer = open_folder(folder, {"decoder_start_token_id": 0})
    assert (tokenizer.separator, tokenizer.closing, tokenizer.start) == (1, 1, 0)
    assert tokenizer.sentinels == tuple(range(plain.vocab + 19, plain.vocab - 1, -1))
    assert tokenizer.facts() == {
        "vocab": plain.vocab + 20, "separator": 1, "start": 0, "sentinels": [*tokenizer.sentinels],
    }  # fmt: skip
    tokenizer.save(tmp_path / "saved")
    again = tokenizers.load(tmp_path / "saved")
    assert again.facts() == tokenizer.facts() and again.digest == tokenizer.digest
    assert not {*tokenizer.encode("a <extra_id_0> b").tolist()} & {*tokenizer.sentinels}, "text is never a sentinel"


# --- what is refused


def changed(kind: str, change) -> bytes:
    data = json.loads(content(kind))
    change(data)
    return json.dumps(data).encode()


def at(*path, value):
    def change(data):
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


HOSTILE = {
    "empty": b"",
    "no json": b"garbage",
    "no utf-8": b'{"model": "\xff"}',
    "a list": b"[]",
    "too deep": b'{"a":' + b"[" * 100_000,
    "no model": b"{}",
    "twice": b'{"model": {"vocab": {}}, "model": {"vocab": {}}}',
    "a huge number": b'{"model": {"vocab": {"a": 1' + b"0" * 5_000 + b"}}}",
    "half": content("llama").encode()[:5_000],
    "a vocabulary of strings": changed("llama", at("model", "vocab", value={"a": "b"})),
    "a negative id": changed("byte_level", at("model", "vocab", "e", value=-1)),
    "an id of four billions": changed("byte_level", at("model", "vocab", "e", value=2**32 - 1)),
    "a merge of unknown pieces": changed("byte_level", at("model", "merges", value=[["zz", "yy"]])),
    "a prefix that merges lack": changed("byte_level", at("model", "continuing_subword_prefix", value="##")),
    "an unknown model": changed("byte_level", at("model", "type", value="Magic")),
    "an unknown decoder": changed("byte_level", at("decoder", value={"type": "CTC", "pad_token": "x"})),
    "a decoder of no type": changed("byte_level", at("decoder", value={"type": {}})),
    "a charsmap that is none": changed(
        "unigram", at("normalizer", value={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    ),
    "a broken pattern": changed(
        "words",
        at(
            "pre_tokenizer",
            value={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False},
        ),
    ),
    "no unknown piece": changed("unigram", at("model", "unk_id", value=10**6)),
    "nothing that ends a text": changed("byte_level", at("added_tokens", value=[])).replace(b"<|endoftext|>", b"<x>"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_tokenizer_is_one_line(name, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(HOSTILE[name])
    with pytest.raises(UserError) as error:
        open_folder(tmp_path)
    assert "tokenizer.json" in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def test_any_damage_to_the_file_is_one_line_or_another_tokenizer(tmp_path):
    """Bytes changed at random; what is still a tokenizer encodes, or says in a line why not."""
    random = np.random.default_rng(0)
    for trial, kind in itertools.product(range(12), MAKERS):
        data = bytearray(content(kind).encode())
        for _ in range(4):
            place = random.integers(len(data))
            data[place : place + random.integers(1, 3)] = bytes(random.choice(list(b'{}[]",:019ae\xff'), 1).tolist())
        (tmp_path / "tokenizer.json").write_bytes(data)
        try:
            open_folder(tmp_path).encode_batch(PLAIN)
        except UserError as error:
            assert "\n" not in str(error), trial


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write("words", tmp_path)
    with open(tmp_path / "tokenizer.json", "ab") as file:
        file.truncate(200_000_001)  # a hole: no disk, and nobody reads it
    with pytest.raises(UserError, match="200,000,001 bytes, more than"):
        open_folder(tmp_path)


def test_a_folder_without_one_says_how_to_get_it(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(UserError, match=r"no tokenizer.json \(only tokenizer.model\).*save_pretrained"):
        open_folder(tmp_path)


def test_one_of_our_own_is_told_apart_from_theirs_both_ways(tmp_path):
    made("words").save(tmp_path / "ours")
    write("words", tmp_path / "theirs")
    with pytest.raises(UserError, match="kind=saved"):
        open_folder(tmp_path / "ours")
    saved = override(DataConfig(source="x", length=8, batch=1), ["tokenizer.kind=saved"]).tokenizer
    with pytest.raises(UserError, match="kind=huggingface"):
        tokenizers.load_saved(saved.model_copy(update={"path": str(tmp_path / "theirs")}))


def test_half_a_surrogate_pair_is_the_users_mistake():
    with pytest.raises(UserError, match=r"U\+D800 at character 3"):
        made("byte_level").encode("abc\ud800")


# --- shards


def test_shards_are_made_with_it_and_known_by_what_it_is_not_where_it_lies(tmp_path):
    (tmp_path / "text.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    data = DataConfig(source=str(tmp_path / "text.txt"), length=16, batch=2)
    assignments = ["tokenizer.kind=huggingface", "split.kind=contiguous"]
    folders = [write("byte_level", tmp_path / name) for name in ("one", "two")]
    made_of = [
        prepare(override(data, [*assignments, f"tokenizer.path={folder}"]), tmp_path / "shards") for folder in folders
    ]
    assert made_of[0].folder == made_of[1].folder
    stream = made_of[0].tokens("train")[1:-1]
    assert (
        tokenizers.load(made_of[0].folder / "tokenizer").decode(stream)
        == "\n".join(TEXTS)[: len(stream) * 99][: len(tokenizers.load(made_of[0].folder / "tokenizer").decode(stream))]
    )


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_a_config_that_names_no_folder_says_what_to_name(path):
    with pytest.raises(UserError, match=r"data.tokenizer.path=.* is no folder: name the one"):
        tokenizers.train(HuggingFaceConfig(path=path), [], seed=0)
