// Confusion of stages, and reliability of the uncertainty.
function drawHeatmaps() {
  for (const [task, { stages, confusion }] of Object.entries(data.metrics.per_task)) {
    const total = confusion.flat().reduce((a, b) => a + b, 0);
    if (!total) continue;
    const head = h("tr", {}, h("th", {}), stages.map((name, k) => h("th", { scope: "col", title: words(name) }, swatch(k), String(k + 1))), h("th", {}, "frames"));
    const rows = confusion.map((counts, k) => {
      const seen = counts.reduce((a, b) => a + b, 0);
      return h("tr", {}, h("th", { scope: "row" }, swatch(k), `${k + 1} ${words(stages[k])}`),
        counts.map((count, j) => {
          const share = seen ? count / seen : 0;
          const text = !seen ? "" : share === 0 ? "" : share < 0.01 ? "<1" : (share * 100).toFixed(0);
          const style = share ? { background: `rgba(var(--heat), ${(0.07 + 0.93 * share ** 0.7).toFixed(3)})` } : {};
          return h("td", { class: (j === k ? "own" : "") + (share > 0.42 ? " strong" : ""), style, title: `truly ${words(stages[k])}, called ${words(stages[j])}: ${count} of ${seen} frames` }, text);
        }), h("td", { class: "seen" }, seen.toLocaleString("en")));
    });
    byId("heatmaps").append(h("div", { class: "heatmap" }, h("h3", {}, task), h("table", {}, h("thead", {}, head), h("tbody", {}, rows))));
  }
  if (!byId("heatmaps").children.length) byId("heatmaps").append(h("p", { class: "about" }, "There are no stage annotations."));
}

function drawReliability() {
  const bins = data.metrics.reliability;
  const [width, height, left, bottom] = [520, 340, 82, 44];
  const high = Math.max(...bins.map((b) => Math.max(b.std, b.rmse)), 1e-6) * 1.1;
  const x = (v) => left + ((width - left - 14) * v) / high, y = (v) => (height - bottom) - ((height - bottom - 12) * v) / high;
  const rough = high / 4, ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * ten).find((v) => v >= rough);
  const ticks = Array.from({ length: Math.floor(high / step) }, (_, k) => (k + 1) * step);
  byId("reliability").append(s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Stated against found error: " + bins.map((b) => `${number(b.std)} stated, ${number(b.rmse)} found`).join("; ") },
    ...ticks.flatMap((t) => [
      s("line", { x1: left, x2: width - 14, y1: y(t), y2: y(t), stroke: "var(--line)" }),
      s("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, +t.toPrecision(3)),
      s("text", { x: x(t), y: height - bottom + 18, "text-anchor": "middle" }, +t.toPrecision(3))]),
    s("line", { x1: left, x2: width - 14, y1: y(0), y2: y(0), stroke: "var(--soft)" }),
    s("line", { x1: x(0), y1: y(0), x2: x(high), y2: y(high), stroke: "var(--clock)", "stroke-dasharray": "5 4" }),
    s("path", { d: line(bins.map((b) => [x(b.std), y(b.rmse)])), fill: "none", stroke: "var(--predicted)", "stroke-width": 2 }),
    ...bins.map((b) => s("circle", { cx: x(b.std), cy: y(b.rmse), r: 5, fill: "var(--predicted)", stroke: "var(--surface)", "stroke-width": 1.5 }, s("title", {}, `${b.frames} frames: stated ${number(b.std)}, found ${number(b.rmse)}`))),
    s("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, "stated standard deviation"),
    s("text", { x: 0, y: 0, transform: `translate(12 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "error found (root mean square)")));
}
