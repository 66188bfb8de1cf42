"""The peer for recurrent models: an LSTM language model in plain PyTorch, and the time of its train step.

    python benchmarks/peers/torch_lstm.py --json                              # families.py's case `lstm`
    python benchmarks/peers/torch_lstm.py --dtype bf16 --compile --json

An embedding, `nn.LSTM`, and the embedding again as the head, with a bias. Truncated backpropagation: the state of a
batch goes into the next, detached. Gradient descent with clipping, as jaxlm's side has it. Initial weights are
jaxlm's too, so that losses can be compared; of PyTorch's two biases the second is held at 0.
Prints what torch_gpt.py does. Needs torch alone, never jaxlm.
"""

import argparse
import dataclasses
import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_gpt import add_flags, add_run_flags, autocast, compiled, from_flags, timed

State = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Form:
    """The defaults are those of PyTorch's word_language_model on WikiText-2, but for the rate."""

    vocab: int = 33_278
    width: int = 200
    layers: int = 2
    length: int = 35
    batch: int = 20
    rate: float = 1.0
    clip: float = 0.25


class Lstm(nn.Module):
    def __init__(self, form: Form):
        super().__init__()
        self.token = nn.Embedding(form.vocab, form.width)
        self.lstm = nn.LSTM(form.width, form.width, form.layers, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(form.vocab))
        nn.init.normal_(self.token.weight, std=form.width**-0.5)
        for name, weight in self.lstm.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(weight)
            if name.startswith("bias_ih"):
                nn.init.ones_(weight[form.width : 2 * form.width])  # the forget gate starts open
            weight.requires_grad_(not name.startswith("bias_hh"))

    def forward(self, token_BL: Tensor, target_BL: Tensor, state: State) -> tuple[Tensor, State]:
        """The mean loss in nats a token, and the state after the batch."""
        h_BLD, state = self.lstm(self.token(token_BL), state)
        logits_BLV = F.linear(h_BLD, self.token.weight, self.bias).float()  # bf16 has too few digits for a loss
        return F.cross_entropy(logits_BLV.flatten(0, 1), target_BL.flatten()), state


def time_steps(form: Form, steps: int, dtype: str, how: str) -> dict:
    """Milliseconds of whole steps on random tokens: forward, backward, clip, update."""
    torch.manual_seed(0)
    model = Lstm(form)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=form.rate)
    loss_of = compiled(model, how)
    rows = torch.randint(form.vocab, (16, form.batch, form.length + 1))
    batches = [(r[:, :-1].contiguous(), r[:, 1:].contiguous()) for r in rows]
    state = torch.zeros(form.layers, form.batch, form.width), torch.zeros(form.layers, form.batch, form.width)

    def step(n: int) -> Tensor:
        nonlocal state
        with autocast(dtype):
            loss, after = loss_of(*batches[n % len(batches)], state)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, form.clip, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state = tuple(s.detach().float() for s in after)
        return loss

    return timed(step, steps, model)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the train step of an LSTM language model in PyTorch.")
    parser.add_argument("--steps", type=int, default=20)
    add_flags(parser, Form)
    add_run_flags(parser)
    flags = parser.parse_args()
    torch.set_float32_matmul_precision(flags.matmul_precision)
    torch.set_flush_denormal(True)  # XLA does the same
    result = time_steps(from_flags(Form, flags), flags.steps, flags.dtype, flags.compile)
    print(json.dumps(result) if flags.json else "\n".join(f"{k:12} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
