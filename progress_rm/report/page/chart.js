// The curves of one episode over time, with stage strips above and below and one playhead through all of it.
const SERIES = [
  { key: "predicted", label: "predicted", title: "progress the model predicts, with one and two standard deviations" },
  { key: "truth", label: data.metrics.reference === "truth" ? "true" : "labelled", title: data.metrics.reference_explained },
  { key: "clock_hindsight", label: data.clocks.clock_hindsight, title: "a clock that knows the episode's length in hindsight" },
  { key: "clock_causal", label: data.clocks.clock_causal, title: "a clock that knows the mean length of the training episodes" },
  { key: "success", label: "success probability", title: "probability that the task is complete" },
  { key: "mistake", label: "wrong stage", title: "frames where the predicted stage is not the true one" },
];
const CLASSES = { predicted: "predicted", truth: "truth", clock_hindsight: "clock", clock_causal: "clock causal", success: "success" };

class Chart {
  constructor(onSeek) {
    this.hidden = new Set();
    this.onSeek = onSeek;
    this.root = s("svg", { class: "chart", role: "slider", tabindex: "0", "aria-label": "Playhead", "aria-valuemin": "0" });
    this.root.addEventListener("pointerdown", (event) => {
      this.root.setPointerCapture(event.pointerId);
      this.dragging = true;
      onSeek(this.frameAt(event), true);
    });
    this.root.addEventListener("pointermove", (event) => {
      if (this.dragging || event.pointerType === "mouse") onSeek(this.frameAt(event), this.dragging);
    });
    for (const end of ["pointerup", "pointercancel"]) this.root.addEventListener(end, () => (this.dragging = false));
    new ResizeObserver(() => this.episode && this.draw()).observe(this.root);
  }

  frameAt(event) {
    const fraction = (event.clientX - this.root.getBoundingClientRect().left - this.left) / this.plot;
    return clamp(Math.round(fraction * (this.episode.length - 1)), 0, this.episode.length - 1);
  }

  show(episode) {
    this.episode = episode;
    this.frame = 0;
    this.root.setAttribute("aria-valuemax", episode.length - 1);
    this.draw();
  }

  x(frame) { return this.left + (this.plot * clamp(frame, 0, this.episode.length - 1)) / Math.max(1, this.episode.length - 1); }
  y(value) { return this.top + this.height * (1 - value); }

  draw() {
    const width = this.root.clientWidth || 800;
    const narrow = width < 560;
    this.left = narrow ? 34 : 76;
    this.plot = width - this.left - 12;
    this.top = 40;
    this.height = narrow ? 200 : 250;
    this.bottom = this.top + this.height;
    const total = this.bottom + 62;
    this.root.setAttribute("height", total);
    this.root.setAttribute("viewBox", `0 0 ${width} ${total}`);
    this.root.replaceChildren(
      ...this.background(narrow),
      ...this.mistakes(),
      ...this.curves(),
      this.strip(this.episode.stage, 8, "predicted"),
      this.strip(this.episode.trueStage, this.bottom + 10, "true"),
      this.weights(this.bottom + 34),
      ...(narrow ? [] : [this.stripLabel("predicted", 8), this.stripLabel("true", this.bottom + 10)]),
      this.playhead(),
    );
    this.move(this.frame);
  }

  background(narrow) {
    const marks = [];
    for (const value of [0, 0.25, 0.5, 0.75, 1]) {
      marks.push(s("line", { class: "grid", x1: this.left, x2: this.left + this.plot, y1: this.y(value), y2: this.y(value) }));
      marks.push(s("text", { x: this.left - 9, y: this.y(value) + 4, "text-anchor": "end" }, value === 0 || value === 1 ? String(value) : String(value).slice(1)));
    }
    const seconds = (this.episode.length - 1) / this.episode.fps;
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((d) => seconds / d <= (narrow ? 5 : 11)) || 1200;
    for (let t = 0; t <= seconds + 1e-6; t += step) {
      const x = this.x(t * this.episode.fps);
      marks.push(s("text", { x, y: this.bottom + 54, "text-anchor": "middle" }, `${+t.toFixed(1)} s`));
    }
    for (const [first] of this.episode.trueStage.slice(1)) {
      const x = this.x(first - 0.5);
      marks.push(s("line", { class: "edge", x1: x, x2: x, y1: this.top, y2: this.bottom }));
    }
    return marks;
  }

  mistakes() {
    if (this.hidden.has("mistake")) return [];
    const marks = [];
    for (const [a, b, k] of this.episode.trueStage) {
      if (k < 0) continue;
      for (const [c, d, j] of this.episode.stage) {
        const from = Math.max(a, c), to = Math.min(b, d);
        if (from < to && j >= 0 && j !== k) marks.push(this.box("mistake", from, to, this.top, this.height));
      }
    }
    return marks;
  }

  curves() {
    const e = this.episode;
    const values = { predicted: e.predicted, truth: e.truth, success: e.success, ...e.clocks };
    const marks = [];
    const at = (series) => series.map((value, t) => [this.x(t), this.y(clamp(value, 0, 1))]);
    const band = (n) => {
      const upper = at(e.predicted.map((p, t) => p + n * e.uncertainty[t]));
      const lower = at(e.predicted.map((p, t) => p - n * e.uncertainty[t])).reverse();
      return s("path", { class: `band${n}`, d: line([...upper, ...lower]) + "Z" });
    };
    if (!this.hidden.has("predicted")) marks.push(band(2), band(1));
    for (const key of ["clock_hindsight", "clock_causal", "success", "truth", "predicted"]) {
      if (values[key] && !this.hidden.has(key)) marks.push(s("path", { class: CLASSES[key], d: line(at(values[key])) }));
    }
    return marks;
  }

  box(name, from, to, y, height) {
    const x = this.x(from - 0.5);
    return s("rect", { class: name, x, y, width: Math.max(1, this.x(to - 0.5) - x), height });
  }

  strip(runs, y, which) {
    const group = s("g");
    for (const [from, to, k] of runs) {
      if (k < 0) continue;
      const box = this.box("stage", from, to, y, 22);
      const colour = stageColour(k), name = stageName(this.episode, k);
      box.setAttribute("fill", colour);
      box.setAttribute("stroke", "var(--surface)");
      box.append(s("title", {}, `${which} stage: ${k + 1} · ${name}, ${(from / this.episode.fps).toFixed(1)}–${(to / this.episode.fps).toFixed(1)} s`));
      group.append(box);
      const room = +box.getAttribute("width");
      const parts = name.split(" ");
      const shorter = parts.slice(1).map((_, n) => `${k + 1} ${parts.slice(0, parts.length - 1 - n).join(" ")}…`);
      const label = [`${k + 1} ${name}`, ...shorter, `${k + 1}`].find((text) => text.length * 6.4 + 8 < room);
      if (label) {
        const x = +box.getAttribute("x") + room / 2;
        group.append(s("text", { class: "strip-text", x, y: y + 15, "text-anchor": "middle", style: { fill: textOn(colour) } }, label));
      }
    }
    return group;
  }

  weights(y) {
    const group = s("g");
    for (const [from, to, weight] of this.episode.weights) {
      const box = this.box("weight", from, to, y, 6);
      box.setAttribute("opacity", weight);
      box.append(s("title", {}, `weight ${weight.toFixed(2)} in behaviour cloning, ${(from / this.episode.fps).toFixed(1)}–${(to / this.episode.fps).toFixed(1)} s`));
      group.append(box);
    }
    return group;
  }

  stripLabel(text, y) { return s("text", { x: this.left - 9, y: y + 15, "text-anchor": "end" }, text); }

  playhead() {
    this.head = s("g", { "pointer-events": "none" },
      s("line", { class: "head", x1: 0, x2: 0, y1: 5, y2: this.bottom + 36 }),
      s("path", { class: "grip", d: "M-6 0H6V4L0 11L-6 4Z" }));
    this.dots = { truth: s("circle", { class: "dot", r: 5, fill: "var(--truth)" }), predicted: s("circle", { class: "dot", r: 6, fill: "var(--predicted)" }) };
    for (const [key, dot] of Object.entries(this.dots)) if (!this.hidden.has(key)) this.head.append(dot);
    return this.head;
  }

  move(frame) {
    const e = this.episode;
    this.frame = frame;
    this.head.setAttribute("transform", `translate(${this.x(frame).toFixed(1)} 0)`);
    for (const [key, dot] of Object.entries(this.dots)) dot.setAttribute("cy", this.y(e[key][frame]));
    this.root.setAttribute("aria-valuenow", frame);
    this.root.setAttribute("aria-valuetext",
      `${(frame / e.fps).toFixed(1)} seconds, predicted ${e.predicted[frame].toFixed(2)}, true ${e.truth[frame].toFixed(2)}, ` +
      `predicted stage ${stageName(e, stageAt(e.stage, frame))}, true stage ${stageName(e, stageAt(e.trueStage, frame))}`);
  }

  legend() {
    const sample = (key) => {
      if (key === "mistake") return s("svg", {}, s("rect", { width: 26, height: 12, fill: "var(--wrong)", opacity: ".3" }));
      const mark = s("path", { class: CLASSES[key], d: "M0 6H26" });
      return s("svg", { class: "chart-sample" }, s("g", { class: "chart" }, mark));
    };
    const present = SERIES.filter(({ key }) => !key.startsWith("clock") || this.episode.clocks[key]);
    return present.map(({ key, label, title }) =>
      h("button", { type: "button", title, "aria-pressed": String(!this.hidden.has(key)), onclick: (event) => {
        if (!this.hidden.delete(key)) this.hidden.add(key);
        event.currentTarget.setAttribute("aria-pressed", String(!this.hidden.has(key)));
        this.draw();
      } }, sample(key), label));
  }
}
