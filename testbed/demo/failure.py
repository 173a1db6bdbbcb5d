"""What the demo promises, and is not true."""


class DemoFailedError(RuntimeError):
    """Something that the demo promises is not true; the text lists what."""
