"""Models of Hugging Face's and PyTorch's folders that somebody made to harm: headers, indices, config.json, links."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.hostile_case import Case, Good, copied, deep, edited, many, sparse
from tests.interop.test_safetensors_file import BAD, file_of, one

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"


def harmed(harm: Callable[[Path], Any]) -> Callable[[Path, Good], Any]:
    return copied(lambda good: good.model, harm)


def weights(content: bytes | Callable[[], bytes]) -> Callable[[Path, Good], Any]:
    return harmed(lambda folder: (folder / WEIGHTS).write_bytes(content() if callable(content) else content))


def told(**keys: Any) -> Callable[[Path, Good], Any]:
    return harmed(lambda folder: edited(folder / CONFIG, lambda config: config.update(keys)))


def config(text: str | Callable[[], str]) -> Callable[[Path, Good], Any]:
    return harmed(lambda folder: (folder / CONFIG).write_text(text() if callable(text) else text))


def index(places: Any) -> Callable[[Path, Good], Any]:
    def harm(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "a.safetensors")
        (folder / INDEX).write_text(json.dumps({"weight_map": places}))

    return harmed(harm)


def _many_lists() -> bytes:
    text = b'{"x": [' + b"[]," * 10_000_000 + b"[]]}"
    return struct.pack("<Q", len(text)) + text


def _pickles(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.")


def _pickle_inside(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.")


def _linked_to_a_device(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")


def _circle(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).symlink_to("config.json")


def _program(folder: Path) -> None:
    (folder / "modeling_evil.py").write_text("open('/tmp/owned', 'w')")
    classes = {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.EvilConfig"}
    edited(folder / CONFIG, lambda config: config.update(model_type="evil", auto_map=classes))


def _program_of_mlx(folder: Path) -> None:
    (folder / "evil.py").write_text("open('/tmp/owned', 'w')")
    edited(folder / CONFIG, lambda config: config.update(model_type="evil", model_file="evil.py"))


HEADERS = {name: weights(content) for name, (content, _) in BAD.items()}
MODELS = {
    "ten million lists in a header": weights(_many_lists),
    "a header of zeros in a file of 4 GB": harmed(
        lambda folder: sparse(folder / WEIGHTS, 4 << 30, struct.pack("<Q", 39_000_000))),
    "a file of 1 TB": harmed(lambda folder: sparse(folder / WEIGHTS, 1 << 40, file_of(b"{}"))),
    "sizes that are not finite": weights(file_of(b'{"x": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}')),
    "tensors of another model": weights(file_of(one(), b"0" * 8)),
    "a pickle of weights": harmed(_pickles),
    "a pickle by another name": harmed(_pickle_inside),
    "weights that are a device": harmed(_linked_to_a_device),
    "a shard in the folder above": index({"x": "../../secret.safetensors"}),
    "a shard at /etc": index({"x": "/etc/passwd"}),
    "a shard with NUL": index({"x": "a\0.safetensors"}),
    "a shard that is no name": index({"x": 3}),
    "shards in a list": index(["a.safetensors"]),
    "a shard of nobody": index({"x": "missing.safetensors"}),
    "an index that names one tensor": index({"transformer.wte.weight": "a.safetensors"}),
    "config.json 100,000 deep": config(lambda: deep(100_000)),
    "config.json of 11 MB": config(lambda: '{"a": "' + "x" * 11_000_000 + '"}'),
    "config.json of lists": config(lambda: "[" * 100_000),
    "config.json that is a list": config("[1]"),
    "config.json with NUL": config("\0" * 100),
    "config.json with a name twice": config('{"model_type": "gpt2", "model_type": "llama"}'),
    "config.json with a number of 5,000 digits": config('{"model_type": "gpt2", "n_layer": 1' + "0" * 5_000 + "}"),
    "config.json that is a link to itself": harmed(_circle),
    "a program in auto_map": harmed(_program),
    "a program in model_file": harmed(_program_of_mlx),
    "an unknown model_type": told(model_type="evil"),
    "a model_type that is a list": told(model_type=["gpt2"]),
    "architectures that are an object": told(architectures={"a": 1}),
    "no layers": told(n_layer=0),
    "layers that are words": told(n_layer="many"),
    "2**31 layers": told(n_layer=2**31),
    "2**63 ids": told(vocab_size=2**63),
    "2**40 wide": told(n_embd=2**40, n_inner=2**42),
    "heads that divide by zero": told(n_head=0),
    "a negative context": told(n_positions=-1),
    "a context of 2**60": told(n_positions=2**60),
    "epsilon that is not finite": told(layer_norm_epsilon=float("nan")),
    "an activation of 10,000 letters": told(activation_function="x" * 10_000),
    "our key, of another model": told(jaxlm={"model": {"kind": "recurrent"}, "stacked": False}),
    "our key, a list": told(jaxlm=[1]),
    "our key, 2**40 layers": told(jaxlm={"model": {"kind": "decoder", "layers": 2**40}, "stacked": True}),
    "a module of PyTorch's, 2**40 wide": told(
        model_type="lstm", vocab_size=9, input_size=2**40, hidden_size=2**40, num_layers=1),
    "a module of PyTorch's, 10**9 layers": told(
        model_type="gru", vocab_size=9, input_size=4, hidden_size=4, num_layers=10**9),
    "a module of PyTorch's, bidirectional times seven": told(
        model_type="lstm", vocab_size=9, input_size=4, hidden_size=4, num_layers=1, bidirectional=7),
}  # fmt: skip
HEAVY = {"ten million lists in a header", "more tensors than any model has", "a header of zeros in a file of 4 GB"}
CASES = [case._replace(heavy=case.name in HEAVY) for case in many("model", HEADERS | MODELS)]
assert all(isinstance(case, Case) for case in CASES)
