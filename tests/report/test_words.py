import html

from hypothesis import given
from hypothesis import strategies as st

from jaxlm.report.words import brief, compact, duration, escape, figure, plain, plus_minus


@given(st.text())
def test_escaped_text_reads_as_the_text_and_has_no_markup(text):
    escaped = escape(text)
    assert not set("<>\"'") & set(escaped)
    escaped.encode("utf-8")
    if text.isprintable() and not set(text) & set("\u061c"):
        assert html.unescape(escaped) == text


def test_figures_have_four_digits():
    assert [figure(v) for v in (1.44, 0.0, 999.96, 1234.5, -2.0, 3e-7)] == [
        "1.440",
        "0.000",
        "1000",
        "1,234",
        "-2.000",
        "3.000e-7",
    ]
    assert figure(None) == figure(float("nan")) == "–"


def test_chosen_numbers_have_no_digits_they_do_not_need():
    assert [plain(v) for v in (0.0003, 1e-5, 1.0, 2000.0, 2_000, 0.95)] == [
        "0.0003",
        "1e-5",
        "1",
        "2,000",
        "2,000",
        "0.95",
    ]
    assert brief(0.00029998) == "0.0003"


def test_counts_and_times_are_short():
    assert [compact(v) for v in (812, 8_192, 124_439_808, 2.5e9)] == ["812", "8.19 k", "124 M", "2.5 B"]
    times = (12.34, 250, 7_500, 273_600)
    assert [duration(v) for v in times] == ["12.3 s", "4 min 10 s", "2 h 5 min", "3 d 4 h"]


def test_a_value_is_cut_at_the_second_digit_of_its_error():
    assert plus_minus(1.47123, 0.00934) == "1.4712 <small>± 0.0093</small>"
    assert plus_minus(49.9123, 1.52) == "49.9 <small>± 1.5</small>"
    assert plus_minus(1.5, None) == plus_minus(1.5, 0.0) == "1.500"
