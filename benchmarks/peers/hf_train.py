"""The peer for encoders and encoder-decoders: the train step of Hugging Face's BERT and T5.

    python benchmarks/peers/hf_train.py bert --json                           # families.py's case `bert`
    python benchmarks/peers/hf_train.py t5 --dtype bf16 --compile --json      # its case `t5`

`BertForMaskedLM` with 15 % of the tokens asked for, and `T5ForConditionalGeneration` on pairs of texts, as their
classes compute it, losses included; random weights and tokens, no dropout, fused AdamW and clipping, as jaxlm's side.
Rows are full, so no mask of padding is given: without one the classes take their faster path.
Prints what torch_gpt.py does. Needs torch and transformers, never jaxlm.
"""

import argparse
import dataclasses
import json

import torch
import transformers
from torch import Tensor, nn
from torch_gpt import adamw, add_flags, add_run_flags, autocast, compiled, from_flags, timed

IGNORED = -100  # transformers' label of a token that is not asked for


@dataclasses.dataclass(frozen=True)
class Form:
    layers: int = 4
    heads: int = 4
    width: int = 256
    hidden: int = 1_024
    vocab: int = 8_192
    batch: int = 32
    length: int = 128  # of a row, or of a target
    source: int = 128  # of a source
    asked: int = 19  # tokens of a row: 15 % of 128
    rate: float = 1e-3


def bert(form: Form) -> nn.Module:
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=form.vocab, hidden_size=form.width, num_hidden_layers=form.layers,
            num_attention_heads=form.heads, intermediate_size=form.hidden, max_position_embeddings=form.length,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def t5(form: Form) -> nn.Module:
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=form.vocab, d_model=form.width, d_kv=form.width // form.heads, d_ff=form.hidden,
            num_layers=form.layers, num_heads=form.heads, dropout_rate=0.0, use_cache=False,
            decoder_start_token_id=0,
        )
    )  # fmt: skip


def masked(form: Form) -> dict[str, Tensor]:
    token, labels = torch.randint(form.vocab - 1, (form.batch, form.length)), None
    where = torch.rand(form.batch, form.length).argsort(dim=1)[:, : form.asked]
    labels = torch.full_like(token, IGNORED).scatter(1, where, token.gather(1, where))
    hidden = token.scatter(1, where, form.vocab - 1)
    return {"input_ids": hidden, "labels": labels}


def pairs(form: Form) -> dict[str, Tensor]:
    source = torch.randint(form.vocab, (form.batch, form.source))
    target = torch.randint(form.vocab, (form.batch, form.length))
    return {"input_ids": source, "labels": target}


MODELS = {"bert": (bert, masked), "t5": (t5, pairs)}


def time_steps(name: str, form: Form, steps: int, dtype: str, how: str) -> dict:
    """Milliseconds of whole steps: forward, backward, clip, update."""
    torch.manual_seed(0)
    make, batch_of = MODELS[name]
    model = make(form)
    optimizer = adamw(model.parameters(), form.rate, (0.9, 0.999), 0.1)
    run = compiled(model, how)
    batches = [batch_of(form) for _ in range(16)]

    def step(n: int) -> Tensor:
        with autocast(dtype):
            loss = run(**batches[n % len(batches)]).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return timed(step, steps, model) | {"transformers": transformers.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the train step of BERT or T5 in transformers.")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--steps", type=int, default=20)
    add_flags(parser, Form)
    add_run_flags(parser)
    flags = parser.parse_args()
    torch.set_float32_matmul_precision(flags.matmul_precision)
    torch.set_flush_denormal(True)  # XLA does the same
    result = time_steps(flags.model, from_flags(Form, flags), flags.steps, flags.dtype, flags.compile)
    print(json.dumps(result) if flags.json else "\n".join(f"{k:12} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
