"""Which devices of device plugins the kubelet gave to pods whose decision waits for them."""
