"""Reading what exists: objects in a cluster or in files, manifests, replay scenarios.

Objects come in as JSON and leave as the API's and the allocator's types. Whatever cannot be read is a
Failure or a remark with the object's name. Nothing here prints, and nothing here writes to a cluster.
"""
