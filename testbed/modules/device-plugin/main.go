// device-plugin RESOURCE NAME=NODE... gives the kubelet devices that are nothing but a name and a NUMA node.
//
// It speaks the kubelet's device plugin API as the plugins of real devices do: one resource, its devices with their
// topology (NAME= alone is a device that has none), a preference for those named first. A kubelet that starts removes
// every plugin's socket and makes its own anew: that is when the plugin serves and registers again. -folder is the
// kubelet's.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	look    = 500 * time.Millisecond // how often it looks whether the kubelet is another one
	patient = 10 * time.Second       // for one registration
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	resource string
	devices  []*api.Device
	gone     context.Context // ends the streams of a server that stops
}

func main() {
	folder := flag.String("folder", api.DevicePluginPath, "where the kubelet's socket is")
	flag.Parse()
	if flag.NArg() < 2 {
		log.Fatal("usage: device-plugin [-folder DIR] RESOURCE NAME=NODE...")
	}
	devices, err := parse(flag.Args()[1:])
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil {
		if err := serve(ctx, *folder, flag.Arg(0), devices); err != nil {
			log.Print(err)
			pause(ctx)
		}
	}
}

func parse(words []string) ([]*api.Device, error) {
	var devices []*api.Device
	for _, word := range words {
		name, node, found := strings.Cut(word, "=")
		if name == "" || !found {
			return nil, fmt.Errorf("%q is not NAME=NODE", word)
		}
		device := &api.Device{ID: name, Health: api.Healthy}
		if node != "" {
			number, err := strconv.ParseInt(node, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%q: NODE is not a number", word)
			}
			device.Topology = &api.TopologyInfo{Nodes: []*api.NUMANode{{ID: number}}}
		}
		devices = append(devices, device)
	}
	return devices, nil
}

// serve serves one kubelet from its start to its end.
func serve(ctx context.Context, folder, resource string, devices []*api.Device) error {
	kubelet, err := os.Stat(filepath.Join(folder, "kubelet.sock"))
	if err != nil {
		return err
	}
	endpoint := strings.ReplaceAll(resource, "/", "_") + ".sock"
	own := filepath.Join(folder, endpoint)
	if err := os.Remove(own); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", own)
	if err != nil {
		return err
	}
	gone, end := context.WithCancel(ctx)
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, &plugin{resource: resource, devices: devices, gone: gone})
	go server.Serve(listener) //nolint:errcheck // Stop ends it
	defer server.Stop()
	defer end()
	if err := register(ctx, filepath.Join(folder, "kubelet.sock"), endpoint, resource); err != nil {
		return err
	}
	log.Printf("registered %s with %d devices", resource, len(devices))
	for ctx.Err() == nil {
		pause(ctx)
		now, err := os.Stat(filepath.Join(folder, "kubelet.sock"))
		if err != nil || !os.SameFile(kubelet, now) {
			return nil
		}
		if _, err := os.Stat(own); err != nil {
			return nil
		}
	}
	return nil
}

func register(ctx context.Context, kubelet, endpoint, resource string) error {
	client, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	_, err = api.NewRegistrationClient(client).Register(ctx, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     endpoint,
		ResourceName: resource,
		Options:      options(),
	})
	if err != nil {
		return fmt.Errorf("registering %s: %w", resource, err)
	}
	return nil
}

func options() *api.DevicePluginOptions {
	return &api.DevicePluginOptions{GetPreferredAllocationAvailable: true}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(look):
	}
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return options(), nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	select {
	case <-p.gone.Done():
	case <-stream.Context().Done():
	}
	return nil
}

// GetPreferredAllocation chooses what must be in, then the devices that were named first.
func (p *plugin) GetPreferredAllocation(
	_ context.Context, asked *api.PreferredAllocationRequest,
) (*api.PreferredAllocationResponse, error) {
	answer := &api.PreferredAllocationResponse{}
	for _, one := range asked.ContainerRequests {
		chosen := one.MustIncludeDeviceIDs
		taken, available := set(chosen), set(one.AvailableDeviceIDs)
		for _, device := range p.devices {
			if len(chosen) < int(one.AllocationSize) && available[device.ID] && !taken[device.ID] {
				chosen = append(chosen, device.ID)
			}
		}
		answer.ContainerResponses = append(
			answer.ContainerResponses, &api.ContainerPreferredAllocationResponse{DeviceIDs: chosen})
	}
	return answer, nil
}

func set(names []string) map[string]bool {
	members := map[string]bool{}
	for _, name := range names {
		members[name] = true
	}
	return members
}

// Allocate tells a container by an environment variable what it got.
func (p *plugin) Allocate(_ context.Context, asked *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, one := range asked.ContainerRequests {
		names := strings.Join(one.DevicesIds, ",")
		log.Printf("allocated %s", names)
		answer.ContainerResponses = append(
			answer.ContainerResponses, &api.ContainerAllocateResponse{Envs: map[string]string{"DEVICES": names}})
	}
	return answer, nil
}

func (p *plugin) PreStartContainer(
	context.Context, *api.PreStartContainerRequest,
) (*api.PreStartContainerResponse, error) {
	return &api.PreStartContainerResponse{}, nil
}
