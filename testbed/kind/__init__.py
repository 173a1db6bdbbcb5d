"""kind without a registry: a cluster of kind's, in a virtual machine with Docker, on any machine.

`archive` writes container images as Docker archives. `images` are those of a control plane, made from
static programs; `node_image` is kind's node image with them inside, by the recipe of kind's own module.
`machine` is the virtual machine of `testbed.vm` with Docker in it, `cluster` what kind is told about it, and
`python -m testbed.kind` runs `make e2e-kind` with that Docker.
"""
