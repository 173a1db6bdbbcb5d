package main

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"unsafe" // also for go:linkname

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
)

// newDeviceManager is the constructor that takes a path for the socket and the
// checkpoint; the exported one takes the kubelet's own.
//
//go:linkname newDeviceManager k8s.io/kubernetes/pkg/kubelet/cm/devicemanager.newManagerImpl
func newDeviceManager(logger klog.Logger, socket string, nodes []machineNode, store topologymanager.Store) (*devicemanager.ManagerImpl, error)

// devices is the kubelet's device manager with plugins that live in this
// process: no socket is opened, the manager calls the plugin API directly.
type devices struct {
	manager *devicemanager.ManagerImpl
	plugins map[string]*plugin
}

func (n *node) newDevices() (*devices, error) {
	socket, err := filepath.Abs(filepath.Join(n.dir, "device-plugins", "kubelet.sock"))
	if err != nil {
		return nil, err
	}
	manager, err := newDeviceManager(quietLogger, socket, n.machine.Topology, n.topology)
	if err != nil {
		return nil, err
	}
	// What Start sets, without the registration server that it starts.
	field := reflect.ValueOf(manager).Elem().FieldByName("activePods")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(devicemanager.ActivePodsFunc(n.activePods)))
	return &devices{manager: manager, plugins: map[string]*plugin{}}, nil
}

func (n *node) announce(byResource map[string][]Device) error {
	if len(byResource) == 0 {
		return nil
	}
	return n.devices.announce(byResource)
}

// announce makes the devices of a step known, as the plugin's ListAndWatch
// does. A busy device counts but cannot be had: it is unhealthy.
func (d *devices) announce(byResource map[string][]Device) error {
	for _, resource := range sortedKeys(byResource) {
		if d.plugins[resource] != nil {
			return fmt.Errorf("devices of %s are known already; use one resource name in one step only", resource)
		}
		p := &plugin{resource: resource}
		d.plugins[resource] = p
		if err := d.manager.PluginConnected(context.Background(), resource, p); err != nil {
			return err
		}
		var list []*pluginapi.Device
		for _, device := range byResource[resource] {
			one := &pluginapi.Device{ID: device.ID, Health: pluginapi.Healthy}
			if device.Busy {
				one.Health = pluginapi.Unhealthy
			}
			if len(device.NUMANodes) > 0 {
				one.Topology = &pluginapi.TopologyInfo{}
				for _, id := range device.NUMANodes {
					one.Topology.Nodes = append(one.Topology.Nodes, &pluginapi.NUMANode{ID: int64(id)})
				}
			}
			list = append(list, one)
		}
		d.manager.PluginListAndWatchReceiver(quietLogger, resource, &pluginapi.ListAndWatchResponse{Devices: list})
	}
	return nil
}

// choose gives containers the devices that the step says they have already, so
// that the topology manager asks about devices that are allocated.
func (d *devices) choose(pod *v1.Pod, byResource map[string][]Device) error {
	for _, c := range allContainers(pod) {
		chosen := map[string][]string{}
		for resource, list := range byResource {
			for _, device := range list {
				if device.Container == c.Name {
					chosen[resource] = append(chosen[resource], device.ID)
				}
			}
		}
		if len(chosen) == 0 {
			continue
		}
		bare := c.DeepCopy()
		bare.Resources = v1.ResourceRequirements{Limits: v1.ResourceList{}}
		for resource, ids := range chosen {
			name := v1.ResourceName(resource)
			bare.Resources.Limits[name] = c.Resources.Limits[name]
			d.plugins[resource].next = ids
		}
		if err := allocateDevices(d.manager, pod, bare); err != nil {
			return err
		}
		for resource := range chosen {
			d.plugins[resource].next = nil
		}
	}
	return nil
}

// plugin is a device plugin. It prefers the devices it was told to, else the
// lowest names.
type plugin struct {
	resource string
	next     []string
}

func (p *plugin) API() pluginapi.DevicePluginClient { return p }
func (p *plugin) Resource() string                  { return p.resource }
func (p *plugin) SocketPath() string                { return "/" + p.resource }

func (p *plugin) GetDevicePluginOptions(context.Context, *pluginapi.Empty, ...grpc.CallOption) (*pluginapi.DevicePluginOptions, error) {
	return &pluginapi.DevicePluginOptions{GetPreferredAllocationAvailable: true}, nil
}

func (p *plugin) ListAndWatch(context.Context, *pluginapi.Empty, ...grpc.CallOption) (grpc.ServerStreamingClient[pluginapi.ListAndWatchResponse], error) {
	return nil, fmt.Errorf("%s has no stream", p.resource)
}

func (p *plugin) GetPreferredAllocation(_ context.Context, in *pluginapi.PreferredAllocationRequest, _ ...grpc.CallOption) (*pluginapi.PreferredAllocationResponse, error) {
	out := &pluginapi.PreferredAllocationResponse{}
	for _, request := range in.ContainerRequests {
		ids := p.next
		if ids == nil {
			ids = slices.Sorted(slices.Values(request.AvailableDeviceIDs))[:request.AllocationSize]
		}
		out.ContainerResponses = append(out.ContainerResponses, &pluginapi.ContainerPreferredAllocationResponse{DeviceIDs: ids})
	}
	return out, nil
}

func (p *plugin) Allocate(_ context.Context, in *pluginapi.AllocateRequest, _ ...grpc.CallOption) (*pluginapi.AllocateResponse, error) {
	out := &pluginapi.AllocateResponse{}
	for range in.ContainerRequests {
		out.ContainerResponses = append(out.ContainerResponses, &pluginapi.ContainerAllocateResponse{})
	}
	return out, nil
}

func (p *plugin) PreStartContainer(context.Context, *pluginapi.PreStartContainerRequest, ...grpc.CallOption) (*pluginapi.PreStartContainerResponse, error) {
	return &pluginapi.PreStartContainerResponse{}, nil
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
