"""A headless Chromium that tests lead through pages."""

from __future__ import annotations

import atexit
import base64
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from twisted.internet.threads import deferToThread

from tests.integration.processes import plain_environment, require

AXE: Final = Path(__file__).parent / "vendor" / "axe.min.js"
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOOK_EACH_SECONDS: Final = 0.1
WIDE: Final = (1280, 860)
PHONE: Final = (360, 740)
_JUDGE: Final = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  ({violations}) => done(violations.map(({id, impact, nodes}) => [
    impact, id, nodes.slice(0, 3).map(({html}) => html.slice(0, 200))])),
  (fault) => done([["critical", String(fault), []]]));
"""


_started: list[Chrome] = []


def _driver() -> Chrome:
    """Return the browser of this run; it starts slowly, so all tests share it."""
    programs = require("chromium", "chromedriver")
    if not _started:
        profile = tempfile.mkdtemp(prefix="gotunnel-chromium-")
        atexit.register(shutil.rmtree, profile, ignore_errors=True)
        options = ChromeOptions()
        options.binary_location = programs["chromium"]
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(programs["chromedriver"], env=plain_environment())
        _started.append(Chrome(options=options, service=service))
        atexit.register(_started[0].quit)
    return _started[0]


class Browser:
    """One browser with one tab; every call waits for its end in a thread.

    Attributes:
        shots: folder for pictures of pages.
    """

    def __init__(self, driver: Chrome, shots: Path) -> None:
        self._driver = driver
        self.shots = shots

    @classmethod
    async def start(cls, folder: Path, language: str = "en-GB") -> Browser:
        """Return a browser as it is at first; without Chromium the test is skipped.

        Args:
            folder: for pictures.
            language: what it asks pages for.
        """
        browser = cls(await deferToThread(_driver), folder)
        agent = await browser.run("return navigator.userAgent")
        await browser._command(
            "Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language
        )
        await browser.resize(WIDE)
        await browser.prefer("light")
        await browser.complaints()  # those of the test before
        return browser

    async def leave(self) -> None:
        """Close the page, and what it has open."""
        await deferToThread(self._driver.get, "about:blank")

    async def open(self, address: str) -> None:
        """Load a page anew."""
        await deferToThread(self._driver.get, "about:blank")
        await deferToThread(self._driver.get, address)

    async def run(self, script: str, *given: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return await deferToThread(self._driver.execute_script, script, *given)

    async def run_async(self, script: str, *given: Any) -> Any:
        """Run a script that calls its last argument with what it finds."""
        return await deferToThread(self._driver.execute_async_script, script, *given)

    async def go(self, place: str) -> None:
        """Go to another place of the page that is open."""
        await self.run("location.hash = arguments[0]", place)

    async def click(self, what: str) -> None:
        """Click on the first element that a CSS selector finds."""
        await self._touch(what, lambda element: element.click())

    async def write(self, what: str, text: str) -> None:
        """Put text into a field in the place of what it holds."""

        def put(element: WebElement) -> None:
            element.clear()
            element.send_keys(text)

        await self._touch(what, put)

    async def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""

        def press() -> None:
            self._driver.switch_to.active_element.send_keys(*keys)

        await deferToThread(press)

    async def choose(self, what: str, value: str) -> None:
        """Choose an option of a list by its value."""
        await self._touch(what, lambda element: Select(element).select_by_value(value))

    async def sees(self, words: str, what: str = "body", seconds: float = 15.0) -> None:
        """Wait until a text is to be seen."""
        await self._wait(
            lambda driver: words in _text(driver, what),
            f"{words!r} is to be seen in {what}",
            seconds,
        )

    async def misses(
        self, words: str, what: str = "body", seconds: float = 15.0
    ) -> None:
        """Wait until a text is not to be seen."""
        await self._wait(
            lambda driver: words not in _text(driver, what),
            f"{words!r} is gone from {what}",
            seconds,
        )

    async def until(self, script: str, *given: Any, seconds: float = 15.0) -> None:
        """Wait until a script returns something true."""
        await self._wait(
            lambda driver: driver.execute_script(script, *given), script, seconds
        )

    async def count(self, what: str) -> int:
        """Return how many elements a CSS selector finds."""
        script = "return document.querySelectorAll(arguments[0]).length"
        return int(await self.run(script, what))

    async def turn_away(self, milliseconds: int) -> None:
        """Look at another tab for so long."""
        wait = "setTimeout(arguments[1], arguments[0])"

        def turn() -> None:
            page = self._driver.current_window_handle
            self._driver.switch_to.new_window("tab")
            self._driver.execute_async_script(wait, milliseconds)
            self._driver.close()
            self._driver.switch_to.window(page)

        await deferToThread(turn)

    async def resize(self, size: tuple[int, int]) -> None:
        """Lay the page out for a screen of that size."""
        await self._command(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )

    async def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`, and nothing that moves, as a system does."""
        wishes = {"color-scheme": scheme, "reduced-motion": "reduce"}
        features = [
            {"name": f"prefers-{name}", "value": value}
            for name, value in wishes.items()
        ]
        await self._command("Emulation.setEmulatedMedia", features=features)

    async def picture(self, name: str) -> None:
        """Write a picture of the page."""
        found = await self._command("Page.captureScreenshot")
        path = self.shots / f"{name}.png"
        path.write_bytes(base64.b64decode(found["data"]))

    async def faults_of_access(self) -> list[str]:
        """Return what axe-core finds to be serious or critical."""

        def judge() -> Any:
            if not self._driver.execute_script("return 'axe' in window"):
                self._driver.execute_script(AXE.read_text("utf-8"))
            return self._driver.execute_async_script(_JUDGE)

        found = await deferToThread(judge)
        return [json.dumps(one) for one in found if one[0] in ("serious", "critical")]

    async def complaints(self) -> list[str]:
        """Return what the console has said since the last call, errors alone."""
        lines = await deferToThread(self._driver.get_log, "browser")
        return [line["message"] for line in lines if line["level"] == "SEVERE"]

    async def _command(self, name: str, **given: Any) -> Any:
        return await deferToThread(self._driver.execute_cdp_cmd, name, given)

    async def _touch(self, what: str, act: Callable[[WebElement], None]) -> None:
        """Do something to an element as soon as that is possible."""

        def touch(driver: WebDriver) -> bool:
            act(driver.find_element(By.CSS_SELECTOR, what))
            return True

        await self._wait(touch, f"{what} can be used", 15.0)

    async def _wait(
        self, seen: Callable[[WebDriver], object], what: str, seconds: float
    ) -> None:
        waiting = WebDriverWait(
            self._driver,
            seconds,
            poll_frequency=LOOK_EACH_SECONDS,
            # what is looked at may be replaced while we look
            ignored_exceptions=[WebDriverException],
        )
        try:
            await deferToThread(waiting.until, seen, what)
        except TimeoutException as fault:
            shown = await deferToThread(_text, self._driver, "body")
            raise AssertionError(
                f"not within {seconds:g} s: {what}; the page says:\n{shown[:2000]}"
            ) from fault


def _text(driver: WebDriver, what: str) -> str:
    """Return the text that a reader sees; empty if there is no such element."""
    found = driver.find_elements(By.CSS_SELECTOR, what)
    return "\n".join(element.text for element in found)
