"""The files of the live view: who gets them, and how they are sent."""

import gzip
import re
from ipaddress import ip_network

from pydantic import SecretStr
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.pages import shipped_pages
from gateway.api.settings import ApiSettings
from gateway.server.bans import BanTable
from gateway.store.memory import MemoryMappingStore
from tests.api.calls import ApiTestCase
from tests.api.fakes import NO_BANS, NOON

KEY = ApiSettings(api_key=SecretStr("a-key-of-some-length"))
CALLER = "127.0.0.1"
PLACES = {
    "/": "/login#/overview",
    "/dashboard": "/login#/overview",
    "/admin": "/login#/mappings",
    "/api/stats/monitor": "/login#/traffic",
}
IMPORT = re.compile(
    r'^(?:import|export) [^;]*?from "([^"]+)";|^import "([^"]+)";', re.M
)


def resolve(path, relative):
    """Return the path that an import leads to."""
    parts = path.split("/")[:-1]
    for step in relative.split("/"):
        if step == "..":
            parts.pop()
        elif step != ".":
            parts.append(step)
    return "/".join(parts)


class PagesCase(ApiTestCase):
    """A test that fetches pages as a browser does."""

    def fetch(self, path, method="GET", **headers):
        """Return code, headers and content of an answer that is no JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = self.client.request(
            method,
            f"http://localhost{path}",
            headers=named,
            allow_redirects=False,
            unbuffered=True,
        )
        self.client.flush()
        got = self.successResultOf(asked)
        content = self.successResultOf(self.client.content(got))
        return got.code, got.headers, content


class OpenGatewayTests(PagesCase):
    """Where no credential is configured."""

    def test_every_address_of_the_live_view_is_the_page(self):
        for path in ("/login", *PLACES):
            code, headers, content = self.fetch(path)
            self.assertEqual((code, content), (200, shipped_pages().page.plain), path)
            self.assertEqual(
                headers.getRawHeaders("content-type"), ["text/html; charset=utf-8"]
            )

    def test_the_policy_lets_nothing_in_that_is_not_ours(self):
        _, headers, _ = self.fetch("/")
        (policy,) = headers.getRawHeaders("content-security-policy")
        self.assertIn("default-src 'none'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("http", policy)
        self.assertEqual(headers.getRawHeaders("x-content-type-options"), ["nosniff"])

    def test_every_file_is_sent_with_its_type_and_may_be_kept(self):
        kinds = {"js": "javascript", "css": "css", "svg": "svg", "txt": "plain"}
        for path, sent in shipped_pages().static.items():
            code, headers, content = self.fetch(path)
            self.assertEqual((code, content), (200, sent.plain), path)
            (said,) = headers.getRawHeaders("content-type")
            self.assertIn(kinds[path.rpartition(".")[2]], said)
            (keeping,) = headers.getRawHeaders("cache-control")
            self.assertIn("immutable", keeping)

    def test_a_file_is_packed_for_those_who_can_unpack_it(self):
        path = next(path for path in shipped_pages().static if path.endswith("main.js"))
        sent = shipped_pages().static[path]
        _, headers, content = self.fetch(path, accept_encoding="br, gzip")
        # the client has unpacked it
        self.assertEqual(content, sent.plain)
        self.assertEqual(gzip.decompress(sent.packed), sent.plain)
        self.assertEqual(headers.getRawHeaders("etag"), [f'"{sent.tag.decode()}-gzip"'])
        self.assertEqual(headers.getRawHeaders("vary"), ["Accept-Encoding"])

    def test_the_page_itself_is_never_packed(self):
        _, headers, _ = self.fetch("/login", accept_encoding="gzip")
        self.assertEqual(headers.getRawHeaders("content-encoding", [""]), [""])

    def test_what_the_browser_has_is_not_sent_again(self):
        _, headers, _ = self.fetch("/login")
        (tag,) = headers.getRawHeaders("etag")
        code, _, content = self.fetch("/login", if_none_match=tag)
        self.assertEqual((code, content), (304, b""))

    def test_a_head_has_no_content(self):
        code, _, content = self.fetch("/login", method="HEAD")
        self.assertEqual((code, content), (200, b""))

    def test_nothing_else_can_be_had(self):
        base = next(iter(shipped_pages().static)).rsplit("/", 1)[0]
        for path in (
            "/static/",
            "/static/main.js",
            f"{base}/index.html",
            f"{base}/%2e%2e/%2e%2e/api/app.py",
            f"{base}/..%2f..%2fpy.typed",
        ):
            self.assertSays(self.get(path), 404, "no such route")

    def test_the_page_cannot_be_posted_to(self):
        self.assertEqual(self.call("POST", "/login", {}).code, 405)


class ClosedGatewayTests(PagesCase):
    """Where callers must show who they are."""

    settings = KEY

    def test_pages_lead_to_the_sign_in_and_keep_the_place(self):
        for path, place in PLACES.items():
            code, headers, _ = self.fetch(path)
            self.assertEqual(
                (code, headers.getRawHeaders("location")), (302, [place]), path
            )

    def test_the_sign_in_and_its_files_are_open(self):
        self.assertEqual(self.fetch("/login")[0], 200)
        for path in shipped_pages().static:
            self.assertEqual(self.fetch(path)[0], 200, path)

    def test_a_file_that_does_not_exist_is_as_closed_as_the_rest(self):
        self.assertEqual(self.fetch("/static/other.js")[0], 401)

    def test_a_post_to_a_page_needs_a_credential(self):
        self.assertEqual(self.call("POST", "/login", {}).code, 401)

    def test_addresses_that_are_not_allowed_get_no_page(self):
        self.start(settings=ApiSettings(allowed_ips=(ip_network("192.0.2.0/24"),)))
        self.assertEqual(self.fetch("/login")[0], 403)

    def test_banned_addresses_get_no_page(self):
        store = MemoryMappingStore()
        self.successResultOf(Deferred.fromCoroutine(store.open()))
        bans = BanTable(store, NO_BANS, lambda: NOON)
        adding = bans.add(f"{CALLER}/32", None, "")
        self.successResultOf(Deferred.fromCoroutine(adding))
        self.start(bans=bans)
        self.assertEqual(self.fetch("/login")[0], 403)

    def test_pages_count_against_the_rate(self):
        self.start(settings=ApiSettings(rate_limit=(1, 60.0)))
        self.assertEqual(self.fetch("/login")[0], 200)
        self.assertEqual(self.fetch("/login")[0], 429)


class FilesTests(SynchronousTestCase):
    """What the files hold."""

    def setUp(self):
        self.pages = shipped_pages()
        self.scripts = {
            path: sent.plain.decode()
            for path, sent in self.pages.static.items()
            if path.endswith(".js") and "/vendor/" not in path
        }

    def test_the_page_names_files_that_exist_and_holds_no_code(self):
        page = self.pages.page.plain.decode()
        named = re.findall(r'(?:src|href)="([^"]+)"', page)
        self.assertTrue(named)
        self.assertLessEqual(set(named), set(self.pages.static))
        self.assertNotRegex(page, r"<script>|<style|style=| on[a-z]+=")

    def test_every_import_leads_to_a_file(self):
        for path, text in self.scripts.items():
            for one, other in IMPORT.findall(text):
                self.assertIn(resolve(path, one or other), self.pages.static, path)

    def test_every_script_is_used(self):
        used = {
            resolve(path, one or other)
            for path, text in self.scripts.items()
            for one, other in IMPORT.findall(text)
        }
        begun = {
            path for path in self.scripts if path.encode() in self.pages.page.plain
        }
        self.assertEqual(set(self.scripts) - used - begun, set())

    def test_nothing_makes_elements_or_code_of_text(self):
        for path, text in self.scripts.items():
            self.assertNotRegex(
                text,
                r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|new Function",
                path,
            )
            self.assertNotRegex(
                text.replace("http://www.w3.org/2000/svg", ""), r"https?://", path
            )

    def test_both_languages_have_every_text_that_is_used(self):
        texts = {
            language: set(re.findall(r'^  "?([\w.]+)"?:', self._text(language), re.M))
            for language in ("en", "zh")
        }
        self.assertEqual(texts["en"], texts["zh"])
        for path, text in self.scripts.items():
            used = set(re.findall(r'\bt\("([^"]+)"', text))
            self.assertLessEqual(used, texts["en"], path)

    def test_the_chinese_words_are_those_that_were_agreed(self):
        text = self._text("zh")
        for word in (
            *("流量监控面板", "总发送流量", "总接收流量", "隧道发送", "隧道接收"),
            *("实时流量趋势", "端口映射流量"),
            *("概览", "创建映射", "管理映射", "流量监控"),
        ):
            self.assertIn(f'"{word}"', text)

    def _text(self, language):
        return next(
            text
            for path, text in self.scripts.items()
            if path.endswith(f"/texts/{language}.js")
        )
