"""A client for the Container Runtime Interface (runtime.v1) of containerd and CRI-O, in asyncio.

    client.py    one call each, with a deadline; the one place that knows gRPC
    watch.py     what runs now and what changes, for ever, over restarts of the runtime
    sockets.py   where runtimes listen; choice.py which of several is the kubelet's
    values.py    what goes in and out; errors.py what can go wrong; messages/ the wire form

A client of any other project could use this package as it is: nothing here knows podnuma or
how CPUs are chosen.
"""
