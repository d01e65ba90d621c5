"""Headless Chromium over its DevTools protocol, to see a report as a person would who opens it from the disk."""

import base64
import fcntl
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE = 60  # seconds for one answer
# Of one document, once it is there: its heading, its text's length, and the pictures that it has and that it shows
SEEN = """(async () => {
  const pictures = [...document.images];
  await Promise.all(pictures.map(picture => picture.decode().catch(() => null)));
  return JSON.stringify({
    heading: document.querySelector("h1")?.innerText ?? "",
    pictures: pictures.length,
    shown: pictures.filter(picture => picture.naturalWidth > 0 && picture.width > 0).length,
  });
})()"""


# The rules that are broken, with the first element of each
AXE = """(async () => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"]});
  const grave = violations.filter(rule => ["serious", "critical"].includes(rule.impact));
  return JSON.stringify(grave.map(rule => `${rule.id} (${rule.nodes.length}): ${rule.nodes[0].html.slice(0, 200)} ${rule.nodes[0].failureSummary}`));
})()"""


class Browser:
    """One page of a running Chromium.

    Args:
        process: Chromium, which reads commands from its file descriptor 3 and writes to 4, each message ended by a zero byte.
        commands, answers: our ends of these pipes.
    """

    def __init__(self, process: subprocess.Popen, commands: int, answers: int) -> None:
        self.process, self.commands, self.answers = process, commands, answers
        self.numbers, self.received = itertools.count(1), b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that arrive meanwhile are kept."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(time.monotonic() + PATIENCE)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            part = os.read(self.answers, 1 << 20) if ready else b""
            assert part, "Chromium has ended" if ready else "Chromium does not answer"
            self.received += part
        message, _, self.received = self.received.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path) -> None:
        """Open a file as from a file manager and wait until it is loaded."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait_until("document.readyState === 'complete'")

    def evaluate(self, expression: str, context: int | None = None) -> Any:
        """Return the value of an expression, in the page or in a frame's own world."""
        where = {} if context is None else {"contextId": context}
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, **where)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, expression: str, context: int | None = None) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(expression, context):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def seen(self, context: int | None = None) -> dict[str, Any]:
        """What `SEEN` returns, of the page or of a frame."""
        return json.loads(self.evaluate(SEEN, context))

    def frame(self, address: str, patience: float) -> int:
        """Wait some seconds for a frame with this address and return a world in it to evaluate expressions in."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            tree = self.call("Page.getFrameTree")["frameTree"]
            for child in tree.get("childFrames", []):
                if child["frame"]["url"].endswith(address):
                    world = self.call("Page.createIsolatedWorld", frameId=child["frame"]["id"])["executionContextId"]
                    self.wait_until("document.readyState === 'complete'", world)
                    return world
            time.sleep(0.05)
        raise AssertionError(f"no frame shows {address}")

    def complaints(self) -> list[str]:
        """Errors in the console, uncaught exceptions, and requests that failed or went to the network."""
        self.call("Runtime.evaluate", expression="0")  # what was said before this is here now
        found = []
        for event in self.events:
            method, said = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(said["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
                found.append(str(said["args"]))
            elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
                found.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
            elif method == "Network.loadingFailed":
                found.append(str(said))
            elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(("file:", "data:", "about:")):
                found.append(said["request"]["url"])
        return found


def look_at(page: Browser, path: Path | None, width: int, media: str = "screen") -> dict[str, Any]:
    """Open a page, or look again at the one that is open, in a window of some width, or as it is printed.

    Returns:
        what `SEEN` finds; "too_wide", by how many pixels the page is wider than the window; and "hidden", how many tables have
        columns that only scrolling shows.
    """
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    page.call("Emulation.setEmulatedMedia", media=media)
    if path:
        page.open(path)
    page.evaluate("[...document.images].forEach(picture => {picture.loading = 'eager'})")
    found = page.seen()
    found["too_wide"] = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    frames = "[...document.querySelectorAll('.frame')]"
    found["hidden"] = page.evaluate(f"{frames}.filter(frame => frame.scrollWidth > frame.clientWidth + 1).length")
    return found


def too_long(results: Path) -> list[Path]:
    """The pages below a folder with a data address above 1.5 MB, with some room to the 2 MB that Chromium shows."""
    addresses = {path: re.findall(r"data:[^\"']*", path.read_text(encoding="utf-8")) for path in results.rglob("*.html")}
    assert addresses
    return [path for path, found in addresses.items() if max(map(len, found), default=0) > 1.5e6]


def faults(page: Browser, *themes: str) -> list[str]:
    """What axe-core finds serious or critical on the page that is open, in each theme: rule, element, and why."""
    if not page.evaluate("'axe' in window"):
        script = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        page.call("Runtime.evaluate", expression=script)
    found = []
    for theme in themes:
        page.call("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": theme}])
        for fault in json.loads(page.evaluate(AXE)):
            found.append(f"{theme}: {fault}")
    return found


def printed(page: Browser) -> bytes:
    """The page that is open as a PDF, in the size and direction that its style asks for."""
    made = page.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
    return base64.b64decode(made["data"])


def require() -> None:
    """Skip a test where there is no Chromium; .ci/run installs it."""
    if PROGRAM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed (apt-get install chromium)")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium with a new profile; it ends with the block and leaves nothing behind."""
    assert PROGRAM
    ends = (*os.pipe(), *os.pipe())
    theirs_in, ours_out, ours_in, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)  # clear of 3 and 4
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:  # a short path: its socket's may have 108 letters
        process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}',
                "bash",
                PROGRAM,
                *FLAGS,
                f"--user-data-dir={own}/profile",
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": own},
        )
        for end in (*ends, theirs_in, theirs_out):
            os.close(end)
        try:
            yield Browser(process, ours_out, ours_in)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(ours_out)
            os.close(ours_in)


def look_through(report: Path, patience: float = PATIENCE) -> dict[str, dict[str, Any]]:
    """Open a Snakemake report and show each of its results as a click on it does.

    Args:
        report: report.html, of the unpacked zip or with everything embedded.
        patience: seconds that a page may take to open.

    Returns:
        what `SEEN` finds, by the result's path.
    """
    with chromium() as page:
        page.open(report)
        page.wait_until("typeof app !== 'undefined' && document.querySelector('#app').innerText.length > 0")
        found = {}
        for path, address in json.loads(
            page.evaluate("JSON.stringify(Object.entries(results).map(([k, v]) => [k, v.data_uri]))")
        ):
            shown = json.dumps({"content": "html", "contentPath": address, "resultPath": path})
            page.evaluate(f"app.setView({shown}), 0")
            found[path] = page.seen(page.frame(address, patience))
        complaints = page.complaints()
        assert not complaints, complaints
    return found
