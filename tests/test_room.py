"""A run that its devices cannot hold is refused: before text is read, or when its step is compiled."""

import pytest

from jaxlm import host, parts, room, run
from jaxlm.errors import UserError
from jaxlm.models.transformer import TransformerConfig
from jaxlm.training import layout as layouts
from tests import tiny_run


def tiny(*overrides):
    """One layer, so that it compiles in a second."""
    return tiny_run.config("absent/", "model.layers=1", "model.dropout=0", *overrides)


def test_a_run_far_too_large_is_refused_before_its_text_is_looked_for(tmp_path):
    huge = tiny("model.layers=10000", "model.width=8192", "model.heads=64", "model.ff_width=32768")
    with pytest.raises(UserError, match=r"parameters.* take .* GiB, and there are .* GiB.*jaxlm plan"):
        run.train(
            huge.model_copy(update={"model": huge.model.model_copy(update={"scan_layers": True})}), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").glob("checkpoints/*"))


def test_a_step_that_comes_near_the_memory_is_compiled_before_text_is_read(monkeypatch):
    cfg = tiny()
    built = parts.build(cfg, layouts.told(cfg.mesh, "auto", 2), room.planned_vocab(cfg))
    needs = 2 * room.need(built.compiled.executable)
    monkeypatch.setattr(host, "available_memory", lambda: needs - 1)
    with pytest.raises(UserError, match=r"a step takes .*step\.microbatches.*remat"):
        room.require_room(cfg)
    with pytest.raises(UserError, match="a step takes"):
        room.require_fit(built)
    monkeypatch.setattr(host, "available_memory", lambda: needs)
    room.require_room(cfg)
    room.require_fit(built)


def test_a_small_run_is_not_compiled_twice(monkeypatch):
    monkeypatch.setattr(room, "count", lambda *_: pytest.fail("traced"))
    room.require_room(tiny())


def test_the_guess_of_weights_is_never_under_their_count():
    shape = {"layers": 1, "heads": 2, "width": 64}
    for fields in (shape, {**shape, "activation": "swiglu", "tied": False, "bias": True}):
        cfg = tiny().model_copy(update={"model": TransformerConfig(**fields)})
        assert room.count(cfg, 300, "cpu") <= room.guessed(cfg, 300)


def test_what_only_a_tokenizers_files_know_is_left_for_later():
    cfg = tiny('data.tokenizer={"kind": "saved", "path": "elsewhere"}')
    assert room.planned_vocab(cfg) is None
    room.require_room(cfg)
    assert room.planned_vocab(tiny()) == 257


def test_a_compiler_that_runs_out_of_memory_is_told_in_words():
    import jax

    with pytest.raises(UserError, match=r"does not fit the devices' memory.*24\.7G"), room.told_if_too_large():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: needs 24.7G\nmore")
    with pytest.raises(jax.errors.JaxRuntimeError), room.told_if_too_large():
        raise jax.errors.JaxRuntimeError("INTERNAL: another matter")
