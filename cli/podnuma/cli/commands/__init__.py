"""The commands: one module each, with its options, what it does and the text it prints.

A command reads through `objects`, draws through `render`, and leaves through `output`. Its module is
imported when the command is called (see `main`), so it may import whatever it needs at the top; only
aiohttp takes long enough to wait until a cluster is really asked.
"""
