"""Commands in a pseudo terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def in_terminal(command: Sequence[str], width: int, **variables: str) -> tuple[int, str]:
    """Run a command in a terminal of this width: its exit code and all that it wrote there."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | variables,
        stdin=writer,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    parts = []
    while True:
        try:
            part = os.read(reader, 4096)
        except OSError:  # nobody has it open for writing any more
            break
        if not part:
            break
        parts.append(part)
    os.close(reader)
    return process.wait(timeout=60), b"".join(parts).decode()
