// Addresses after the # to pages, and the stream of changes. A page is {element, changed(names), close()}.
import { h } from "./dom.js";
import { nodesPage } from "./nodes.js";
import { nodePage } from "./node.js";
import { podPage } from "./pod.js";
import { refusalsPage } from "./refusals.js";
import { whatIfPage } from "./whatif.js";

const main = document.getElementById("main");
let current = null;
let drawing = 0;

/** Read JSON of this server; what fails comes back as {errors}. */
export async function read(path) {
  try {
    const answer = await fetch(path);
    return answer.ok ? await answer.json() : { errors: [`${answer.status} ${answer.statusText}`] };
  } catch {
    return { errors: ["the server of this page has ended; start `kubectl podnuma ui` again"] };
  }
}

function pageOf(words) {
  if (words[0] === "nodes" && words[1]) return nodePage(read, words[1]);
  if (words[0] === "pods" && words[2]) return podPage(read, words[1], words[2]);
  if (words[0] === "refusals") return refusalsPage(read);
  if (words[0] === "what-if") return whatIfPage(read);
  return nodesPage(read);
}

function decoded(word) {
  try { return decodeURIComponent(word); } catch { return word; }
}

async function show() {
  if (!/^#?\/|^$/.test(location.hash.slice(1)) && location.hash) return;  // a link within a page
  const mine = ++drawing;
  const words = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href").replace(/^#\/?/, "");
    const here = own ? words[0] === own : ["", "nodes"].includes(words[0]);
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const page = await pageOf(words);
  if (mine !== drawing) return;
  current = page;
  main.replaceChildren(page.element);
  document.title = `${page.title} · podnuma`;
  main.dataset.page = words[0] || "nodes";
  if (mine > 1) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
}

function showProblems(lines) {
  const box = document.getElementById("problems");
  box.hidden = lines.length === 0;
  box.replaceChildren(...lines.map((line) => h("p", {}, line)));
}

function listen() {
  const live = document.getElementById("live");
  const source = new EventSource("events");
  let opened = 0;
  source.onopen = () => {
    live.textContent = "live";
    live.dataset.state = "live";
    opened += 1;
    if (opened > 1) show();
  };
  source.onerror = () => {
    live.textContent = "not connected";
    live.dataset.state = "off";
  };
  source.onmessage = (message) => {
    const { nodes, problems } = JSON.parse(message.data);
    showProblems(problems);
    if (current?.changed) current.changed(nodes.filter(Boolean));
  };
}

addEventListener("hashchange", show);
show();
listen();
