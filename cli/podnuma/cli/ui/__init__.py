"""`kubectl podnuma ui`: a local web page that only reads. A server on loopback and the page's files.

What is shown comes from watches (`live_objects`, `follow`) and is put into the words of the page by
`views`. Questions that need a decision are asked of `server.Questions`, which the command brings along.
`access` says who is answered. Nothing here writes to a cluster.
"""
