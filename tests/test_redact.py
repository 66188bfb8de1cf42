"""Secrets are taken out, and nothing else is."""

import logging

import pytest

import jaxlm
from jaxlm import redact
from jaxlm.errors import UserError
from jaxlm.run_folder import RunFolder, read_json, write_json


@pytest.mark.parametrize(
    "told, shown",
    [
        ("https://ann:pass@example.org/a", "https://***@example.org/a"),
        ("s3://KEY:SEC%2Fret@bucket/a", "s3://***@bucket/a"),
        ("see https://h/a?x=1&X-Amz-Signature=0a1b&y=2 there", "see https://h/a?x=1&X-Amz-Signature=***&y=2 there"),
        ("https://h/?sv=2020&sig=abc%3D", "https://h/?sv=2020&sig=***"),
        ("https://h/#access_token=abc", "https://h/#access_token=***"),
        ("password=hunter2hunter", "password=***"),
        ('{"api_key": "abcdefgh"}', '{"api_key": "***"}'),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("hf_" + "a" * 34, "***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "***"),
    ],
    ids=lambda value: value[:30],
)
def test_a_secret_is_three_stars(told, shown):
    assert redact.text(told) == shown


@pytest.mark.parametrize(
    "told",
    [
        "https://example.org/a.jsonl?page=2", "s3://bucket/folder", "gs://bucket/file@2", "ann@example.org",
        "tokens: 123456", "mask_token='[MASK]'", "data.tokenizer.kind=saved", "the key=value of a config",
        "a token: reading", "sk-learn", "runs/secret/config.json", "secret=''", "x@y://z",
    ],
)  # fmt: skip
def test_what_is_none_stays(told):
    assert redact.text(told) == told


def test_values_of_variables_are_secrets_by_their_names(monkeypatch):
    values = ("abcd1234", "longer-abcd1234-key", "plainvalue", "/home/ann/key.json", "short")
    names = ("HF_TOKEN", "MY_KEY", "TOKENS", "GOOGLE_APPLICATION_CREDENTIALS", "A_SECRET")
    for name, value in zip(names, values, strict=True):
        monkeypatch.setenv(name, value)
    told = "abcd1234 longer-abcd1234-key plainvalue /home/ann/key.json short"
    assert redact.text(told) == "*** *** plainvalue /home/ann/key.json short"


def test_fields_are_secrets_by_their_names():
    told = {"data": {"source": "https://a:b@h/", "password": "x", "length": 3}, "tokens": ["t"], "secret": ""}
    shown = {"data": {"source": "https://***@h/", "password": "***", "length": 3}, "tokens": ["t"], "secret": ""}
    assert redact.values(told) == shown


def test_errors_and_logs_tell_none(caplog):
    assert str(UserError("path='https://a:b@h/'")) == "path='https://***@h/'"
    logging.getLogger("jaxlm").warning("fetching %s", "https://a:b@h/")
    assert caplog.messages == ["fetching https://***@h/"] and jaxlm.__version__


def test_a_run_with_a_secret_in_its_config_is_still_the_same_run(tmp_path):
    folder, config = RunFolder(tmp_path / "run"), {"data": {"source": "https://a:b@h/x"}, "seed": 0}
    folder.claim(config, fresh=False)
    assert read_json(folder.config)["data"]["source"] == "https://***@h/x"
    (folder.path / "metrics.jsonl").write_text("")
    assert folder.claim(config, fresh=False) == []
    with pytest.raises(UserError, match="seed: 0 -> 1"):
        folder.claim(config | {"seed": 1}, fresh=False)
    write_json(tmp_path / "any.json", {"token": "abc"})
    assert "abc" not in (tmp_path / "any.json").read_text()


@pytest.mark.parametrize("text", ["a." * 500_000, "a" * 1_000_000, "token=" * 200_000, "-----BEGIN " * 90_000], ids=len)
def test_a_long_text_comes_to_an_end(text):
    """In a fraction of a second; with patterns that go back over what they read it would take days."""
    assert len(redact.text(text)) <= len(text)
