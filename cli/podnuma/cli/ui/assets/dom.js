// Elements from values. Whatever comes from the cluster becomes a text node or an attribute, never markup.

/** Make an element: h("a", {class: "pod", href}, "text", child). on*: a listener; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** A table with headings; a row is a list of cells, each text or an element. */
export function table(caption, heads, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heads.map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, index) =>
        index ? h("td", {}, cell) : h("th", { scope: "row" }, cell)))))));
}

export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export function bytes(size) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (size >= 1024 && at < units.length - 1) { size /= 1024; at += 1; }
  return `${size >= 100 || Number.isInteger(size) ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

export function ago(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

export const podLink = (pod) => `#/pods/${pod.split("/").map(encodeURIComponent).join("/")}`;
export const nodeLink = (node) => `#/nodes/${encodeURIComponent(node)}`;

const GOOD = ["Applied", "Admitted", "PinnedAtStart", "True", "admitted"];
const BAD = ["Rejected", "Evicted", "Drifted", "NotPinned", "refused", "Unreadable"];

/** A word about a state, with a sign so that colour says nothing alone. */
export function chip(word) {
  const kind = GOOD.includes(word) ? "good" : BAD.includes(word) ? "bad" : "wait";
  const sign = { good: "✓", bad: "✕", wait: "…" }[kind];
  return h("span", { class: `chip ${kind}` }, h("span", { "aria-hidden": "true" }, sign), ` ${word === "True" ? "Ready" : word}`);
}

export function failures(answer) {
  return h("section", { class: "card bad" }, (answer.errors || []).map((line) => h("p", {}, line)));
}
