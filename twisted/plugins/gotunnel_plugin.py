"""Tell twistd of the two commands; nothing of the gateway is imported here."""

from twisted.application.service import ServiceMaker

gateway = ServiceMaker(
    "gotunnel", "gateway.tap", "Public ports for services behind NAT.", "gotunnel"
)
agent = ServiceMaker(
    "gotunnel agent",
    "gateway.agent_tap",
    "Connects to a gotunnel gateway and reaches local services for it.",
    "gotunnel-agent",
)
