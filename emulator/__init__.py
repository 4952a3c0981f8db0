"""Local stand-ins for Google Cloud services: `emulator.firestore` and `emulator.tasks`."""
