"""What is said of a tokenizer is what counting by hand finds, whatever it is and whatever the text."""

import functools

import pytest

from jaxlm.corpus import tokenizer_report
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, SourceConfig
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.tokenizer_report import compare, opened
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.tokenizer_config import BytesConfig, SentencePieceConfig
from jaxlm.errors import Damaged, UserError
from tests.data import test_tokenizer_training as learned
from tests.data.huggingface_kinds import write
from tests.data.test_tokenizer import trained

ENGLISH = "All human beings are born free and equal in dignity and rights, and they all know that it is so."
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren und wissen, dass das so ist."
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"


@functools.cache
def characters() -> tokenizers.Tokenizer:
    """Knows the letters of English and no byte."""
    return tokenizers.train(SentencePieceConfig(model="char", byte_fallback=False), [ENGLISH], seed=0)


@pytest.fixture
def folder(tmp_path):
    text = tmp_path / "text"
    (text / "west").mkdir(parents=True)
    (text / "west" / "en.txt").write_text(ENGLISH)
    (text / "west" / "de.txt").write_text(GERMAN, encoding="utf-8")
    (text / "zh.txt").write_text(CHINESE, encoding="utf-8")
    return text


def found(tokenizer, text):
    (one,) = compare({"it": tokenizer}, text)
    return one


def test_bytes_are_counted_as_bytes(folder):
    one = found(tokenizers.train(BytesConfig(), [], seed=0), folder)
    size = len((ENGLISH + GERMAN + CHINESE).encode())
    whole = one["whole"]
    assert (whole["documents"], whole["bytes"], whole["tokens"]) == (3, size, size)
    assert whole["bytes_per_token"] == 1 and whole["exact"] == 1 and whole["unknown"] == whole["refused"] == 0
    high = sum(byte > 127 for byte in (ENGLISH + GERMAN + CHINESE).encode())
    assert whole["by_bytes"] == high / size
    visible = [c for c in ENGLISH + GERMAN + CHINESE if not c.isspace()]
    assert whole["own"] == sum(c.isascii() for c in visible) / len(visible)
    assert one["used"] == len(set((ENGLISH + GERMAN + CHINESE).encode())) and one["used"] + one["unused"] == 256


def test_languages_and_sources_part_the_whole(folder):
    tokenizer = trained("bpe")
    one = found(tokenizer, folder)
    assert set(one["languages"]) == {"en", "de", "zh"} and set(one["sources"]) == {"west", "zh.txt"}
    for kind in ("languages", "sources"):
        for count in ("documents", "bytes", "tokens"):
            assert sum(row[count] for row in one[kind].values()) == one["whole"][count]
    assert one["languages"]["en"]["tokens_per_word"] == tokenizer.encode(ENGLISH).size / len(ENGLISH.split())
    assert one["languages"]["zh"]["tokens_per_word"] is None
    both = tokenizer.encode(ENGLISH).size + tokenizer.encode(GERMAN).size
    assert one["whole"]["tokens_per_word"] == both / len((ENGLISH + " " + GERMAN).split())
    assert one["languages"]["zh"]["characters_per_token"] == len(CHINESE) / tokenizer.encode(CHINESE).size
    assert one["languages"]["zh"]["by_bytes"] > 0.9 and one["languages"]["en"]["own"] < 1


def test_what_is_lost_is_shown(folder):
    one = found(learned.trained("wordpiece"), folder)
    assert not one["lossless"] and one["whole"]["exact"] == 0 and 0 < one["whole"]["unknown"] < 1
    assert one["first_change"]["source"] == "west/de.txt"
    assert one["first_change"]["text"].startswith("Alle") and not one["first_change"]["back"].startswith("Alle")
    assert found(learned.trained("llama3"), folder)["first_change"] is None


def test_documents_that_are_refused_are_counted(folder):
    one = found(characters(), folder)
    assert one["whole"]["refused"] == 2 and one["languages"]["en"]["refused"] == 0
    assert one["languages"]["en"]["own"] == one["languages"]["en"]["exact"] == 1
    assert one["languages"]["zh"]["own"] == one["languages"]["zh"]["exact"] == 0
    assert one["languages"]["zh"]["bytes_per_token"] is None


def test_the_longest_and_the_idle_tokens_are_named(folder):
    tokenizer = trained("bpe")
    one = found(tokenizer, folder)
    sizes = [len(tokenizer.decode_bytes([token["id"]])) for token in one["longest"]]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == max(
        len(tokenizer.decode_bytes([i])) for i in range(tokenizer.vocab)
    )
    used = set().union(*(tokenizer.encode(text).tolist() for text in (ENGLISH, GERMAN, CHINESE)))
    assert all((token["count"] > 0) == (token["id"] in used) for token in one["longest"])
    assert one["used"] == len(used) and not used & {token["id"] for token in one["unused_first"]}
    assert one["unused"] == tokenizer.vocab - len(used) - 2  # the unknown one and the separator


def test_without_a_text_it_is_only_what_it_is():
    (one,) = compare({"it": learned.trained("llama3")}, None)
    assert (one["kind"], one["vocab"], one["lossless"]) == ("byte_bpe", 400, True)
    assert one["specials"] == {"bos": 0, "eos": 0, "pad": 0} and "whole" not in one and "count" not in one["longest"][0]


def test_many_sources_are_counted_together(folder, monkeypatch):
    monkeypatch.setattr(tokenizer_report, "MOST_SOURCES", 1)
    one = found(trained("bpe"), folder)
    assert set(one["sources"]) == {"west", "others"} and one["sources"]["others"]["documents"] == 1


def test_a_corpus_is_its_documents_and_their_sources_are_its_own(folder, tmp_path):
    sources = tuple(SourceConfig(name=name, path=str(folder / path)) for name, path in (("w", "west"), ("z", "zh.txt")))
    none = DuplicatesConfig(near=None)
    made = make(CorpusConfig(name="c", sources=sources, quality=(), duplicates=none, personal=None), tmp_path)
    whole, documents = (found(trained("bpe"), where) for where in (made.folder, made.documents))
    assert whole == documents and set(whole["sources"]) == {"w", "z"}


def test_several_read_the_same_text(folder):
    bpe, unigram = compare({"a": trained("bpe"), "b": trained("unigram")}, folder)
    assert bpe["whole"] == found(trained("bpe"), folder)["whole"]
    assert unigram["languages"] == found(trained("unigram"), folder)["languages"]


# --- what can be opened


def test_a_run_shards_and_folders_of_either_kind_are_opened(tmp_path):
    trained("bpe").save(tmp_path / "run" / "tokenizer")
    learned.trained("wordpiece").save(tmp_path / "ours")
    write("byte_level", tmp_path / "theirs")
    assert opened(str(tmp_path / "run")).digest == trained("bpe").digest
    assert opened(str(tmp_path / "run" / "tokenizer")).digest == trained("bpe").digest
    assert opened(str(tmp_path / "ours")).config.kind == "wordpiece"
    assert opened(str(tmp_path / "theirs")).config.kind == "huggingface"


def test_what_is_no_tokenizer_says_what_to_name(tmp_path):
    (tmp_path / "file").write_text("")
    for what, words in (
        (tmp_path, "holds no tokenizer"),
        (tmp_path / "file", "is no folder"),
        ("", "holds no tokenizer"),
    ):
        with pytest.raises(UserError, match=f"{words}: name a run, a folder of shards"):
            opened(str(what))


def test_a_damaged_tokenizer_is_damage(tmp_path):
    trained("bpe").save(tmp_path)
    (tmp_path / "sentencepiece.model").write_bytes(b"garbage")
    with pytest.raises(Damaged):
        opened(str(tmp_path))


@pytest.mark.parametrize("content", ["", None])
def test_a_text_with_nothing_in_it_is_the_users_mistake(tmp_path, content):
    if content is not None:
        (tmp_path / "text").write_text(content)
    with pytest.raises(UserError, match=r"--text .*(holds no text: left out were 1 empty|does not exist)"):
        compare({"it": trained("bpe")}, tmp_path / "text")


def test_all_languages_of_the_udhr_come_back(real_data):
    one = found(learned.trained("llama3"), real_data / "udhr")
    assert one["whole"]["exact"] == 1 and len(one["languages"]) >= 28
    assert one["languages"]["th"]["tokens_per_word"] is None
