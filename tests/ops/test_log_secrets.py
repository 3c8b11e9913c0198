"""No line of the log holds a secret of the configuration."""

import dataclasses
import io
import json
from typing import Literal

from pydantic import SecretStr
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.agent import AgentConfig
from gateway.config.gateway import (
    ApiSecurity,
    GatewayConfig,
    SecurityConfig,
    TunnelConfig,
)
from gateway.config.secrets import secrets_of
from gateway.ops.levels import Levels
from gateway.ops.log_settings import agent_log_settings, gateway_log_settings
from gateway.ops.process_log import ProcessLog
from gateway.ops.recent import Wanted
from gateway.policy.redaction import HIDDEN

SECRET = 'a "secret" with\\signs/ü-0123456789'


class ProcessTests(SynchronousTestCase):
    """What a process with a configuration writes."""

    def configs(self):
        secrets = [f"{SECRET}-{number}" for number in range(4)]
        hidden = [SecretStr(secret) for secret in secrets]
        gateway = GatewayConfig(
            tunnel=TunnelConfig(auth_token=hidden[0]),
            security=SecurityConfig(
                api=ApiSecurity(api_key=hidden[1], jwt_secret=hidden[2])
            ),
        )
        agent = AgentConfig(token=hidden[3])
        return secrets, gateway, agent

    def test_every_secret_of_a_configuration_is_known(self):
        secrets, gateway, agent = self.configs()
        self.assertEqual(set(secrets), secrets_of(gateway) | secrets_of(agent))

    def test_no_line_of_any_kind_holds_one(self):
        _, gateway, agent = self.configs()
        forms: tuple[Literal["text", "json"], ...] = ("text", "json")
        for form in forms:
            for settings in (gateway_log_settings(gateway), agent_log_settings(agent)):
                file = io.StringIO()
                log = ProcessLog(
                    dataclasses.replace(settings, form=form), Levels("info"), file
                )
                say = Logger("gateway.x", observer=log.observer)
                for secret in settings.secrets:
                    say.info("token {token}", token=secret)
                    say.failure("no", Failure(ValueError(secret)))
                    say.info("body {body}", body={"token": secret})
                records = log.recent.newest(100, Wanted()).records
                for text in (file.getvalue(), json.dumps(records)):
                    self.assertIn(HIDDEN, text)
                    self.assertNotIn("0123456789", text)
