"""The kubelet's podresources API (v1) on its socket: which devices the pods of this node have. The wire only.

    client     one question, with a deadline; values out
    errors     what can go wrong
    messages   protobuf

The answer names pods by namespace and name, not by UID; ordinary init containers are not in it.
"""
