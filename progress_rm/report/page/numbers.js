// The sentence on top, the cards, the table and what they are measured against.
const clockNames = Object.keys(data.clocks);

function bestClock(group, column) {
  const values = clockNames.map((name) => group[name]?.[column.key]).filter((v) => v !== null && v !== undefined);
  if (!values.length) return null;
  return column.better === "lower" ? Math.min(...values) : Math.max(...values);
}

function drawLede() {
  const { overall, per_task: tasks, reference } = data.metrics;
  const column = data.columns.find((c) => c.key === "mse");
  const ratio = overall.model.mse / bestClock(overall, column);
  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  byId("lede").textContent =
    `On ${plural(overall.episodes, "held-out episode")} of ${plural(Object.keys(tasks).length, "task")} (${plural(overall.frames, "frame")}), ` +
    `the squared error of progress is ${percent(ratio)} of the better clock’s` +
    (reference === "truth" ? "." : ", measured against labels: there is no true progress here.");
  byId("provenance").textContent = [...new Set(data.metrics.datasets.map((d) => `Model ${d.reward_model_path}, labels ${d.label_scheme}.`))].join(" ");
  byId("foot").textContent = `Made by progress-rm report. ${data.episodes.length} of ${overall.episodes} episodes are shown; the numbers are of all of them. This file is complete in itself: it loads nothing from elsewhere.`;
}

function gauge(column, group) {
  const mine = group.model[column.key];
  const clocks = clockNames.map((name) => group[name]?.[column.key]).filter((v) => v !== null && v !== undefined);
  const low = Math.min(0, mine ?? 0, ...clocks);
  const high = column.better === "lower" ? Math.max(mine ?? 0, ...clocks, 1e-9) * 1.04 : 1;
  const x = (value) => `${(2 + 96 * ((value - low) / (high - low))).toFixed(2)}%`;
  const parts = [s("line", { class: "track", x1: "2%", x2: "98%", y1: 7, y2: 7 })];
  if (mine !== null && mine !== undefined) parts.push(s("line", { class: "run", x1: x(low), x2: x(mine), y1: 7, y2: 7 }));
  for (const value of clocks) parts.push(s("line", { class: "tick", x1: x(value), x2: x(value), y1: 1, y2: 13 }));
  if (mine !== null && mine !== undefined) parts.push(s("circle", { class: "model", cx: x(mine), cy: 7, r: 6 }));
  return s("svg", { class: "gauge", "aria-hidden": "true" }, ...parts);
}

function drawCards() {
  const wanted = ["mse", "tau_a", "stage_accuracy", "success_auroc", "failure_balanced_accuracy", "voc"];
  const { overall } = data.metrics;
  for (const column of wanted.map((key) => data.columns.find((c) => c.key === key))) {
    const clock = bestClock(overall, column);
    byId("cards").append(h("div", { class: "card", title: column.explains },
      h("div", { class: "name" }, column.label),
      h("div", { class: "value" }, number(overall.model[column.key])),
      gauge(column, overall),
      h("div", { class: "against" }, clock === null ? "no clock to compare with" : `better clock ${number(clock)}`)));
  }
}

function drawTable() {
  const { overall, per_quality: qualities, per_task: tasks, notes } = data.metrics;
  byId("table-about").textContent = "The model’s number, and below it the clock’s with the episode’s length known in hindsight" +
    (overall.clock_causal ? " · the causal clock’s, which knows the mean training length." : ".") + " Coloured where a clock is better, except for VOC, where a clock is right by construction.";
  const head = h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Episodes"),
    data.columns.map((c) => h("th", { scope: "col", title: c.explains }, c.label, c.better === "lower" ? " ↓" : " ↑"))));
  const body = h("tbody", {});
  const cell = (group, column) => {
    const mine = group.model[column.key], clock = bestClock(group, column);
    const loses = column.fair && mine !== null && clock !== null && (column.better === "lower" ? mine > clock : mine < clock);
    const theirs = clockNames.filter((name) => group[name]).map((name) => number(group[name][column.key]));
    const nothing = mine === null && clock === null;
    return h("td", {}, h("div", { class: loses ? "mine loses" : "mine", title: loses ? "a clock is better" : null }, number(mine)),
      nothing ? null : h("div", { class: "theirs" }, theirs.join(" · ")));
  };
  const row = (title, group, kind) => body.append(h("tr", { class: kind },
    h("th", { scope: "row" }, title, " ", h("span", { class: "count" }, `${group.episodes}`)), data.columns.map((c) => cell(group, c))));
  row("All", overall, "major");
  const several = Object.keys(tasks).length > 1;
  if (several) for (const [name, group] of Object.entries(qualities).filter(([name]) => known(name))) row(words(name), group, "minor");
  for (const [task, group] of Object.entries(tasks)) {
    row(task, group, "major");
    for (const [name, part] of Object.entries(group.per_quality).filter(([name]) => known(name))) row(words(name), part, "minor");
  }
  byId("table").append(head, body);
  byId("notes").append(...notes.map((note) => h("li", {}, note)), ...data.columns.map((c) => h("li", {}, h("strong", {}, c.label), `: ${c.explains}.`)));
}
