// A node drawn: sockets as columns, in them NUMA nodes, in these caches, cores, and a tile per thread.
import { h, bytes, plural } from "./dom.js";

const SIGNS = { reserved: "reserved for the system", isolated: "isolated at boot", "outside kubepods": "not in the cgroup of all pods", "node shared": "node shared pool" };

/** Draw a node. `pick(pod)`: a tile was chosen; `only`: the one pod to light up. */
export function drawMap(node, { pick, hover, only = "" }) {
  const sockets = new Map();
  for (const zone of node.numaNodes) {
    const name = zone.sockets.length ? `Socket ${zone.sockets.join(", ")}` : "Memory only";
    if (!sockets.has(name)) sockets.set(name, []);
    sockets.get(name).push(zone);
  }
  const root = h("div", { class: "sockets" + (only ? " lit" : "") }, [...sockets].map(([name, zones]) =>
    h("section", { class: "socket", "aria-label": name }, h("h2", {}, name),
      h("div", { class: "zones" }, zones.map((zone) => drawZone(zone, node, { pick, hover, only }))))));
  return root;
}

function drawZone(zone, { holders, hues }, tools) {
  const cpus = zone.caches.flatMap((cache) => cache.cores.flat());
  const free = cpus.filter((cpu) => holders[cpu]?.hold === "node shared").length;
  return h("section", { class: "numa card", "aria-label": `NUMA node ${zone.id}` },
    h("h3", {}, `NUMA ${zone.id}`, h("span", { class: "quiet" }, cpus.length ? `${free} of ${cpus.length} CPUs shared` : "no CPUs")),
    h("div", { class: "caches" }, zone.caches.map((cache) =>
      h("div", { class: cache.id === null ? "cache none" : "cache", title: cache.id === null ? null : `L3 cache ${cache.id}` },
        cache.cores.map((core) => h("span", { class: "core" }, core.map((cpu) => tile(cpu, holders[cpu], hues, tools))))))),
    memoryBar(zone, hues, tools.only),
    deviceList(zone.devices, hues, tools));
}

function deviceList(devices, hues, { pick, hover, only }) {
  if (!devices.length) return null;
  return h("ul", { class: "devices", "aria-label": "Devices" }, devices.map(({ pod, container, resource, name }) =>
    h("li", {}, h("button", {
      type: "button", class: "device" + (only === pod ? " on" : ""), "data-pod": pod,
      title: `${resource} ${name}: ${container} of ${pod}`, "aria-label": `Device ${resource} ${name}: ${container} of ${pod}`,
      onclick: () => pick(pod), onmouseenter: () => hover(pod), onmouseleave: () => hover(""), onfocus: () => hover(pod), onblur: () => hover(""),
    }, h("i", { class: `key strong-${hues[pod]}` }), name, h("span", { class: "quiet" }, ` ${resource}`)))));
}

function tile(cpu, holder, hues, { pick, hover, only }) {
  const { hold, pod, containers } = holder;
  const kind = hold === "exclusive" ? `strong-${hues[pod]}` : hold === "pod shared" ? `light-${hues[pod]}` : hold.replace(" ", "-");
  const words = pod ? `${hold === "exclusive" ? "exclusive to" : hold === "pod shared" ? "shared by" : hold} `
    + `${containers.join(", ") || "nobody yet"} of ${pod}` : SIGNS[hold] || hold;
  const attributes = {
    class: `tile ${kind}` + (only && pod === only ? " on" : ""),
    title: `CPU ${cpu}: ${words}`, "aria-label": `CPU ${cpu}: ${words}`, "data-cpu": cpu, "data-pod": pod || null,
  };
  if (!pod) return h("span", { ...attributes, role: "img" }, String(cpu));
  return h("button", {
    ...attributes, type: "button", onclick: () => pick(pod), onmouseenter: () => hover(pod), onmouseleave: () => hover(""),
    onfocus: () => hover(pod), onblur: () => hover(""),
  }, String(cpu));
}

function memoryBar(zone, hues, only) {
  if (!zone.memory) return null;
  let held = 0;
  const parts = zone.memoryHeld.map((one) => {
    const size = one.size / one.numaNodes;
    held += size;
    const part = h("i", {
      class: `part strong-${hues[one.pod]}` + (only === one.pod ? " on" : ""), "data-pod": one.pod,
      title: `${one.pod}: ${bytes(one.size)} of ${one.resource}` + (one.numaNodes > 1 ? ` on ${plural(one.numaNodes, "NUMA node")}` : ""),
    });
    part.style.width = `${Math.max(0.6, (100 * size) / zone.memory)}%`;
    return part;
  });
  const words = `${bytes(held)} of ${bytes(zone.memory)} memory held`;
  return h("div", { class: "memory" }, h("div", { class: "membar", role: "img", "aria-label": words }, parts),
    h("span", { class: "quiet" }, words));
}
