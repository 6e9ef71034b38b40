const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const words = (name) => name.replaceAll("_", " ");
const signed = (value, digits = 3) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
const percent = (value) => (value * 100).toFixed(value > 0.0005 && value < 0.1 ? 1 : 0) + " %";
const line = (points) => "M" + points.map(([x, y]) => x.toFixed(1) + " " + y.toFixed(1)).join("L");

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const more = size === 0 || size >= 0.01 ? 0 : size >= 0.001 ? 1 : 2;
  return value.toFixed(digits + more).replace("-", "−");
}

// Paul Tol's "muted" colours, told apart by colour-blind readers; a tenth stage starts again, numbered all the same.
const COLOURS = ["#332288", "#88ccee", "#44aa99", "#117733", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#999933"];
const DARK_TEXT = new Set(["#88ccee", "#44aa99", "#ddcc77", "#cc6677", "#999933"]);
const stageColour = (k) => COLOURS[k % COLOURS.length];
const textOn = (colour) => (DARK_TEXT.has(colour) ? "#14161a" : "#ffffff");
const swatch = (k) => h("span", { class: "swatch", style: { background: stageColour(k) }, "aria-hidden": "true" });

// Recorders may leave the quality out.
const known = (quality) => quality !== "unspecified";
const who = (episode) => (known(episode.quality) ? `${words(episode.quality)} · ` : "") + `episode ${episode.number}`;

// The stage at a frame, from runs [first, after last, stage]; -1 is none.
const stageAt = (runs, frame) => runs.find(([first, after]) => frame >= first && frame < after)[2];
const stageName = (episode, k) => (k < 0 ? "none" : words(episode.stages[k]));
