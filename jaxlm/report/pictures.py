"""The datasheet's figures: lengths, languages, years, licences, duplicates, personal data, contamination."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jaxlm.corpus.duplicates.clusters import STEPS
from jaxlm.corpus.profile import add
from jaxlm.report.plots import Bins, Layer, Row, bars, histogram
from jaxlm.report.sheet import Block, Figure, Sample, Samples, Table
from jaxlm.report.words import NONE, compact, share, size

LANGUAGES = 20  # that are drawn: chosen, a screen; the others are one bar
OF_LANGUAGES = 4  # whose lengths are drawn for themselves
ENOUGH = 8  # documents of such a language: chosen, fewer have no distribution

Found = Mapping[str, Any]


def lengths(found: Found) -> list[Block]:
    """A histogram of all, and of each of the languages that have the most documents, over the same axis."""
    before, after = (found["profiles"][name]["lengths"] for name in ("collected", "stay"))
    bins = [int(name) for counts in before.values() for name in counts]
    if not bins:
        return []
    numbers = range(min(bins), max(bins) + 1)
    drawn: list[Block] = [_lengths("lengths", "Length of all documents", numbers, before.values(), after.values())]
    many = sorted(before, key=lambda name: (-sum(before[name].values()), name))
    many = [name for name in many if sum(before[name].values()) >= ENOUGH][:OF_LANGUAGES]
    if many and len(before) > 1:
        some = [
            _lengths(f"lengths-{name}", f"In language {name}", numbers, [before[name]], [after.get(name, {})])
            for name in many
        ]
        rows = [
            [f"{name}, {length}", *rest]
            for name, one in zip(many, some, strict=True)
            for length, *rest in one.table.rows
        ]
        html = f'<div class="small">{"".join(one.html for one in some)}</div>'
        drawn.append(Figure(html, Table(("language, length", "stay", "go"), rows)))
    return drawn


def _lengths(id_: str, title: str, numbers: range, before: Iterable[Found], after: Iterable[Found]) -> Figure:
    collected, stay = {}, {}
    for sums, some in ((collected, before), (stay, after)):
        for counts in some:
            add(sums, counts)
    names = [f"{2 ** max(0, n - 1):,} to {2**n - 1:,} characters" for n in numbers]
    stays = [stay.get(str(n), 0) for n in numbers]
    # Scrubbing may move a text to a neighbouring bin: no bar is less than nothing.
    gone = [max(0, collected.get(str(n), 0) - stays[index]) for index, n in enumerate(numbers)]
    decades = [(math.log2(10**n), compact(10**n)) for n in range(1, 13)]
    ticks = [(place, text) for place, text in decades if numbers[0] - 1 <= place <= numbers[-1]]
    bins = Bins(list(range(numbers[0] - 1, numbers[-1] + 1)), ticks, names)
    html = histogram(id_, title, "characters", bins, [Layer("stay", "stay", stays), Layer("go", "gone", gone)])
    rows = [[name, f"{a:,}", f"{b:,}"] for name, a, b in zip(names, stays, gone, strict=True) if a or b]
    return Figure(html, Table((title.lower(), "stay", "go"), rows))


def languages(found: Found) -> Block:
    before, after = (found["profiles"][name]["languages"] for name in ("collected", "stay"))
    of = lambda some, name, field: some.get(name, {}).get(field, 0)
    names = sorted(before, key=lambda name: (-before[name]["documents"], name))
    rows, table = [], []
    for name in names:
        stay, all_ = of(after, name, "documents"), before[name]["documents"]
        table.append([name, f"{all_:,}", f"{stay:,}", size(of(after, name, "bytes"))])
        rows.append(Row(name, stay, all_ - stay, f"{stay:,} · {size(of(after, name, 'bytes'))}"))
    if rest := rows[LANGUAGES:]:
        stay, bytes_ = sum(row.stay for row in rest), sum(of(after, row.name, "bytes") for row in rest)
        last = Row(f"{len(rest)} others", stay, sum(row.gone for row in rest), f"{stay:,} · {size(bytes_)}")
        rows = [*rows[:LANGUAGES], last]
    return Figure(bars("Documents by language", rows), Table(("language", "collected", "stay", "text out"), table))


def tokens(manifest: Found) -> list[Block]:
    """Of what stays, by language as a figure and by source."""
    found = manifest["stages"].get("tokens")
    if not found:
        return ["They were not counted, as no tokenizer was named: a run that makes one of these texts tells."]
    said = (
        f"{sum(one['tokens'] for one in found['sources'].values()):,} by the tokenizer {found['digest']}, a "
        f"{found['kind']} of {found['vocab']:,} ids, without what stands between documents. "
        f"{found['refused']:,} documents hold what it does not encode, and are not counted."
    )
    ratio = lambda part, whole: f"{part / whole:.2f}" if whole else NONE
    languages, sources = (
        [
            [name, f"{one['documents']:,}", f"{one['tokens']:,}", ratio(one["bytes"], one["tokens"])]
            for name, one in sorted(found[by].items(), key=lambda item: (-item[1]["tokens"], item[0]))
        ]
        for by in ("languages", "sources")
    )
    heads = ("documents", "tokens", "bytes a token")
    rows = [Row(name, found["languages"][name]["tokens"], 0, f"{n} · {each}") for name, _, n, each in languages]
    drawn = Figure(
        bars("Tokens and bytes a token by language", rows[:LANGUAGES]), Table(("language", *heads), languages)
    )
    return [said, drawn, Table(("source", *heads), sources)]


def years(found: Found) -> list[Block]:
    before, after = (found["profiles"][name]["years"] for name in ("collected", "stay"))
    if not before:
        return []
    first, last = min(map(int, before)), max(map(int, before))
    numbers = range(first, last + 1)
    stays = [after.get(str(year), 0) for year in numbers]
    gone = [before.get(str(year), 0) - stay for year, stay in zip(numbers, stays, strict=True)]
    apart = max(1, -(-len(numbers) // 8))
    ticks = [(year + 0.5, str(year)) for year in numbers if (last - year) % apart == 0]
    bins = Bins(list(range(first, last + 2)), ticks, [str(year) for year in numbers])
    layers = [Layer("stay", "stay", stays), Layer("go", "gone", gone)]
    html = histogram("years", "Date of the documents that have one", "year", bins, layers)
    rows = [[str(year), f"{a:,}", f"{b:,}"] for year, a, b in zip(numbers, stays, gone, strict=True) if a or b]
    return [Figure(html, Table(("year", "stay", "go"), rows))]


def licences(found: Found) -> Block:
    before, after = (found["profiles"][name] for name in ("collected", "stay"))
    named = {name: before["licences"][name] for name in before["licences"]}
    unknown = before["totals"]["documents"] - sum(named.values())
    stays = {**after["licences"], "none known": after["totals"]["documents"] - sum(after["licences"].values())}
    rows = [
        Row(name, stays.get(name, 0), max(0, count - stays.get(name, 0)), f"{stays.get(name, 0):,}")
        for name, count in [*sorted(named.items(), key=lambda item: (-item[1], item[0])), ("none known", unknown)]
        if count
    ]
    table = Table(("licence", "stay", "go"), [[row.name, f"{row.stay:,}", f"{row.gone:,}"] for row in rows])
    return Figure(bars("Documents by licence", rows[:LANGUAGES]), table)


def duplicates(manifest: Found) -> list[Block]:
    found, how = manifest["summary"]["duplicates"], manifest["config"]["duplicates"]
    exact, near = found.get("exact duplicates"), found.get("near duplicates")
    said = []
    said.append(f"Equal texts that went: {exact['removed']:,}." if exact else "Equal texts were not looked for.")
    said.append(_passages(manifest))
    if not near:
        return [" ".join([*said, "Near copies were not looked for."])]
    said.append(
        f"Near copies that went: {near['removed']:,}. Each shares {how['near']['threshold']:g} or more of its shingles "
        f"with one that stays (Jaccard, exactly counted). Copies less alike than that are still there."
    )
    blocks: list[Block] = [" ".join(said)]
    if near["jaccard"]:
        blocks.append(_jaccard(near["jaccard"]))
        some = [Sample(one["source"], one["begins"], f"{one['texts']:,} texts", one["id"]) for one in near["biggest"]]
        blocks += [Samples("the documents that stay for most others", some)] if some else []
    return blocks


def _passages(manifest: Found) -> str:
    how, found = manifest["config"]["duplicates"]["passages"], manifest["summary"]["duplicates"].get("passages")
    if not found:
        return "Repeated passages were not looked for."
    cut = sum(manifest["stages"]["cut"].get("duplicates", {}).values())
    return (
        f"{how['unit'].capitalize()}s of {how['shortest']} characters or more that were equal to others and cut out of "
        f"documents that stay: {cut:,}; documents that went since under {how['left']} characters were left: "
        f"{found['removed']:,}."
    )


def _jaccard(counts: Mapping[str, int]) -> Figure:
    numbers = range(min(STEPS * 7 // 10, *map(int, counts)), STEPS)  # from 0.7, below which none goes by default
    names = [f"Jaccard {n / STEPS:.2f} to {(n + 1) / STEPS:.2f}" for n in numbers]
    values = [counts.get(str(n), 0) for n in numbers]
    ticks = [(n, f"{n / STEPS:g}") for n in range(numbers[0], STEPS + 1) if n % 5 == 0]
    layer = Layer("near duplicates", "gone", values)
    bins = Bins(list(range(numbers[0], STEPS + 1)), ticks, names)
    html = histogram("jaccard", "How alike the near copies are", "Jaccard with the one that stays", bins, [layer])
    rows = [[name, f"{count:,}"] for name, count in zip(names, values, strict=True) if count]
    return Figure(html, Table(("how alike", "near copies"), rows))


def personal(manifest: Found) -> list[Block]:
    how, counts = manifest["config"]["personal"], manifest["stages"]["annotate"]["personal"]
    if how is None:
        return ["They were not looked for."]
    done = {
        "tag": "each is replaced by its kind", "mask": "each is masked", "fake": "each is replaced by an invented one",
        "drop": "the documents that have some go",
    }[how["mode"]]  # fmt: skip
    documents = manifest["summary"]["with_personal"]
    whole = manifest["summary"]["profiles"]["collected"]["totals"]["documents"]
    said = (
        f"Looked for: {', '.join(how['kinds'])}. {documents:,} of the documents that were collected "
        f"({share(documents, whole)}) have some; {done}. Names and addresses of people are not looked for, and no "
        f"program finds all."
    )
    rows = [Row(kind, 0, count, f"{count:,}") for kind, count in sorted(counts.items(), key=lambda one: -one[1])]
    table = Table(("kind", "found"), [[row.name, row.text] for row in rows])
    return [said, Figure(bars("Personal data that were found", rows, ("", "found")), table)] if rows else [said]


def contamination(manifest: Found) -> list[Block]:
    """A row for each evaluation set that was looked for."""
    found, how = manifest["stages"].get("contamination"), manifest["config"]["contamination"]
    if not found:
        return ["They were not looked for."]
    done = {"report": "which stays as it is", "drop": "which went", "mask": "of which they were cut out"}[how["mode"]]
    said = (
        f"Looked for, by {how['words']} words in a row (of scripts without spaces {how['characters']} characters); an "
        f"item is in a document that holds {how['share']:.0%} of it, {done}. Paraphrases are not found."
    )
    rows = [
        [name, f"{one['items']:,}", f"{one['found']:,}", f"{one['documents']:,}", f"{one['common_phrases']:,}"]
        for name, one in found.items()
    ]
    names = ("evaluation set", "items", "of them found", "in documents", "with common phrases alone")
    return [said, Table(names, rows)]
