import random
import shutil
import subprocess

import pytest

from jaxlm.errors import UserError
from jaxlm.evaluation.baselines import gzip_bits_per_byte, xz_bits_per_byte


def prose(words: int, seed: int = 0) -> bytes:
    """Text with the repetitions of text: words of a small vocabulary, rank r with weight 1/r."""
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(1, 9))) for _ in range(2_000)]
    weights = [1 / rank for rank in range(1, 2_001)]
    return " ".join(draw.choices(vocabulary, weights, k=words)).encode()


def tool_bits_per_byte(tool: str, text: bytes) -> float:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    packed = subprocess.run([tool, "-9", "-c"], input=text, capture_output=True, check=True).stdout
    return 8 * len(packed) / len(text)


def test_gzip_is_the_command_line_tool():
    short, long = prose(2_000), prose(150_000)
    assert gzip_bits_per_byte([short]) == tool_bits_per_byte("gzip", short)
    assert gzip_bits_per_byte([long]) == pytest.approx(tool_bits_per_byte("gzip", long), rel=1e-3)


def test_xz_is_the_command_line_tool():
    text = prose(150_000)
    # A threaded xz (5.6 on) writes the sizes of its blocks too: some 10 bytes.
    assert xz_bits_per_byte([text]) == pytest.approx(tool_bits_per_byte("xz", text), abs=8 * 16 / len(text))


@pytest.mark.parametrize("bits_per_byte", [gzip_bits_per_byte, xz_bits_per_byte])
def test_cutting_the_text_into_chunks_changes_nothing(bits_per_byte):
    text, draw = prose(60_000), random.Random(1)
    cuts = sorted(draw.sample(range(len(text)), 200))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert bits_per_byte(iter([b"", *chunks])) == bits_per_byte([text])


@pytest.mark.parametrize("bits_per_byte", [gzip_bits_per_byte, xz_bits_per_byte])
def test_noise_needs_eight_bits_and_repetition_next_to_none(bits_per_byte):
    assert 8 < bits_per_byte([random.Random(2).randbytes(200_000)]) < 8.02
    assert bits_per_byte([b"again " * 50_000]) < 0.1


@pytest.mark.parametrize("bits_per_byte", [gzip_bits_per_byte, xz_bits_per_byte])
def test_an_empty_text_is_an_error_that_says_so(bits_per_byte):
    with pytest.raises(UserError, match="0 bytes"):
        bits_per_byte([b"", b""])
