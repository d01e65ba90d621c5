"""Run a command and print the lines that trainings write to their logs meanwhile: `python demo/follow.py FOLDER... -- COMMAND`.

Each line of FOLDER/**/*.log that says how far an epoch is comes out as `member: line`. Lines that were there before are not shown.
"""

import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SHOWN = re.compile(r"epoch", re.IGNORECASE)
PAUSE = 0.5  # seconds between two looks at the logs


class Follower:
    """The logs under some folders, and how far each has been read."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders
        self.read = {log: log.stat().st_size for log in self._logs()}

    def _logs(self) -> list[Path]:
        return sorted(log for folder in self.folders for log in folder.rglob("*.log"))

    def new_lines(self) -> list[str]:
        """The finished lines that were written since the last call."""
        found = []
        for log in self._logs():
            start = self.read.get(log, 0)
            if log.stat().st_size < start:  # a job that starts again writes its log from the beginning
                start = 0
            with log.open("rb") as file:
                file.seek(start)
                text, newline, _ = file.read().rpartition(b"\n")
            self.read[log] = start + len(text + newline)
            lines = text.decode(errors="replace").splitlines() if newline else []
            found += [f"{log.stem}: {line}" for line in lines if SHOWN.search(line)]
        return found


def main(arguments: list[str]) -> int:
    """Return the command's exit status; Ctrl-C reaches the command, which ends by itself."""
    split = arguments.index("--")
    follower = Follower([Path(folder) for folder in arguments[:split]])
    process = subprocess.Popen(arguments[split + 1 :])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = None
    while status is None:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(PAUSE)
        for line in follower.new_lines():
            print(line, flush=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
