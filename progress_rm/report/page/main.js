// The list of episodes, the worst moments, the keyboard, the address of a moment (#e=3&f=120).
const rows = [];
const player = new Player(byId("show"), (place, frame) => {
  rows.forEach((row, k) => row.setAttribute("aria-current", String(k === place)));
  // Once the page has its height, bring the row into sight without moving the page itself.
  requestAnimationFrame(() => {
    const list = byId("list"), above = rows[place].offsetTop - list.offsetTop - 60;
    list.scrollTop = clamp(list.scrollTop, above + rows[place].offsetHeight + 90 - list.clientHeight, above);
  });
  if (place || frame || location.hash) history.replaceState(null, "", `#e=${place}&f=${frame}`);
});

function spark(values, kind) {
  const step = Math.max(1, Math.floor(values.length / 80));
  const points = values.filter((_, t) => t % step === 0).map((v, t, all) => [(86 * t) / Math.max(1, all.length - 1) + 1, 32 - 30 * v]);
  return s("path", { class: kind, d: line(points) });
}

function drawList() {
  let task = null;
  data.episodes.forEach((episode, place) => {
    if (episode.task !== task) byId("list").append(h("h3", {}, (task = episode.task)));
    const row = h("button", { type: "button", onclick: () => player.show(place) },
      h("span", { class: "who" }, who(episode).replace("· episode ", "")),
      s("svg", { viewBox: "0 0 88 34", "aria-hidden": "true" }, spark(episode.truth, "spark-true"), spark(episode.predicted, "spark-predicted")),
      h("span", { class: "err" }, `${episode.succeeded ? "✓" : "✗"} MSE ${number(episode.mse)}`));
    rows.push(row);
    byId("list").append(row);
  });
}

function drawMoments() {
  for (const { episode: place, frame, error, picture } of data.moments) {
    const e = data.episodes[place];
    const stage = stageAt(e.stage, frame), trueStage = stageAt(e.trueStage, frame);
    const what = trueStage < 0 || stage === trueStage ? `in ${stageName(e, stage)}` : `${stageName(e, trueStage)}, called ${stageName(e, stage)}`;
    byId("moments").append(h("button", { type: "button", class: "moment", onclick: () => {
      player.show(place, frame);
      byId("episodes-title").scrollIntoView({ block: "start" });
      player.chart.root.focus({ preventScroll: true });
    } },
      h("img", { src: picture, alt: "", loading: "lazy" }),
      h("div", { class: "text" },
        h("span", { class: "size" }, signed(error, 2)),
        h("span", { class: "what" }, `${e.predicted[frame].toFixed(2)} instead of ${e.truth[frame].toFixed(2)}, ${what}`),
        h("span", { class: "where" }, `${who(e)} · ${(frame / e.fps).toFixed(1)} s`))));
  }
}

document.addEventListener("keydown", (event) => {
  const inside = byId("player").contains(document.activeElement);
  if ((!inside && document.activeElement !== document.body) || event.ctrlKey || event.metaKey || event.altKey) return;
  const second = Math.max(1, Math.round(player.episode.fps));
  const onButton = document.activeElement.tagName === "BUTTON";
  const show = (by) => player.show(clamp(player.number + by, 0, data.episodes.length - 1));
  const actions = {
    ArrowLeft: () => player.step(event.shiftKey ? -second : -1),
    ArrowRight: () => player.step(event.shiftKey ? second : 1),
    n: () => show(1),
    p: () => show(-1),
  };
  if (inside && !onButton) Object.assign(actions, {
    " ": () => player.toggle(),
    Home: () => player.step(-player.episode.length),
    End: () => player.step(player.episode.length),
  });
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});

function open() {
  const at = new URLSearchParams(location.hash.slice(1));
  const wanted = clamp(Number.parseInt(at.get("e") || "0", 10) || 0, 0, data.episodes.length - 1);
  player.show(wanted, Number.parseInt(at.get("f") || "0", 10) || 0);
}
addEventListener("hashchange", open);

drawLede();
drawCards();
drawList();
drawMoments();
drawTable();
drawHeatmaps();
drawWeights();
drawReliability();
open();
