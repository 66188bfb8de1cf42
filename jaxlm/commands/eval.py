"""Score RUN on its held-out text, or on any text file.

Loss in nats a token, perplexity, and bits a byte of the source text, with the standard error; beside it what
gzip -9 and xz -9 need for the same bytes.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlm import host
from jaxlm.commands import terminal


def main(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    step: Annotated[int | None, typer.Option(help="A saved step; default: the newest.")] = None,
    split: Annotated[str | None, typer.Option(help="train, validation or test; default: validation.")] = None,
    text: Annotated[str | None, typer.Option(help="Score this file or folder instead of a split.")] = None,
    shards_dir: Annotated[Path | None, typer.Option(help="Where the run's shards are now, if moved.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    host.restart_with_allocator()
    from jaxlm import saved
    from jaxlm.run_folder import RunFolder, record

    found = saved.evaluate(run, step=step, split=split, text=text, shards_dir=shards_dir)
    if json_:
        terminal.print_json(found)
    else:
        _show(found)
    record(RunFolder(run).evaluations, [found])


def _show(found: dict[str, Any]) -> None:
    error = found["standard_error"]
    size = f"{found['tokens']:,} tokens" + (f", {found['bytes']:,} bytes" if found["bytes"] else " asked for")
    print(f"{found['source']}, step {found['step']}: {size}")
    print(f"  loss           {found['loss']:.4f} nats/token  (standard error {error:.4f})")
    print(f"  perplexity     {found['perplexity']:.3f}")
    print(f"  accuracy       {found['accuracy']:.4f}")
    if found["bits_per_byte"] is None:  # not all of the text was asked for
        return
    print(f"  bits per byte  {found['bits_per_byte']:.4f}")
    print(f"  gzip -9        {found['gzip_bits_per_byte']:.4f} bits/byte")
    print(f"  xz -9          {found['xz_bits_per_byte']:.4f} bits/byte")
