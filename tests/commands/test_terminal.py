"""What people see while they wait, where standard error is no terminal."""

import signal

import pytest

from jaxlm.commands import eval as eval_
from jaxlm.commands import terminal


def test_plain_progress_says_each_stage_once_at_its_beginning_and_once_with_its_count(capsys):
    with terminal.preparation() as progress:
        for done in (10, 900, 1_234):
            progress(done, None, "reading characters")
        progress(0, None, "training the tokenizer")
        for done in (600, 1_234):
            progress(done, 1_234, "encoding characters")
        progress(0, None, "committing the shards")
    assert capsys.readouterr().err.splitlines() == [
        "jaxlm: reading characters",
        "jaxlm: reading characters: 1,234",
        "jaxlm: training the tokenizer",
        "jaxlm: encoding characters",
        "jaxlm: encoding characters: 1,234",
        "jaxlm: committing the shards",
    ]


def test_plain_progress_counts_a_last_stage_too(capsys):
    with terminal.preparation() as progress:
        progress(7, 7, "hashing bytes")
    assert capsys.readouterr().err.splitlines() == ["jaxlm: hashing bytes", "jaxlm: hashing bytes: 7"]


def test_preparation_is_over_when_training_shows_its_first_numbers(monkeypatch):
    """Two bars at once would overwrite each other on a terminal."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    ended = []
    with terminal.training(8, lambda: ended.append(True)) as show:
        assert not ended
        show(2, {"loss": 1.0, "tokens_per_second": 3.0})
        assert ended


def test_an_interrupt_while_modules_are_imported_is_one_line(capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="75"):
        terminal.guarded(interrupted)
    assert capsys.readouterr().err == f"jaxlm: {terminal.INTERRUPTED}\n"


def test_a_request_to_end_is_one_line_and_who_asked_before_is_heard_again(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="75"):
        terminal.guarded(lambda **_: signal.raise_signal(signal.SIGTERM))
    assert capsys.readouterr().err == f"jaxlm: {terminal.INTERRUPTED}\n"
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("lossless, ends", [(True, "1.5000"), (False, "not comparable with those of others)")])
def test_bits_per_byte_of_a_tokenizer_that_loses_text_are_marked(lossless, ends, capsys):
    numbers = dict.fromkeys(("loss", "standard_error", "perplexity", "bits_per_byte"), 1.5)
    beside = {"gzip_bits_per_byte": 2.0, "xz_bits_per_byte": 2.0, "accuracy": None, "order": None}
    eval_._show(numbers | beside | {
        "asked": "tokens", "tokens": 9, "bytes": 40, "source": "test", "step": 2, "lossless": lossless,
    })  # fmt: skip
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "bits per byte" in line]
    assert line.endswith(ends)
