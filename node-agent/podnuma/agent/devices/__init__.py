"""Which devices of device plugins the pods have whose decision waits for that."""
