"""Talking to an API server.

errors             one map from what clients raise to what callers can act on
client             raw requests over the official asyncio client: credentials, deadlines, JSON
apply_body         JSON that is YAML, too, for server-side apply
retrying_session   an aiohttp session that repeats what failed, for watches of others
"""
