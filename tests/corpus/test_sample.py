from pathlib import Path

from jaxlm.config import dump
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.document import Document
from jaxlm.corpus.files import File
from jaxlm.corpus.sample import choose, first, lenient

FILES = [File(f"{n:03}.txt", Path(f"/texts/{n:03}.txt"), 10) for n in range(100)]


def test_a_sample_is_of_files_from_all_over_and_is_always_the_same():
    some = choose(FILES, most=200, each=100)
    assert len(some) == 20 and some == sorted(some) == choose(FILES[::-1], most=200, each=100)
    assert some[0].name < "020.txt" and some[-1].name > "080.txt"


def test_a_new_file_moves_at_most_one_out_of_the_sample():
    before, after = (set(choose(files, most=200)) for files in (FILES, [*FILES, File("new.txt", Path("/new"), 10)]))
    assert len(before - after) <= 1


def test_a_large_file_counts_as_what_is_read_of_it():
    assert len(choose([file._replace(size=10**9) for file in FILES], most=200, each=20)) == 10
    assert len(choose(FILES, most=0)) == 1


def test_of_a_file_the_first_documents_are_read_and_no_more():
    read = []

    def documents():
        for n in range(9):
            read.append(n)
            yield Document.of("12345", str(n))

    assert len(list(first(documents(), 11))) == 3 == len(read)
    assert len(list(first(documents(), None))) == 9
    assert len(list(first(documents(), 1))) == 1


def test_a_sample_is_shown_where_a_run_would_end():
    """What it then says is in test_forecast.py."""
    strict = CorpusConfig(name="a", sources=(SourceConfig(name="a", path="a"),))
    kind = dump(lenient(strict))["duplicates"]
    assert kind["exact"]["cap"]["share"] == kind["near"]["cap"]["share"] == 1
    assert lenient(strict).bad_records == 0.999999
    bare = lenient(strict.model_copy(update={"duplicates": strict.duplicates.model_copy(update={"near": None})}))
    assert bare.duplicates.near is None
