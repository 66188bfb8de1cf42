"""The peer for speed: an independent GPT in plain PyTorch, and the time of its train step.

    python benchmarks/peers/torch_gpt.py --dtype bf16 --compile --json                  # nanoGPT's CPU size
    python benchmarks/peers/torch_gpt.py --batch 4 --layers 12 --heads 12 --width 768 --vocab 50257 --json

Prints {"median_ms", "min_ms", "loss", "compile_s", ...}; compile_s is the whole first step.
The model is GPT-2 (Radford et al. 2019) without biases as nanoGPT has it, with switches towards Llama and the
nanoGPT speedruns. Needs torch alone, never jaxlm, and g++ where --compile is given.
Left out: grouped queries, dropout, packed documents; attention that knows segments would be slower here.

Array names end in their dimensions: B batch, L position, V vocabulary, D width, F feed-forward width,
H heads, K head width.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from typing import Literal, get_args, get_origin

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Form:
    """The sizes and switches of a GPT; the defaults are nanoGPT's for characters on a CPU."""

    length: int = 64
    layers: int = 4
    heads: int = 4
    width: int = 128
    feed_forward: int = 0  # 0: 4 * width
    vocab: int = 65
    position: Literal["learned", "rotary"] = "learned"
    norm: Literal["layer", "rms"] = "layer"  # both with a scale and without a bias
    qk_norm: bool = False  # RMSNorm with a scale over the head's dimensions, before the rotation
    mlp: Literal["gelu", "relu2", "swiglu"] = "gelu"  # gelu is the tanh form
    bias: bool = False  # of the linear layers inside the blocks
    tied: bool = True
    zero_output: bool = False  # projections into the residual stream start at zero
    zero_head: bool = False  # of an untied head
    softcap: float = 0.0  # logits become softcap * tanh(logits / softcap); 0: off
    init: float = 0.02  # standard deviation of all weights; output projections have it over sqrt(2 * layers)
    epsilon: float = 1e-5
    rotary_base: float = 10_000.0

    @property
    def hidden(self) -> int:
        return self.feed_forward or 4 * self.width


class Norm(nn.Module):
    def __init__(self, form: Form, width: int, kind: str):
        super().__init__()
        self.kind, self.epsilon = kind, form.epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "layer":
            return F.layer_norm(x, self.weight.shape, self.weight, None, self.epsilon)
        # One dtype for both, or torch leaves its fused kernel; its sums are in float32 all the same.
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


class Attention(nn.Module):
    def __init__(self, form: Form):
        super().__init__()
        self.heads = form.heads
        self.qkv = nn.Linear(form.width, 3 * form.width, bias=form.bias)  # one product for all three
        self.qkv.weight.stacked = 3  # matrices in one: what Muon has to take apart
        self.out = nn.Linear(form.width, form.width, bias=form.bias)
        per_head = form.width // form.heads
        self.q_norm = Norm(form, per_head, "rms") if form.qk_norm else nn.Identity()
        self.k_norm = Norm(form, per_head, "rms") if form.qk_norm else nn.Identity()

    def forward(self, x_BLD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        q_BHLK, k_BHLK, v_BHLK = (
            s.unflatten(-1, (self.heads, -1)).transpose(1, 2) for s in self.qkv(x_BLD).chunk(3, dim=-1)
        )
        q_BHLK, k_BHLK = self.q_norm(q_BHLK), self.k_norm(k_BHLK)
        if rotation is not None:
            q_BHLK, k_BHLK = rotate(q_BHLK, *rotation), rotate(k_BHLK, *rotation)
        y_BHLK = F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, is_causal=True)
        return self.out(y_BHLK.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, form: Form):
        super().__init__()
        self.kind = form.mlp
        stacked = 2 if form.mlp == "swiglu" else 1  # gate above up
        self.up = nn.Linear(form.width, stacked * form.hidden, bias=form.bias)
        self.up.weight.stacked = stacked
        self.out = nn.Linear(form.hidden, form.width, bias=form.bias)

    def forward(self, x_BLD: Tensor) -> Tensor:
        h_BLF = self.up(x_BLD)
        if self.kind == "gelu":
            return self.out(F.gelu(h_BLF, approximate="tanh"))
        if self.kind == "relu2":
            return self.out(F.relu(h_BLF).square())
        gate_BLF, h_BLF = h_BLF.chunk(2, dim=-1)
        return self.out(F.silu(gate_BLF) * h_BLF)


class Block(nn.Module):
    def __init__(self, form: Form):
        super().__init__()
        self.norm_1, self.attention = Norm(form, form.width, form.norm), Attention(form)
        self.norm_2, self.mlp = Norm(form, form.width, form.norm), Mlp(form)

    def forward(self, x_BLD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> Tensor:
        x_BLD = x_BLD + self.attention(self.norm_1(x_BLD), rotation)
        return x_BLD + self.mlp(self.norm_2(x_BLD))


class GPT(nn.Module):
    def __init__(self, form: Form):
        super().__init__()
        self.form = form
        self.token = nn.Embedding(form.vocab, form.width)
        self.position = nn.Embedding(form.length, form.width) if form.position == "learned" else None
        self.blocks = nn.ModuleList(Block(form) for _ in range(form.layers))
        self.norm = Norm(form, form.width, form.norm)
        self.head = nn.Linear(form.width, form.vocab, bias=False)
        if form.position == "rotary":
            cos_LK, sin_LK = rotary_table(form)
            self.register_buffer("cos", cos_LK, persistent=False)
            self.register_buffer("sin", sin_LK, persistent=False)
        self._start()
        if form.tied:
            self.head.weight = self.token.weight

    def _start(self) -> None:
        form = self.form
        for name, weight in self.named_parameters():
            if name.endswith("out.weight"):
                nn.init.normal_(weight, std=0.0 if form.zero_output else form.init / (2 * form.layers) ** 0.5)
            elif name == "head.weight":
                nn.init.normal_(weight, std=0.0 if form.zero_head else form.init)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.ndim == 2:
                nn.init.normal_(weight, std=form.init)

    def forward(self, token_BL: Tensor, target_BL: Tensor) -> Tensor:
        """The mean loss in nats a token; inside the module, so that a compiler sees it whole."""
        length, rotation = token_BL.shape[1], None
        x_BLD = self.token(token_BL)
        if self.position is not None:
            x_BLD = x_BLD + self.position.weight[:length]
        else:
            rotation = self.cos[:length], self.sin[:length]
        for block in self.blocks:
            x_BLD = block(x_BLD, rotation)
        logits_BLV = self.head(self.norm(x_BLD)).float()  # bf16 has too few digits for a loss
        if self.form.softcap:
            logits_BLV = self.form.softcap * torch.tanh(logits_BLV / self.form.softcap)
        return F.cross_entropy(logits_BLV.flatten(0, 1), target_BL.flatten())


def rotary_table(form: Form) -> tuple[Tensor, Tensor]:
    """Cosine and sine by position, for half the head's dimensions (Su et al. 2021, arXiv:2104.09864)."""
    half = form.width // form.heads // 2
    frequency_K = form.rotary_base ** (-torch.arange(half) / half)
    angle_LK = torch.outer(torch.arange(form.length).float(), frequency_K)
    return angle_LK.cos(), angle_LK.sin()


def rotate(x_BHLK: Tensor, cos_LK: Tensor, sin_LK: Tensor) -> Tensor:
    """Pair i with i + K/2, as Llama's published weights want it."""
    a, b = x_BHLK.chunk(2, dim=-1)
    cos_LK, sin_LK = cos_LK.to(x_BHLK.dtype), sin_LK.to(x_BHLK.dtype)  # or autocast's bf16 becomes float32 here
    return torch.cat((a * cos_LK - b * sin_LK, b * cos_LK + a * sin_LK), dim=-1)


def adamw(parameters, rate: float, betas: tuple[float, float], weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW that decays matrices and embeddings, not scales and biases (nanoGPT's rule)."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=betas, fused=True)


def autocast(dtype: str) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16")


def compiled(function, how: str):
    """`function` as --compile wants it: "no", "default", or a mode of torch.compile."""
    return function if how == "no" else torch.compile(function, mode=None if how == "default" else how, dynamic=False)


def time_steps(form: Form, batch: int, steps: int, dtype: str, how: str) -> dict:
    """Milliseconds of whole steps on random tokens: forward, backward, clip, update."""
    torch.manual_seed(0)
    model = GPT(form)
    optimizer = adamw(model.parameters(), 1e-3, (0.9, 0.99), 0.1)
    loss_of = compiled(model, how)
    rows = torch.randint(form.vocab, (16, batch, form.length + 1))
    batches = [(r[:, :-1].contiguous(), r[:, 1:].contiguous()) for r in rows]

    def step(n: int) -> Tensor:
        with autocast(dtype):
            loss = loss_of(*batches[n % len(batches)])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return timed(step, steps, model)


def timed(step: Callable[[int], Tensor], steps: int, model: nn.Module) -> dict:
    """What a peer of train_step.py and families.py prints; `step(n)` is all of step n, and returns its loss."""
    warm_up, seconds, loss = 8, [], torch.tensor(0.0)
    for n in range(warm_up + steps):
        start = time.perf_counter()
        loss = step(n)
        seconds.append(time.perf_counter() - start)
    times = [1e3 * s for s in seconds[warm_up:]]
    return {
        "median_ms": statistics.median(times),
        "min_ms": min(times),
        "loss": loss.item(),
        "compile_s": seconds[0],
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def add_flags(parser: argparse.ArgumentParser, kind: type) -> None:
    """One flag for each field of a dataclass, with its default."""
    for field in dataclasses.fields(kind):
        flag = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        elif get_origin(field.type) is Literal:
            parser.add_argument(flag, choices=get_args(field.type), default=field.default)
        else:
            parser.add_argument(flag, type=field.type, default=field.default)


def from_flags(kind: type, flags: argparse.Namespace):
    return kind(**{field.name: getattr(flags, field.name) for field in dataclasses.fields(kind)})


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """How to run, as against what: precision and compiler."""
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32", help="bf16 is autocast")
    parser.add_argument(
        "--matmul-precision", choices=["highest", "high", "medium"], default="highest",
        help="medium lets oneDNN multiply float32 matrices in bf16 and keep float32 results",
    )  # fmt: skip
    parser.add_argument(
        "--compile",
        nargs="?",
        const="default",
        default="no",
        help="a mode of torch.compile, e.g. max-autotune",
    )
    parser.add_argument("--no-compile", dest="compile", action="store_const", const="no")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line, for the harness")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the train step of a GPT in PyTorch.")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--steps", type=int, default=200)
    add_flags(parser, Form)
    add_run_flags(parser)
    flags = parser.parse_args()
    torch.set_float32_matmul_precision(flags.matmul_precision)
    torch.set_flush_denormal(True)  # XLA does the same
    result = time_steps(from_flags(Form, flags), flags.batch, flags.steps, flags.dtype, flags.compile)
    print(json.dumps(result) if flags.json else "\n".join(f"{k:12} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
