"""config.json of Hugging Face to our config and back, by the table of layouts.py.

Only `from_json` is written out; `to_json` writes the same keys, and is believed where reading them back gives the same
model. So what an architecture cannot say is found by comparing, and needs no second list.

config.json carries one key of ours, "jaxlm": the whole config of the model. Import takes it where it agrees with the
other keys, so that what they cannot say (no biases, how weights are drawn, precision) comes back too.
"""

import difflib
import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxlm.config import Config, dump, parse
from jaxlm.errors import UserError
from jaxlm.interop import rope
from jaxlm.interop.layouts import ARCHITECTURES, FREE, NEEDED, ONLY, Architecture, Field
from jaxlm.interop.torch_recurrent import MODEL_TYPES
from jaxlm.models.build import ModelConfig

log = logging.getLogger("jaxlm")
OURS = "jaxlm"
SLIP = 0.8  # chosen: how alike a name that was meant is; "lama" and "llama" are 0.89, but "mamba" is another model
# Fields that the logits do not depend on. Whatever is not here counts, a field of tomorrow too.
_NO_NUMBERS = {
    "kind", "size", "dropout", "std", "residual", "precision", "attention", "remat", "scan_layers", "sentence_order",
}  # fmt: skip
_OF_POSITIONS = {  # what only one kind of position looks at
    "rope_base": "rotary", "rope_scaling": "rotary", "local_rope_base": "rotary", "buckets": "buckets",
    "bucket_reach": "buckets",
}  # fmt: skip


class _OurKey(Config):
    model: ModelConfig
    stacked: bool  # whether the parameters of all layers lie in one array each


def facts(cfg: Any, vocab: int, length: int) -> dict[str, Any]:
    """All that decides what `cfg` computes, with nothing left to defaults: {field: value}.

    In a run of so many ids and, where `cfg` does not say, of rows of so many tokens.
    """
    d, fields = cfg.dims, type(cfg).model_fields
    found = {name: getattr(cfg, name) for name in fields if name not in _NO_NUMBERS}
    for name, position in _OF_POSITIONS.items():
        found[name] = getattr(cfg, name) if cfg.position == position else fields[name].default
    if "decoder_layers" in fields:
        found["decoder_layers"] = cfg.decoder_layers or d.N
    return found | {
        "layers": d.N, "width": d.D, "heads": d.G * d.R, "kv_heads": d.G, "head_width": d.K, "ff_width": d.F,
        "vocab": vocab, "max_length": cfg.max_length or length,
    }  # fmt: skip


class Imported(NamedTuple):
    arch: Architecture
    cfg: ModelConfig
    facts: dict[str, Any]
    stacked: bool  # whether parameters are to lie in one array for all layers


# --- import


def from_json(config: Mapping[str, Any], origin: str) -> Imported:
    """What model `config` describes; UserError where jaxlm does not compute it."""
    arch = architecture(config, origin)
    plain = _flat(config, origin)
    if arch.field("rope_scaling") and (most := arch.field("max_length")):
        plain["rope_scaling"] = rope.with_original(plain.get("rope_scaling"), told(most, plain, origin))
    _refuse_others(arch, plain, origin)
    # Version 5 keeps the scaling of positions in an object with their base.
    where = {"rope_scaling": "rope_parameters"} if isinstance(config.get("rope_parameters"), dict) else {}
    say = {field.ours: told(field, plain, origin, where.get(field.theirs)) for field in arch.fields}
    try:
        cfg: Any = parse({**say, **arch.constant, "precision": "float32"}, arch.config, origin)
    except UserError as error:
        raise UserError(_in_their_words(str(error), arch)) from None
    theirs = facts(cfg, say["vocab"], say["max_length"])
    if OURS not in config:
        return Imported(arch, cfg, theirs, False)
    try:
        ours = parse({OURS: config[OURS]}, _Wrapped, origin).jaxlm
    except UserError as error:
        why = " ".join(str(error).removeprefix(f"{origin}:").split())
        raise UserError(f"{origin}: its key {OURS!r} is not as this jaxlm writes it: {why}; remove that key") from None
    if not isinstance(ours.model, arch.config):
        raise UserError(f"{origin}: its key {OURS!r} holds a {ours.model.kind}, not a {arch.model_type}: remove it")
    exact = facts(ours.model, say["vocab"], say["max_length"])
    if differ := difference(arch, exact, theirs):
        name, (a, b) = next(iter(differ.items()))
        field = arch.field(name)
        raise UserError(
            f"{origin} was edited since jaxlm wrote it: its key {OURS!r} says {name}={a!r}, "
            f"{field.theirs if field else 'the rest'} says {b!r}; mend one, or remove the key {OURS!r}"
        )
    sizes = {"vocab": say["vocab"], "max_length": say["max_length"]}
    return Imported(arch, ours.model.model_copy(update=sizes), exact, ours.stacked)


class _Wrapped(Config):
    jaxlm: _OurKey


def _in_their_words(fault: str, arch: Architecture) -> str:
    """`fault` with the keys of config.json in the place of our fields."""
    theirs = {field.ours: field.theirs for field in arch.fields}
    mend = lambda name: f", or set {theirs[name[1]]}" if name[1] in theirs else ""
    fault = re.sub(r", or set model\.(\w+)", mend, fault)
    return re.sub(r"\b(?:model\.)?(\w+)(?==|: )", lambda name: theirs.get(name[1], name[0]), fault)


def architecture(config: Mapping[str, Any], origin: str) -> Architecture:
    """The row of the table that `config` names."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        known = [*ARCHITECTURES, *MODEL_TYPES]
        near = difflib.get_close_matches(str(kind).lower(), known, n=1, cutoff=SLIP)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        found = f": model_type={kind!r}{hint}" if "model_type" in config else " has no model_type"
        raise UserError(f"{origin}{found}; jaxlm reads {', '.join(known)}")
    arch, named = ARCHITECTURES[kind], config.get("architectures")
    if named and (not isinstance(named, list) or named[0] not in arch.classes):
        raise UserError(f"{origin}: architectures={named!r}; of {kind}, jaxlm reads {' and '.join(arch.classes)}")
    return arch


def _flat(config: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """`config` as versions before 5 wrote it: the base of rotary positions and their scaling in two keys."""
    plain = dict(config)
    parameters = plain.pop("rope_parameters", None)
    if parameters is not None:
        inside = dict(parameters) if isinstance(parameters, dict) else {}
        moved = {key: inside.pop(key) for key in ("rope_theta", "partial_rotary_factor") if key in inside}
        moved["rope_scaling"] = (inside or None) if isinstance(parameters, dict) else parameters
        for key, value in moved.items():
            if plain.get(key) not in (None, value):
                raise UserError(
                    f"{origin}: {key}={plain[key]!r} is not what rope_parameters={parameters!r} say: remove one"
                )
        plain |= moved
    if (scaled := plain.pop("scale_decoder_outputs", None)) is not None:  # T5 of version 5, where that alone is left
        plain["tie_word_embeddings"] = scaled
    layers = plain.get("layer_types")
    if isinstance(layers, list) and all(kind == "full_attention" for kind in layers):
        del plain["layer_types"]
    return plain


def _refuse_others(arch: Architecture, config: Mapping[str, Any], origin: str) -> None:
    """UserError for a value that would change the numbers; a line in the log for keys that nobody here knows."""
    only = {**ONLY, **arch.only}
    for key, values in only.items():
        if key in config and not any(_same(config[key], value) for value in values):
            allowed = " or ".join(map(repr, values))
            raise UserError(f"{origin}: {key}={config[key]!r}; of {arch.model_type}, jaxlm computes {allowed} only")
    for key, (other, values) in arch.implied.items():
        word = config.get(other, arch.default(other))
        if key not in config or not isinstance(word, str) or word not in values:
            continue
        value = values[word]
        if not _same(config[key], value):
            raise UserError(f"{origin}: {key}={config[key]!r} does not go with {other}, which makes it {value!r}")
    known = only.keys() | {field.theirs for field in arch.fields} | arch.implied.keys()
    free = re.compile(FREE)
    unknown = [key for key in config if key not in known and not free.fullmatch(key) and config[key] is not None]
    if unknown:
        log.warning("%s: not known to jaxlm, and left out of account: %s", origin, ", ".join(sorted(unknown)))


def _same(found: Any, value: Any) -> bool:
    """Equal, and not merely as 1 equals True."""
    return found == value and isinstance(found, bool) == isinstance(value, bool)


def told(field: Field, config: Mapping[str, Any], origin: str, where: str | None = None) -> Any:
    """What config.json says of `field`, in our words; `where`: the key that it stands in, if another."""
    value = config.get(field.theirs, field.default)
    if value is NEEDED:
        raise UserError(f"{origin} has no {field.theirs}, and jaxlm guesses none: add it")
    if field.codec is not None:
        return field.codec.read(value, f"{origin}: {where or field.theirs}")
    if value is None and (field.optional or field.default is None):
        return None
    kinds = (int, float) if field.kind is float else field.kind
    if value is None or not isinstance(value, kinds) or isinstance(value, bool) != (field.kind is bool):
        raise UserError(f"{origin}: {field.theirs}={value!r} should be {_a(field.kind)}")
    if isinstance(value, int) and not 0 <= value - (field.kind is int) < 2**31:
        least = int(field.kind is int)
        raise UserError(f"{origin}: {field.theirs}={value!r} should be a number from {least} to 2**31 - 1")
    if field.words and str(value) not in field.words:
        raise UserError(f"{origin}: {field.theirs}={value!r}; jaxlm has {', '.join(field.words)}")
    return field.words[str(value)] if field.words else value


def _a(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]


# --- export


def to_json(cfg: ModelConfig, vocab: int, length: int, *, stacked: bool) -> tuple[Architecture, dict[str, Any]]:
    """(architecture, config.json) of the first architecture that computes what `cfg` does.

    `vocab` and `length` are those of the run, where `cfg` leaves them out. UserError where there is none.
    """
    near: list[tuple[int, str]] = []
    for arch in ARCHITECTURES.values():
        if not isinstance(cfg, arch.config):
            continue
        wanted = facts(cfg, vocab, length)
        config = _written(arch, wanted)
        try:
            back = from_json(config, arch.model_type).facts  # what import would make of it
        except UserError as error:
            near.append((len(wanted), f"{arch.model_type}, and it cannot be one: {error}"))
            continue
        differ = difference(arch, wanted, back)
        if not differ:
            config["architectures"] = [arch.written(cfg)]
            return arch.of(cfg), config | {OURS: {"model": dump(cfg), "stacked": stacked}}
        lacks = [f"model.{name}={ours!r} (it has {theirs!r})" for name, (ours, theirs) in differ.items()]
        near.append((len(differ), f"{arch.model_type}, which does not have {', '.join(lacks)}"))
    assert near, f"{cfg.kind} is not Hugging Face's: torch_folder.py"
    raise UserError(
        f"no model of Hugging Face's that jaxlm writes ({', '.join(ARCHITECTURES)}) computes what this one does; "
        f"nearest is {min(near)[1]}"
    )


def difference(arch: Architecture, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{field: (ours, theirs)} where they compute different things; biases that we lack can be 0 in theirs."""
    differ = {name: (value, theirs[name]) for name, value in ours.items() if value != theirs[name]}
    if differ.get("bias") == (False, True) and any(row.zeros for row in arch.rows):
        del differ["bias"]
    return differ


def _written(arch: Architecture, ours: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {"architectures": [arch.classes[0]], "model_type": arch.model_type}
    for field in arch.fields:
        back = {word: theirs for theirs, word in reversed(list(field.words.items()))}
        config[field.theirs] = back.get(ours[field.ours], next(iter(field.words), None)) if back else ours[field.ours]
        if field.codec is not None:
            config[field.theirs] = field.codec.write(ours[field.ours])
    config |= {key: values[0] for key, values in arch.only.items() if values[0] is not None}
    config |= {key: values[config[other]] for key, (other, values) in arch.implied.items()}
    if arch.field("rope_base"):  # as version 5 writes it, and as those before it
        scaling = config["rope_scaling"] or {"rope_type": "default"}
        config["rope_parameters"] = {"rope_theta": config["rope_theta"]} | scaling
    return config | {"use_cache": True}
