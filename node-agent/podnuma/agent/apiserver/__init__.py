"""The agent at the API server: what it watches, and the statuses that it applies there.

    client         requests, one connection per thread
    watch          a list kept up to date by a watch, in a thread of its own
    sources        what is watched for one node
    status_writer  writes statuses at a bounded rate, always the newest

A leaf: it knows what the objects are called and nothing of what they mean.
"""
