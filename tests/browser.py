"""Headless Chromium for tests, by its DevTools protocol over a pipe: no driver, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
)


def chromium() -> str | None:
    """The program: $CHROMIUM, or the first of NAMES there is."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. `complaints`: errors and warnings of its console, exceptions; `requests`: addresses
    it asked for beside itself."""

    def __enter__(self) -> Self:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._number, self._session, self._buffer = 0, None, b""
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # Chromium reads commands on descriptor 3 and writes answers on 4; ours are moved out of the
        # way of these.
        read, self._out, self._in, write = (
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in self._pipes()
        )
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-pipe",
            "--window-size=1200,1000",
        ]
        command = [str(chromium()), *options, f"--user-data-dir={self._folder.name}", "about:blank"]
        shell = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "sh", *command]
        quiet = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        self._process = subprocess.Popen(shell, pass_fds=(read, write), **quiet)
        os.close(read)
        os.close(write)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        return self

    @staticmethod
    def _pipes() -> Iterator[int]:
        for _ in range(2):
            for end in os.pipe():
                yield end
                os.close(end)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def open(self, address: str) -> None:
        """Load a page and wait until it is complete."""
        self._page = address
        self._call("Page.navigate", url=address)
        self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at `start`, move it to `end`, let go; pixels of the window."""
        for kind, (x, y), buttons in (
            ("mousePressed", start, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            self._mouse(kind, (x, y), buttons, "none" if kind == "mouseMoved" else "left", 1)

    def _mouse(
        self, kind: str, place: tuple[float, float], buttons: int, button: str, count: int
    ) -> None:
        x, y = place
        self._call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=button,
            buttons=buttons,
            clickCount=count,
        )

    def click(self, place: tuple[float, float], times: int = 1) -> None:
        """Click the mouse at a place, once or twice; pixels of the window."""
        for count in range(1, times + 1):
            for kind, buttons in (("mousePressed", 1), ("mouseReleased", 0)):
                self._mouse(kind, place, buttons, "left", count)

    def move(self, place: tuple[float, float]) -> None:
        """Move the mouse to a place, without a button."""
        self._mouse("mouseMoved", place, 0, "none", 0)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size in pixels."""
        size = {"width": width, "height": height}
        self._call("Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, mobile=False, **size)

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def save_to(self, folder: Path) -> None:
        """Put files that the page saves into a folder."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def until(self, condition: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true. Fails if it stays false."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"{condition} stays false; {self.complaints}"
            time.sleep(0.02)

    def key(self, name: str) -> None:
        """Press and release a key such as ArrowRight."""
        code = {"ArrowLeft": 37, "ArrowRight": 39}[name]
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code
            )

    def _call(self, method: str, **parameters: Any) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._until(lambda message: message.get("id") == self._number)
        assert "error" not in answer, answer
        return answer["result"]

    def _until(self, wanted: Callable[[dict], bool]) -> dict:
        while True:
            while b"\0" not in self._buffer:
                part = os.read(self._in, 1 << 16)
                assert part, "Chromium has ended"
                self._buffer += part
            text, _, self._buffer = self._buffer.partition(b"\0")
            message = json.loads(text)
            self._note(message.get("method"), message.get("params", {}))
            if wanted(message):
                return message

    def _note(self, method: str | None, found: dict) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(found["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and found["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.complaints.append(str(found["args"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.complaints.append(found["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            address = found["request"]["url"]
            if not address.startswith("data:") and address != self._page:
                self.requests.append(address)
