"""Drawing: plain data in, rich renderables or text out. Nothing here reads a cluster or a file."""
