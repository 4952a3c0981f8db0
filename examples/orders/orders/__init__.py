"""A small shop on Firestore, Cloud Tasks and Cloud Run."""
