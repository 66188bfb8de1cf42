"""A config is checked before anything is compiled; what is wrong is said in one message, no traceback."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest

from jaxlm.config import Config, difference, dump, load, override, parse, shipped
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.word_lists import WordListConfig
from jaxlm.errors import UserError
from jaxlm.run_config import RunConfig, load_config


class Cosine(Config):
    kind: Literal["cosine"] = "cosine"
    warmup: int = pydantic.Field(10, ge=0)


class Stable(Config):
    kind: Literal["stable"] = "stable"
    decay: float = pydantic.Field(0.2, ge=0, le=1)
    remat: Literal["none", "full"] = "none"


Schedule = Annotated[Cosine | Stable, pydantic.Field(discriminator="kind")]


class Data(Config):
    source: str
    length: int = pydantic.Field(64, gt=0)
    include: tuple[str, ...] = ()
    note: str | None = None


class Run(Config):
    data: Data
    schedule: Schedule = Cosine()
    after: Schedule | None = None
    stages: tuple[Schedule, ...] = ()
    devices: int | Literal["auto"] = "auto"
    width: int = pydantic.Field(128, gt=0)
    heads: int = pydantic.Field(4, gt=0)

    @pydantic.model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % self.heads:
            raise ValueError(f"width={self.width} does not divide over heads={self.heads}")
        return self


RUN = Run(data=Data(source="text.txt"))


class Files(Config):
    of: tuple[Data, ...] = pydantic.Field(min_length=1)


class Sets(Config):
    files: Files | None = None
    names: tuple[str, ...] = pydantic.Field(default=("a", "b"), min_length=2)
    weights: dict[str, Annotated[float, pydantic.Field(ge=0)]] = {}
    named: dict[str, Data] = {}


def refusal(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


def saved(**changes) -> dict:
    return dump(RUN) | changes


def file(folder: Path, body: str, name: str = "run.py") -> str:
    """A config file that finds the classes above without importing this module."""
    path = folder / name
    path.write_text(f"import pydantic\nfrom jaxlm.config import Config\n{body}")
    return str(path)


# Saved and reopened


def test_what_is_dumped_reopens_as_the_same_config():
    run = override(RUN, ["schedule.kind=stable", "data.include=('*.py', '*.md')"])
    assert parse(json.loads(json.dumps(dump(run))), Run) == run


def test_a_union_reopens_as_the_class_it_was():
    run = Run(data=Data(source="x"), schedule=Stable(), stages=(Stable(), Cosine()))
    reopened = parse(dump(run), Run)
    assert [type(one) for one in (reopened.schedule, *reopened.stages)] == [Stable, Stable, Cosine]


def test_a_config_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        RUN.width = 3


# What an error says


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 3}, "config: widht: Run has no field 'widht'; did you mean 'width'?"),
        (
            {"data": {"source": "x", "zzz": 1}},
            "config: data.zzz: Data has no field 'zzz'; it has: source, length, include, note",
        ),
        ({"data": {}}, "config: data.source: is required and missing"),
        ({"data": {"source": "x", "length": 0}}, "config: data.length=0: must be greater than 0; the default is 64"),
        (
            {"schedule": {"kind": "stable", "decay": 2}},
            "config: schedule.decay=2: must be less than or equal to 1; the default is 0.2",
        ),
        (
            {"schedule": {"kind": "stable", "warmup": 2}},
            "config: schedule.warmup: Stable has no field 'warmup'; it has: kind, decay, remat",
        ),
        (
            {"schedule": {"kind": "cosine", "warmpu": 2}},
            "config: schedule.warmpu: Cosine has no field 'warmpu'; did you mean 'warmup'?",
        ),
        ({"schedule": {"kind": "cosin"}}, "config: schedule.kind=\"cosin\": did you mean 'cosine'?"),
        ({"schedule": {"kind": "wsd"}}, 'config: schedule.kind="wsd": kinds are: cosine, stable'),
        (
            {"schedule": {"warmup": 3}},
            "config: schedule.kind: is required and missing; kinds are: cosine, stable",
        ),
        (
            {"after": {"kind": "stable", "decay": -1}},
            "config: after.decay=-1: must be greater than or equal to 0; the default is 0.2",
        ),
        (
            {"stages": [{"kind": "cosine"}, {"kind": "cosine", "warmup": -1}]},
            "config: stages.1.warmup=-1: must be greater than or equal to 0; the default is 10",
        ),
        (
            {"stages": [{"kind": "stable", "dekay": 1}]},
            "config: stages.0.dekay: Stable has no field 'dekay'; did you mean 'decay'?",
        ),
        ({"stages": [{"warmup": 3}]}, "config: stages.0.kind: is required and missing; kinds are: cosine, stable"),
        ({"width": 130}, "config: width=130 does not divide over heads=4"),
        ({"width": float("inf")}, "config: width=Infinity: must be a finite number; the default is 128"),
    ],
)
def test_an_error_names_path_value_and_rule(changes, message):
    assert refusal(parse, saved(**changes), Run) == message


def test_a_union_of_plain_types_complains_once():
    message = refusal(parse, saved(devices="all"), Run)
    assert message.startswith('config: devices="all": must be a valid integer')
    assert message.endswith(''', or be 'auto'; the default is "auto"''')
    assert "\n" not in message


def test_a_list_that_is_too_short_is_told_so_and_one_with_a_wrong_entry_is_not():
    told = refusal(parse, {"names": ["a"], "files": {"of": [{}]}}, Sets)
    assert told.splitlines() == [
        "config:",
        "  files.of.0.source: is required and missing",
        '  names=["a"]: has 1 and needs 2 or more, such as ["one", "other"]',
    ]
    told = refusal(parse, {"files": {"of": []}}, Sets)
    assert told == "config: files.of=[]: has 0 and needs 1 or more; to have none, set files=null"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"a": 1, "length": -1}}, "weights['length']=-1: must be greater than or equal to 0"),
        ({"weights": {"a": "many", "b": 1}}, "weights['a']=\"many\": must be a valid number"),
        ({"named": {"length": {"source": "x", "lenght": 1}}}, "named['length'].lenght: Data has no field"),
        ({"named": {"x": {"source": "x", "length": 0}}}, "named['x'].length=0: must be greater than 0; the default is"),
        ({"named": {3: {"source": "x"}}}, "named[3]=3: must be a valid string"),
    ],
)
def test_an_error_in_a_dictionary_names_the_key(changes, message):
    assert refusal(parse, changes, Sets).startswith(f"config: {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "x.txt"}, 'data="x.txt": must be Data(source="x.txt"), which is {"source": "x.txt"} in JSON'),
        ({"data": 3}, "data=3: must be a Data, in JSON an object with some of: source, length, include, note"),
        ({"stages": [3]}, "stages.0=3: must be an object with its kind, one of: cosine, stable"),
        ({"stages": {}}, "stages={}: must be a list of Cosine, Stable; the default is []"),
        ({"width": "many"}, 'width="many": must be a valid integer; the default is 128'),
        ({"name": "a b"}, 'name="a b": must be a letter or a digit, then letters, digits, ".", "_" or "-"'),
        ({"label": "A"}, 'label="A": must be a small letter, then small letters, digits or "_"'),
        ({"weights": 3}, 'weights=3: must be a dictionary, such as {"name": 3}'),
    ],
)
def test_an_error_speaks_no_library_s_words(changes, message):
    class Named(Run):
        name: str = pydantic.Field(default="a", pattern=CorpusConfig.model_fields["name"].metadata[0].pattern)
        label: str = pydantic.Field(default="a", pattern=WordListConfig.model_fields["name"].metadata[0].pattern)
        weights: dict[str, float] = {"a": 1.0}

    assert refusal(parse, saved(**changes), Named).startswith(f"config: {message}")


def test_all_errors_come_in_one_message():
    message = refusal(parse, saved(widht=3, heads=0, data={"source": 5}), Run)
    assert message.splitlines() == [
        "config:",
        "  data.source=5: must be a valid string",
        "  heads=0: must be greater than 0; the default is 4",
        "  widht: Run has no field 'widht'; did you mean 'width'?",
    ]


def test_a_long_value_is_cut():
    assert len(refusal(parse, saved(width="9" * 10_000), Run)) < 250


# --set


@pytest.mark.parametrize(
    ("assignment", "got"),
    [
        ("width=256", lambda run: run.width == 256),
        ("data.source=other.txt", lambda run: run.data.source == "other.txt"),
        ("data.source=a=b", lambda run: run.data.source == "a=b"),
        ("data.source=123", lambda run: run.data.source == "123"),
        ("data.source=none", lambda run: run.data.source == "none"),
        ("data.note=none", lambda run: run.data.note is None),
        ("data.note='none'", lambda run: run.data.note == "none"),
        ("data.include=['*.py']", lambda run: run.data.include == ("*.py",)),
        ("devices=auto", lambda run: run.devices == "auto"),
        ("devices=2", lambda run: run.devices == 2),
        ("schedule.warmup=7", lambda run: run.schedule == Cosine(warmup=7)),
        ("schedule.kind=stable", lambda run: run.schedule == Stable()),
        ("after.kind=stable", lambda run: run.after == Stable()),
        ('schedule={"kind": "stable", "decay": 1e-1}', lambda run: run.schedule == Stable(decay=0.1)),
    ],
)
def test_an_assignment_is_read_as_its_field_wants_it(assignment, got):
    assert got(override(RUN, [assignment]))


def test_overrides_leave_the_config_they_came_from():
    override(RUN, ["width=256", "data.length=8"])
    assert (RUN.width, RUN.data.length) == (128, 64)


def test_a_choice_named_none_is_not_none():
    run = override(Run(data=Data(source="x"), schedule=Stable(remat="full")), ["schedule.remat=none"])
    assert run.schedule.remat == "none"


def test_a_kind_keeps_its_values_when_it_is_named_again():
    run = override(RUN, ["schedule.warmup=7", "schedule.kind=cosine"])
    assert run.schedule == Cosine(warmup=7)


def test_a_kind_may_stand_after_its_values():
    run = override(RUN, ["schedule.decay=0.5", "schedule.kind=stable"])
    assert run.schedule == Stable(decay=0.5)


def test_the_later_of_two_assignments_wins():
    assert override(RUN, ["width=256", "width=512"]).width == 512


def test_rules_between_fields_hold_after_all_overrides():
    assert override(RUN, ["width=120", "heads=8"]).width == 120
    message = refusal(override, RUN, ["width=120", "heads=7"])
    assert message == "--set width=120 heads=7: width=120 does not divide over heads=7"
    message = refusal(override, RUN, ["width=120", "data.source=b", "heads=7"])
    assert message.startswith("--set width=120 heads=7: "), "an assignment that has no part in it is left out"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("width", "write it as path=value, e.g. loop.steps=100"),
        ("=3", "write it as path=value, e.g. loop.steps=100"),
        ("widht=3", "Run has no field 'widht'; did you mean 'width'?"),
        ("data.lenght=3", "Data has no field 'lenght'; did you mean 'length'?"),
        ("data.=3", "Data has no field ''; it has: source, length, include, note"),
        ("width.size=3", "'width' of Run is a plain value; it has no 'size'"),
        ("stages.0=3", "'stages' of Run is a list: give the whole of it, or edit the config; it has no '0'"),
        ("schedule.decay=3", "Cosine has no field 'decay'; it has: kind, warmup"),
        ("schedule.kind=stabel", "did you mean 'stable'?"),
        ("schedule.kind=wsd", "kinds are: cosine, stable"),
        ("after.decay=0.1", "'after' is not set: choose after.kind first, one of cosine, stable"),
        ("data.kind=x", "Data has no field 'kind'; it has: source, length, include, note"),
    ],
)
def test_a_wrong_assignment_names_the_mend(assignment, message):
    assert refusal(override, RUN, [assignment]) == f"--set {assignment!r}: {message}"


def test_a_value_of_the_wrong_type_names_the_field():
    assert refusal(override, RUN, ["data.length=many"]).startswith(
        '--set data.length=many: data.length="many": must be a valid'
    )


def test_a_list_that_is_too_short_says_how_long_it_must_be():
    message = refusal(load_config, "classify", "data.objective.classes=[]")
    assert message.endswith('data.objective.classes=[]: has 0 and needs 2 or more, such as ["one", "other"]')


def test_a_rule_is_blamed_on_what_broke_it_and_not_on_words_that_it_says():
    stages = [{"step": step, "mixture": {"kind": "temperature"}} for step in (8, 4)]
    mixture = "data.mixture=" + json.dumps({"kind": "temperature", "stages": stages})
    message = refusal(load_config, "quickstart", "name=mm15", mixture, "loop.steps=20")
    assert message.startswith("--set data.mixture=") and "name=mm15" not in message and "loop.steps" not in message
    assert message.endswith(": data.mixture: stages begin at steps 8 and then 4: name them in their order, each once")


def test_what_a_kind_needs_is_told_with_that_kind_alone():
    chosen = ["data.objective.kind=seq2seq", "data.source=x", "loop.steps=3"]
    message = refusal(load_config, "bert_mini", *chosen)
    assert message == "--set data.objective.kind=seq2seq: data.objective.source_length: is required and missing"


# Python files


def test_a_python_file_is_run_and_overridden(tmp_path):
    path = file(tmp_path, "from jaxlm.data.dataset import DataConfig\n"
                "def config(): return DataConfig(source='x', length=2 * 32, batch=4)\n")  # fmt: skip
    from jaxlm.data.dataset import DataConfig

    assert load(path, DataConfig, ["batch=8"]) == DataConfig(source="x", length=64, batch=8)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x = 1\n", ": a config file defines `def config() -> Run`"),
        ("config = 3\n", ": a config file defines `def config() -> Run`"),
        ("def config(): return 3\n", ": config() returned int, but this command wants Run"),
        ("def config():\n    return widht\n", ", line 4: NameError: name 'widht' is not defined"),
        ("def config():\n    return {}['a']\n", ", line 4: KeyError: 'a'"),
        ("def config():\n    return 1 / 0\n", ", line 4: ZeroDivisionError: division by zero"),
        ("import no_such_package\n", ", line 3: ModuleNotFoundError: No module named 'no_such_package'"),
        ("def config(:\n", ", line 3: "),
        ("def config(): return open('/no/such/file')\n", ", line 3: FileNotFoundError: "),
        (
            "class Model(Config):\n    width: int\ndef config():\n    return Model(widht=3, width=1)\n",
            ", line 6: widht: Model has no field 'widht'; did you mean 'width'?",
        ),
        (
            "def config(one): return one\n",
            ": TypeError: config() missing 1 required positional argument: 'one'",
        ),
    ],
)
def test_whatever_goes_wrong_in_a_python_file_is_one_line_with_its_place(tmp_path, body, message):
    path = file(tmp_path, body)
    got = refusal(load, path, Run)
    assert got.startswith(path + message)
    assert "\n" not in got


def test_an_error_below_the_file_names_the_line_that_called(tmp_path):
    path = file(tmp_path, "import json\ndef config():\n    return json.loads('{')\n")
    assert refusal(load, path, Run).startswith(f"{path}, line 5: JSONDecodeError: ")


def test_a_user_error_raised_in_a_file_keeps_its_words(tmp_path):
    path = file(tmp_path, "from jaxlm.errors import UserError\ndef config(): raise UserError('no such size')\n")
    assert refusal(load, path, Run) == f"{path}, line 4: no such size"


# JSON files and names


def test_a_run_folder_is_reopened_from_its_json(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(dump(RUN)))
    assert load(tmp_path, Run) == RUN
    assert load(tmp_path / "config.json", Run, ["width=256"]).width == 256


def test_json_of_a_newer_version_names_the_field_this_one_lacks(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(saved(sparsity=0.5)))
    assert refusal(load, path, Run).startswith(f"{path}: sparsity: Run has no field 'sparsity'")


def test_json_without_its_kind_is_told_which_it_is(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"name": "x", "sources": []}')
    told = f'{path} has the fields of a CorpusConfig, which in JSON says so: add "kind": "corpus"'
    assert refusal(load, path, (RunConfig, CorpusConfig)) == told
    path.write_text('{"name": "x", "kind": "corpsu"}')
    told = f"{path}: kind=\"corpsu\": did you mean 'corpus'? (a RunConfig has none)"
    assert refusal(load, path, (RunConfig, CorpusConfig)) == told
    path.write_text('{"kind": ["corpus"]}')
    assert "kind=[\"corpus\"]: did you mean 'corpus'? (a" in refusal(load, path, (RunConfig, CorpusConfig))
    path.write_text('{"name": "x", "data": {}, "lines": 3}')
    assert refusal(load, path, (RunConfig, CorpusConfig)).startswith(f"{path}:\n  data.source: is required")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON: Expecting value"),
        (b'{"width": 3', "is not valid JSON: Expecting ',' delimiter"),
        (b"\xff\xfe", "is not valid JSON: 'utf-8' codec can't decode"),
        (b"[1]", "a saved config is a JSON object, this is list"),
    ],
)
def test_broken_json_is_refused_with_its_path(tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    got = refusal(load, path, Run)
    assert str(path) in got and message in got


def test_a_folder_that_is_no_run_says_what_it_lacks(tmp_path):
    assert "is a folder without config.json" in refusal(load, tmp_path, Run)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("width: 3")
    assert refusal(load, path, Run) == f"{str(path)!r}: a config ends in .py or .json"


@pytest.fixture
def two_shipped(monkeypatch):
    monkeypatch.setattr("jaxlm.config.shipped", lambda: {"quickstart": Path("q.py"), "tiny": Path("t.py")})


def test_an_unknown_name_shows_the_nearest_shipped_config(two_shipped):
    message = refusal(load, "quikstart", Run)
    assert message == "no config 'quikstart': did you mean 'quickstart'? Or give the path of a .py or .json file"


def test_an_unknown_name_with_none_near_lists_the_shipped_configs(two_shipped):
    assert "shipped configs are: quickstart, tiny. Or give" in refusal(load, "zzz", Run)


def test_a_file_that_is_not_there_is_told_so(two_shipped):
    assert refusal(load, "folder/zzz.py", Run).startswith("no config 'folder/zzz.py': there is no such file")


def test_shipped_configs_are_python_files_named_by_their_stem():
    for name, path in shipped().items():
        assert path.is_file() and path.name == f"{name}.py"


# Differences


def test_equal_configs_differ_in_nothing():
    assert difference(dump(RUN), dump(RUN)) == []


def test_a_difference_names_each_leaf_with_both_values():
    new = override(RUN, ["width=256", "data.length=8", "data.include=['a']"])
    assert difference(dump(RUN), dump(new)) == [
        'data.include: [] -> ["a"]',
        "data.length: 64 -> 8",
        "width: 128 -> 256",
    ]


def test_a_difference_shows_what_only_one_side_has():
    assert difference({"a": 1, "c": {"x": 1}}, {"b": None, "c": 2}) == [
        'a: 1 -> "(absent)"',
        'b: "(absent)" -> null',
        'c: {"x": 1} -> 2',
    ]


def test_what_was_there_before_is_told_and_not_the_default():
    told = refusal(override, Run(data=Data(source="x", length=7), devices=3), ["data.length=0", "devices=0.5"])
    assert "data.length=0: must be greater than 0; it was 7" in told and "; it was 3" in told
    assert 'name="": must be a letter or a digit, then' in refusal(load_config, "quickstart", "name=")


def test_a_rule_of_one_class_names_only_what_was_set_in_it():
    told = refusal(load_config, "answer", "loop.steps=7", "data.objective.stride=500", "model.layers=1")
    assert told.startswith("--set data.objective.stride=500: data: ")


def test_a_field_is_named_once_and_a_list_is_asked_for():
    told = refusal(load_config, "quickstart", "model.width=130")
    assert told.startswith("--set model.width=130 is not a multiple of model.heads=4")
    assert 'data.include="*.py": must be a list, such as ["*.py"]' in refusal(
        load_config, "quickstart", "data.include=*.py"
    )
