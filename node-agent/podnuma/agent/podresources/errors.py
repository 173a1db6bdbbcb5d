"""What can go wrong with a question to the kubelet."""


class PodResourcesError(Exception):
    """The kubelet did not answer; the text says why."""
