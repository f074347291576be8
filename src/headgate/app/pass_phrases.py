"""Runs `ssl-passphrase-cmd` (manual 3.1): a program that prints the pass phrase of an encrypted private key.

Called while a configuration is loaded, once for each key that no pass phrase learned before decrypts.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence

#: How long the command may take, seconds; somebody may have to unlock a token.
PATIENCE = 30.0
#: Longest pass phrase, bytes: OpenSSL's own limit.
LONGEST = 1024


class PassPhraseCommand:
    """Implements `tls.loading.PassPhrases`.

    Args:
        command: the program and its arguments; the path of the key comes between them.
        patience: how long it may take, seconds.
    """

    __slots__ = ("_command", "_patience")

    def __init__(self, command: Sequence[str], patience: float = PATIENCE) -> None:
        self._command = command
        self._patience = patience

    def ask(self, path: str) -> bytearray:
        """The first line that the command prints; what it writes to its standard error goes to ours.

        Raises:
            OSError: it can't be started.
            ValueError: it failed, printed nothing or too much, or took too long.
        """
        program, *arguments = self._command
        with subprocess.Popen(
            [program, path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        ) as process:
            assert process.stdout is not None
            phrase = bytearray()
            try:
                self._collect(process.stdout.fileno(), phrase)
                if process.wait(self._patience):
                    raise ValueError(f"'{program}' ended with status {process.returncode}")
                end = phrase.find(b"\n")
                if end >= 0:
                    del phrase[end:]
                if phrase.endswith(b"\r"):
                    del phrase[-1:]
                if not phrase:
                    raise ValueError(f"'{program}' printed nothing")
                return phrase
            except (ValueError, subprocess.TimeoutExpired) as error:
                phrase[:] = bytes(len(phrase))
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and what it started
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ValueError(f"'{program}' did not end within {self._patience:g} s") from None
                raise

    def _collect(self, source: int, phrase: bytearray) -> None:
        """Read up to the end, into memory that can be wiped."""
        deadline = time.monotonic() + self._patience
        piece = bytearray(LONGEST + 1)
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            while True:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise ValueError(f"'{self._command[0]}' printed no pass phrase within {self._patience:g} s")
                size = os.readv(source, [piece])
                if not size:
                    break
                phrase += memoryview(piece)[:size]
                if len(phrase) > LONGEST:
                    raise ValueError(f"'{self._command[0]}' printed more than {LONGEST} bytes")
        piece[:] = bytes(len(piece))
