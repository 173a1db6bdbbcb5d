// All nodes: a row each, a bar per NUMA node. Made for a thousand: only what matches is drawn, the first
// screen at once and the rest after it; a change redraws its own row.
import { h, chip, plural, nodeLink } from "./dom.js";

const AT_ONCE = 60;
const WORDS = {
  reserved: "reserved", exclusive: "exclusive", "pod shared": "pod shared pools", "node shared": "shared",
};

export async function nodesPage(read) {
  const rows = new Map();
  const drawn = new Map();
  let filter = { text: "", profile: "", namespace: "" };
  let idle = 0;

  const list = h("ul", { class: "rows", "aria-label": "Nodes" });
  const sum = h("p", { class: "sum", role: "status" });
  const text = h("input", {
    type: "search", id: "find", placeholder: "name, label=value or pod", autocomplete: "off", spellcheck: "false",
    oninput: () => apply({ text: text.value.trim().toLowerCase() }),
  });
  const profile = h("select", { id: "profile", onchange: () => apply({ profile: profile.value }) });
  const namespace = h("select", { id: "namespace", onchange: () => apply({ namespace: namespace.value }) });
  const element = h("div", {},
    h("div", { class: "title" }, h("h1", {}, "Nodes"), sum),
    h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", {}, "Find", text), h("label", {}, "Profile", profile), h("label", {}, "Namespace", namespace)),
    h("ul", { class: "legend", "aria-label": "Colours" },
      h("li", {}, h("i", { class: "key reserved" }), "reserved"),
      h("li", {}, h("i", { class: "key strong" }), "exclusive, a colour per pod"),
      h("li", {}, h("i", { class: "key light" }), "shared pool of a pod"),
      h("li", {}, h("i", { class: "key free" }), "node shared pool")),
    list);

  function apply(change) {
    filter = { ...filter, ...change };
    draw();
  }

  function matches(row) {
    if (filter.profile && row.profile !== filter.profile) return false;
    if (filter.namespace && !row.namespaces.includes(filter.namespace)) return false;
    if (!filter.text) return true;
    if (filter.text.includes("=")) {
      return Object.entries(row.labels).some(([key, one]) => `${key}=${one}`.toLowerCase().includes(filter.text));
    }
    return row.name.toLowerCase().includes(filter.text)
      || row.zones.some((zone) => zone.parts.some((part) => part[2].toLowerCase().includes(filter.text)));
  }

  function options(select, words, all) {
    const key = words.join("\n");
    if (select.dataset.key === key) return;
    const before = select.value;
    select.dataset.key = key;
    select.replaceChildren(h("option", { value: "" }, all), ...words.map((one) => h("option", { value: one }, one)));
    select.value = words.includes(before) ? before : "";
  }

  function heads() {
    const all = [...rows.values()];
    options(profile, [...new Set(all.map((row) => row.profile).filter(Boolean))].sort(), "all profiles");
    options(namespace, [...new Set(all.flatMap((row) => row.namespaces))].sort(), "all namespaces");
    const shown = all.filter(matches);
    const pods = shown.reduce((count, row) => count + row.podCount, 0);
    const refused = shown.reduce((count, row) => count + row.refusedCount, 0);
    sum.textContent = `${plural(shown.length, "node")}, ${plural(pods, "pod")}`
      + (refused ? `, ${refused} refused` : "");
    return shown;
  }

  function draw() {
    clearTimeout(idle);
    const shown = heads().sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
    list.replaceChildren();
    if (!shown.length) {
      list.append(h("li", { class: "empty" }, rows.size ? "No node matches the filter."
        : "There is no NodeTopology yet: the operator makes one for each node that a NodeProfile selects."));
    }
    let at = 0;
    const more = () => {
      for (const row of shown.slice(at, at + AT_ONCE)) {
        if (!drawn.has(row.name)) drawn.set(row.name, rowElement(row));
        list.append(drawn.get(row.name));
      }
      at += AT_ONCE;
      if (at < shown.length) idle = setTimeout(more);
    };
    more();
  }

  async function changed(names) {
    if (!names.length) return;
    const few = names.length <= 50;
    const query = few ? `?${new URLSearchParams(names.map((name) => ["name", name]))}` : "";
    const answer = await read(`data/nodes${query}`);
    if (answer.errors) return;
    if (!few) { rows.clear(); drawn.clear(); }
    let structure = !few;
    const found = new Set(answer.nodes.map((row) => row.name));
    for (const name of few ? names : []) if (!found.has(name)) structure = rows.delete(name) || structure;
    for (const row of answer.nodes) {
      const known = rows.has(row.name);
      const before = known && matches(rows.get(row.name));
      rows.set(row.name, row);
      const line = drawn.get(row.name);
      drawn.delete(row.name);
      if (!known || before !== matches(row)) { structure = true; continue; }
      if (!line?.isConnected) continue;
      const next = rowElement(row);
      const focused = line.contains(document.activeElement);
      line.replaceWith(next);
      drawn.set(row.name, next);
      if (focused) next.querySelector("a").focus();
    }
    if (structure) draw(); else heads();
  }

  const answer = await read("data/nodes");
  if (answer.errors) element.append(...answer.errors.map((line) => h("p", { class: "card bad" }, line)));
  for (const row of answer.nodes || []) rows.set(row.name, row);
  draw();
  return { element, title: "Nodes", changed };
}

function rowElement(row) {
  return h("li", { class: "row", "data-node": row.name },
    h("div", { class: "who" },
      h("a", { href: nodeLink(row.name) }, row.name),
      h("span", { class: "quiet" }, [row.profile || "no profile", row.policy].filter(Boolean).join(" · "))),
    h("div", { class: "bars" }, row.zones.length ? row.zones.map(bar)
      : h("span", { class: "quiet" }, row.message || "hardware not known yet")),
    h("div", { class: "facts" },
      h("span", {}, plural(row.podCount, "pod")),
      row.refusedCount ? h("span", { class: "badword" }, `${row.refusedCount} refused`) : null,
      row.driftedCount ? h("span", { class: "badword" }, `${row.driftedCount} drifted`) : null,
      row.ready && row.ready !== "True" ? chip(row.ready) : null));
}

function bar(zone) {
  const counts = {};
  for (const [hold, count] of zone.parts) counts[hold] = (counts[hold] || 0) + count;
  const words = Object.entries(counts).map(([hold, count]) => `${count} ${WORDS[hold] || hold}`).join(", ");
  const label = `NUMA node ${zone.id}, ${zone.cpus} CPUs: ${words}`;
  const free = counts["node shared"] || 0;
  const strip = h("span", { class: "strip" });
  let from = 0;
  const stops = zone.parts.map(([hold, count, , hue]) => {
    const to = from + (100 * count) / zone.cpus;
    const stop = `${colour(hold, hue)} ${from}% ${to}%`;
    from = to;
    return stop;
  });
  if (stops.length) strip.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
  return h("span", { class: "zone", role: "img", "aria-label": label, title: label },
    strip, h("span", { class: "free", "aria-hidden": "true" }, `${free}`));
}

function colour(hold, hue) {
  if (hold === "exclusive") return `var(--strong-${hue})`;
  if (hold === "pod shared") return `var(--light-${hue})`;
  return hold === "reserved" ? "var(--reserved)" : "var(--tile)";
}
