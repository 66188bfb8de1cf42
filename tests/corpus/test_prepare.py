"""From text to shards: the same bytes however often it is killed and however many threads work."""

import itertools
import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from jaxlm.corpus import prepare as preparing
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.dataset import ContiguousSplit, DataConfig, HashSplit
from jaxlm.data.mixture import TemperatureMixture
from jaxlm.data.shards import SPLITS, Shards
from jaxlm.data.tokenizer import BytesConfig, SentencePieceConfig
from jaxlm.errors import JaxlmError, UserError
from tests.faults import injector
from tests.rows import short

CODE = """
import sys
from jaxlm.config import parse
from jaxlm.corpus.prepare import prepare
from jaxlm.data.dataset import DataConfig
from tests.faults import injector
import json
{arm}
prepare(parse(json.loads(sys.argv[1]), DataConfig), sys.argv[2])
print("done")
"""


def texts(count: int = 120) -> list[str]:
    """Made-up prose in a few scripts, with all kinds of white space."""
    rng = random.Random(0)
    words = [
        "the",
        "cat",
        "naïve",
        "中文",
        "\tindent",
        "line\n",
        "end.\r\n",
        "    ",
        "<unk>",
        "\u2581",
        "\0",
        "😀",
    ]
    return [" ".join(rng.choices(words, k=rng.randrange(5, 400))) for _ in range(count)]


@pytest.fixture
def corpus(tmp_path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()), encoding="utf-8")
    return path


def config(source, **fields) -> DataConfig:
    tokenizer = fields.pop("tokenizer", SentencePieceConfig(vocab=300))
    return DataConfig(source=str(source), length=16, batch=4, tokenizer=tokenizer, **fields)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in injector.files_below(folder)}


def decoded(shards: Shards, split: str) -> list[str]:
    tokenizer = tokenizers.load(shards.folder / "tokenizer")
    stream, offsets = shards.tokens(split), shards.offsets(split)
    assert (stream[offsets] == tokenizer.separator).all()
    return [tokenizer.decode(stream[a:b]) for a, b in itertools.pairwise(offsets)]


@pytest.mark.parametrize("tokenizer", [BytesConfig(), SentencePieceConfig(vocab=300)])
@pytest.mark.parametrize("split", [HashSplit(validation=0.1, test=0.1), ContiguousSplit(validation=0.2)])
def test_every_text_is_in_the_shards_with_its_size_in_bytes(corpus, tmp_path, tokenizer, split):
    shards = prepare(config(corpus, tokenizer=tokenizer, split=split), tmp_path / "shards")
    found = {s: decoded(shards, s) for s in SPLITS}
    assert sorted("".join(map("".join, found.values()))) == sorted("".join(texts()))
    for s in SPLITS:
        sizes = [len(text.encode()) for text in found[s]]
        assert shards.source_bytes(s).tolist() == sizes
        assert shards.counts(s) == {
            "documents": len(sizes), "bytes": sum(sizes),
            "tokens": len(shards.tokens(s)), "predicted": len(shards.tokens(s)) - 1,
        }  # fmt: skip
    if split.kind == "contiguous":
        whole = "".join(texts())
        assert "".join(found["train"]) == whole[: int(len(whole) * 0.8)]


def test_the_tokenizer_sees_nothing_but_the_training_split(tmp_path):
    (tmp_path / "text.txt").write_text("ab" * 450 + "xyz" * 33 + "x")
    cfg = config(tmp_path / "text.txt", split=ContiguousSplit(), tokenizer=SentencePieceConfig(model="char", vocab=300))
    shards = prepare(cfg, tmp_path / "shards")
    assert shards.vocab == 2 + 256 + 2  # specials, bytes, and a and b alone


def test_any_number_of_threads_writes_the_same_bytes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxlm.corpus.encode.BATCH_CHARACTERS", 2_000)  # many batches
    monkeypatch.setattr("jaxlm.data.tokenizer_base.Tokenizer.part_characters", 500)  # documents in parts
    monkeypatch.setattr("jaxlm.data.tokenizer.PART_CHARACTERS", 500)
    made = [content(prepare(config(corpus), tmp_path / str(n), workers=n).folder) for n in (1, 2, 3, 8)]
    assert made[0] == made[1] == made[2] == made[3]
    assert len(made[0]["train.tokens"]) > 10_000


def test_a_second_call_makes_nothing(corpus, tmp_path, monkeypatch):
    first = prepare(config(corpus), tmp_path / "shards")
    monkeypatch.setattr(preparing, "_make", lambda *_: pytest.fail("made again"))
    again = prepare(config(corpus), tmp_path / "shards")
    assert (again.folder, again.digest) == (first.folder, first.digest)
    other_rows = config(corpus).model_copy(update={"length": 32, "rows": "chunked", "prefetch": 0})
    assert prepare(other_rows, tmp_path / "shards").digest == first.digest


def test_what_makes_the_shards_makes_the_folder(corpus, tmp_path):
    cfg = config(corpus, tokenizer=BytesConfig())
    folders = {prepare(c, tmp_path / "shards").folder for c in (cfg, config(corpus, split=ContiguousSplit()))}
    folders.add(prepare(cfg.model_copy(update={"seed": 1}), tmp_path / "shards").folder)
    corpus.write_text(corpus.read_text() + '{"text": "more"}\n')
    folders.add(prepare(cfg, tmp_path / "shards").folder)
    assert len(folders) == 4


def test_the_manifest_names_no_machine_and_counts_what_was_left_out(tmp_path, caplog):
    caplog.set_level("INFO", "jaxlm")
    source = tmp_path / "source"
    source.mkdir()
    for i, text in enumerate(texts()):
        (source / f"{i:03}.txt").write_text(text, newline="")
    (source / "image.png").write_bytes(bytes(500))
    (source / "scarred.txt").write_bytes(b"x" * 2_000 + b"\xff")
    shards = prepare(config(source), tmp_path / "shards")
    assert shards.manifest["skipped"] == {"binary": 1}
    assert shards.manifest["replaced_characters"] == 1
    assert "1 binary (first image.png); 1 invalid characters replaced" in caplog.text
    assert str(tmp_path) not in json.dumps(shards.manifest)
    source.rename(tmp_path / "elsewhere")
    assert prepare(config(tmp_path / "elsewhere"), tmp_path / "shards2").digest == shards.digest


def test_row_plans_are_ready(corpus, tmp_path):
    folder = prepare(config(corpus), tmp_path / "shards").folder
    assert {path.name for path in (folder / "plans").iterdir()} == {f"{s}-packed-16.plan" for s in SPLITS}


def test_progress_is_told(corpus, tmp_path):
    told = []
    prepare(config(corpus), tmp_path / "shards", progress=lambda *state: told.append(state))
    characters = sum(map(len, texts()))
    assert (characters, characters, "encoding characters") in told
    assert all(total is None or done <= total for done, total, _ in told)


def test_damaged_shards_are_made_anew(corpus, tmp_path, caplog):
    first = prepare(config(corpus), tmp_path / "shards")
    before = content(first.folder)
    (first.folder / "train.tokens").write_bytes(b"")
    assert content(prepare(config(corpus), tmp_path / "shards").folder) == before
    assert "making the shards anew" in caplog.text


# --- hostile input


def test_an_empty_corpus_says_what_was_left_out(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"data\.source=.*empty' holds no text: no file with text in it was found"):
        prepare(config(tmp_path / "empty"), tmp_path / "shards")
    (tmp_path / "empty" / "a.bin").write_bytes(bytes(100))
    with pytest.raises(UserError, match=r"holds no text: left out were 1 binary \(first a\.bin\)"):
        prepare(config(tmp_path / "empty"), tmp_path / "shards")
    with pytest.raises(UserError, match=r"with data\.include=\['\*\.rs'\] holds no text"):
        prepare(config(tmp_path / "empty", include=("*.rs",)), tmp_path / "shards")
    assert not [path for path in (tmp_path / "shards").iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("data", [b"", b"\0\1\2\3", b"\x7fELF" + bytes(5_000), b"caf\xe9", b"\xff\xfea\0b\0"])
def test_a_file_that_is_no_text_is_the_users_mistake(tmp_path, data):
    (tmp_path / "file.txt").write_bytes(data)
    with pytest.raises(UserError, match="holds no text: left out were 1 "):
        prepare(config(tmp_path / "file.txt"), tmp_path / "shards")


def test_one_document_cannot_be_split_by_hash(tmp_path):
    (tmp_path / "book.txt").write_text("word " * 500)
    with pytest.raises(UserError, match=r"split would be empty: .* 1 documents.*data.split.kind=contiguous"):
        prepare(config(tmp_path / "book.txt", tokenizer=BytesConfig()), tmp_path / "shards")


def test_one_word_becomes_shards_or_a_clear_error(tmp_path):
    (tmp_path / "word.txt").write_text("hello")
    cfg = config(tmp_path / "word.txt", split=ContiguousSplit())
    with pytest.raises(UserError, match=r"data\.tokenizer\.vocab=\d+ or less"):
        prepare(cfg, tmp_path / "shards")
    shards = prepare(cfg.model_copy(update={"tokenizer": BytesConfig()}), tmp_path / "shards")
    assert decoded(shards, "train") == ["hell"] and decoded(shards, "validation") == ["o"]


def test_one_character_cannot_be_split(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UserError, match=r"the train split would be empty.*give more text"):
        prepare(config(tmp_path / "a.txt", split=ContiguousSplit()), tmp_path / "shards")


@pytest.mark.parametrize("filling", ["x", "word ", "\0", "\n"])
def test_a_line_of_50_megabytes_is_no_trouble(tmp_path, filling):
    size = 50_000_000 if filling == "x" else 3_000_000  # the others take the same path
    text = "start " + filling * (size // len(filling)) + " end"
    (tmp_path / "line.jsonl").write_text(json.dumps({"text": text}) + "\n")
    cfg = config(tmp_path / "line.jsonl", split=ContiguousSplit(), tokenizer=BytesConfig())
    shards = prepare(cfg, tmp_path / "shards")
    assert shards.counts("train")["bytes"] + shards.counts("validation")["bytes"] == len(text)
    assert bytes(shards.tokens("train")[1:1_001].astype(np.uint8)) == text[:1_000].encode()


def test_without_bytes_an_unknown_character_in_validation_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("ab" * 500 + "é")
    tokenizer = SentencePieceConfig(model="char", byte_fallback=False)
    with pytest.raises(UserError, match=r"does not know 'é'"):
        prepare(config(tmp_path / "a.txt", split=ContiguousSplit(), tokenizer=tokenizer), tmp_path / "shards")


def test_the_source_cannot_be_the_folder_for_shards(tmp_path):
    with pytest.raises(UserError, match="also the folder for shards"):
        prepare(config(tmp_path), tmp_path)


def test_shards_inside_the_source_are_no_part_of_it(corpus, tmp_path):
    first = prepare(config(tmp_path), tmp_path / "shards")
    assert prepare(config(tmp_path), tmp_path / "shards").digest == first.digest


def test_a_source_that_changes_while_it_is_read_is_refused(corpus, tmp_path, monkeypatch):
    encode = preparing.encode

    def changing(*args, **kwargs):
        corpus.write_text(corpus.read_text() + '{"text": "late"}\n')
        return encode(*args, **kwargs)

    monkeypatch.setattr(preparing, "encode", changing)
    with pytest.raises(UserError, match="changed while it was read"):
        prepare(config(corpus), tmp_path / "shards")
    assert not [path for path in (tmp_path / "shards").iterdir() if path.suffix != ".lock"]


# --- components


def components(shards: Shards, by) -> dict[str, str]:
    """{the first word of each document: its component}."""
    found = {}
    for split in SPLITS:
        names = [shards.names(by)[number] for number in shards.components(split, by)]
        found |= dict(zip([text.split()[0] for text in decoded(shards, split)], names, strict=True))
    return found


def test_a_document_has_its_folder_or_what_its_record_says(tmp_path):
    source = tmp_path / "source"
    (source / "books" / "old").mkdir(parents=True)
    (source / "books" / "old" / "a.txt").write_text("ant " * 30)
    (source / "b.txt").write_text("bee " * 30)
    records = [
        {"text": "cat " * 30, "source": "web/crawl.warc:12", "language": "de"},
        {"text": "dog " * 30, "lang": "fr", "source": ""},
        {"text": "eel " * 30},
    ]
    (source / "books" / "c.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    made = [
        prepare(
            config(source, tokenizer=BytesConfig(), split=ContiguousSplit(validation=0.5)), tmp_path / f"{n}", workers=n
        )
        for n in (1, 3)
    ]
    assert made[0].digest == made[1].digest
    of_source = {"bee": ".", "ant": "books", "cat": "web", "dog": "books", "eel": "books"}
    assert components(made[0], "source") == of_source
    assert components(made[0], "language") == dict.fromkeys(of_source, "und") | {"cat": "de", "dog": "fr"}
    assert not made[0].verify()


def test_both_sides_of_a_cut_document_keep_its_component(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "word " * 200, "source": "books", "language": "en"}) + "\n")
    cfg = config(tmp_path / "a.jsonl", tokenizer=BytesConfig(), split=ContiguousSplit(validation=0.3))
    shards = prepare(cfg, tmp_path / "shards")
    for by, name in (("source", "books"), ("language", "en")):
        assert [shards.components(split, by).tolist() for split in SPLITS] == [[0], [0], []]
        assert shards.names(by) == [name]


def test_the_plans_of_a_mixture_are_ready_and_the_shards_are_the_same(corpus, tmp_path):
    plain = prepare(config(corpus), tmp_path / "shards")
    mixed = prepare(config(corpus, mixture=TemperatureMixture()), tmp_path / "shards")
    assert mixed.digest == plain.digest
    assert {f"{s}-packed-16-source-0.plan" for s in SPLITS} <= {
        path.name for path in (mixed.folder / "plans").iterdir()
    }


# --- faults


def child(cfg: DataConfig, root: Path, arm: str = ""):
    return injector.start(CODE.format(arm=arm), cfg.model_dump_json(), root)


MOMENTS = [
    "jaxlm.data.tokenizer:Tokenizer.save",
    "jaxlm.data.shards:Writer.add",
    "jaxlm.data.shards:Writer.close",
    "jaxlm.data.shards:commit",
    "jaxlm.hashing:hash_folder",
    "jaxlm.hashing:sync",
    "os:rename",
    "jaxlm.corpus.prepare:row_plan",
]


@pytest.mark.parametrize("moment", short(MOMENTS, "jaxlm.data.shards:Writer.close", "os:rename"))
def test_killed_at_any_step_the_same_command_gives_the_same_bytes(corpus, tmp_path, moment):
    cfg, root = config(corpus), tmp_path / "shards"
    whole = content(prepare(cfg, tmp_path / "unbroken").folder)
    for call in (1, 3):
        killed = child(cfg, root, f"injector.arm({moment!r}, injector.kill, call={call})")
        _, errors = killed.communicate(timeout=60)
        if killed.returncode == 0:
            break  # it is not called that often
        assert killed.returncode == -9, errors
    shards = prepare(cfg, root)
    assert content(shards.folder) == whole
    assert {path.name for path in root.iterdir()} == {shards.folder.name, f".{shards.folder.name}.lock"}


@pytest.mark.slow  # the steps that are named above are of every suite
def test_killed_at_random_moments_the_same_command_gives_the_same_bytes(corpus, tmp_path):
    corpus.write_text(corpus.read_text() * 40)
    cfg, root = config(corpus), tmp_path / "shards"
    whole = content(prepare(cfg, tmp_path / "unbroken").folder)
    rng = random.Random(0)
    for _ in range(4):
        process = child(cfg, root)
        deadline = time.monotonic() + 60
        while not list(root.glob(".*.building")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
    shards = prepare(cfg, root)
    assert content(shards.folder) == whole
    assert not list(root.glob(".*.building"))


def test_what_a_dead_process_left_of_other_shards_is_removed_but_not_what_lives(corpus, tmp_path):
    root = tmp_path / "shards"
    for name in ("dead", "alive"):
        (root / f".{name}.building").mkdir(parents=True)
    with preparing.locked(root / ".alive.lock", "--shards-dir"):
        prepare(config(corpus), root)
    assert {path.name for path in root.glob(".*.building")} == {".alive.building"}


def test_two_processes_at_once_make_one_set_of_shards(corpus, tmp_path):
    cfg, root = config(corpus), tmp_path / "shards"
    both = [child(cfg, root) for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0 and output == "done\n", errors
    assert len([path for path in root.iterdir() if path.suffix not in (".lock",)]) == 1
    assert not prepare(cfg, root).verify()


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path):
    source = tmp_path / "text.txt"
    source.write_text("some words " * 300_000)
    cfg = config(source, tokenizer=BytesConfig(), split=ContiguousSplit())
    with injector.small_disk(tmp_path / "disk", 1 << 20):
        with pytest.raises(JaxlmError, match=r"no space left for shards in .*make room") as error:
            prepare(cfg, tmp_path / "disk" / "shards")
        assert not isinstance(error.value, UserError)
        assert {p.suffix for p in (tmp_path / "disk" / "shards").iterdir()} == {".lock"}


def test_a_limit_on_file_sizes_is_named_and_then_the_same_command_works(tmp_path):
    source = tmp_path / "text.txt"
    source.write_text("some words " * 50_000)
    cfg, root = config(source, tokenizer=BytesConfig(), split=ContiguousSplit()), tmp_path / "shards"
    with injector.file_size_limit(100_000), pytest.raises(JaxlmError, match="no space left"):
        prepare(cfg, root)
    assert {p.suffix for p in root.iterdir()} == {".lock"}
    assert np.array_equal(prepare(cfg, root).tokens("train")[1:5], list(b"some"))


def test_a_root_that_is_a_file_is_the_users_mistake(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="shards cannot be written to"):
        prepare(config(corpus), tmp_path / "file" / "shards")


def test_tiny_shakespeare_is_split_as_nanogpt_splits_it(real_data, tmp_path):
    source = real_data / "tinyshakespeare" / "input.txt"
    tokenizer = SentencePieceConfig(model="char", byte_fallback=False)
    shards = prepare(config(source, split=ContiguousSplit(), tokenizer=tokenizer), tmp_path / "shards")
    assert shards.vocab == 65 + 2
    assert (shards.counts("train")["tokens"], shards.counts("validation")["tokens"]) == (1_003_856, 111_542)
