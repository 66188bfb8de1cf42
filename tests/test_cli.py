"""The command line before any verb runs: quick help, and mistakes that are told in a line."""

import subprocess
import sys

import pytest

from jaxlm import __version__, cli
from tests.faults.injector import ROOT


def test_help_needs_neither_jax_nor_numpy():
    """It answers in half a second only because of what it does not import."""
    code = (
        "import sys; sys.argv = ['jaxlm', '--help']\n"
        "from jaxlm import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'flax', 'optax', 'orbax', 'grain', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in cli.VERBS:
        assert f" {verb} " in done.stdout
    for words in ("Exit codes: 0 done", "75 interrupted"):
        assert words in done.stdout


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_is_there_and_says_what_it_does(verb):
    app = cli.build(verb)
    (command,) = [command for command in app.registered_commands if command.name == verb]
    assert command.callback.__module__ == cli.VERBS[verb].module
    assert command.help.split() and command.short_help == cli.VERBS[verb].help


def test_only_the_verb_that_is_asked_for_is_imported():
    code = "import sys; from jaxlm import cli; cli.build('inspect'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    commands = {name for name in done.stdout.split() if name.startswith("jaxlm.commands.")}
    assert commands == {"jaxlm.commands.inspect", "jaxlm.commands.terminal"}


def test_the_version_is_the_packages():
    command = [sys.executable, "-m", "jaxlm", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"jaxlm {__version__}\n")


MISTAKES = [
    (["generate"], "Missing argument 'run'. 'jaxlm generate --help' tells more."),
    (["generate", "somewhere", "--beams", "0"], "Invalid value for '--beams': Input should be greater than"),
    (["train", "quickstart", "--bogus"], "No such option: --bogus."),
    (["nothing"], "No such command 'nothing'. 'jaxlm --help' tells more."),
    (["inspect", "one", "two"], "Got unexpected extra argument"),
]


@pytest.mark.parametrize("arguments, message", MISTAKES)
def test_a_mistake_on_the_command_line_is_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["jaxlm", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    shown = capsys.readouterr()
    assert (left.value.code, shown.out) == (2, "")
    assert shown.err.startswith(f"jaxlm: {message}") and shown.err.count("\n") == 1


def test_no_verb_at_all_is_a_call_for_help(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["jaxlm"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code and "prepare" in capsys.readouterr().out
