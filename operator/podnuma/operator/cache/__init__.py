"""What is known of the cluster: small decoded objects, newest state first, by name and by node.

    kinds    which kinds are kept
    objects  what is kept of an object of each kind
    decode   JSON from the API server into these
    store    the objects of one kind, whatever order their states arrive in
    cluster  all stores; says which nodes a change affects

Nothing here talks to the API server, and nothing is decided here.
"""
