"""Let RUN continue one or several prompts; text comes as it is made.

Without --prompt, prompts are read from standard input, one a line. The samples are kept in the run folder and
shown in its report.
"""

import sys
from typing import Annotated

import typer

from jaxlm import host
from jaxlm.commands import terminal
from jaxlm.errors import UserError


def main(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    prompt: Annotated[list[str] | None, typer.Option(help="What to continue; may be repeated.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of each continuation; default: 200, if the context has room.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="1 as the model says, lower is safer, 0 the likeliest. [default: 0.8]")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest tokens that reach this probability. [default: 0.95]")
    ] = None,
    min_p: Annotated[float | None, typer.Option(help="Only tokens this share as likely as the likeliest.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same text.")] = 0,
    step: Annotated[int | None, typer.Option(help="A saved step; default: the newest.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    host.restart_with_allocator()
    from jaxlm import saved
    from jaxlm.config import dump, parse
    from jaxlm.generation.sampling import READABLE, SamplingConfig
    from jaxlm.run_folder import RunFolder, record

    asked = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    settings = dump(READABLE) | {name: value for name, value in asked.items() if value is not None}
    cfg = parse(settings, SamplingConfig, origin="options")
    prompts = prompt or _lines()
    stream = _Stream(prompts[0]) if len(prompts) == 1 and not json_ else None
    on_text = stream.write if stream else None
    found = saved.generate(run, prompts, tokens=tokens, seed=seed, step=step, sampling=cfg, on_text=on_text)
    if json_:
        rows = [completion._asdict() for completion in found.completions]
        terminal.print_json({"run": run, "step": found.step, "completions": rows})
    elif stream:
        stream.end()
    else:
        print("\n---\n".join(c.prompt + c.text for c in found.completions))
    how = {"step": found.step, "settings": settings | {"seed": seed, "tokens": found.tokens}}
    record(RunFolder(run).samples, [{"prompt": c.prompt, "text": c.text} | how for c in found.completions])


def _lines() -> list[str]:
    """Standard input, a prompt a line."""
    try:
        return [line.rstrip("\n") for line in sys.stdin or ()]  # None: closed
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not {error.encoding}: {error.reason} at byte {error.start}") from None


class _Stream:
    """Text as it comes; the prompt with the first of it, so that what fails before prints nothing."""

    def __init__(self, prompt: str) -> None:
        self._unsaid = prompt

    def write(self, row: int, piece: str) -> None:
        print(self._unsaid + piece, end="", flush=True)
        self._unsaid = ""

    def end(self) -> None:
        print(self._unsaid)  # where there was no text at all; and the end of the line
