"""`jaxlm tokenizer`: what it prints, and what it answers to mistakes."""

from tests.data import test_tokenizer_training as learned


def test_a_run_its_shards_and_a_tokenizer_stand_side_by_side(jaxlm, trained, tmp_path):
    learned.trained("wordpiece").save(tmp_path / "pieces")
    (shards,) = [path for path in trained.shards.iterdir() if path.is_dir()]
    named = [str(trained.path), str(shards), "pieces"]
    answer = jaxlm("tokenizer", *named, "--text", trained.source, "--html", "page.html")
    lines = answer.out.splitlines()
    assert answer.code == 0 and lines[0].split()[:2] == ["tokenizer", "kind"]
    assert [line.split()[:2] for line in lines[1:4]] == [[name, f"[{n}]"] for n, name in enumerate(named, start=1)]
    assert "wordpiece" in lines[3] and "does not come" in lines[-1]
    assert (tmp_path / "page.html").is_file()
    told = jaxlm("tokenizer", *named, "--text", trained.source, "--json").json["tokenizers"]
    assert [one["name"] for one in told] == named
    assert told[0]["whole"] == told[1]["whole"] and told[0]["whole"]["exact"] == 1 and told[2]["whole"]["exact"] == 0


def test_bytes_that_no_text_uses_are_counted_and_every_column_is_explained(jaxlm, trained):
    answer = jaxlm("tokenizer", trained.path, "--text", trained.source)
    assert "such as none" not in answer.out and " of 257\n" in answer.out
    assert all(word in " ".join(jaxlm("tokenizer", "--help").out.split()) for word in ("used", "own", "exact"))


def test_without_a_text_it_says_what_it_is(jaxlm, trained):
    answer = jaxlm("tokenizer", trained.path)
    assert answer.code == 0 and " bytes " in answer.out and "257" in answer.out and "longest" in answer.out


def test_a_mistake_is_one_line(jaxlm, trained, tmp_path):
    for command, words in (
        (("nowhere",), "'nowhere' is no folder"),
        ((trained.path, "--text", "nowhere"), "does not exist"),
        ((trained.path, "--html", "nowhere/page.html"), "is no folder"),
    ):
        answer = jaxlm("tokenizer", *command)
        assert (answer.code, answer.out) == (2, "") and words in answer.err and len(answer.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == []
