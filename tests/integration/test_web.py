"""The live view in a real browser, over a gateway and an agent with traffic."""

from __future__ import annotations

import time

import jwt
from selenium.webdriver.common.keys import Keys
from twisted.internet.task import LoopingCall

from tests.integration.browser import PHONE, WIDE, Browser
from tests.integration.ports import take_ports
from tests.integration.processes import (
    raise_descriptor_limit,
    require,
)
from tests.integration.rig import RigCase
from tests.integration.traffic import Echo, RawVisitor

VIEWS = (
    *("overview", "create", "mappings", "traffic", "connections", "agents", "events"),
    *("fitness", "bans", "audit"),
)
SECRET = "a-secret-of-the-tests-that-is-long-enough"
KEY = "an-api-key-of-the-tests"
WRONG = "Check it for missing characters"
CROWD = 5000
WATCHED_MS = 4000
LONGEST_TASK_MS = 50
SHARE = 100_000  # bytes a second that a page may cost
WATCH = """
const done = arguments[arguments.length - 1];
const tasks = [];
const observer = new PerformanceObserver((list) =>
  list.getEntries().forEach((entry) => tasks.push(entry.duration)));
observer.observe({type: "longtask"});
performance.clearResourceTimings();
const started = performance.now();
setTimeout(() => {
  observer.disconnect();
  const seconds = (performance.now() - started) / 1000;
  const bytes = performance.getEntriesByType("resource")
    .reduce((all, entry) => all + entry.transferSize, 0);
  done({longest: Math.max(0, ...tasks), rate: bytes / seconds});
}, arguments[0]);
"""
CUT_OFF = """
return [...document.querySelectorAll(".table-scroll")]
  .map((table) => table.scrollWidth - table.clientWidth)
  .filter((pixels) => pixels > 0);
"""
TOO_WIDE = "return document.documentElement.scrollWidth - innerWidth"
PAINTED = "return document.querySelector('canvas').toDataURL()"
NOTE_WHEN_HIDDEN = """
let before = 0;
const asked = () => performance.getEntriesByType("resource").length;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    before = asked();
  } else {
    window.askedWhenHidden = asked() - before;
  }
});
"""
FOCUSED = "return document.activeElement.textContent"
LOADED = """
return document.querySelectorAll("main h1").length === 1
  && document.querySelector(".loading") === null;
"""
GROUND = "return getComputedStyle(document.documentElement).backgroundColor"


def token(role: str, seconds: float = 600) -> str:
    """Return a token that is good for so long."""
    claims = {"sub": "tester", "role": role, "exp": time.time() + seconds}
    return jwt.encode(claims, SECRET, "HS256")


class WebCase(RigCase):
    """A test with a browser."""

    timeout = 120

    def setUp(self) -> None:
        """Look for the browser first."""
        require("chromium", "chromedriver")
        super().setUp()

    async def browse(self, language: str = "en-GB") -> Browser:
        """Return the browser; the test's page closes with the test."""
        browser = await Browser.start(self.folder, language)
        self.addCleanup(browser.leave)
        return browser

    def address(self, place: str) -> str:
        """Return the address of a place of the live view."""
        return f"http://127.0.0.1:{self.api_port}/login#/{place}"

    async def assert_quiet(self, browser: Browser, *expected: str) -> None:
        """Check that the console has said nothing but what is expected."""
        said = await browser.complaints()
        unexpected = [
            line for line in said if not any(words in line for words in expected)
        ]
        self.assertEqual(unexpected, [])


class SteeringTests(WebCase):
    """What an operator does."""

    async def test_a_mapping_is_made_watched_and_its_visitor_sent_away(self):
        await self.start_gateway(stats={"record_interval": 1})
        await self.start_agent()
        browser = await self.browse()
        port = self.first_port
        await self.fill_the_form(browser, port, self.serve(Echo()))
        [row] = await self.mappings()
        self.assertEqual(
            (row["name"], row["access_ips"], row["max_connections"], row["labels"]),
            ("made in the browser", ["127.0.0.0/8"], 7, {"team": "ops"}),
        )

        visitor = await self.connect(RawVisitor(), port)
        talk = LoopingCall(lambda: visitor.transport.write(bytes(20_000)))
        talking = talk.start(0.1)
        await browser.sees("KB/s", ".legend")  # of the mapping's page
        await browser.picture("mapping")
        before = await browser.run(PAINTED)

        await browser.until(f"{PAINTED} !== arguments[0]", before)

        await browser.go("#/connections")
        await browser.sees("127.0.0.1:", "tbody")
        await browser.picture("connections")
        await browser.click("[data-act=kill]")
        await browser.click("dialog .danger")
        await visitor.ends()
        talk.stop()
        await talking
        await browser.sees("Nobody is connected")
        await browser.go(f"#/traffic?range=day&port={port}")
        await browser.sees("KB sent,")  # as the history has it
        await browser.picture("traffic")

        await browser.go(f"#/mappings/{port}/edit")
        await browser.write("[name=name]", "renamed")
        await browser.choose("[name=proxy_protocol]", "v2")
        await browser.click("form [type=submit]")
        await browser.sees("renamed", "dl")
        await browser.go("#/mappings")
        await browser.click("[data-act=power]")
        await browser.click("dialog .danger")
        await browser.sees("Disabled", "tbody")
        await browser.click("[data-act=power]")
        await browser.sees("Listening", "tbody")
        [row] = await self.mappings()
        self.assertEqual(
            (row["name"], row["proxy_protocol"], row["state"], row["max_connections"]),
            ("renamed", "v2", "listening", 7),
        )
        await browser.click("[data-act=remove]")
        await browser.click("dialog .danger")
        await browser.sees("No mappings yet")
        self.assertEqual(await self.mappings(), [])
        await browser.go("#/events")
        for done in ("created", "changed", "disabled", "enabled", "removed"):
            await browser.sees(f"{done} port {port}", "#event-log")
        await self.order("/api/ban/add", {"network": "192.0.2.0/24"})
        await browser.sees("added network 192.0.2.0/24", "#event-log")
        await self.assert_quiet(browser, "400 (Bad Request)")

    async def fill_the_form(self, browser, port, target_port):
        """Make a mapping, after a try at a port that cannot be had."""
        await browser.open(self.address("create"))
        await browser.write("[name=port]", "1")
        await browser.click("form [type=submit]")
        await browser.sees("outside the public range", "form")
        await browser.write("[name=port]", str(port))
        await browser.write("[name=name]", "made in the browser")
        await browser.write("[name=target_port]", str(target_port))
        await browser.choose("[name=access_rule]", "whitelist")
        await browser.write("[name=access_ips]", "127.0.0.0/8")
        await browser.write("[name=max_connections]", "7")
        await browser.write("[name=labels]", "team=ops")
        await browser.click("form [type=submit]")
        await browser.sees(f"Mapping {port} was created")

    async def test_the_agent_and_then_the_gateway_are_lost_and_come_again(self):
        gateway, agent = await self.start_both()
        browser = await self.browse()
        await browser.open(self.address("agents"))
        await browser.sees("default", "tbody")
        await browser.click("[data-act=disconnect]")
        await browser.click("dialog .danger")
        await browser.sees("Agent default was disconnected")
        await agent.kill()
        await browser.sees("No agent is connected")
        await browser.go("#/overview")
        await browser.sees("No agent", ".counts")
        self.launch_agent()
        await browser.sees("Connected", ".counts", 30.0)
        await browser.sees("connected agent default", ".feed")

        await gateway.kill()
        await browser.sees("Connection to the gateway lost.", "#lost")
        await browser.picture("lost")
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        await browser.misses("Connection to the gateway lost.", seconds=30.0)
        await browser.sees("Connected", ".counts", 30.0)
        await self.assert_quiet(browser, "net::ERR_", "Failed to fetch")


class SignInTests(WebCase):
    """Who gets in, and what for."""

    async def test_the_right_credential_opens_the_place_that_was_asked_for(self):
        await self.start_gateway(
            security={"api": {"api_key": KEY, "jwt_secret": SECRET}}
        )
        browser = await self.browse()
        await browser.open(f"http://127.0.0.1:{self.api_port}/admin")
        await browser.sees("This gateway asks who you are.")
        await browser.picture("signin")
        await self.sign_in(browser, "token", "no.good.token")
        await browser.sees(WRONG, "#signin-fault")
        await self.sign_in(browser, "key", "no-good-key")
        await browser.sees(WRONG, "#signin-fault")
        await self.sign_in(browser, "token", token("reader"))
        await browser.sees("No mappings yet")
        await browser.sees("Read only", ".side-foot")
        self.assertEqual(await browser.count("main a[href='#/create']"), 0)
        await browser.go("#/create")
        await browser.sees("You may look, not change")

        await browser.click("#sign-out")
        await self.sign_in(browser, "token", token("admin"))
        await browser.sees("Port and target")
        await browser.sees("Signed in as tester", ".side-foot")
        await browser.click("#sign-out")
        await self.sign_in(browser, "key", KEY)
        await browser.sees("Port and target")
        await browser.click("#sign-out")
        await browser.run("location.hash = '#/bans'")
        await self.sign_in(browser, "token", token("admin", seconds=8))
        await browser.sees("Nobody is banned")
        await browser.sees("You were signed out", "#signin-fault", 30.0)
        await self.sign_in(browser, "key", KEY)
        await browser.sees("Nobody is banned")
        self.assertNotIn(
            KEY, await browser.run("return document.documentElement.outerHTML")
        )
        await self.assert_quiet(browser, "401 (Unauthorized)")

    async def sign_in(self, browser, kind, secret):
        """Show a credential."""
        await browser.click(f"[name=kind][value={kind}]")
        await browser.write("#secret", secret)
        await browser.click("form [type=submit]")


class ViewTests(WebCase):
    """What everybody sees, whoever they are."""

    async def test_every_view_is_for_everybody(self):
        await self.start_both()
        port = await self.map(self.serve(Echo()), name="what a test has made")
        visitor = await self.connect(RawVisitor(b"hello"), port)
        await visitor.hears(5)
        await self.order("/api/ban/add", {"network": "192.0.2.0/24"})
        browser = await self.browse()
        await browser.open(self.address("overview"))
        for view in (*VIEWS, f"mappings/{port}", f"mappings/{port}/edit"):
            await browser.go(f"#/{view}")
            await self.settled(browser)
            self.assertEqual(await browser.run(CUT_OFF), [], view)
            for scheme in ("light", "dark"):
                await browser.prefer(scheme)
                self.assertEqual(await browser.faults_of_access(), [], (view, scheme))
            await browser.picture(f"{view.replace('/', '-')}-dark")
            await browser.resize(PHONE)
            self.assertLessEqual(await browser.run(TOO_WIDE), 0, view)
            await browser.picture(f"{view.replace('/', '-')}-phone")
            await browser.resize(WIDE)
        await self.assert_quiet(browser)

    async def settled(self, browser):
        """Wait until a view shows what it has fetched."""
        await browser.until(LOADED)

    async def test_language_and_theme_follow_the_reader(self):
        await self.start_gateway()
        browser = await self.browse("zh-CN")
        await browser.open(f"http://127.0.0.1:{self.api_port}/api/stats/monitor")
        await browser.sees("流量监控面板", "h1")
        for word in ("总发送流量", "总接收流量", "隧道发送", "隧道接收"):
            await browser.sees(word, ".cards")
        for word in ("概览", "创建映射", "管理映射", "流量监控"):
            await browser.sees(word, "nav")
        await browser.sees("实时流量趋势", "main")
        await browser.sees("端口映射流量", "main")
        self.assertEqual(await browser.faults_of_access(), [])
        await browser.picture("traffic-chinese")
        await browser.choose("[name=language]", "en")
        await browser.sees("Traffic", "h1")
        light = await browser.run(GROUND)
        await browser.choose("[name=theme]", "dark")
        self.assertNotEqual(await browser.run(GROUND), light)
        await browser.open(self.address("traffic"))
        await browser.sees("Traffic", "h1")
        self.assertNotEqual(await browser.run(GROUND), light)
        await self.assert_quiet(browser)

    async def test_hands_stay_on_the_keyboard_and_hidden_pages_ask_nothing(self):
        await self.start_gateway(tunnel={"auth_token_file": None})
        await self.map(9, target_host="127.0.0.1", use_tunnel=False)
        browser = await self.browse()
        await browser.open(self.address("mappings"))
        await browser.sees("Listening", "tbody")
        await browser.sees("Agents need no credential.", "#open-to-all")
        await browser.press(Keys.TAB)
        self.assertEqual(await browser.run(FOCUSED), "Skip to content")
        await browser.press(Keys.ENTER)
        self.assertEqual(
            await browser.run("return document.activeElement.id"), "content"
        )
        await browser.press("/")
        self.assertEqual(
            await browser.run("return document.activeElement.id"), "search"
        )
        button = "[data-act=remove]"
        await browser.run("document.querySelector(arguments[0]).focus()", button)
        await browser.press(Keys.ENTER)
        await browser.sees("Remove mapping", "dialog")
        await browser.press(Keys.ESCAPE)
        await browser.until("return document.querySelector('dialog') === null")
        self.assertTrue(
            await browser.run(
                "return document.activeElement.matches(arguments[0])", button
            )
        )
        await browser.go("#/overview")
        await browser.sees("Uptime", ".counts")
        await browser.run(NOTE_WHEN_HIDDEN)
        await browser.turn_away(3000)
        self.assertLessEqual(await browser.run("return window.askedWhenHidden"), 4)
        await browser.go("#/agents")
        await browser.until("return document.activeElement.matches('main h1')")
        self.assertEqual(await browser.run(FOCUSED), "Agents")
        await self.assert_quiet(browser)

    async def test_a_crowd_costs_the_browser_little(self):
        raise_descriptor_limit()
        await self.start_gateway(tunnel={"enabled": False, "auth_token_file": None})
        target_port = take_ports()
        await self.start_crowd("echo", target_port)
        port = await self.map(target_port, target_host="127.0.0.1", use_tunnel=False)
        await self.start_crowd("visit", port, CROWD)
        browser = await self.browse()
        await browser.open(self.address("connections?count=100&sort=visitor"))
        await browser.sees(f"1–100 of {CROWD:,}", ".pager")
        await self.assert_light(browser)
        await browser.click(".pager-buttons button:last-child")
        await browser.sees(f"101–200 of {CROWD:,}", ".pager")
        await browser.write("#search", "no such visitor")
        await browser.sees("Nothing matches")
        await browser.go("#/overview")
        await browser.sees(f"{CROWD:,}", ".counts")
        await self.assert_light(browser)
        await self.assert_quiet(browser)

    async def assert_light(self, browser):
        """Check what a page costs; other programs may spoil a measurement or two."""
        seen = []
        for _ in range(3):
            found = await browser.run_async(WATCH, WATCHED_MS)
            seen.append(found)
            if found["longest"] <= LONGEST_TASK_MS and found["rate"] < SHARE:
                return
        self.fail(f"neither time was light: {seen}")
