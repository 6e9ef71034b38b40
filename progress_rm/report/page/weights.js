// What RA-BC would learn: how weights are spread, whom they favour, and a warning where they change nothing.
function histogram({ histogram: counts }) {
  const [width, height, bottom] = [360, 150, 24];
  const most = Math.max(...counts, 1), room = width / counts.length;
  const bars = counts.map((count, k) => {
    const tall = ((height - bottom - 6) * count) / most;
    return s("rect", { x: k * room + 2, y: height - bottom - tall, width: room - 4, height: tall, fill: "var(--predicted)", opacity: 0.25 + (0.75 * (k + 0.5)) / counts.length },
      s("title", {}, `weight ${(k / counts.length).toFixed(1)} to ${((k + 1) / counts.length).toFixed(1)}: ${count.toLocaleString("en")} frames`));
  });
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Frames by weight, from 0 to 1: ${counts.join(", ")}` }, ...bars,
    s("line", { x1: 0, x2: width, y1: height - bottom, y2: height - bottom, stroke: "var(--soft)" }),
    s("text", { x: 2, y: height - 6 }, "weight 0"), s("text", { x: width - 2, y: height - 6, "text-anchor": "end" }, "1"));
}

function shares(qualities) {
  const head = h("tr", {}, h("th", {}), ["episodes", "of frames", "of samples", "mean weight"].map((name) => h("th", { scope: "col" }, name)));
  const rows = Object.entries(qualities).map(([name, group]) => h("tr", {},
    h("th", { scope: "row" }, known(name) ? words(name) : "all"),
    h("td", {}, String(group.episodes)), h("td", {}, percent(group.frames)),
    h("td", { title: "share of training samples under these weights" }, percent(group.samples)), h("td", {}, group.kept.toFixed(2))));
  return h("table", {}, h("thead", {}, head), h("tbody", {}, rows));
}

function drawWeights() {
  for (const set of data.weights) {
    const box = h("div", { class: "heatmap weights" }, h("h3", {}, set.name));
    byId("weights").append(box);
    if (set.refused) {
      box.append(h("p", { class: "warning" }, set.refused));
      continue;
    }
    for (const text of set.warnings) box.append(h("p", { class: "warning" }, text));
    box.append(h("p", { class: "about" }, `Chunks of ${set.horizon} frames, κ = ${number(set.kappa)}: ${percent(set.full)} of frames have full weight, ${percent(set.zero)} none; ${percent(set.moved)} of samples differ from plain behaviour cloning.`),
      histogram(set), shares(set.per_quality));
  }
}
