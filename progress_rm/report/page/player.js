// The film and the chart of one episode: two faces of one playhead, `frame`.
const ICONS = { play: "M3 1.5v13l11-6.5z", pause: "M3 2h3.6v12H3zM9.4 2H13v12H9.4z", back: "M12 2v12L4.5 8zM2.5 2h2v12h-2z", forward: "M4 2v12l7.5-6zM11.5 2h2v12h-2z" };
const icon = (name) => s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));

class Player {
  constructor(container, onChange) {
    this.onChange = onChange;
    this.films = new Map();
    this.chart = new Chart((frame, dragged) => {
      if (dragged) this.video.pause();
      if (dragged || this.video.paused) this.seek(frame);
    });
    this.video = h("video", { muted: "", playsinline: "", preload: "auto", "aria-label": "All views, side by side", onclick: () => this.toggle() });
    this.video.muted = true;
    this.video.addEventListener("seeked", () => this.catchUp());
    this.video.addEventListener("loadeddata", () => this.catchUp());
    for (const name of ["play", "pause", "ended"]) this.video.addEventListener(name, () => this.playing());
    this.screen = h("div", { class: "screen" });
    this.headline = h("div", { class: "headline" });
    this.time = h("output", {});
    this.playButton = h("button", { type: "button", class: "play", onclick: () => this.toggle() });
    this.readout = h("dl", { class: "readout" });
    this.legend = h("div", { class: "legend", role: "group", "aria-label": "Curves to show" });
    this.key = h("ul", { class: "stages-key", "aria-label": "Stages" });
    container.append(this.headline, this.screen, this.controls(), this.readout, this.chart.root, this.legend, this.key);
    this.playing();
  }

  controls() {
    const speeds = [0.5, 1, 2, 4].map((rate) => h("button", { type: "button", class: "speed", "aria-pressed": String(rate === 1), onclick: (event) => {
      this.video.defaultPlaybackRate = this.video.playbackRate = rate;
      for (const other of speeds) other.setAttribute("aria-pressed", String(other === event.currentTarget));
    } }, `${rate}×`));
    return h("div", { class: "controls" },
      h("button", { type: "button", "aria-label": "One frame back", onclick: () => this.step(-1) }, icon("back")),
      this.playButton,
      h("button", { type: "button", "aria-label": "One frame on", onclick: () => this.step(1) }, icon("forward")),
      speeds, this.time);
  }

  show(number, frame = 0) {
    const changed = this.number !== number;
    this.number = number;
    this.episode = data.episodes[number];
    if (changed) {
      this.load();
      this.describe();
      this.chart.show(this.episode);
      this.legend.replaceChildren(...this.chart.legend());
    }
    this.video.pause();
    this.seek(frame);
    this.onChange(number, frame);
  }

  load() {
    if (!this.films.has(this.number)) {
      const bytes = Uint8Array.from(atob(byId(`film-${this.number}`).textContent), (c) => c.charCodeAt(0));
      this.films.set(this.number, URL.createObjectURL(new Blob([bytes], { type: "video/mp4" })));
    }
    const { width, height, views } = this.episode.film;
    this.screen.style.maxWidth = `${(width / height) * 268}px`;
    this.video.width = width;
    this.video.height = height;
    this.video.src = this.films.get(this.number);
    this.screen.replaceChildren(this.video, ...views.map(([name, left]) => h("span", { class: "view", style: { left: `${(100 * left) / width}%` } }, name)));
  }

  describe() {
    const e = this.episode;
    this.headline.replaceChildren(
      h("h3", {}, who(e)),
      h("span", { class: e.succeeded ? "badge good" : "badge bad" }, e.succeeded ? "✓ success" : "✗ no success"),
      h("p", {}, `“${e.task}” · MSE ${number(e.mse)}`));
    this.key.replaceChildren(...e.stages.map((name, k) => h("li", {}, swatch(k), `${k + 1} ${words(name)}`)));
  }

  toggle() {
    if (!this.video.paused) return this.video.pause();
    if (this.frame >= this.episode.length - 1) this.seek(0);
    this.video.play();
  }

  step(frames) {
    this.video.pause();
    this.seek(this.frame + frames);
  }

  // Ask for the middle of the frame, so that rounding cannot land on its neighbour.
  seek(frame) {
    this.point(clamp(frame, 0, this.episode.length - 1));
    this.wanted = (this.frame + 0.5) / this.episode.fps;
    if (!this.video.seeking) this.catchUp();
  }

  // Browsers drop seeks that come while one is under way: only the latest is worth making.
  catchUp() {
    if (this.wanted === null || this.wanted === undefined || this.video.readyState < 1) return;
    const wanted = this.wanted;
    this.wanted = null;
    if (Math.abs(this.video.currentTime - wanted) > 1e-4) this.video.currentTime = wanted;
  }

  playing() {
    const on = !this.video.paused && !this.video.ended;
    this.playButton.replaceChildren(icon(on ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    if (this.video.ended) this.point(this.episode.length - 1);
    if (on) this.follow();
  }

  follow() {
    const tick = (time) => {
      if (this.video.paused || this.video.ended) return;
      if (this.wanted === null || this.wanted === undefined) this.point(clamp(Math.floor(time * this.episode.fps + 0.25), 0, this.episode.length - 1));
      this.follow();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback((_, shown) => tick(shown.mediaTime));
    else requestAnimationFrame(() => tick(this.video.currentTime));
  }

  point(frame) {
    const e = this.episode;
    this.frame = frame;
    this.chart.move(frame);
    this.time.textContent = `${(frame / e.fps).toFixed(1)} / ${((e.length - 1) / e.fps).toFixed(1)} s · frame ${frame}`;
    const error = e.predicted[frame] - e.truth[frame];
    const stage = stageAt(e.stage, frame), trueStage = stageAt(e.trueStage, frame);
    const wrongStage = stage >= 0 && trueStage >= 0 && stage !== trueStage;
    const cell = (name, value, kind = "") => h("div", {}, h("dt", {}, name), h("dd", { class: kind }, ...[value].flat()));
    const stageCell = (name, k, kind) => cell(name, [k < 0 ? null : swatch(k), stageName(e, k)], `stage ${kind}`);
    this.readout.replaceChildren(
      cell("predicted", `${e.predicted[frame].toFixed(3)} ± ${e.uncertainty[frame].toFixed(3)}`),
      cell(SERIES[1].label, e.truth[frame].toFixed(3)),
      cell("error", signed(error), Math.abs(error) > 0.1 ? "off" : ""),
      stageCell("predicted stage", stage, wrongStage ? "off" : ""),
      stageCell("true stage", trueStage, ""),
      cell("success", percent(e.success[frame])));
  }
}
