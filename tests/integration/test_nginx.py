"""A web server through a mapping, with many requests at once."""

from __future__ import annotations

import os
from pathlib import Path

from tests.integration.ports import take_ports
from tests.integration.processes import require, until
from tests.integration.rig import RigCase
from tests.integration.traffic import content

REQUESTS = 1000
AT_ONCE = 50
PAGE = content(1, 0, 20_000)
BIG = content(2, 0, 8 << 20)


class NginxTests(RigCase):
    """`curl` fetches what nginx serves behind the agent."""

    async def prepare(self) -> str:
        """Start everything; return the address of the site from outside."""
        programs = require("nginx", "curl")
        site = self.folder / "site"
        for folder in ("site", "logs", "temp"):
            (self.folder / folder).mkdir()
        (site / "page").write_bytes(PAGE)
        (site / "big").write_bytes(BIG)
        port = take_ports()
        config = self.folder / "nginx.conf"
        config.write_text(
            f"""
            {"user root;" if os.getuid() == 0 else ""}
            daemon off;
            pid {self.folder}/nginx.pid;
            error_log stderr;
            worker_processes 1;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                client_body_temp_path temp/body;
                proxy_temp_path temp/proxy;
                fastcgi_temp_path temp/fastcgi;
                uwsgi_temp_path temp/uwsgi;
                scgi_temp_path temp/scgi;
                keepalive_requests 100000;
                server {{
                    listen 127.0.0.1:{port};
                    root {site};
                }}
            }}
            """
        )
        self.start(
            *(programs["nginx"], "-p", self.folder, "-c", config),
            *("-e", self.folder / "logs" / "early"),
        )
        await self.start_both()
        await until((self.folder / "nginx.pid").exists, "nginx is up")
        return f"http://127.0.0.1:{await self.map(port)}"

    async def fetch_many(self, site: str, *options: str) -> None:
        """Fetch a page a thousand times, fifty at once, and compare each."""
        copies = self.folder / "copies"
        await self.run_program(
            *(require("curl")["curl"], "-sS", "--fail", "--no-progress-meter"),
            *("--parallel", "--parallel-max", str(AT_ONCE), *options),
            *("--create-dirs", "--output", f"{copies}/#1"),
            f"{site}/page?[1-{REQUESTS}]",
        )
        same = sum(path.read_bytes() == PAGE for path in copies.iterdir())
        self.assertEqual(same, REQUESTS)

    async def test_thousand_requests_on_kept_connections(self):
        await self.fetch_many(await self.prepare())

    async def test_thousand_requests_on_thousand_connections(self):
        site = await self.prepare()
        await self.fetch_many(site, "--header", "Connection: close")
        [row] = await self.mappings()
        self.assertEqual(row["state"], "listening")

    async def test_big_file_and_part_of_it(self):
        site = await self.prepare()
        whole, part = self.folder / "whole", self.folder / "part"
        curl = require("curl")["curl"]
        await self.run_program(curl, "-sS", "--fail", "-o", whole, f"{site}/big")
        self.assertEqual(Path(whole).read_bytes(), BIG)
        await self.run_program(
            *(curl, "-sS", "--fail", "-r", "1000-1999", "-o", part, f"{site}/big")
        )
        self.assertEqual(part.read_bytes(), BIG[1000:2000])
