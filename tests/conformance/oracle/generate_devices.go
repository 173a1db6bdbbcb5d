package main

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// addDevices lets most pods of a drawn scenario ask for devices. Each resource
// name is of one step only, so that no later step depends on which of several
// equal devices the manager took. There is no restart: a kubelet that restarts
// has no devices until its plugins are back.
func (g *gen) addDevices(sc *Scenario) {
	sc.Steps = slices.DeleteFunc(sc.Steps, func(st Step) bool { return st.Op == opRestart })
	var nodes []int
	for _, node := range sc.Topology.NUMANodes {
		nodes = append(nodes, node.ID)
	}
	for i := range sc.Steps {
		if st := &sc.Steps[i]; st.Op == opAddPod && g.p(0.8) {
			st.Devices = map[string][]Device{}
			for k := range 1 + g.weighted(70, 25, 5) {
				g.wish(st, fmt.Sprintf("example.com/s%d-%d", i, k), nodes)
			}
		}
	}
}

// wish draws the devices of a resource and lets containers of the pod ask for
// some: one container for free ones, or several that have theirs already. An
// init container that ends is never one of several: what it had is used again,
// and the manager does not say which of it.
func (g *gen) wish(st *Step, name string, nodes []int) {
	list := g.machineDevices(nodes)
	all := allContainers(st.Pod)
	if g.p(0.5) {
		c := all[g.IntN(len(all))]
		count := g.between(1, min(len(list), 4))
		spare := len(list) - count
		for _, i := range g.Perm(len(list)) {
			if spare > 0 && g.p(0.4) {
				list[i].Busy = true
				spare--
			}
		}
		ask(c, name, count)
	} else {
		order := g.Perm(len(list))
		var stay []*v1.Container
		for _, c := range all {
			if kindOf(st.Pod, c) != "init" {
				stay = append(stay, c)
			}
		}
		for _, c := range stay[:g.between(1, min(len(stay), 2))] {
			if len(order) == 0 {
				break
			}
			count := g.between(1, min(len(order), 3))
			for _, i := range order[:count] {
				list[i].Container = c.Name
			}
			order = order[count:]
			ask(c, name, count)
		}
		for _, i := range order {
			list[i].Busy = g.p(0.4)
		}
	}
	st.Devices[name] = list
}

func ask(c *v1.Container, name string, count int) {
	with := func(list v1.ResourceList) v1.ResourceList {
		out := v1.ResourceList{}
		for key, amount := range list {
			out[key] = amount
		}
		out[v1.ResourceName(name)] = *resource.NewQuantity(int64(count), resource.DecimalSI)
		return out
	}
	c.Resources.Limits, c.Resources.Requests = with(c.Resources.Limits), with(c.Resources.Requests)
}

// machineDevices draws devices: spread over the NUMA nodes or crowded on one,
// now and then attached to two nodes, to none, or to one that is not there.
func (g *gen) machineDevices(nodes []int) []Device {
	count := oneOf(g, 1, 2, 2, 4, 4, 4, 8)
	crowd := g.p(0.3)
	home := oneOf(g, nodes...)
	without := g.p(0.05)
	odd := g.p(0.12)
	var list []Device
	for i := range count {
		device := Device{ID: fmt.Sprintf("d%d", i)}
		at := oneOf(g, nodes...)
		if crowd && g.p(0.8) {
			at = home
		}
		switch {
		case without || odd && g.p(0.2):
		case odd && g.p(0.2):
			device.NUMANodes = []int{slices.Max(nodes) + 1}
		case g.p(0.08):
			device.NUMANodes = []int{at, oneOf(g, nodes...)}
		default:
			device.NUMANodes = []int{at}
		}
		list = append(list, device)
	}
	return list
}
