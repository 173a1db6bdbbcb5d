"""`kubectl podnuma ui`: a local web page that only reads. A server on loopback and the page's files.

    live_objects  what is known of the cluster now
    follow        the watches that keep it so
    views         that, as the pages show it
    server        serves the page, its data and its changes
    access        who is answered
    assets/       scripts and styles

Questions that need a decision are asked of `server.Questions`, which the command brings along. Nothing here
writes to a cluster.
"""
