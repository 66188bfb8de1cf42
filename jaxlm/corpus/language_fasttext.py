"""A fastText model of yours that tells languages: lid.176 (.bin, .ftz), OpenLID, GlotLID, or one you trained.

Labels are `__label__en` or `__label__eng_Latn`; what they mean is told as jaxlm/corpus/language.py tells it, ISO 639-1
where there is one. The library that asks the model reads for ever in a file that was cut short, so the file is walked
first, as fastText 0.9 writes it (version 12; 11 is the same but for character n-grams): 12 settings and a rate, the
dictionary, the input's and the output's matrix, plain or quantised.

Left out: the script of a label, and the sum over labels that mean one language.
"""

import functools
import mmap
import re
import struct
from pathlib import Path
from typing import Any

from jaxlm import hashing
from jaxlm.errors import UserError

_MAGIC, _VERSIONS, _SUPERVISED = 793_712_314, (11, 12), 3
_LABEL = re.compile(r"__label__([a-z]{2,3})([_-]\w+)?")
_CENTROIDS = 256 * 4  # bytes a dimension: codes are bytes, centroids float32

# ISO 639-3 and 639-1, one after the other. After the standard's own: languages that stand for the one that holds them,
# as FLORES-200 labels them (arXiv:2207.04672).
_CODES = """
aaraa abkab aveae afraf akaak amham argan araar asmas avaav aymay azeaz bakba belbe bulbg bisbi bambm benbn bodbo brebr
bosbs catca chece chach cosco crecr cescs chucu chvcv cymcy danda deude divdv dzodz eweee ellel engen epoeo spaes estet
euseu fasfa fulff finfi fijfj faofo frafr fryfy glega glagd glggl grngn gujgu glvgv hauha hebhe hinhi hmoho hrvhr hatht
hunhu hyehy herhz inaia indid ileie iboig iiiii ipkik idoio islis itait ikuiu jpnja javjv katka konkg kikki kuakj kazkk
kalkl khmkm kankn korko kaukr kasks kurku komkv corkw kirky latla ltzlb luglg limli linln laolo litlt lublu lavlv mlgmg
mahmh mrimi mkdmk malml monmn marmr msams mltmt myamy nauna nobnb ndend nepne ndong nldnl nnonn norno nblnr navnv nyany
ocioc ojioj ormom orior ossos panpa plipi polpl pusps porpt quequ rohrm runrn ronro rusru kinrw sansa srdsc sndsd smese
sagsg hbssh sinsi slksk slvsl smosm snasn somso sqisq srpsr sswss sotst sunsu swesv swasw tamta telte tgktg thath tirti
tuktk tgltl tsntn tonto turtr tsots tattt twitw tahty uigug ukruk urdur uzbuz venve vievi volvo wlnwa wolwo xhoxh yidyi
yoryo zhaza zhozh zulzu
alssq arbar ayray azjaz cmnzh ekket fuvff gazom guggn khkmn kmrku lvslv npine oryor pbtps pesfa pltmg quyqu swhsw uznuz
yddyi zsmms
"""
_TO_SHORT = {pair[:3]: pair[3:] for pair in _CODES.split()}


def language_of(label: str) -> str | None:
    """ISO 639-1, or 639-3 where there is none; None where the label names no language.

    >>> [language_of(f"__label__{name}") for name in ("en", "eng_Latn", "cmn_Hani", "ceb", "spam")]
    ['en', 'en', 'zh', 'ceb', None]
    """
    found = _LABEL.fullmatch(label)
    if found is None:
        return None
    code, script = found.groups()
    if code == "als" and not script:
        return "gsw"  # in lid.176, whose labels are Wikipedia's: Alemannic
    return _TO_SHORT.get(code, code)


def digest(path: str) -> str:
    """The hash of a model's file; UserError where the library is missing, or the file no such model."""
    _library()
    _check(path)
    return hashing.file_hash(Path(path).expanduser())


def ask(path: str, text: str) -> tuple[str, float] | None:
    """(language, probability) of a text, read as one line; None where the model knows nothing of what is in it."""
    line = " ".join(text.split()).encode("utf-8", "replace").decode()  # half a surrogate pair is no UTF-8
    labels, probabilities = _model(path).predict(line)
    if not len(labels):
        return None
    return language_of(labels[0]) or labels[0], min(1.0, float(probabilities[0]))  # it may say 1.00001


@functools.cache
def _model(path: str) -> Any:
    fasttext = _library()
    _check(path)
    return fasttext.load_model(str(Path(path).expanduser()))


def _library() -> Any:
    try:
        import fasttext  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("languages.identify.fasttext needs a library: pip install 'jaxlm[fasttext]'") from None
    return fasttext


def _check(path: str) -> None:
    """UserError where a file is no whole model of languages."""
    try:
        with open(Path(path).expanduser(), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            problem = _problem(data)
    except (OSError, ValueError) as error:  # ValueError: mmap's of an empty file
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        raise UserError(
            f"languages.identify.fasttext={path!r}: {problem}: name a fastText model of languages, such as lid.176.ftz"
        )


def _problem(data: mmap.mmap) -> str | None:
    try:
        magic, version = struct.unpack_from("<2i", data)
        if magic != _MAGIC or version not in _VERSIONS:
            return "it does not begin as a fastText model does"
        (kind,) = struct.unpack_from("<i", data, 36)
        if kind != _SUPERVISED:
            return "it is a fastText model of words, which has no labels"
        end, labels = _dictionary(data, 64)
        whole = _matrices(data, end) == len(data)
    except (struct.error, IndexError, ValueError):  # a number, a word or a text ends behind the file
        whole = False
    if not whole:
        return "it is damaged, or was not copied to its end"
    if strange := [label for label in labels if language_of(label) is None] or ([] if labels else ["none"]):
        return f"its labels, such as {strange[0]!r}, name no languages (as __label__en and __label__eng_Latn do)"
    return None


def _dictionary(data: mmap.mmap, place: int) -> tuple[int, list[str]]:
    """(where it ends, its labels): entries are a word, a zero, how often it was met, 0 for a word or 1 for a label."""
    entries, _, _, _, pruned = struct.unpack_from("<3i2q", data, place)
    place, labels = place + 28, []
    for _ in range(entries):
        end = data.find(b"\0", place)
        if end < 0 or end + 10 > len(data):
            raise ValueError("no entry")
        if data[end + 9]:
            labels.append(data[place:end].decode("utf-8", "replace"))
        place = end + 10
    return place + 8 * max(pruned, 0), labels


def _matrices(data: mmap.mmap, place: int) -> int:
    """Where the input's matrix and then the output's end."""
    quantised = bool(data[place])
    place = _matrix(data, place + 1, quantised)
    return _matrix(data, place + 1, quantised and bool(data[place]))


def _matrix(data: mmap.mmap, place: int, quantised: bool) -> int:
    if not quantised:
        rows, columns = struct.unpack_from("<2q", data, place)
        return place + 16 + 4 * rows * columns
    with_norms, rows, _, codes = struct.unpack_from("<?2qi", data, place)
    place = _centroids(data, place + 21 + codes)
    return _centroids(data, place + rows) if with_norms else place


def _centroids(data: mmap.mmap, place: int) -> int:
    (dimensions,) = struct.unpack_from("<i", data, place)
    return place + 16 + _CENTROIDS * dimensions
