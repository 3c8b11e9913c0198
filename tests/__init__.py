"""Tests of the gateway."""

from hypothesis import HealthCheck, settings

# how long an example takes says how busy the machine is, not what is wrong
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")
