from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# gRPC's own log tells of every server that a test has stopped
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Machines differ too much for a deadline. CI looks further than a developer's own run, and at the same examples each
# time: what decides on a change must not depend on chance, while developers' runs go on finding new ones.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", parent=settings.get_profile("default"), max_examples=300, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
