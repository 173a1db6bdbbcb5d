"""A plugin for the Node Resource Interface of containerd and CRI-O, in asyncio.

    unix socket                        session.py   one connection, from connect to its end
     -> frames of logical connections  mux.py       bytes in, bytes out
       -> ttrpc messages               ttrpc.py     bytes in, bytes out
         -> calls with protobuf        service.py   decode, ask the plugin, encode
           -> the plugin               plugin.py    the Protocol that a user implements

`link.py` keeps a session up for ever and is what a user starts. `config.py` says who the plugin is and what
it subscribes to, `errors.py` what can go wrong. `values.py` has the values that callbacks take and return,
`messages/` their protobuf form.

A plugin of any other project could use this package as it is: nothing here knows podnuma,
Kubernetes objects or how CPUs are chosen.
"""
