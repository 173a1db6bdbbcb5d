// dra-driver DRIVER NAME=NODE... publishes devices that are nothing but a name and a NUMA node.
//
// It is built from the public helper library for drivers of dynamic resource allocation: the library registers it with the
// kubelet and writes its ResourceSlice, in which each device has the standard attribute for its NUMA node (NAME= alone is
// a device that has none). There is nothing to prepare: a claim's devices are confirmed as the scheduler chose them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	resource "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

// The library has a name for it from v0.37 on.
const numaNode = "resource.kubernetes.io/numaNode"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "whose rights it has: those of the node's kubelet do")
	node := flag.String("node", "", "the node that has the devices")
	folder := flag.String("folder", "/var/lib/kubelet", "the kubelet's folder")
	flag.Parse()
	if flag.NArg() < 2 || *node == "" {
		log.Fatal("usage: dra-driver -kubeconfig FILE -node NAME [-folder DIR] DRIVER NAME=NODE...")
	}
	devices, err := parse(flag.Args()[1:])
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stop, *kubeconfig, *node, *folder, flag.Arg(0), devices); err != nil {
		log.Fatal(err)
	}
}

func parse(words []string) ([]resource.Device, error) {
	var devices []resource.Device
	for _, word := range words {
		name, node, found := strings.Cut(word, "=")
		if name == "" || !found {
			return nil, fmt.Errorf("%q is not NAME=NODE", word)
		}
		device := resource.Device{Name: name}
		if node != "" {
			number, err := strconv.ParseInt(node, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%q: NODE is not a number", word)
			}
			device.Attributes = map[resource.QualifiedName]resource.DeviceAttribute{numaNode: {IntValue: &number}}
		}
		devices = append(devices, device)
	}
	return devices, nil
}

func run(
	ctx context.Context, stop func(), kubeconfig, node, folder, name string, devices []resource.Device,
) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	data := filepath.Join(folder, "plugins", name)
	if err := os.MkdirAll(data, 0o750); err != nil {
		return err
	}
	helper, err := kubeletplugin.Start(ctx, &driver{name: name, stop: stop},
		kubeletplugin.DriverName(name),
		kubeletplugin.KubeClient(client),
		kubeletplugin.NodeName(node),
		kubeletplugin.PluginDataDirectoryPath(data),
		kubeletplugin.RegistrarDirectoryPath(filepath.Join(folder, "plugins_registry")),
	)
	if err != nil {
		return err
	}
	defer helper.Stop()
	published := resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{
		node: {Slices: []resourceslice.Slice{{Devices: devices}}},
	}}
	if err := helper.PublishResources(ctx, published); err != nil {
		return err
	}
	log.Printf("%s serves %d devices", name, len(devices))
	<-ctx.Done()
	return nil
}

type driver struct {
	name string
	stop func()
}

func (d *driver) PrepareResourceClaims(
	_ context.Context, claims []*resource.ResourceClaim,
) (map[types.UID]kubeletplugin.PrepareResult, error) {
	prepared := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		var devices []kubeletplugin.Device
		for _, result := range claim.Status.Allocation.Devices.Results {
			if result.Driver == d.name {
				devices = append(devices, kubeletplugin.Device{
					Requests: []string{result.Request}, PoolName: result.Pool, DeviceName: result.Device,
				})
			}
		}
		log.Printf("prepared %s/%s: %d devices", claim.Namespace, claim.Name, len(devices))
		prepared[claim.UID] = kubeletplugin.PrepareResult{Devices: devices}
	}
	return prepared, nil
}

func (d *driver) UnprepareResourceClaims(
	_ context.Context, claims []kubeletplugin.NamespacedObject,
) (map[types.UID]error, error) {
	undone := map[types.UID]error{}
	for _, claim := range claims {
		undone[claim.UID] = nil
	}
	return undone, nil
}

// HandleError logs what the library reports, and ends the program where trying again does not help.
func (d *driver) HandleError(_ context.Context, err error, what string) {
	log.Printf("%s: %v", what, err)
	if !errors.Is(err, kubeletplugin.ErrRecoverable) {
		d.stop()
	}
}
