"""What SentencePiece writes is read; what would crash it is refused before it sees it."""

import io

import pytest
import sentencepiece

from jaxlm.data import charsmap, sentencepiece_file
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.errors import UserError
from tests.faults.hostile_tokenizers import charsmap as table
from tests.faults.hostile_tokenizers import far_text, far_trie, model, piece, sized, whole

TEXTS = [f"the old king sees {n} small birds\tand\n" for n in range(200)]


def with_table(rule: str) -> bytes:
    """A model of SentencePiece's own, with its table of replaced characters."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=out,
        vocab_size=60,
        hard_vocab_limit=False,
        normalization_rule_name=rule,
        minloglevel=2,
    )
    return out.getvalue()


def table_of(content: bytes) -> bytes:
    """The longest run of bytes that a normalizer holds."""
    fields = dict(sentencepiece_file._fields(content))
    return dict(sentencepiece_file._fields(fields[3]))[2]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("fallback", [True, False])
def test_our_own_models_are_read(kind, fallback, tmp_path):
    vocab = 290 if fallback else 40
    tokenizers.train(SentencePieceConfig(model=kind, vocab=vocab, byte_fallback=fallback), TEXTS, seed=0).save(tmp_path)
    sentencepiece_file.check((tmp_path / "sentencepiece.model").read_bytes(), "model")


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nfkc_cf", "identity"])
def test_the_tables_of_sentencepiece_are_read(rule):
    sentencepiece_file.check(with_table(rule), rule)


def test_a_table_is_read_to_its_last_unit():
    whole_table = table_of(with_table("nmt_nfkc"))
    charsmap.check(whole_table, "t")
    size = int.from_bytes(whole_table[:4], "little")
    short = (size - 1024).to_bytes(4, "little") + whole_table[4 : 4 + size - 1024] + whole_table[4 + size :]
    with pytest.raises(UserError, match="leads beyond its end"):
        charsmap.check(short, "t")
    with pytest.raises(UserError, match="points beyond its texts"):
        charsmap.check(whole_table[: 4 + size] + b"a\0", "t")


@pytest.mark.parametrize(
    "content, words",
    [
        (model(piece(b"a" * 100_000)), "piece 258 has 100,000 bytes, not 1 to 1,024"),  # sentencepiece #1263
        (model(normalizer=sized(2, table(far_trie()))), "leads beyond its end"),  # sentencepiece #1269
        (model(normalizer=sized(2, table(far_text()))), "points beyond its texts"),
        (model(piece(b"a\0b")), "is no text"),
        (model(piece(b"a"), piece(b"a")), "is there twice"),
        (model(piece(b"a", float("inf"))), "has the score inf"),
        (model(piece(b"a", kind=9)), "has the type 9"),
        (model(trainer=whole(4, 2**31)), "ask for 2147483648 pieces"),
        (model(piece(b"a"))[:-3], "goes beyond the end"),
        (b"", "has 0 pieces for unknown text"),
    ],
    ids=str,
)
def test_what_would_harm_is_named(content, words):
    with pytest.raises(UserError, match=words):
        sentencepiece_file.check(content, "file.model")


def test_a_model_too_large_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(sentencepiece_file, "MOST_BYTES", 99)
    with pytest.raises(UserError, match=r"has [\d,]+ bytes, more than the 99"):
        sentencepiece_file.check(model(), "file.model")
    monkeypatch.undo()
    monkeypatch.setattr(sentencepiece_file, "MOST_PIECES", 99)
    with pytest.raises(UserError, match="more than 99 pieces"):
        sentencepiece_file.check(model(trainer=b""), "file.model")
