"""The one process that decides for a whole cluster.

    event -> handlers -> cache -> dirty node -> service: decide, write, hold -> metrics

What may live here: the way from watch events to durable decisions. How CPUs are chosen
is podnuma.allocator's, what objects look like is podnuma.api's. Nothing is imported in
this file, so that a pure module can be used without loading Kopf.

Reading order: cache (what is known), profiles (what shall hold on a node), node
(one node's allocator beside its objects), service (the loop), writer and leader (what
reaches the API server), rejection (what follows a refusal), handlers and app (the shell).
"""
