"""Hypothesis, for a machine of any speed: no example is too slow, and none takes too long to make."""

from hypothesis import HealthCheck, settings

settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")
