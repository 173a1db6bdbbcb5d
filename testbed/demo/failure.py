"""What ends a demo that does not do what it shows."""


class DemoFailedError(RuntimeError):
    """Something that the demo promises is not true; the text lists what."""
