"""Our tokenizers give the same ids when Hugging Face's library reads them, and so exactly where we say."""

import functools
import json

import hypothesis
import pytest
from tokenizers import Tokenizer

from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.masking import Masked, Spans
from jaxlm.data.objectives import NextToken
from jaxlm.data.tokenizer_base import Tokenizer as Ours
from jaxlm.data.tokenizer_huggingface import open_folder
from jaxlm.interop import tokenizer_files
from tests.data import test_tokenizer_training as learned
from tests.data.huggingface_kinds import write
from tests.data.test_tokenizer import ALL, CODE, SNIPPETS, TEXT, trained

EXACT = ["bytes", "bpe", "char"]
WITHOUT = [name for name in ALL if "without" in name]


@functools.cache
def theirs(name: str) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_files.as_json(trained(name))))


def ids(name: str, text: str) -> list[int]:
    return theirs(name).encode(text).ids


@pytest.mark.parametrize("name", EXACT)
@hypothesis.given(TEXT.map(lambda text: text.replace("<separator>", "")))
@hypothesis.example("".join(SNIPPETS).replace("<separator>", ""))
@hypothesis.example("a" * 30 + " " * 37 + "\t\t\n\n" + "ab" * 9)
def test_ids_are_the_same_for_any_text(name, text):
    assert ids(name, text) == trained(name).encode(text).tolist()
    assert theirs(name).decode(ids(name, text)) == text


@pytest.mark.parametrize("name", ALL)
def test_ids_are_the_same_for_the_text_it_was_trained_on(name):
    texts = [*CODE[:20], "\n\n".join(CODE[20:60])]
    if "unigram" in name:  # equal segmentations of a run of spaces are taken either way
        texts = [" ".join(text.split(" ")) for text in texts if "        " not in text and "\n\n\n" not in text]
    for text in texts:
        assert ids(name, text) == trained(name).encode(text).tolist()
        assert theirs(name).decode(ids(name, text)) == text


@hypothesis.given(TEXT.map(lambda text: text.replace("<separator>", "")))
def test_unigram_reads_any_text_and_gives_it_back(text):
    assert theirs("unigram").decode(ids("unigram", text)) == text


def test_what_spells_an_unknown_or_a_byte_piece_is_text():
    for name in ("bpe", "unigram", "char"):
        assert trained(name).decode(ids(name, "a <unk> <0x41> b")) == "a <unk> <0x41> b"


def test_what_spells_the_separator_is_the_token_there_and_text_here():
    for name in EXACT:
        assert ids(name, "<separator>") == [trained(name).separator]
        assert trained(name).separator not in trained(name).encode("<separator>")


@pytest.mark.parametrize("name", WITHOUT)
def test_without_bytes_an_unknown_character_is_the_unknown_token_there(name):
    assert ids(name, "a語語b") == [*ids(name, "a"), tokenizers.UNKNOWN, *ids(name, "b")]


@pytest.mark.parametrize("name", ALL)
def test_the_folder_says_what_opens_and_closes_a_text(name, tmp_path):
    tokenizer_files.write(trained(name), tmp_path, length=64)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["bos_token"] == settings["eos_token"] == "<separator>" and settings["model_max_length"] == 64
    again = open_folder(tmp_path)
    assert (again.vocab, again.separator) == (trained(name).vocab, trained(name).separator)
    assert again.closing == again.separator
    if name in EXACT:
        assert again.lossless
        for text in CODE[:5]:
            assert again.encode(text).tolist() == trained(name).encode(text).tolist()


@pytest.mark.parametrize("name", EXACT)
def test_what_an_objective_adds_has_a_name_there(name, tmp_path):
    vocab = trained(name).vocab
    for objective, count, names in (
        (Masked(), 1, ["<mask>"]),
        (Spans(), 2, ["<extra_id_0>", "<extra_id_1>"]),
        (NextToken(), 0, []),
    ):
        folder = tmp_path / objective.kind
        folder.mkdir()
        more = tokenizer_files.added(objective, count)
        assert more == names
        tokenizer_files.write(trained(name), folder, length=64, more=more)
        library = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert [library.token_to_id(word) for word in more] == list(range(vocab, vocab + count))
        for word in more:
            ids = library.encode(f"a {word}").ids
            assert ids == [*trained(name).encode("a ").tolist(), library.token_to_id(word)]
        again = open_folder(folder)
        assert again.vocab == vocab + count and again.separator == again.closing == trained(name).separator
        assert again.mask == (vocab if objective.kind == "masked" else None)
        assert list(again.sentinels) == (list(range(vocab, vocab + 2)) if objective.kind == "spans" else [])


def test_a_name_that_is_a_piece_is_not_taken(tmp_path):
    assert tokenizer_files._not_in({"<mask>", "<mask_>", "a"}, "<mask>") == "<mask__>"


def test_what_was_imported_goes_out_as_it_came(tmp_path):
    folder = write("llama", tmp_path / "in", tokenizer_config={"a": 1}, special_tokens_map={})
    tokenizer = open_folder(folder)
    assert isinstance(tokenizer, Ours)
    tokenizer.save(tmp_path / "kept")
    (tmp_path / "out").mkdir()
    tokenizer_files.write(tokenizers.load(tmp_path / "kept"), tmp_path / "out", length=3)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


def test_real_text_has_the_same_ids(real_data):
    """BPE and characters, over Shakespeare, Wikipedia and Chinese."""
    names = ("tinyshakespeare/input.txt", "wikitext-2-valid/valid.txt", "chinese-classics/mengzi.json")
    texts = [(real_data / name).read_text(encoding="utf-8")[:150_000] for name in names]
    for model in ("bpe", "char"):
        cfg = tokenizers.SentencePieceConfig(model=model, vocab=3_000, sample_bytes=400_000)
        tokenizer = tokenizers.train(cfg, texts, seed=0)
        library = Tokenizer.from_str(json.dumps(tokenizer_files.as_json(tokenizer)))
        for text in texts:
            assert library.encode(text).ids == tokenizer.encode(text).tolist()


@pytest.mark.parametrize("name", learned.ALL)
def test_what_was_trained_by_the_library_goes_out_with_what_the_objective_added(name, tmp_path):
    tokenizer = learned.trained(name)
    tokenizer_files.write(tokenizer, tmp_path, length=64, more=["<extra_id_0>", "<extra_id_1>"])
    again = open_folder(tmp_path)
    assert list(again.sentinels) == [tokenizer.vocab, tokenizer.vocab + 1]
    assert (again.separator, again.closing, again.lossless) == (
        tokenizer.separator, tokenizer.closing, tokenizer.lossless,
    )  # fmt: skip
    for text, ids in zip(CODE[:5], tokenizer.encode_batch(CODE[:5]), strict=True):
        assert again.encode(text).tolist() == ids.tolist()
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 64


def test_byte_bpe_gains_the_token_that_hides_and_wordpiece_has_it(tmp_path):
    for name, more in (("llama3", ["<mask>"]), ("wordpiece", [])):
        folder = tmp_path / name
        folder.mkdir()
        tokenizer_files.write(learned.trained(name), folder, length=64, more=more)
        again = open_folder(folder)
        assert again.mask == (learned.trained(name).vocab if more else learned.trained(name).mask)
