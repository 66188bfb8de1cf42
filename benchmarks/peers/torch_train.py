"""The peer for the speedrun: train the PyTorch GPT on a text's characters, and say when it got there.

    python benchmarks/peers/torch_train.py input.txt --json                        # nanoGPT's CPU recipe
    python benchmarks/peers/torch_train.py input.txt --recipe recipe.json --target 1.88 --json

nanoGPT's recipe is that of its README for a CPU (Karpathy 2022, https://github.com/karpathy/nanoGPT).
The first 90 % of the characters train, the last 10 % validate; the vocabulary is the sorted set of
characters. The validation loss is over all of the split: windows of `length` side by side, each token
predicted once. `seconds` count from the first step on, sampling of batches included, evaluation and
compilation not: three steps before it, which are undone, compile everything.

Prints {"curve": [{"step", "seconds", "validation_loss"}], "target", "step_at_target", "seconds_at_target",
"compile_s", ...}. Left out: averaging of weights, several seeds in one call.
"""

import argparse
import copy
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch_gpt import GPT, Form, adamw, add_flags, add_run_flags, autocast, compiled, from_flags
from torch_muon import Muon, hidden_matrices, orthogonalise


@dataclasses.dataclass(frozen=True)
class Recipe(Form):
    """How to train; the defaults are nanoGPT's for Shakespeare's characters on a CPU."""

    batch: int = 12
    steps: int = 2_000
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: matrices inside the blocks; AdamW has the rest
    rate: float = 1e-3  # AdamW's peak
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1  # AdamW's, on what has two dimensions
    muon_rate: float = 0.02  # its peak; it follows the same schedule
    muon_momentum: float = 0.95
    muon_weight_decay: float = 0.0
    muon_scale: Literal["spectral", "rms"] = "spectral"  # max(1, rows/columns)**0.5, or 0.2 * max(...)**0.5
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    warmup: int = 100  # steps
    decay: float = 0.2  # the last part of the steps, in which wsd falls
    final: float = 0.1  # the last rate, as a part of the peak
    clip: float = 1.0  # the global norm of the gradients; 0: off
    seed: int = 1337


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the PyTorch peer on the characters of a text.")
    parser.add_argument("text", type=Path)
    parser.add_argument("--recipe", type=Path, help="JSON object of fields of Recipe; flags go before it")
    parser.add_argument("--eval-every", type=int, default=100, help="steps")
    parser.add_argument("--target", type=float, default=1.88, help="validation loss, nats a character")
    parser.add_argument("--stop-at-target", action="store_true")
    add_flags(parser, Recipe)
    add_run_flags(parser)
    parser.set_defaults(**read(parser.parse_args().recipe))
    flags = parser.parse_args()
    torch.set_float32_matmul_precision(flags.matmul_precision)
    torch.set_flush_denormal(True)  # XLA does the same
    train_split, validation_split, vocab = split(flags.text.read_text(encoding="utf-8"))
    recipe = dataclasses.replace(from_flags(Recipe, flags), vocab=vocab)
    result = train(recipe, train_split, validation_split, flags)
    print(json.dumps(result) if flags.json else json.dumps(result, indent=1))


def read(path: Path | None) -> dict:
    """The fields of a recipe that the file names."""
    if path is None:
        return {}
    named = json.loads(path.read_text())
    known = {field.name for field in dataclasses.fields(Recipe)}
    if unknown := sorted(set(named) - known):
        raise SystemExit(f"{path}: {unknown} are no fields of a recipe; it has {sorted(known)}")
    return named


def split(text: str) -> tuple[Tensor, Tensor, int]:
    """Characters as numbers: nine tenths, one tenth, and how many different ones there are."""
    number = {character: n for n, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[character] for character in text])
    cut = int(0.9 * len(tokens))
    return tokens[:cut], tokens[cut:], len(number)


def rate_at(step: int, recipe: Recipe) -> float:
    """The part of the peak rate for 0-based `step`; warm-up reaches the peak at step `warmup`."""
    if step < recipe.warmup:
        return (step + 1) / (recipe.warmup + 1)
    if recipe.schedule == "wsd":
        fall = max(1, round(recipe.decay * recipe.steps))
        done = max(0.0, (step - (recipe.steps - fall)) / fall)
    else:
        done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    shape = 0.5 * (1 + math.cos(math.pi * done)) if recipe.schedule == "cosine" else 1 - done
    return recipe.final + (1 - recipe.final) * shape


class Trainer:
    """A model, its optimisers and its batches: `step()` is what is timed."""

    def __init__(self, recipe: Recipe, train_split: Tensor, dtype: str, loss_of, model: GPT, newton_schulz):
        self.recipe, self.train_split, self.dtype, self.model, self.loss_of = (
            recipe,
            train_split,
            dtype,
            model,
            loss_of,
        )
        matrices = hidden_matrices(model.blocks) if recipe.optimizer == "muon" else []
        inside = {id(p) for p, _ in matrices}
        rest = [p for p in model.parameters() if id(p) not in inside]
        betas = recipe.beta1, recipe.beta2
        self.optimizers, self.peaks = [adamw(rest, recipe.rate, betas, recipe.weight_decay)], [recipe.rate]
        if matrices:
            how = recipe.muon_rate, recipe.muon_momentum, recipe.muon_weight_decay, recipe.muon_scale
            self.optimizers.append(Muon(matrices, *how, newton_schulz))
            self.peaks.append(recipe.muon_rate)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.window = torch.arange(recipe.length + 1)
        self.n = 0

    def step(self) -> None:
        last = len(self.train_split) - self.recipe.length
        offset = torch.randint(last, (self.recipe.batch, 1), generator=self.generator)
        rows = self.train_split[offset + self.window]
        with autocast(self.dtype):
            loss = self.loss_of(rows[:, :-1], rows[:, 1:])
        loss.backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip, foreach=True)
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate_at(self.n, self.recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.n += 1


def train(recipe: Recipe, train_split: Tensor, validation_split: Tensor, flags: argparse.Namespace) -> dict:
    torch.manual_seed(recipe.seed)
    model = GPT(recipe)
    loss_of, newton_schulz = compiled(model, flags.compile), compiled(orthogonalise, flags.compile)
    parts = recipe, train_split, flags.dtype, loss_of, model, newton_schulz
    compile_s = warm_up(model, Trainer(*parts))
    trainer, seconds, curve = Trainer(*parts), 0.0, []
    while trainer.n < recipe.steps:
        start = time.perf_counter()
        for _ in range(min(flags.eval_every, recipe.steps - trainer.n)):
            trainer.step()
        seconds += time.perf_counter() - start
        loss = evaluate(model, validation_split)
        curve.append({"step": trainer.n, "seconds": seconds, "validation_loss": loss})
        print(f"step {trainer.n} {seconds:.1f} s validation {loss:.4f} nats", file=sys.stderr, flush=True)
        if flags.stop_at_target and loss <= flags.target:
            break
    there = next((point for point in curve if point["validation_loss"] <= flags.target), None)
    return {
        "curve": curve,
        "target": flags.target,
        "step_at_target": there and there["step"],
        "seconds_at_target": there and there["seconds"],
        "compile_s": compile_s,
        "loss": curve[-1]["validation_loss"],
        "best_loss": min(point["validation_loss"] for point in curve),
        "recipe": dataclasses.asdict(recipe),
        "dtype": flags.dtype,
        "compile": flags.compile,
        "torch": torch.__version__,
    }


def warm_up(model: GPT, trainer: Trainer) -> float:
    """Three steps that compile everything, undone; the seconds they took."""
    begin, start = copy.deepcopy(model.state_dict()), time.perf_counter()
    for _ in range(3):
        trainer.step()
    seconds = time.perf_counter() - start
    model.load_state_dict(begin)
    return seconds


@torch.no_grad()
def evaluate(model: GPT, tokens: Tensor, rows: int = 128) -> float:
    """The mean loss of all but the first token, in float32, uncompiled; the last window may be short."""
    length, predicted, total = model.form.length, len(tokens) - 1, 0.0
    full = predicted // length
    token_BL, target_BL = (
        tokens[: full * length].view(full, length),
        tokens[1 : full * length + 1].view(full, length),
    )
    for token, target in zip(token_BL.split(rows), target_BL.split(rows), strict=True):
        total += model(token, target).item() * target.numel()
    if rest := predicted - full * length:
        total += model(tokens[full * length : -1][None], tokens[full * length + 1 :][None]).item() * rest
    return total / predicted


if __name__ == "__main__":
    main()
