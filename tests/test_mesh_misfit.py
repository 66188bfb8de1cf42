"""A mesh that does not suit its config is told from the config alone: axis, dimension, value and mend."""

import pytest

from jaxlm.errors import UserError
from jaxlm.mesh_misfit import check_mesh
from jaxlm.run import train
from jaxlm.run_config import load_config
from tests import tiny_run

# config, what is set, words of the answer
MISFITS = {
    "rows over many devices": ("quickstart", ["mesh.devices=99"], r"data\.batch=16 .*over 99 devices.*make it 99"),
    "rows over two axes": ("quickstart", ["mesh.data=3", "mesh.fsdp=2"], r"data\.batch=16.* 6 devices.*make it 18"),
    "positions": ("quickstart", ["mesh.sequence=7"], r"data\.length=256.*'sequence'=7: make it 259"),
    "heads": ("quickstart", ["mesh.tensor=3"], r"model\.heads=4.*'tensor'=3: make it 6, or the axis 2"),
    "groups of heads": ("llama", ["mesh.tensor=16"], r"model\.kv_heads=8.*'tensor'=16: make it 16, or the axis 8"),
    "width": ("quickstart", ["mesh.fsdp=5", "data.batch=10"], r"model\.width=128.*'fsdp'=5: make it 130"),
    "feed-forward": ("quickstart", ["mesh.tensor=4", "model.ff_width=130"], r"model\.ff_width=130.*: make it 132"),
    "vocabulary": ("quickstart", ["mesh.tensor=2", "model.vocab=8193"], r"model\.vocab=8193.*'tensor'=2: make it 8194"),
    "an encoder's heads": (
        "bert_mini",
        ["mesh.tensor=4", "model.size=none", "model.layers=1", "model.heads=4", "model.head_width=8", "model.width=250",
         "model.ff_width=64"],
        r"model\.width=250.*'tensor'=4: make it 252, or the axis 2",
    ),
    "a state": ("shakespeare_lstm", ["mesh.fsdp=3", "data.batch=12", "model.embedding=96", "model.tied=False"],
                r"model\.width=256 .*'fsdp'=3: make it 258, or the axis 2"),
    "a state that goes on": ("shakespeare_lstm", ["mesh.sequence=2"], r"mesh\.sequence=2 splits.*'lstm'.*'mingru'"),
    "sources": ("t5", ["mesh.sequence=4"], r"rows of 114 tokens of data\.length=568.*'sequence'=4.*mesh\.sequence=2"),
    "bytes": ("quickstart", ["mesh.tensor=2", "data.tokenizer.kind=bytes"],
              r"model\.vocab=257 .*'tensor'=2: make it 258"),
    "microbatches": ("quickstart", ["step.compile=shard_map", "mesh.data=8", "step.microbatches=4"],
                     r"data\.batch=16 on 8 devices.*step\.microbatches=4: make it 32"),
    "copies of a split state": ("quickstart", ["mesh.fsdp=2", "step.compile=pmap"], r"'pmap' replicates.*'fsdp': 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_a_misfit_names_what_does_not_divide_and_what_would(name):
    config, settings, words = MISFITS[name]
    axes = [] if "mesh.devices=99" in settings else ["mesh.layout=axes"]
    cfg = load_config(config, *axes, *settings)
    with pytest.raises(UserError, match=words):
        check_mesh(cfg, cores=2)


def test_what_an_accelerator_alone_can_count_is_left_to_it():
    check_mesh(load_config("quickstart", "mesh.layout=sharded", "data.batch=7"), cores=None)
    with pytest.raises(UserError, match=r"data\.batch=7"):
        check_mesh(load_config("quickstart", "mesh.layout=sharded", "mesh.devices=2", "data.batch=7"), cores=None)


def test_a_misfit_is_told_before_any_text_is_read(tmp_path):
    cfg = tiny_run.config(tmp_path / "there is no such text.txt", "mesh.devices=99")
    with pytest.raises(UserError, match="over 99 devices"):
        train(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    assert list(tmp_path.iterdir()) == []


def test_a_linear_recurrence_may_be_split_along_positions():
    check_mesh(load_config("shakespeare_lstm", "mesh.layout=axes", "mesh.sequence=2", "model.cell=mingru"), cores=2)
