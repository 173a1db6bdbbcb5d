// Empty: the Go compiler accepts functions without a body (go:linkname) only in packages with assembly.
