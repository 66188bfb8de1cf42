"""English words: what spaCy's tokenizer makes of these chunks (3.8.18, spacy.blank("en")), run and written down."""

import pytest

from jaxlm.corpus.english import cut

SPACY = {
    "word": "word", '"Hello,"': '" Hello , "', "state-of-the-art": "state - of - the - art", "U.S.": "U.S.",
    "Mr.": "Mr.", "3.5%": "3.5 %", "$5.00": "$ 5.00", "10km": "10 km", "(well)": "( well )", "word...": "word ...",
    "don't": "do n't", "don’t": "do n’t", "it's": "it 's", "Prince's": "Prince 's", "I'm": "I 'm", "we'll": "we 'll",
    "cannot": "can not", "gonna": "gon na", "y'all": "y' all", "wont": "wo nt", "O'Neill": "O'Neill",
    "rock'n'roll": "rock'n'roll", "'tis": "' tis", "_Italic_": "_ Italic _", "--": "--", "word--word": "word -- word",
    "and/or": "and/or", "GNU/Linux": "GNU / Linux", "C++": "C++", "#tag": "# tag", "@user": "@user", "1,000": "1,000",
    "12:30": "12:30", "e.g.": "e.g.", 'end."': 'end . "', "x=y": "x = y", "-said": "-said", "said—he": "said — he",
    "10-12": "10 - 12", "foo@bar.com": "foo@bar.com", "[12]": "[ 12 ]", "Hello!!": "Hello ! !",
    "“Quote,”": "“ Quote , ”", "5p.m.": "5 p.m.", "No.": "No .", "wordWord.Next": "wordWord . Next",
    "</p>": "< /p >", "C:\\x": "C:\\x",
    "and...more": "and ... more", "10th.": "10th .", "X.": "X.", "ok.)": "ok . )", "==": "= =", "60kg.": "60 kg .",
    "中文。": "中文 。", "가진다.": "가진다 .", "2014).": "2014 ) .", "[[St.": "[ [ St.", "''The": "'' The",
    "links==": "links==", "8-bit": "8 - bit", "http://www.example.com/a-b": "http://www.example.com/a-b",
}  # fmt: skip


@pytest.mark.parametrize("chunk", SPACY)
def test_a_chunk_is_cut_as_spacy_cuts_it(chunk):
    assert cut(chunk) == SPACY[chunk].split()


def test_no_character_is_lost():
    for chunk in [*SPACY, "(((", "a.b.c...", "''''", "—'s", "€10.50.", "x" * 5_000 + "!" * 5_000]:
        assert "".join(cut(chunk)) == chunk
