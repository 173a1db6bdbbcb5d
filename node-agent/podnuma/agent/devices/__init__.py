"""Which devices of device plugins the kubelet gave to pods whose decision waits for them.

waiting  which pods wait, and when the kubelet is asked
kubelet  asks it, through `podresources`
"""
