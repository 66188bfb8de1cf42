"""The peer for generate.py: greedy `generate` of Hugging Face's GPT-2 with its cache, timed by the call.

    python benchmarks/peers/hf_generate.py --batch 8 --prompt 64 --new 128 --dtype bf16 --json

Prints {"median_ms" of a call, "tokens_per_second", "compile_s", ...}; compile_s is what the first call took longer.
Weights and prompts are random, and no token ends a text. bf16 is the whole model in bfloat16. Needs torch and
transformers, never jaxlm. Left out: torch.compile, which `generate` wants a cache of fixed size for.
"""

import argparse
import json
import os
import statistics
import time

import torch
import transformers


def main() -> None:
    parser = argparse.ArgumentParser(description="Time decoding of GPT-2 in transformers.")
    sizes = {"batch": 1, "prompt": 64, "new": 128, "layers": 12, "heads": 12, "width": 768, "vocab": 50_257}
    for name, value in (sizes | {"length": 1_024, "calls": 3, "threads": len(os.sched_getaffinity(0))}).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line, for the harness")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.set_flush_denormal(True)  # XLA does the same
    result = time_calls(flags)
    print(json.dumps(result) if flags.json else "\n".join(f"{k:18} {v}" for k, v in result.items()))


def time_calls(flags: argparse.Namespace) -> dict:
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=flags.vocab, n_positions=flags.length, n_embd=flags.width, n_layer=flags.layers,
            n_head=flags.heads, bos_token_id=None, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    parameters = sum(p.numel() for p in model.parameters())
    model = model.to(torch.bfloat16 if flags.dtype == "bf16" else torch.float32)
    prompt = torch.randint(flags.vocab, (flags.batch, flags.prompt))

    @torch.inference_mode()
    def call() -> float:
        start = time.perf_counter()
        found = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=flags.new, do_sample=False, use_cache=True,
            pad_token_id=0,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        assert found.shape == (flags.batch, flags.prompt + flags.new), found.shape
        return seconds

    first = call()
    seconds = statistics.median(call() for _ in range(flags.calls))
    return {
        "median_ms": 1e3 * seconds,
        "tokens_per_second": flags.batch * flags.new / seconds,
        "compile_s": first - seconds,
        "parameters": parameters,
        "dtype": flags.dtype,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


if __name__ == "__main__":
    main()
