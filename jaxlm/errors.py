"""What can go wrong, and the exit code that says so.

0   done
1   failed: a fault of jaxlm or of the machine; the traceback of a fault of jaxlm is shown
2   the user's mistake: config, file, command line, environment; one message, no traceback
3   diverged: the loss or the gradients stayed non-finite
4   damaged: a checkpoint or a shard is not what was written, and nothing valid is left
75  interrupted by SIGTERM or SIGINT, and nothing is lost: run the same command again
    (EX_TEMPFAIL of sysexits.h, which schedulers read as "requeue")
"""

from jaxlm import redact


class JaxlmError(Exception):
    """Base of all errors that reach the user as a message instead of a traceback; it tells no secret."""

    exit_code = 1

    def __init__(self, *told: object) -> None:
        super().__init__(*(redact.text(one) if isinstance(one, str) else one for one in told))


class UserError(JaxlmError, ValueError):
    """The user's mistake. The message names the thing, its value, the rule and the mend."""

    exit_code = 2


class Diverged(JaxlmError, FloatingPointError):
    """Training is no longer finite; the message names the step."""

    exit_code = 3


class Damaged(JaxlmError):
    """Bytes on disk are not the bytes that were written."""

    exit_code = 4


class Interrupted(JaxlmError):
    """A signal ended the run after it was saved, or before there was anything to save."""

    exit_code = 75
