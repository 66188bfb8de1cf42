"""Let RUN continue one or several prompts; text comes as it is made.

Without --prompt, prompts are read from standard input, one a line. With --beams nothing is drawn: the likeliest
text is searched for, and comes when the search is over. The samples are kept in the run folder and shown in its
report.
"""

import sys
from typing import Annotated, Any

import typer

from jaxlm import host
from jaxlm.commands import terminal
from jaxlm.errors import UserError

_option = lambda field: f"--{field.replace('_', '-')}"
DRAWING = {field: _option(field) for field in ("temperature", "top_k", "top_p", "min_p")}
SEARCHING = {field: _option(field) for field in ("beams", "length_penalty", "best")}


def main(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    prompt: Annotated[list[str] | None, typer.Option(help="What to continue; may be repeated.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of each continuation; default: 200, if the context has room.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="1 as the model says, lower is safer, 0 the likeliest; default: 0.8.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest tokens that reach this probability; default: 0.95.")
    ] = None,
    min_p: Annotated[float | None, typer.Option(help="Only tokens this share as likely as the likeliest.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same text; default: 0.")
    ] = None,
    beams: Annotated[
        int | None, typer.Option(min=1, help="Search the likeliest text with this many beams, draw nothing.")
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            help="With --beams: texts are ranked by log-probability over length to this power. "
            "0 favours short ones, 1 is the mean of a token; default: 1."
        ),
    ] = None,
    best: Annotated[
        int | None, typer.Option(min=1, help="With --beams: continuations of each prompt, the best first; default: 1.")
    ] = None,
    step: Annotated[int | None, typer.Option(help="A saved step; default: the newest.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    host.restart_with_allocator()
    from jaxlm import saved
    from jaxlm.run_folder import RunFolder, record

    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed}
    way = _way(_given(drawing), _given({"beams": beams, "length_penalty": length_penalty, "best": best}))
    prompts = prompt or _lines()
    host.start_jax(1)
    loaded = saved.load(run, step)
    shown = lambda prompt: "" if loaded.model.read else prompt  # an encoder-decoder's text does not go on with it
    stream = _Stream(shown(prompts[0])) if len(prompts) == 1 and beams is None and not json_ else None
    on_text = stream.write if stream else None
    found = saved.generate(loaded, prompts, tokens=tokens, on_text=on_text, **way)
    if json_:
        rows = [completion._asdict() for completion in found.completions]
        terminal.print_json({"run": run, "step": found.step, "completions": rows})
    elif stream:
        stream.end()
    else:
        print("\n---\n".join(shown(c.prompt) + c.text for c in found.completions))
    facts = {"step": found.step, "settings": found.settings}
    record(RunFolder(run).samples, [{"prompt": c.prompt, "text": c.text} | facts for c in found.completions])


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _way(drawing: dict[str, Any], searching: dict[str, Any]) -> dict[str, Any]:
    """What `saved.generate` is told of options that were given: to draw tokens, or to search with beams."""
    from jaxlm.config import dump, parse_options
    from jaxlm.generation.beam import BeamConfig
    from jaxlm.generation.sampling import READABLE, SamplingConfig

    spelled = lambda options: ", ".join(f"{_option(name)} {value}" for name, value in options.items())
    if "beams" not in searching:
        if searching:
            raise UserError(f"{spelled(searching)}: is for a search, so give --beams as well, or leave it out")
        seed = drawing.pop("seed", None)
        return {"sampling": parse_options(dump(READABLE) | drawing, SamplingConfig, DRAWING), "seed": seed}
    if drawing:
        beams = searching["beams"]
        raise UserError(f"{spelled(drawing)}: is for drawing tokens, and --beams {beams} draws none: leave one out")
    return {"beams": parse_options(searching, BeamConfig, SEARCHING)}


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
