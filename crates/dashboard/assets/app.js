"use strict";
// Charts, sliders and live changes of the pages. Without it tables, pictures and outlines are all there.
(() => {
  const inline = document.getElementById("inline-data");
  const kept = inline ? JSON.parse(inline.textContent) : null;
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const keys = () => Array.from({ length: 8 }, (_, number) => color(`--key-${number}`));
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
  const controls = { axis: "steps", smoothing: 0, log: false };
  const charts = [];

  const short = (value) => {
    if (value == null || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)}G`;
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
    return String(+value.toPrecision(4));
  };
  const clock = (seconds) => {
    const sign = seconds < 0 ? "-" : "";
    const whole = Math.round(Math.abs(seconds));
    const hours = Math.floor(whole / 3600), minutes = Math.floor((whole % 3600) / 60);
    return hours ? `${sign}${hours} h ${String(minutes).padStart(2, "0")}` : `${sign}${minutes}:${String(whole % 60).padStart(2, "0")}`;
  };

  async function points(address, range) {
    if (kept) return kept[address] ?? null;
    const extra = range ? `&from=${Math.floor(range[0])}&to=${Math.ceil(range[1])}` : "";
    const answer = await fetch(`${address}${extra}&intervals=700`);
    return answer.ok ? answer.json() : null;
  }

  // An exponential average that starts without a bias towards zero.
  function smooth(values, weight) {
    if (!weight) return values;
    let sum = 0, mass = 0;
    return values.map((value) => {
      if (value == null) return value;
      sum = weight * sum + (1 - weight) * value;
      mass = weight * mass + (1 - weight);
      return sum / mass;
    });
  }

  class Lines {
    constructor(figure) {
      this.figure = figure;
      this.box = figure.querySelector(".plot");
      this.series = JSON.parse(figure.dataset.series);
      this.range = null;
      this.plot = null;
    }

    async load() {
      const answers = await Promise.all(this.series.map((one) => points(one.address, this.range)));
      this.data = this.series.map((one, number) => ({ ...one, points: answers[number] })).filter((one) => one.points);
      this.draw();
    }

    xs(one) {
      const { steps, times } = one.points;
      if (controls.axis === "steps") return steps;
      const seconds = times.map((time) => time / 1000);
      return controls.axis === "time" ? seconds : seconds.map((time) => time - seconds[0]);
    }

    draw() {
      const shown = this.data ?? [];
      const drawn = shown.map((one) => {
        const values = smooth(one.points.values, controls.smoothing);
        // A logarithm knows positive values alone.
        return [this.xs(one), values.map((value) => (controls.log && value != null && value <= 0 ? null : value))];
      });
      this.plot?.destroy();
      this.plot = null;
      const some = drawn.some(([, values]) => values.some((value) => value != null));
      this.box.textContent = some ? "" : "no finite value";
      if (!some) return;
      const palette = keys();
      const data = drawn.length === 1 ? drawn[0] : uPlot.join(drawn);
      const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") }, size: 56 };
      const relative = controls.axis === "relative";
      this.plot = new uPlot({
        width: Math.max(240, this.box.clientWidth),
        height: 230,
        scales: { x: { time: controls.axis === "time" }, y: { distr: controls.log ? 3 : 1 } },
        cursor: { drag: { x: true, y: false } },
        legend: { live: true },
        series: [
          { label: controls.axis === "steps" ? "images seen" : "time", value: (_, x) => (x == null ? "–" : controls.axis === "steps" ? x.toLocaleString("en") : relative ? clock(x) : new Date(x * 1000).toLocaleString()) },
          ...shown.map((one, position) => ({
            label: one.label,
            stroke: palette[one.key % 8],
            dash: dashes[Math.floor(one.key / 8) % 4],
            width: 1.6,
            spanGaps: drawn.length > 1,
            points: { show: drawn[position][0].length <= 40, size: 6, fill: palette[one.key % 8] },
            value: (_, value) => short(value),
          })),
        ],
        axes: [
          { ...axis, size: 34, values: relative ? (_, ticks) => ticks.map(clock) : controls.axis === "steps" ? (_, ticks) => ticks.map(short) : undefined },
          { ...axis, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : short(tick))) },
        ],
        hooks: { setSelect: [(plot) => this.zoom(plot)] },
      }, data, this.box);
      this.box.querySelector(".u-over")?.addEventListener("dblclick", () => { this.range = null; this.load(); });
      this.figure.dataset.points = String(data[0].length);
    }

    // Zoomed in, the server is asked again: exact points where they fit.
    zoom(plot) {
      if (controls.axis !== "steps" || plot.select.width < 8 || kept) return;
      const from = plot.posToVal(plot.select.left, "x"), to = plot.posToVal(plot.select.left + plot.select.width, "x");
      this.range = [from, to];
      this.load();
    }
  }

  // Loss by noise level (rows) and images seen (columns): the logarithm as lightness, so that no colours have to be told apart.
  class Heatmap {
    constructor(figure) {
      this.figure = figure;
      this.box = figure.querySelector(".plot");
      this.series = JSON.parse(figure.dataset.series);
    }

    async load() {
      this.answers = await Promise.all(this.series.map((one) => points(one.address)));
      this.draw();
    }

    draw() {
      const rows = this.series.map((one, number) => ({ label: one.label, points: this.answers?.[number] })).filter((row) => row.points);
      const all = rows.flatMap((row) => row.points.values).filter((value) => value != null && value > 0);
      this.box.textContent = "";
      if (!all.length) { this.box.textContent = "no finite value"; return; }
      const logs = all.map(Math.log);
      const low = logs.reduce((a, b) => Math.min(a, b)), high = logs.reduce((a, b) => Math.max(a, b));
      const last = Math.max(...rows.map((row) => row.points.steps.at(-1) ?? 0), 1);
      const width = Math.max(240, this.box.clientWidth), left = 84, cell = 22, height = rows.length * cell + 24;
      const canvas = document.createElement("canvas");
      const ratio = window.devicePixelRatio || 1;
      canvas.width = width * ratio; canvas.height = height * ratio;
      canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `loss by noise level, from ${short(Math.exp(low))} to ${short(Math.exp(high))}`);
      const brush = canvas.getContext("2d");
      brush.scale(ratio, ratio);
      brush.font = "12px system-ui, sans-serif";
      brush.textBaseline = "middle";
      const shade = (log) => { const share = high > low ? (log - low) / (high - low) : 0.5; return `hsl(${250 - 200 * share} 70% ${22 + 62 * share}%)`; };
      rows.reverse().forEach((row, position) => {
        const top = position * cell;
        brush.fillStyle = color("--muted");
        brush.fillText(`σ ${row.label}`, 0, top + cell / 2);
        const { steps, values } = row.points;
        values.forEach((value, number) => {
          if (value == null || value <= 0) return;
          const begin = number ? steps[number - 1] : 0;
          const x = left + (begin / last) * (width - left), end = left + (steps[number] / last) * (width - left);
          brush.fillStyle = shade(Math.log(value));
          brush.fillRect(x, top + 1, Math.max(1, end - x + 0.5), cell - 2);
        });
      });
      brush.fillStyle = color("--muted");
      brush.fillText("0", left, height - 10);
      const label = `${short(last)} images`;
      brush.fillText(label, width - brush.measureText(label).width, height - 10);
      this.box.append(canvas);
      const scale = document.createElement("div");
      scale.className = "scale";
      const ramp = document.createElement("canvas");
      ramp.width = 64; ramp.height = 1;
      const paint = ramp.getContext("2d");
      for (let x = 0; x < 64; x++) { paint.fillStyle = shade(low + ((high - low) * x) / 63); paint.fillRect(x, 0, 1, 1); }
      scale.append(short(Math.exp(low)), ramp, short(Math.exp(high)));
      this.box.append(scale);
      this.figure.dataset.points = String(all.length);
    }
  }

  // A spot a score, in the colour of its run.
  class Scatter {
    constructor(figure) {
      this.figure = figure;
      this.box = figure.querySelector(".plot");
      this.spots = JSON.parse(figure.dataset.points).sort((one, other) => one.x - other.x);
      this.names = JSON.parse(figure.dataset.names);
    }

    async load() { this.draw(); }

    draw() {
      this.plot?.destroy();
      const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") }, size: 56 };
      const xs = this.spots.map((spot) => spot.x), ys = this.spots.map((spot) => spot.y);
      const lowest = Math.min(...xs), highest = Math.max(...xs), named = this.names.length > 0;
      // Settings such as learning rates are varied by factors.
      const factors = !named && lowest > 0 && highest / lowest >= 50;
      const margin = named ? 0.5 : (highest - lowest) * 0.06 || 1, factor = (highest / lowest) ** 0.06;
      const range = factors ? [lowest / factor, highest * factor] : [lowest - margin, highest + margin];
      const runs = [...new Map(this.spots.map((spot) => [spot.key, spot.run]))].sort((one, other) => one[0] - other[0]);
      const palette = keys();
      const name = (x) => (named ? (Number.isInteger(x) ? this.names[x] ?? "" : "") : short(x));
      this.plot = new uPlot({
        width: Math.max(240, this.box.clientWidth),
        height: 260,
        scales: { x: { time: false, distr: factors ? 3 : 1, range } },
        cursor: { drag: { x: false, y: false } },
        series: [
          { label: this.figure.dataset.title, value: (_, x) => (x == null ? "–" : name(x)) },
          ...runs.map(([key, run]) => ({
            label: run,
            stroke: palette[key % 8],
            paths: () => null,
            points: { show: true, size: 9, fill: palette[key % 8] },
            value: (_, y) => short(y),
          })),
        ],
        axes: [
          { ...axis, size: 34, ...(named ? { splits: this.names.map((_, place) => place) } : {}), values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : name(tick))) },
          { ...axis, label: this.figure.dataset.metric, labelSize: 20, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : short(tick))) },
        ],
      }, [xs, ...runs.map(([key]) => this.spots.map((spot, place) => (spot.key === key ? ys[place] : null)))], this.box);
      this.figure.dataset.drawn = String(xs.length);
    }
  }

  function slider(figure) {
    const frames = JSON.parse(figure.dataset.frames), count = Number(figure.dataset.count) || null;
    const image = figure.querySelector("img"), canvas = figure.querySelector("canvas");
    const range = figure.querySelector("input[type=range]"), output = figure.querySelector("output"), play = figure.querySelector("[data-play]");
    const choice = figure.querySelector(".seed select");
    const loaded = frames.map((frame) => { const one = new Image(); one.src = frame.address; return one; });
    let seed = null, timer = null;
    // Snapshot pictures are the squarest grid of the seeds from 0 on, two white pixels between images.
    const gap = 2;
    const columns = () => (count ? Math.ceil(Math.sqrt(count)) : guess(image));
    const rows = () => (count ? Math.ceil(count / columns()) : Math.max(1, Math.round((columns() * image.naturalHeight) / image.naturalWidth)));
    const show = () => {
      const number = Number(range.value), frame = frames[number];
      output.textContent = `${(frame.images ?? 0).toLocaleString("en")} images seen`;
      image.src = frame.address;
      const picture = loaded[number];
      if (seed !== null && picture.complete && picture.naturalWidth) {
        const across = (picture.naturalWidth - gap) / columns(), down = (picture.naturalHeight - gap) / rows();
        const side = across - gap, tall = down - gap;
        canvas.width = side; canvas.height = tall;
        canvas.getContext("2d").drawImage(picture, gap + (seed % columns()) * across, gap + Math.floor(seed / columns()) * down, side, tall, 0, 0, side, tall);
      } else if (seed !== null) picture.addEventListener("load", show, { once: true });
      image.hidden = seed !== null;
      canvas.hidden = seed === null;
      canvas.setAttribute("aria-label", `the sample of seed ${seed}`);
    };
    const follow = (number) => {
      seed = number;
      if (choice) choice.value = number === null ? "" : String(number);
      nearest(number);
      show();
    };
    if (choice && count) {
      for (let number = 0; number < count; number++) choice.append(new Option(String(number), String(number)));
      choice.closest("label").hidden = false;
      choice.addEventListener("change", () => follow(choice.value === "" ? null : Number(choice.value)));
    }
    image.addEventListener("click", (event) => {
      const place = image.getBoundingClientRect();
      const column = Math.floor(((event.clientX - place.left) / place.width) * columns()), row = Math.floor(((event.clientY - place.top) / place.height) * rows());
      const number = row * columns() + column;
      if (column >= 0 && row >= 0 && column < columns() && (!count || number < count)) follow(number);
    });
    canvas.addEventListener("click", () => follow(null));
    range.addEventListener("input", show);
    play.addEventListener("click", () => {
      if (timer) { clearInterval(timer); timer = null; play.textContent = "▶"; return; }
      play.textContent = "‖";
      if (Number(range.value) >= frames.length - 1) range.value = "0";
      show();
      timer = setInterval(() => {
        if (Number(range.value) >= frames.length - 1) { clearInterval(timer); timer = null; play.textContent = "▶"; return; }
        range.value = String(Number(range.value) + 1);
        show();
      }, 500);
    });
    figure.slide = (share) => { range.value = String(Math.round(share * (frames.length - 1))); show(); };
  }

  // Beside a seed that is followed, the training images nearest to its sample; of all seeds otherwise.
  function nearest(seed) {
    for (const section of document.querySelectorAll("[data-nearest]")) {
      const rows = Array.from(section.querySelectorAll("[data-seed]"));
      rows.forEach((row) => { row.hidden = seed !== null && Number(row.dataset.seed) !== seed; });
      section.querySelector("[data-none]").hidden = seed === null || rows.some((row) => !row.hidden);
    }
  }

  function wipe(figure) {
    const pictures = JSON.parse(figure.dataset.wipe);
    const box = figure.querySelector(".stagebox"), caption = figure.querySelector("figcaption");
    const select = (initial) => {
      const list = document.createElement("select");
      pictures.forEach((picture, number) => list.append(new Option(picture.run, String(number), false, number === initial)));
      return list;
    };
    const left = select(0), right = select(1), range = document.createElement("input");
    range.type = "range"; range.min = "0"; range.max = "100"; range.value = "50";
    range.setAttribute("aria-label", "Border between the two runs");
    left.setAttribute("aria-label", "Left run"); right.setAttribute("aria-label", "Right run");
    const below = new Image(), above = new Image();
    above.className = "over";
    box.append(below, above);
    caption.append(left, range, right);
    const show = () => {
      const one = pictures[Number(left.value)], other = pictures[Number(right.value)];
      below.src = other.address; above.src = one.address;
      below.alt = `samples of ${other.run}`; above.alt = `samples of ${one.run}`;
      above.style.clipPath = `inset(0 ${100 - Number(range.value)}% 0 0)`;
    };
    for (const control of [left, right, range]) control.addEventListener("input", show);
    show();
  }

  const kinds = { lines: Lines, heatmap: Heatmap, scatter: Scatter };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !entry.target.chart) {
      entry.target.chart = new kinds[entry.target.dataset.chart](entry.target);
      charts.push(entry.target.chart);
      entry.target.chart.load();
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll("[data-chart]").forEach((figure) => seen.observe(figure));
  document.querySelectorAll("[data-slider]").forEach(slider);
  document.querySelectorAll("[data-wipe]").forEach(wipe);
  document.querySelector("[data-together]")?.addEventListener("input", (event) => {
    document.querySelectorAll("[data-slider]").forEach((figure) => figure.slide(Number(event.target.value) / 100));
  });
  document.querySelectorAll("[data-controls]").forEach((form) => {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      controls.axis = form.elements.axis.value;
      controls.smoothing = Number(form.elements.smoothing.value);
      controls.log = form.elements.log.checked;
      charts.forEach((chart) => chart.draw());
    });
  });
  document.querySelectorAll("[data-filter]").forEach((input) => input.addEventListener("input", () => {
    const text = input.value.toLowerCase();
    document.querySelectorAll(`#${input.dataset.filter} tbody tr`).forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(text); });
  }));
  const redraw = () => charts.forEach((chart) => chart.draw());
  let resizing = null;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Logs follow while they are open.
  const logs = Array.from(document.querySelectorAll("[data-log]"));
  async function follow(log) {
    if (!log.open) return;
    const from = log.dataset.end ? `&from=${log.dataset.end}` : "";
    const answer = await fetch(log.dataset.log + from);
    if (!answer.ok) return;
    const { text, end } = await answer.json();
    const pre = log.querySelector("pre"), atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4;
    if (!log.dataset.end) pre.textContent = "";
    log.dataset.end = String(end);
    pre.append(text);
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  }
  if (!kept) logs.forEach((log) => log.addEventListener("toggle", () => follow(log)));

  // What carries `data-live` is taken from the page as it is now; what a person has opened or ticked stays so.
  async function refresh() {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = page.getElementById(old.id);
      if (!now || now.innerHTML === old.innerHTML) continue;
      const ticked = new Set(Array.from(old.querySelectorAll("input:checked"), (box) => box.value));
      const open = Array.from(old.querySelectorAll("details"), (details) => details.open);
      if (old.contains(document.activeElement) && document.activeElement.tagName !== "A") continue;
      old.innerHTML = now.innerHTML;
      old.querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked = ticked.has(box.value); });
      old.querySelectorAll("details").forEach((details, number) => { details.open = open[number] ?? details.open; });
    }
    charts.filter((chart) => !chart.range && chart instanceof Lines || chart instanceof Heatmap).forEach((chart) => chart.load());
    logs.forEach(follow);
  }
  if (!kept && window.EventSource) {
    const live = document.getElementById("live");
    const source = new EventSource("/events");
    let first = true, due = null, stale = false;
    source.addEventListener("change", () => {
      if (live) live.textContent = "live";
      if (first) { first = false; return; }
      // A page that nobody sees asks for nothing.
      if (document.hidden) { stale = true; return; }
      due ??= setTimeout(() => { due = null; refresh(); }, 200);
    });
    document.addEventListener("visibilitychange", () => { if (stale && !document.hidden) { stale = false; refresh(); } });
    source.addEventListener("error", () => { if (live) live.textContent = "not connected"; first = false; });
    addEventListener("pagehide", () => source.close());
  }
})();
