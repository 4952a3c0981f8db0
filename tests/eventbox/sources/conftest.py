from tests.fronts import client, clock, emulator, local_client

__all__ = ["client", "clock", "emulator", "local_client"]
