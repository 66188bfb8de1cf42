"""The languages of texts, timed: ours, or py3langid alone.

    python benchmarks/ours/timed_language.py jaxlm|py3langid texts.json answers.json

texts.json is {set: [text]}, answers.json {set: [language]}. The model is loaded before. The last line of its output is
one JSON object: {set: MB of UTF-8 a second of the processor}.
"""

import json
import sys
import time
from collections.abc import Callable

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from jaxlm.corpus.language import Identifier

LEAST = 2.0  # seconds for a set: chosen, it is repeated until then
WHICH: dict[str, Callable[[], Callable[[str], tuple[str, float]]]] = {
    "jaxlm": lambda: Identifier().identify,
    "py3langid": lambda: LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify,
}


def main() -> None:
    which, source, answers_file = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        sets = json.load(file)
    identify, rates, answers = WHICH[which](), {}, {}
    for name, texts in sets.items():
        answers[name] = [identify(text)[0] for text in texts]  # also loads the model
        size, start, times = sum(len(text.encode()) for text in texts), time.process_time(), 0
        while time.process_time() - start < LEAST:
            for text in texts:
                identify(text)
            times += 1
        rates[name] = times * size / (time.process_time() - start) / 1e6
    with open(answers_file, "w", encoding="utf-8") as file:
        json.dump(answers, file)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
