// Probe is what the end-to-end suite runs beside and inside its pods. One static program:
//
//	probe sample ROOT PERIOD   watch the cpusets of all containers below a cgroup folder
//	probe quotas ROOT          watch the quotas of containers that start in Guaranteed pods below that folder
//	probe burn THREADS         use CPU time and tell on which CPUs it was spent
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "sample" {
		period, err := time.ParseDuration(os.Args[3])
		if err != nil {
			fail(err)
		}
		sample(os.Args[2], period)
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "quotas" {
		quotas(os.Args[2])
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "burn" {
		threads, err := strconv.Atoi(os.Args[2])
		if err != nil {
			fail(err)
		}
		burn(threads)
		return
	}
	fail(fmt.Errorf("usage: probe sample ROOT PERIOD | probe quotas ROOT | probe burn THREADS"))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(2)
}

// A state is one moment: container cgroups that hold processes, by path, and where these may run.
type state map[string]string

type record struct {
	Time int64 `json:"time"` // Unix nanoseconds
	Sets state `json:"sets"`
}

type summary struct {
	Sweeps  int   `json:"sweeps"`
	Stable  int   `json:"stable"`  // two sweeps in a row saw the same: all of it held at one moment
	Longest int64 `json:"longest"` // nanoseconds between two stable sweeps
}

// sample prints every stable state that differs from the one before, as JSON lines, and a summary at
// the end. Files are read one after the other, so one sweep alone may mix two moments; what two
// sweeps in a row agree on held between them. New cgroups are looked for every few sweeps only, and
// files stay open: the node has better things to do.
func sample(root string, period time.Duration) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	out := json.NewEncoder(os.Stdout)
	ticks := time.NewTicker(period)
	defer ticks.Stop()
	var counts summary
	var told state
	watched := containers{}
	last := time.Now()
	for {
		if counts.Sweeps%sweepsPerScan == 0 {
			watched.scan(root)
		}
		seen := watched.sweep()
		counts.Sweeps++
		known := told != nil && same(seen, told)
		if known || same(seen, watched.sweep()) {
			now := time.Now()
			counts.Stable++
			counts.Longest = max(counts.Longest, now.Sub(last).Nanoseconds())
			last = now
			if !known {
				told = seen
				_ = out.Encode(record{now.UnixNano(), seen})
			}
		}
		select {
		case <-stop:
			_ = out.Encode(counts)
			return
		case <-ticks.C:
		}
	}
}

const sweepsPerScan = 5

// containers are the cgroups below the pods' that hold processes, with their file of CPUs open.
type containers map[string]*os.File

func (c containers) scan(root string) {
	there := map[string]bool{}
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil
		}
		name := entry.Name()
		if strings.HasSuffix(name, ".slice") || strings.HasPrefix(name, "kubepods") || strings.HasPrefix(name, "pod") ||
			name == "burstable" || name == "besteffort" {
			return nil
		}
		events, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
		if err != nil || !strings.Contains(string(events), "populated 1") {
			return nil
		}
		there[path] = true
		if _, known := c[path]; !known {
			if cpus, err := os.Open(filepath.Join(path, "cpuset.cpus.effective")); err == nil {
				c[path] = cpus
			}
		}
		return nil
	})
	for path, cpus := range c {
		if !there[path] {
			cpus.Close()
			delete(c, path)
		}
	}
}

func (c containers) sweep() state {
	seen := state{}
	buffer := make([]byte, 4096)
	for path, cpus := range c {
		if count, _ := cpus.ReadAt(buffer, 0); count > 0 {
			seen[path] = strings.TrimSpace(string(buffer[:count]))
		}
	}
	return seen
}

func same(a, b state) bool {
	if len(a) != len(b) {
		return false
	}
	for path, cpus := range a {
		if other, there := b[path]; !there || other != cpus {
			return false
		}
	}
	return true
}

type quota struct {
	Path string `json:"path"`
	Max  string `json:"cpuMax"`
	Runs string `json:"runs"` // the name of its first process: the runtime's until it is the container's
}

// watching is the first line of quotas: from here on no pod is missed.
type watching struct {
	Watching string `json:"watching"`
}

// quotas prints, as JSON lines, what cpu.max a container has and what runs in it, whenever either changes.
// Only pods that come after its start are looked at, again and again without a pause: what it is to see
// lasts for milliseconds.
func quotas(root string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	out := json.NewEncoder(os.Stdout)
	before := map[string]bool{}
	for _, pod := range folders(root, "pod") {
		before[pod] = true
	}
	_ = out.Encode(watching{Watching: root})
	told := map[string]quota{}
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		for _, pod := range folders(root, "pod") {
			if before[pod] {
				continue
			}
			for _, container := range folders(pod, "") {
				limit, err := os.ReadFile(filepath.Join(container, "cpu.max"))
				if err != nil {
					continue
				}
				now := quota{container, strings.TrimSpace(string(limit)), firstProcess(container)}
				if told[container] != now {
					told[container] = now
					_ = out.Encode(now)
				}
			}
		}
	}
}

func folders(parent, part string) []string {
	entries, _ := os.ReadDir(parent)
	var found []string
	for _, entry := range entries {
		// "kubepods" has a "pod" in it as well.
		if entry.IsDir() && strings.Contains(strings.TrimPrefix(entry.Name(), "kubepods"), part) {
			found = append(found, filepath.Join(parent, entry.Name()))
		}
	}
	return found
}

// firstProcess reads the name of a process of a cgroup, or of the one that crun makes below it; "" if there is none.
func firstProcess(container string) string {
	for _, place := range []string{container, filepath.Join(container, "container")} {
		text, _ := os.ReadFile(filepath.Join(place, "cgroup.procs"))
		if process, _, there := strings.Cut(string(text), "\n"); there {
			name, _ := os.ReadFile(filepath.Join("/proc", process, "comm"))
			return strings.TrimSpace(string(name))
		}
	}
	return ""
}

// burn keeps threads busy for a tenth of the time, so that the scheduler moves them about, and prints
// twice a second the time and the CPUs they were seen on since the last line: "1700000000.5 1,4,5".
func burn(threads int) {
	var mutex sync.Mutex
	seen := map[int]bool{}
	for range threads {
		go func() {
			runtime.LockOSThread()
			for {
				for until := time.Now().Add(2 * time.Millisecond); time.Now().Before(until); {
				}
				cpu := lastCPU()
				mutex.Lock()
				seen[cpu] = true
				mutex.Unlock()
				time.Sleep(18 * time.Millisecond)
			}
		}()
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	ticks := time.NewTicker(500 * time.Millisecond)
	for {
		select {
		case <-stop:
			return
		case now := <-ticks.C:
			mutex.Lock()
			fmt.Printf("%.1f %s\n", float64(now.UnixNano())/1e9, list(seen))
			clear(seen)
			mutex.Unlock()
		}
	}
}

// lastCPU reads field 39 of the calling thread's stat file (man 5 proc): the CPU it last ran on.
func lastCPU() int {
	text, err := os.ReadFile("/proc/thread-self/stat")
	if err != nil {
		return -1
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	cpu, err := strconv.Atoi(fields[39-3])
	if err != nil {
		return -1
	}
	return cpu
}

func list(seen map[int]bool) string {
	cpus := make([]int, 0, len(seen))
	for cpu := range seen {
		cpus = append(cpus, cpu)
	}
	sort.Ints(cpus)
	texts := make([]string, len(cpus))
	for place, cpu := range cpus {
		texts[place] = strconv.Itoa(cpu)
	}
	return strings.Join(texts, ",")
}
