"""Mixed rows are read in their shares, whoever reads them and wherever reading begins."""

import itertools

import numpy as np
import pytest

from jaxlm.data.components import Names
from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import Classification, Extraction, SequenceToSequence, Tagging
from jaxlm.data.loader import batches, evaluation_batches
from jaxlm.data.masking import Masked, Spans
from jaxlm.data.mixed import Mixed, as_text, by_component
from jaxlm.data.mixture import EpochsMixture, Stage, TemperatureMixture, Weights, WeightsMixture
from jaxlm.data.shards import Shards, Writer, commit
from jaxlm.errors import UserError
from tests.data.test_loader import assert_equal, joined, read

SOURCES = ("web", "books", "code")
ALL = {"web": 5.0, "books": 3.0, "code": 2.0}


def build(folder, documents, labelled=False, parts=1, components=True):
    """Shards of `documents`, {split: [(size, source, language)]}; each text token is met only once."""
    counts, token, names = {}, 1, Names() if components else None
    for split in ("train", "validation", "test"):
        writer = Writer(folder / "building", split, vocab=60_000, separator=0, labelled=labelled, names=names)
        for size, source, language in documents.get(split, ()):
            labels = np.zeros(1 + size, np.int32) if labelled else None
            writer.add(np.arange(token, token + size), size, labels, (source, language))
            token += size
        counts[split] = writer.close()
    facts = {"vocab": 60_000, "separator": 0, "parts": parts, "splits": counts}
    commit(folder / "building", folder / "s", facts=facts | ({"components": names.facts()} if names else {}))
    return Shards.open(folder / "s")


def some_documents(seed=0, count=200):
    rng = np.random.default_rng(seed)
    sources = rng.choice(SOURCES, count, p=[0.6, 0.3, 0.1])
    return [(int(n), str(s), "en" if n % 2 else "de") for n, s in zip(rng.integers(0, 40, count), sources, strict=True)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    held_out = [(20, "web", "en"), (30, "books", "de"), (5, "web", "fr"), (40, "books", "en")]
    return build(tmp_path_factory.mktemp("mixed"), {"train": some_documents(), "validation": held_out})


def config(**changed):
    given = {"source": "text", "length": 16, "batch": 8, "prefetch": 2, "mixture": WeightsMixture(weights=ALL)}
    return DataConfig(**{**given, **changed})


def source_of_token(shards, by="source"):
    """The component of each token of the stream that is not a separator."""
    offsets, component = np.asarray(shards.offsets("train"), int), shards.components("train", by)
    stream, found = shards.tokens("train"), {}
    for document, (start, end) in enumerate(itertools.pairwise(offsets)):
        found |= dict.fromkeys(stream[start + 1 : end].tolist(), shards.names(by)[component[document]])
    return found


def components_of(batch, known):
    """The components of each row's texts."""
    return [{known[token] for token in row.tolist() if token} for row in batch.token]


@pytest.mark.parametrize("rows", ["packed", "chunked"])
@pytest.mark.parametrize("by", ["source", "language"])
def test_a_row_holds_texts_of_one_component_and_a_pass_all_of_them(shards, rows, by):
    cfg, known = config(rows=rows, mixture=TemperatureMixture(by=by)), source_of_token(shards, by)
    passes = list(evaluation_batches(shards, cfg, "train"))
    assert max(len(one) for batch in passes for one in components_of(batch, known)) == 1
    predicted = np.concatenate([batch.target[batch.weight > 0] for batch in passes])
    assert sorted(predicted) == sorted(shards.tokens("train")[1:].tolist())


@pytest.mark.parametrize("rows", ["packed", "chunked"])
def test_weights_are_shares_of_predicted_tokens(shards, rows):
    cfg, known = config(rows=rows, batch=200), source_of_token(shards)
    tokens = dict.fromkeys(SOURCES, 0.0)
    for batch in read(shards, cfg, 20):
        for row, weight in zip(components_of(batch, known), batch.weight.sum(axis=1), strict=True):
            tokens[next(iter(row))] += weight if row else 0
    found = [tokens[name] / sum(tokens.values()) for name in SOURCES]
    np.testing.assert_allclose(found, [0.5, 0.3, 0.2], atol=2e-3)
    told = {line["component"]: line["share"] for line in Mixed(shards, "train", cfg).told(20)}
    np.testing.assert_allclose([told[name] for name in SOURCES], [0.5, 0.3, 0.2], atol=1e-3)


def test_epochs_read_one_component_so_often_while_another_is_read_once(shards):
    mixed = Mixed(shards, "train", config(mixture=EpochsMixture(epochs={"web": 1, "books": 3, "code": 0})))
    rows = dict(zip(mixed.components.names, mixed.components.rows.tolist(), strict=True))
    position = mixed(0, rows["web"] + 3 * rows["books"])
    times = np.bincount(position, minlength=mixed.components.plan.rows)
    split = dict(zip(mixed.components.names, np.split(times, mixed.components.first[1:-1]), strict=True))
    assert {name: set(of.tolist()) for name, of in split.items()} == {"web": {1}, "books": {3}, "code": {0}}


def test_each_epoch_of_a_component_is_all_of_its_rows_in_a_new_order(shards):
    mixed = Mixed(shards, "train", config())
    read_rows = mixed(0, 2_000)
    for start, stop in itertools.pairwise(mixed.components.first.tolist()):
        own = read_rows[(read_rows >= start) & (read_rows < stop)]
        epochs = [tuple(own[i : i + stop - start]) for i in range(0, 3 * (stop - start), stop - start)]
        assert all(sorted(epoch) == list(range(start, stop)) for epoch in epochs)
        assert len(set(epochs)) == 3


def test_more_temperature_lifts_what_is_small(shards):
    share = lambda t: {
        line["component"]: line["share"]
        for line in Mixed(shards, "train", config(mixture=TemperatureMixture(temperature=t))).told(3_000)
    }
    as_they_come, lifted = share(1.0), share(5.0)
    assert as_they_come["code"] < lifted["code"] < 1 / 3 < lifted["web"] < as_they_come["web"]
    tokens = {line["component"]: line["tokens"] for line in Mixed(shards, "train", config()).told(1)}
    assert as_they_come["web"] == pytest.approx(tokens["web"] / sum(tokens.values()), abs=1e-3)
    assert lifted["web"] / lifted["code"] == pytest.approx((tokens["web"] / tokens["code"]) ** 0.2, rel=5e-3)


STAGED = WeightsMixture(
    weights=ALL,
    stages=(
        Stage(step=10, mixture=Weights(weights={"web": 0, "books": 1, "code": 1})),
        Stage(step=14, mixture=Weights(weights=ALL)),
    ),
)


@pytest.mark.parametrize("rows", ["packed", "chunked"])
def test_processes_and_resuming_change_nothing_across_a_stage(shards, rows):
    cfg = config(rows=rows, mixture=STAGED)
    one = joined(shards, cfg, 24, processes=1)
    assert_equal(joined(shards, cfg, 24, processes=2), one)
    changed = [
        *joined(shards, cfg, 7, processes=4),
        *joined(shards, cfg, 5, processes=1, start_step=7),
        *joined(shards, cfg, 12, processes=2, start_step=12),
    ]
    assert_equal(changed, one)
    for step in (9, 10, 13, 14):
        assert_equal(joined(shards, cfg, 1, processes=1, start_step=step), one[step : step + 1])


def test_a_stage_goes_on_where_each_component_was(shards):
    """No row comes again before its component has been read through, whatever the stages."""
    mixed = Mixed(shards, "train", config(mixture=STAGED))
    read_rows = mixed(0, 30 * 8)
    for start, stop in itertools.pairwise(mixed.components.first.tolist()):
        own = read_rows[(read_rows >= start) & (read_rows < stop)][: stop - start]
        assert len(set(own.tolist())) == own.size
    start, stop = mixed.components.first[mixed.components.names.index("web") :][:2]
    of_web = (read_rows >= start) & (read_rows < stop)
    assert of_web[:80].any() and not of_web[80:112].any() and of_web[112:].any()


def test_chunked_texts_of_a_component_run_on_as_one(shards):
    """As if the component had been the only one in the shards, one row at a time or all together."""
    cfg = config(rows="chunked", batch=1)
    together, alone = (list(evaluation_batches(shards, config(rows="chunked", batch=b), "train")) for b in (12, 1))
    for field in range(5):
        rows_of = [np.concatenate([batch[field] for batch in some]) for some in (together, alone)]
        np.testing.assert_array_equal(rows_of[0][: len(alone)], rows_of[1])
    component, offsets = shards.components("train", "source"), np.asarray(shards.offsets("train"), int)
    ours = [n for n in range(component.size) if shards.names("source")[component[n]] == "books"]
    stream = np.concatenate([shards.tokens("train")[offsets[n] : offsets[n + 1]] for n in ours] + [[0]])
    found = by_component(shards, "train", cfg)
    number = found.names.index("books")
    rows = list(evaluation_batches(shards, cfg, "train"))[found.first[number] : found.first[number + 1]]
    weight = np.concatenate([row.weight[0] for row in rows]) > 0
    token, target = (np.concatenate([getattr(row, name)[0] for row in rows])[weight] for name in ("token", "target"))
    np.testing.assert_array_equal(token, stream[:-1])
    np.testing.assert_array_equal(target, stream[1:])
    for row in rows:
        read_on = row.weight[0] > 0
        assert row.segment[0][read_on].tolist() == [1] * read_on.sum()
        assert row.position[0][read_on].tolist() == list(range(read_on.sum()))


OBJECTIVES = {
    "masked": (Masked(rate=0.3), "packed", 1),
    "spans": (Spans(), "chunked", 1),
    "seq2seq": (SequenceToSequence(source_length=48), "packed", 2),
    "classification": (Classification(classes=("a", "b")), "packed", 1),
    "tagging": (Tagging(classes=("a", "b")), "packed", 1),
    "extraction": (Extraction(question_length=8, stride=4), "packed", 2),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_reads_mixed_rows_of_one_component(kind, tmp_path):
    objective, rows, parts = OBJECTIVES[kind]
    documents = [one for one in some_documents(1, 60) for _ in range(parts)]
    shards = build(tmp_path, {"train": documents}, labelled=kind in list(OBJECTIVES)[2:], parts=parts)
    cfg = config(objective=objective, rows=rows, length=48, batch=4, mixture=WeightsMixture(weights=ALL | {"code": 0}))
    known, seen = source_of_token(shards) | {0: "", 60_000: ""}, set()
    for batch in read(shards, cfg, 12):
        for row in range(4):
            texts = [batch.token[row], *([] if batch.source is None else [batch.source.token[row]])]
            if kind == "masked":  # but for random tokens, which may be anybody's
                texts = [batch.target[row][batch.weight[row] > 0]]
            found = {known.get(token, "") for text in texts for token in text.tolist()} - {""}
            assert len(found) <= 1
            seen |= found
    assert seen == {"web", "books"}
    passes = list(evaluation_batches(shards, cfg, "train"))
    whole = list(evaluation_batches(shards, cfg.model_copy(update={"mixture": None}), "train"))
    asked = [sum(float(batch.weight.sum()) for batch in some) for some in (passes, whole)]
    assert asked[0] == pytest.approx(asked[1], rel=0.1 if kind in ("masked", "spans") else 0)


def test_rows_of_other_shards_are_not_by_component_when_they_are_evaluated(tmp_path):
    """A text that `jaxlm eval` makes shards of for the moment has no components."""
    plain = build(tmp_path, {"train": some_documents(count=20)}, components=False)
    alike = [
        list(evaluation_batches(plain, cfg, "train"))
        for cfg in (config(), config().model_copy(update={"mixture": None}))
    ]
    assert_equal(*alike)


def test_shards_of_an_older_jaxlm_train_as_before_and_do_not_mix(tmp_path):
    plain = build(tmp_path, {"train": some_documents(count=20)}, components=False)
    assert len(read(plain, config().model_copy(update={"mixture": None}), 2)) == 2
    with pytest.raises(UserError, match=r"data\.mixture is by source.*older jaxlm.*`jaxlm prepare` again"):
        batches(plain, config())


def test_a_component_of_another_split_need_not_be_named(shards):
    mixture = WeightsMixture(by="language", weights={"en": 1, "de": 1})
    assert Mixed(shards, "train", config(mixture=mixture)).told(10)
    with pytest.raises(UserError, match=r"'fr' has 1 and no documents there: give it 0"):
        Mixed(shards, "train", config(mixture=WeightsMixture(by="language", weights={"en": 1, "de": 1, "fr": 1})))


def test_an_empty_split_is_told_as_without_a_mixture(shards):
    with pytest.raises(UserError, match=r"'test'.*has no documents"):
        batches(shards, config(), "test")


def test_the_table_tells_how_often_each_component_is_read(shards):
    mixed = Mixed(shards, "train", config(mixture=STAGED))
    lines = mixed.told(20)
    rows = dict(zip(mixed.components.names, mixed.components.rows.tolist(), strict=True))
    read_rows = mixed(0, 160)
    for line in lines:
        number = mixed.components.names.index(line["component"])
        start, stop = mixed.components.first[number : number + 2]
        times = ((read_rows >= start) & (read_rows < stop)).sum()
        assert line["epochs"] == pytest.approx(times / rows[line["component"]])
    assert sum(line["documents"] for line in lines) == 200
    assert sum(line["tokens"] for line in lines) == shards.counts("train")["predicted"]
    head, *body = as_text(lines).splitlines()
    assert head.split() == ["component", "documents", "tokens", "share", "epochs"] and len(body) == 3
    assert as_text(lines * 20).splitlines()[-1] == "  and 20 more"
    stages = mixed.stages(20)
    assert len(stages) > 1 and stages[0][0] == 0 and stages[-1][1] == 20
    parts = [{line["component"]: line["epochs"] for line in mixed.told(stop, start)} for start, stop in stages]
    for line in lines:
        assert line["epochs"] == pytest.approx(sum(part[line["component"]] for part in parts))
    assert mixed.scaled(20) == []


def test_epochs_that_the_steps_do_not_come_to_are_told_with_those_that_would(shards):
    asked = {"web": 1, "books": 3, "code": 0}
    mixed = Mixed(shards, "train", config(mixture=EpochsMixture(epochs=asked)))
    rows = dict(zip(mixed.components.names, mixed.components.rows.tolist(), strict=True))
    needed = -(-(rows["web"] + 3 * rows["books"]) // 8)
    (said,) = mixed.scaled(2)
    assert said.startswith("epochs are read in proportion: the 2 steps from step 0 on are ")
    assert f"of the {needed:,} that would read documents as often as asked" in said
    assert mixed.scaled(needed) == [] and len(mixed.scaled(2 * needed)) == 1
