"""`jaxlm VERB`: a lazy table from verb to function, nothing else.

A verb's module is imported when the verb is used, so `jaxlm --help` needs neither jax nor a device.
"""

import importlib
import re
import sys
from typing import NamedTuple

import typer

from jaxlm import __version__
from jaxlm.commands import terminal


class Verb(NamedTuple):
    module: str
    help: str


VERBS = {
    "prepare": Verb("jaxlm.commands.prepare", "Dirty text to a clean corpus, or text to token shards."),
    "label": Verb("jaxlm.commands.label", "Votes of rules and people to labelled examples, and who agrees with whom."),
    "train": Verb("jaxlm.commands.train", "Train a config, or go on with its run; prepares the text first."),
    "launch": Verb("jaxlm.commands.launch", "Run `train` as several processes of this host, watched and restarted."),
    "plan": Verb(
        "jaxlm.commands.plan", "Does a config fit a TPU, GPU or CPU, and what would a step cost: no device needed."
    ),
    "eval": Verb("jaxlm.commands.eval", "Score a run: nats a token, perplexity, bits a byte, beside gzip and xz."),
    "generate": Verb("jaxlm.commands.generate", "Let a run continue one or several prompts."),
    "import": Verb("jaxlm.commands.import_model", "Make a run of a Hugging Face model in a folder."),
    "export": Verb("jaxlm.commands.export_model", "Write a run as a Hugging Face model."),
    "report": Verb("jaxlm.commands.report", "Make a run's report.html: curves, scores, samples, config."),
    "verify": Verb("jaxlm.commands.verify", "Check every byte of a run's checkpoints and shards, or of a corpus."),
    "verify-resume": Verb(
        "jaxlm.commands.verify_resume", "Prove that a run goes on exactly on other devices, by kills."
    ),
    "inspect": Verb("jaxlm.commands.inspect", "What a run is; or where a config's parameters lie."),
    "tokenizer": Verb("jaxlm.commands.tokenizer", "What tokenizers make of a text, by language and source."),
    "configs": Verb("jaxlm.commands.configs", "List the configs that come with jaxlm."),
}

EPILOG = (
    "Exit codes: 0 done; 1 failed; 2 your mistake (the message says how to mend it); 3 training diverged; "
    "4 damaged files; 5 the same failure came again (jaxlm launch); 75 interrupted, nothing is lost: run the same "
    "command again."
)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"jaxlm {__version__}")
        raise typer.Exit
    return asked


def build(asked: str | None) -> typer.Typer:
    """The command line; only the verb that is asked for is imported, the others are names with a help line."""
    app = typer.Typer(add_completion=False, epilog=EPILOG, pretty_exceptions_enable=False)
    app.callback()(jaxlm)
    for name, verb in VERBS.items():
        module = importlib.import_module(verb.module) if name == asked else None
        function = terminal.interruptible(module.main) if module else lambda: None
        app.command(name, help=flowing(module.__doc__ or "") if module else verb.help, short_help=verb.help)(function)
    return app


def flowing(text: str) -> str:
    """Paragraphs on one line each, for a terminal to break where it is wide.

    >>> flowing("One line\\nand its rest.\\n\\nAnother.\\n    an example")
    'One line and its rest.\\n\\nAnother.\\n    an example'
    """
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def jaxlm(
    version: bool = typer.Option(
        False, "--version", help="Print the version and stop.", is_eager=True, callback=_version
    ),
) -> None:
    """Raw text to a trained, evaluated language model."""


def main() -> None:
    """The entry point: errors of the user become one message and an exit code."""
    sys.argv[1:] = sys.argv[1:] or ["--help"]
    asked = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), None)
    terminal.guarded(lambda **how: build(asked)(**how))
