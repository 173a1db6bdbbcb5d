"""What is known of the cluster: small decoded objects, newest state first, by name and by node.

Nothing here talks to the API server, and nothing is decided here.
"""
