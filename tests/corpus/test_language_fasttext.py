"""A fastText model of the user's: what its labels mean, files that are none, and what the pipeline makes of it.

languages.ftz was trained on four declarations of human rights, 100 characters a line (dim 8, n-grams of 2 and 3 in
5,000 buckets, 60 epochs at 0.3) and quantised with norms, 300 words kept: English, German, Chinese, Czech.
"""

import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxlm.corpus import language_fasttext
from jaxlm.corpus.config import CorpusConfig, LanguagesConfig, SourceConfig
from jaxlm.corpus.language import UNDETERMINED, Identifier, LanguageConfig
from jaxlm.corpus.language_fasttext import digest, language_of
from jaxlm.corpus.pipeline import make
from jaxlm.errors import UserError

MODEL = Path(__file__).parent / "languages.ftz"
ENGLISH = "Everyone has the right to freedom of thought and of religion."


def plain(labels=("__label__eng_Latn", "__label__deu_Latn"), kind: int = 3) -> bytes:
    """A model that is not quantised: two words, no bucket, two dimensions."""
    settings = (2, 5, 1, 1, 5, 1, 3, kind, 0, 0, 0, 100)
    entries = [("the", 0), ("der", 0), *((label, 1) for label in labels)]
    dictionary = b"".join(word.encode() + b"\0" + struct.pack("<qb", 1, is_label) for word, is_label in entries)
    matrix = lambda *rows: struct.pack("<2q", len(rows), 2) + b"".join(struct.pack("<2f", *row) for row in rows)
    return (
        struct.pack("<2i12id", 793_712_314, 12, *settings, 1e-4)
        + struct.pack("<3i2q", len(entries), 2, len(labels), 2, -1) + dictionary
        + b"\0" + matrix((9, 0), (0, 9)) + b"\0" + matrix(*[(1, 0), (0, 1)][: len(labels)])
    )  # fmt: skip


@pytest.fixture
def library(monkeypatch) -> Iterator[list[str]]:
    """A stand-in for the library; the lines that it was asked."""
    language_fasttext._model.cache_clear()
    lines = []

    def predict(line):
        lines.append(line)
        label = "deu_Latn" if "der" in line.split() else "eng_Latn"
        return ((), ()) if "?" in line else ((f"__label__{label}",), (1.00001,))

    model = SimpleNamespace(predict=predict)
    monkeypatch.setitem(sys.modules, "fasttext", SimpleNamespace(load_model=lambda path: model))
    yield lines
    language_fasttext._model.cache_clear()


@pytest.mark.parametrize(
    ("label", "language"),
    [("en", "en"), ("arb_Arab", "ar"), ("zho_Hant", "zh"), ("als", "gsw"), ("als_Latn", "sq"), ("ceb", "ceb")],
)
def test_a_label_means_a_language(label, language):
    assert language_of(f"__label__{label}") == language and language_of(label) is None


def test_the_model_is_asked_one_line_of_a_text_that_has_letters(library):
    identify = Identifier(LanguageConfig(fasttext=str(MODEL))).identify
    assert identify(f"{ENGLISH}\n\n{ENGLISH}") == ("en", 1.0)
    assert identify("too few") == (UNDETERMINED, 0.0)
    assert library == [f"{ENGLISH} {ENGLISH}"]
    assert identify(f"{ENGLISH} \ud800") == (UNDETERMINED, 0.0)  # half a pair is asked as "?"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"PK\3\4" + bytes(100), "does not begin as"),
        (MODEL.read_bytes()[:6], "damaged"),
        (MODEL.read_bytes()[:-1], "damaged"),
        (MODEL.read_bytes()[: 1 << 12], "damaged"),
        (plain()[:100], "damaged"),
        (plain() + b"\0", "damaged"),
        (plain(kind=1), "of words"),
        (plain(("__label__eng_Latn", "__label__spam")), "__label__spam"),
        (plain(()), "'none'"),
    ],
)
def test_a_file_that_is_no_model_of_languages_is_refused_before_the_library_sees_it(
    tmp_path, library, content, problem
):
    path = tmp_path / "model.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"identify.fasttext='.*model.bin': .*{problem}.*: name a fastText model"):
        digest(str(path))
    with pytest.raises(UserError, match=problem):
        Identifier(LanguageConfig(fasttext=str(path))).identify(ENGLISH)


def test_a_whole_model_is_known_by_its_bytes(tmp_path, library):
    for name, content in (("a.bin", plain()), ("b.bin", plain()), ("c.ftz", MODEL.read_bytes())):
        (tmp_path / name).write_bytes(content)
    first, second, third = (digest(str(tmp_path / name)) for name in ("a.bin", "b.bin", "c.ftz"))
    assert first == second != third


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(UserError, match=r"pip install 'jaxlm\[fasttext\]'"):
        digest(str(MODEL))


def test_another_model_is_asked_again_and_the_same_one_elsewhere_is_not(tmp_path, library):
    (tmp_path / "a.txt").write_text(ENGLISH)
    (tmp_path / "one.bin").write_bytes(plain())
    shutil.copy(tmp_path / "one.bin", tmp_path / "same.bin")
    (tmp_path / "other.bin").write_bytes(MODEL.read_bytes())

    def asked(name: str) -> int:
        languages = LanguagesConfig(identify=LanguageConfig(fasttext=str(tmp_path / name)))
        source, before = SourceConfig(name="a", path=str(tmp_path / "a.txt")), len(library)
        made = make(CorpusConfig(name="c", sources=(source,), languages=languages, quality=()), tmp_path)
        assert made.manifest["stages"]["annotate"]["languages"] == {"en": 1}
        return len(library) - before

    assert [asked(name) for name in ("one.bin", "same.bin", "other.bin")] == [1, 0, 1]


def test_a_real_model_knows_its_four_languages():
    identify = Identifier(LanguageConfig(fasttext=str(MODEL))).identify
    german, czech = (
        "Alle Menschen sind frei und gleich an Würde geboren.",
        "Všichni lidé se rodí svobodní a sobě rovní.",
    )
    texts = {"en": ENGLISH, "de": german, "cs": czech, "zh": "人人生而自由，在尊严和权利上一律平等。"}
    assert [identify(text)[0] for text in texts.values()] == list(texts)
