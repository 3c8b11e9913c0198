"""Files as the documentation of all planned features has them."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.config.agent import AgentConfig
from tests.config.loading import load, load_as_agent

GATEWAY = """
port_range: {from: 10000, end: 20000}
tunnel:
  enabled: true
  listen_port: 9000
  port_offset: 10000
  auth_token: null          # or auth_token_file
  connect_request: auto
  allow_legacy: auto
  heartbeat_interval: 15
api: {listen_port: 8080, bind: 127.0.0.1}
language: null
direct: {allow_targets: null, splice: auto}
database: {path: ./data/mappings.db}
security:
  api: {enable_auth: false, jwt_secret_file: null, api_key: null, allowed_ips: [],
        rate_limit: {requests: 100, per: 1}}
  tunnel: {enable_tls: false, cert_file: null, key_file: null, client_ca: null}
  port_range: {blacklist: [22, 3389, 5432]}
limits: {connections: 10000, tunnels: 1000, streams_per_tunnel: 10000,
         connections_per_ip: 0, handshakes: 200, memory: 268435456}
preset: server
metrics: {enabled: true, namespace: gotunnel}
health: {timeout: 5}
stats: {enabled: true, record_interval: 60, retention_days: 7}
shutdown_timeout: 30
log_level: info
protocols:
  - {name: tcp, listen: ":8081", target: "127.0.0.1:80", enabled: false}
tls: {cert_file: null, key_file: null, ca_file: null}
options: {auto_tls: "false", email: "", domains: "", staging: "false"}
"""
AGENT = """
server: gateway.example.com:9000     # or a list, tried in order
name: default
token: null                          # or token_file, or GOTUNNEL_TOKEN
connections: 1
default_host: localhost
allow_targets: [127.0.0.0/8, "::1"]
tls: {enabled: false, ca_file: null, fingerprint: null, server_name: null,
      cert_file: null, key_file: null}
reconnect: {preset: null, initial: 5, multiplier: 2, max: 30, jitter: 0.1,
            max_attempts: 0}
expose:
  - {name: web, protocol: tcp, local: "127.0.0.1:8080", port: 0}
log_level: info
"""
FORWARDER = """
version: "1.0"
log_level: info
protocols:
  - name: tcp
    listen: ":8081"
    target: "127.0.0.1:80"
    enabled: true
  - name: http3
    listen: ":8443"
    target: "127.0.0.1:80"
    enabled: false
"""


class WholeFileTests(SynchronousTestCase):
    """Whole files, from the first line to the last."""

    def test_gateway(self):
        loaded = load(GATEWAY)
        self.assertEqual(loaded.config.buffers.read_size, 65536)
        self.assertEqual(loaded.config.forwards, ())

    def test_agent(self):
        config = load_as_agent(AGENT).config
        self.assertEqual(str(config.server[0]), "gateway.example.com:9000")
        self.assertEqual(config.expose[0].name, "web")
        self.assertEqual(config.connections, 1)
        rest = {"server": AgentConfig().server, "expose": (), "connections": "auto"}
        self.assertEqual(config.model_copy(update=rest), AgentConfig())

    def test_forwarder(self):
        [forward] = load(FORWARDER).config.forwards
        self.assertEqual((forward.listen.port, forward.target.port), (8081, 80))
