"""Score RUN on its held-out text, or on any text file.

Loss in nats a token, perplexity, and bits a byte of the source text, with the standard error; beside it what
gzip -9 and xz -9 need for the same bytes. A model may adapt to the text while it is scored: with a continuous
cache of what it read (--cache), or by learning from what it has been scored on (--dynamic).
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
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=2**16, help="Lanes to read at once; fewer are longer; default: the run's."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Read so many tokens of a lane at once; default: the run's.")
    ] = None,
    cache: Annotated[
        int | None,
        typer.Option(metavar="WINDOW", help="A cache of the last WINDOW states and words of each lane (Grave 2017)."),
    ] = None,
    cache_weight: Annotated[float | None, typer.Option(help="Its share in the mixture; default: 0.1.")] = None,
    cache_theta: Annotated[
        float | None, typer.Option(help="0 counts words, more asks for states that are alike; default: 1.")
    ] = None,
    dynamic: Annotated[
        str | None, typer.Option(metavar="sgd|rms", help="Learn from each batch once it is scored (Krause 2018).")
    ] = None,
    dynamic_rate: Annotated[
        float | None, typer.Option(help="Its learning rate; default: 0.3 of sgd, 2e-3 of rms.")
    ] = None,
    dynamic_decay: Annotated[
        float | None, typer.Option(help="Back to the trained weights, a batch; default: 0 of sgd, 1e-3 of rms.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    host.restart_with_allocator()
    from jaxlm import score
    from jaxlm.evaluation import adapt
    from jaxlm.run_folder import RunFolder, record

    found = score.evaluate(
        run, step=step, split=split, text=text, shards_dir=shards_dir, batch=batch, length=length,
        cache=adapt.cache_of(window=cache, weight=cache_weight, theta=cache_theta),
        dynamic=adapt.dynamic_of(kind=dynamic, rate=dynamic_rate, decay=dynamic_decay),
    )  # fmt: skip
    if json_:
        terminal.print_json(found)
    else:
        _show(found)
    record(RunFolder(run).evaluations, [found])


def _show(found: dict[str, Any]) -> None:
    error = found["standard_error"]
    asked = found["asked"]
    size = f"{found['tokens']:,} {asked}" + (f", {found['bytes']:,} bytes" if found["bytes"] else " asked for")
    print(f"{found['source']}, step {found['step']}: {size}")
    print(f"  loss           {found['loss']:.4f} nats/{asked.removesuffix('s')}  (standard error {error:.4f})")
    if asked == "tokens":
        print(f"  perplexity     {found['perplexity']:.3f}")
    if found["accuracy"] is not None:
        print(f"  accuracy       {found['accuracy']:.4f}")
    if "calibration" in found:
        area = "every text is of one class" if found["auc"] is None else f"{found['auc']:.4f}"
        print(f"  AUC            {area}")
        print(f"  calibration    {found['calibration_error']:.4f} off, Brier score {found['brier']:.4f}")
    if found["order"] is not None:
        print(f"  order          {found['order']:.4f} nats/row (chance: 0.6931)")
    if found["bits_per_byte"] is None:  # not all of the text was asked for
        return
    lost = "" if found["lossless"] else "  (of what the tokenizer keeps: not comparable with those of others)"
    print(f"  bits per byte  {found['bits_per_byte']:.4f}{lost}")
    print(f"  gzip -9        {found['gzip_bits_per_byte']:.4f} bits/byte")
    print(f"  xz -9          {found['xz_bits_per_byte']:.4f} bits/byte")
