"""Ingestors of common feeds, to use and to read: a git history, a file of JSON lines that grows, and an HTTP feed.

Import each from its own module; `http_feed` needs the extra `eventbox[http]`.
"""
