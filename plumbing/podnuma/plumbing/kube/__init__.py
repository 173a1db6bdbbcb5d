"""Talking to an API server.

errors   one map from what clients raise to what callers can act on
client   raw requests over the official asyncio client: credentials, deadlines, JSON
"""
