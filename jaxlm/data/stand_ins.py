"""Four characters that SentencePiece takes for its own, and what it is handed in their place.

It writes a space as U+2581, marks unknown text by U+2585, marks word boundaries in training by the tab, and
skips text with NUL. Four of Unicode's noncharacters, kept for such internal use (Unicode 16.0, section 23.7),
stand in for them, so that a tab can be part of a piece. What a model has not learned (text may hold the
noncharacters themselves, too) is set apart and spelled by its bytes, past SentencePiece.
"""

import re
from collections.abc import Iterator

STAND_INS = {"\0": "\ufdd0", "\t": "\ufdd1", "\u2581": "\ufdd2", "\u2585": "\ufdd3"}


def put_in(text: str) -> str:
    for character, stand_in in STAND_INS.items():
        if character in text:
            text = text.replace(character, stand_in)
    return text


def take_out(text: str) -> str:
    for character, stand_in in STAND_INS.items():
        text = text.replace(stand_in, character)
    return text


def set_apart(text: str, characters: str) -> Iterator[tuple[str, str]]:
    """(text without `characters`, run of them that follows it), one after the other."""
    pieces = [text]
    if any(character in text for character in characters):  # faster than the expression, and mostly false
        pieces = re.split(f"([{re.escape(characters)}]+)", text)
    return zip(pieces[::2], [*pieces[1::2], ""], strict=True)
