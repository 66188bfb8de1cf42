"""A RunConfig in the words of peers/torch_train.py, or an error that names what the peer has no counterpart for.

Every field of the config is translated, has to have one value, or only says how the run is done; a field that is
none of these is an error, so a new switch of jaxlm cannot be left out of the peer unseen.
"""

from typing import Any

from jaxlm.run_config import RunConfig

NAMES = {
    "seed": "seed",
    "data.length": "length",
    "data.batch": "batch",
    "loop.steps": "steps",
    "model.position": "position",
    "model.rope_base": "rotary_base",
    "model.norm": "norm",
    "model.qk_norm": "qk_norm",
    "model.activation": "mlp",
    "model.tied": "tied",
    "model.softcap": "softcap",
    "model.std": "init",
    "optimizer.kind": "optimizer",
    "optimizer.clip": "clip",
    "optimizer.schedule.kind": "schedule",
    "optimizer.schedule.warmup": "warmup",
    "optimizer.schedule.decay": "decay",
    "optimizer.schedule.final": "final",
}
OF_OPTIMIZER = {
    "adamw": {
        "optimizer.peak_rate": "rate",
        "optimizer.beta1": "beta1",
        "optimizer.beta2": "beta2",
        "optimizer.decay": "weight_decay",
    },
    "muon": {
        "optimizer.peak_rate": "muon_rate",
        "optimizer.momentum": "muon_momentum",
        "optimizer.decay": "muon_weight_decay",
        "optimizer.others.peak_rate": "rate",
        "optimizer.others.beta1": "beta1",
        "optimizer.others.beta2": "beta2",
        "optimizer.others.decay": "weight_decay",
    },
}
VALUES = {  # recipe field -> our value -> the peer's
    "position": {"learned": "learned", "rotary": "rotary"},
    "norm": {"layernorm": "layer", "rmsnorm": "rms"},
    "mlp": {"gelu": "gelu", "relu2": "relu2", "swiglu": "swiglu"},
    "optimizer": {"adamw": "adamw", "muon": "muon"},
    "schedule": {"cosine": "cosine", "linear": "linear", "wsd": "wsd"},
}
OFF = ("softcap", "clip")  # None with us, 0 with the peer
FIXED = {
    "init": None,
    "data.rows": "chunked",
    "data.objective.kind": "next_token",
    "data.tokenizer.kind": "sentencepiece",
    "data.tokenizer.model": "char",
    "data.split.kind": "contiguous",
    "data.split.validation": 0.1,
    "data.split.test": 0.0,
    "data.mixture": None,
    "model.kind": "decoder",
    "model.vocab": None,
    "model.max_length": None,
    "model.norm_eps": 1e-5,
    "model.bias": False,
    "model.window": None,
    "model.rope_scaling": None,
    "model.local_rope_base": None,
    "model.global_every": None,
    "model.global_first": False,
    "model.embedding_scale": False,
    "model.embedding_norm": False,
    "model.first_norm": True,
    "model.post_norm": False,
    "model.scale_scores": True,
    "model.dropout": 0.0,
    "optimizer.average": None,
    "optimizer.eps": 1e-8,
    "optimizer.others.eps": 1e-8,
    "loss.z_loss": 0.0,
    "loss.label_smoothing": 0.0,
}
BY_DIMS = ("size", "layers", "heads", "width", "kv_heads", "head_width", "ff_width")
ELSEWHERE = {f"model.{name}" for name in BY_DIMS} | {"model.residual"}  # translated in `recipe`
HOW = (  # prefixes of what changes no mathematics: where, how often, in what order, by which kernel
    "format_version", "name", "data.source", "data.text_field", "data.include", "data.tokenizer.vocab",
    "data.tokenizer.byte_fallback", "data.tokenizer.sample_bytes", "data.seed", "data.prefetch", "model.precision",
    "model.bucket", "model.attention", "model.remat", "model.scan_layers", "loss.chunk", "step.", "mesh.",
    "checkpoint.", "telemetry.", "loop.log_every", "loop.eval_every", "loop.save_every",
)  # fmt: skip
MODEL = (  # what peers/torch_gpt.py has flags for
    "length", "layers", "heads", "width", "feed_forward", "position", "norm", "qk_norm", "mlp", "tied",
    "zero_output", "zero_head", "softcap", "init", "rotary_base",
)  # fmt: skip


def recipe(cfg: RunConfig) -> dict[str, Any]:
    """The fields of the peer's Recipe; ValueError names all fields of `cfg` that it cannot follow."""
    fields = leaves(cfg.model_dump(mode="json"))
    names = NAMES | OF_OPTIMIZER.get(fields["optimizer.kind"], {})
    wrong = [f"{path}={value!r}" for path, value in fields.items() if not follows(path, value, names)]
    dims, residual = cfg.model.dims, cfg.model.residual
    if dims.R != 1 or dims.G * dims.K != dims.D:
        wrong.append(f"heads of the form {dims}")
    if residual not in ("scaled", "zero"):
        wrong.append(f"model.residual={residual!r}")
    if falls_during_warmup(cfg):
        wrong.append(f"a decay of {cfg.optimizer.schedule} that begins within the warm-up")
    if wrong:
        raise ValueError(f"the PyTorch peer has no counterpart for {', '.join(wrong)}")
    found = {name: translate(name, fields[path]) for path, name in names.items() if path in fields}
    zero = residual == "zero"
    sizes = {"layers": dims.N, "heads": dims.G, "width": dims.D, "feed_forward": dims.F}
    return found | sizes | {"zero_output": zero, "zero_head": zero and not cfg.model.tied, "muon_scale": "spectral"}


def falls_during_warmup(cfg: RunConfig) -> bool:
    """jaxlm then begins the decay after the warm-up, the peer does not."""
    schedule, steps = cfg.optimizer.schedule, cfg.loop.steps
    return schedule.kind == "wsd" and round(schedule.decay * steps) > steps - schedule.warmup


def leaves(tree: dict, path: str = "") -> dict[str, Any]:
    """{"data.length": 64, ...}"""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return found


def follows(path: str, value: Any, names: dict[str, str]) -> bool:
    if path in names:
        name = names[path]
        return value in VALUES[name] if name in VALUES else value is not None or name in OFF
    if path in FIXED:
        return value == FIXED[path]
    return path in ELSEWHERE or path.startswith(HOW)


def translate(name: str, value: Any) -> Any:
    if name in OFF:
        return value or 0.0
    return VALUES[name][value] if name in VALUES else value
