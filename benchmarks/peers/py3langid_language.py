"""The peer: py3langid alone on texts, timed. Needs neither jaxlm nor jax.

    python benchmarks/peers/py3langid_language.py texts.json answers.json

texts.json is {set: [text]}, answers.json {set: [language]}. The model is loaded before. The last line of its output is
one JSON object: {set: MB of UTF-8 a second of the processor}.
"""

import json
import sys
import time

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LEAST = 2.0  # seconds for a set: chosen, it is repeated until then


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        sets = json.load(file)
    classify, rates, answers = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify, {}, {}
    for name, texts in sets.items():
        answers[name] = [classify(text)[0] for text in texts]
        size, start, times = sum(len(text.encode()) for text in texts), time.process_time(), 0
        while time.process_time() - start < LEAST:
            for text in texts:
                classify(text)
            times += 1
        rates[name] = times * size / (time.process_time() - start) / 1e6
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(answers, file)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
