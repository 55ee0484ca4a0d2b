"use strict";
// Charts: lines, the heat map, the scatter. Each is drawn while it is in view, and again only where that can be seen.
const charts = (() => {
  const inline = document.getElementById("inline-data");
  const kept = inline ? JSON.parse(inline.textContent) : null;
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const keys = () => Array.from({ length: 8 }, (_, number) => color(`--key-${number}`));
  const dashes = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
  const controls = { axis: "steps", smoothing: 0, log: false };
  // Of a whole series; more points than twice that are thinned by the server.
  const intervals = 700;

  const short = (value, digits = 4) => {
    if (value == null || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1e9) return `${+(value / 1e9).toPrecision(digits)}G`;
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(digits)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(digits)}k`;
    return String(+value.toPrecision(digits));
  };
  // Labels of an axis: with as many digits as tell them apart.
  const labels = (_, ticks) => {
    const finite = ticks.filter((tick) => tick != null);
    let digits = 3;
    while (digits < 9 && new Set(finite.map((tick) => short(tick, digits))).size < finite.length) digits++;
    return ticks.map((tick) => (tick == null ? "" : short(tick, digits)));
  };
  // What is zero throughout is drawn at the foot.
  const range = (_, lowest, highest) => (lowest === 0 && highest === 0 ? [0, 1] : lowest == null ? [null, null] : uPlot.rangeNum(lowest, highest, 0.1, true));
  const clock = (seconds) => {
    const sign = seconds < 0 ? "-" : "";
    const whole = Math.round(Math.abs(seconds));
    const hours = Math.floor(whole / 3600), minutes = Math.floor((whole % 3600) / 60);
    return hours ? `${sign}${hours} h ${String(minutes).padStart(2, "0")}` : `${sign}${minutes}:${String(whole % 60).padStart(2, "0")}`;
  };
  const axes = () => ({ stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") }, size: 56 });

  // An answer as JSON; null where there is none, and while the server is not connected.
  async function ask(address) {
    const answer = await fetch(address).catch(() => null);
    return answer?.ok ? answer.json() : null;
  }

  // A series of a run, and its points as far as they are known.
  class Series {
    constructor({ label, address, key }) {
      Object.assign(this, { label, address, key, points: null });
      const url = new URL(address, "http://localhost");
      this.run = decodeURIComponent(url.pathname.split("/")[3]);
      this.name = url.searchParams.get("name");
      // Where the points of all series of the stage are.
      this.stage = `${url.pathname}?stage=${encodeURIComponent(url.searchParams.get("stage"))}`;
    }

    get last() { return this.points?.steps.at(-1) ?? 0; }

    async load(range) {
      if (kept) { this.points = kept[this.address] ?? null; return; }
      const part = range ? `&from=${Math.floor(range[0])}&to=${Math.ceil(range[1])}` : "";
      this.points = await ask(`${this.address}${part}&intervals=${intervals}`);
    }

    // Appends points that begin with the last known one. False where they don't: after a restart from a checkpoint.
    extend(more) {
      if (!this.points || !more) return false;
      const { steps, times, values } = this.points;
      const same = more.steps.indexOf(this.last);
      if (same < 0 || more.times[same] !== times.at(-1) || steps.length > 4 * intervals) return false;
      for (let number = same + 1; number < more.steps.length; number++) {
        steps.push(more.steps[number]);
        times.push(more.times[number]);
        values.push(more.values[number]);
      }
      return true;
    }
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

  // What charts of series have in common.
  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.box = figure.querySelector(".plot");
      this.series = JSON.parse(figure.dataset.series).map((one) => new Series(one));
      this.range = null;
      this.visible = false;
      this.stale = false;
    }

    get width() { return Math.max(240, this.box.clientWidth); }

    async load() {
      await Promise.all(this.series.map((one) => one.load(this.range)));
      this.draw();
    }

    // The series that are to be extended; what is zoomed in stays as it is.
    get followed() { return this.range || !this.drawn ? [] : this.series.filter((one) => one.points); }

    // Draws again where new points would be seen: they are a pixel wide, or lie beyond what is drawn.
    changed() {
      if (this.held || !this.drawn) return;
      this.stale ||= this.shows();
      if (this.stale && this.visible) this.draw();
    }

    shows() {
      const { series, lowest, highest } = this.drawn;
      return this.series.some((one, place) => {
        const { points, last } = series[place];
        if (one.points !== points) return true;
        if (!points || one.last === last) return false;
        const { steps, values } = points;
        if ((one.last - last) * this.width >= one.last - steps[0]) return true;
        for (let number = steps.length - 1; steps[number] > last; number--) {
          const value = values[number];
          if (value == null || value < lowest || value > highest) return true;
        }
        return false;
      });
    }

    remember() {
      let lowest = Infinity, highest = -Infinity;
      for (const { points } of this.series) for (const value of points?.values ?? []) {
        if (value == null) continue;
        if (value < lowest) lowest = value;
        if (value > highest) highest = value;
      }
      this.drawn = { series: this.series.map(({ points, last }) => ({ points, last })), lowest, highest };
      this.stale = false;
      this.figure.dataset.draws = String(Number(this.figure.dataset.draws ?? 0) + 1);
    }
  }

  class Lines extends Chart {
    xs({ points: { steps, times } }) {
      // What is drawn does not grow by itself.
      if (controls.axis === "steps") return steps.slice();
      return controls.axis === "time" ? times.map((time) => time / 1000) : times.map((time) => (time - times[0]) / 1000);
    }

    // With `rebuild` what the controls or the colours decide is set again; otherwise new points alone.
    draw(rebuild = false) {
      this.remember();
      const shown = this.series.filter((one) => one.points);
      const columns = (values) => {
        const each = shown.map((one) => [this.xs(one), values(one.points.values)]);
        return each.length === 1 ? each[0] : each.length ? uPlot.join(each) : [[]];
      };
      // A logarithm knows positive values alone.
      const data = columns((values) => smooth(values, controls.smoothing).map((value) => (controls.log && value != null && value <= 0 ? null : value)));
      this.recorded = columns((values) => values);
      this.figure.dataset.points = String(data[0].length);
      const some = data.slice(1).some((values) => values.some((value) => value != null));
      if (this.plot && (rebuild || !some || this.plot.series.length !== data.length)) { this.plot.destroy(); this.plot = null; }
      if (this.plot) { this.plot.setData(data); return; }
      this.held = false;
      this.box.textContent = some ? "" : controls.log ? "no value above zero" : "no finite value";
      if (some) this.plot = new uPlot(this.options(shown), data, this.box);
      this.box.querySelector(".u-over")?.addEventListener("dblclick", () => {
        this.held = false;
        if (this.range) { this.range = null; this.load(); }
      });
    }

    options(shown) {
      const palette = keys(), axis = axes(), relative = controls.axis === "relative", steps = controls.axis === "steps";
      return {
        width: this.width,
        height: 230,
        scales: { x: { time: controls.axis === "time" }, y: controls.log ? { distr: 3 } : { range } },
        cursor: { drag: { x: true, y: false } },
        series: [
          { label: steps ? "images seen" : "time", value: (_, x) => (x == null ? "–" : steps ? x.toLocaleString("en") : relative ? clock(x) : new Date(x * 1000).toLocaleString()) },
          ...shown.map((one) => ({
            label: one.label,
            stroke: palette[one.key % 8],
            dash: dashes[Math.floor(one.key / 8) % 4],
            width: 1.6,
            points: { show: (_, __, from, to) => to - from < 40, size: 6, fill: palette[one.key % 8] },
            value: (_, value, column, row) => this.value(value, column, row),
          })),
        ],
        axes: [
          { ...axis, size: 34, values: relative ? (_, ticks) => ticks.map(clock) : steps ? labels : undefined },
          { ...axis, values: labels },
        ],
        hooks: { setSelect: [(plot) => this.zoom(plot)] },
      };
    }

    // What the legend says: a gap is a value that was recorded and is none.
    value(value, column, row) {
      if (row == null) return "–";
      if (value != null) return short(value);
      const recorded = this.recorded[column]?.[row];
      return recorded === null ? "NaN" : short(recorded);
    }

    // Zoomed in, the server is asked again: exact points where they fit.
    zoom(plot) {
      if (plot.select.width < 8) return;
      this.held = true;
      if (controls.axis !== "steps" || kept) return;
      const from = plot.posToVal(plot.select.left, "x"), to = plot.posToVal(plot.select.left + plot.select.width, "x");
      this.range = [from, to];
      this.load();
    }

    resize() { this.plot?.setSize({ width: this.width, height: 230 }); }

    destroy() { this.plot?.destroy(); }
  }

  // Loss by noise level (rows) and images seen (columns): the logarithm as lightness, so that no colours have to be distinguished.
  class Heatmap extends Chart {
    draw() {
      this.remember();
      const rows = this.series.filter((one) => one.points).reverse();
      const last = Math.max(...rows.map((row) => row.last), 1);
      const logs = rows.map((row) => row.points.values.map((value) => (value > 0 ? Math.log(value) : NaN)));
      let low = Infinity, high = -Infinity, count = 0;
      for (const log of logs.flat()) if (log === log) { low = Math.min(low, log); high = Math.max(high, log); count++; }
      this.figure.dataset.points = String(count);
      if (!count) { this.box.textContent = "no finite value"; this.canvas = null; return; }
      const left = 84, cell = 22, width = this.width, height = rows.length * cell + 24;
      const ratio = window.devicePixelRatio || 1;
      this.canvas ?? this.build();
      const { canvas, cells, scale } = this;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
        canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
      }
      canvas.setAttribute("aria-label", `loss by noise level, from ${short(Math.exp(low))} to ${short(Math.exp(high))}`);
      // A pixel a column and a row, made larger in one go.
      const across = Math.round(width - left);
      cells.width = across; cells.height = rows.length;
      const paint = cells.getContext("2d");
      const image = paint.createImageData(across, rows.length);
      rows.forEach((row, line) => {
        const { steps } = row.points;
        for (let column = 0, number = 0; column < across; column++) {
          const step = ((column + 0.5) / across) * last;
          while (number < steps.length && steps[number] < step) number++;
          if (number === steps.length) break;
          const log = logs[line][number];
          if (log !== log) continue;
          const share = high > low ? (log - low) / (high - low) : 0.5;
          image.data.set(this.shades[Math.round(share * 255)], (line * across + column) * 4);
        }
      });
      paint.putImageData(image, 0, 0);
      const brush = canvas.getContext("2d");
      brush.setTransform(ratio, 0, 0, ratio, 0, 0);
      brush.clearRect(0, 0, width, height);
      brush.imageSmoothingEnabled = false;
      brush.font = "12px system-ui, sans-serif";
      brush.textBaseline = "middle";
      rows.forEach((row, line) => {
        brush.fillStyle = color("--muted");
        brush.fillText(`σ ${row.label}`, 0, line * cell + cell / 2);
        brush.drawImage(cells, 0, line, across, 1, left, line * cell + 1, width - left, cell - 2);
      });
      brush.fillStyle = color("--muted");
      brush.fillText("0", left, height - 10);
      const label = `${short(last)} images`;
      brush.fillText(label, width - brush.measureText(label).width, height - 10);
      scale.firstChild.data = short(Math.exp(low));
      scale.lastChild.data = short(Math.exp(high));
    }

    build() {
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("role", "img");
      this.cells = document.createElement("canvas");
      const ramp = document.createElement("canvas");
      ramp.width = 256; ramp.height = 1;
      const paint = ramp.getContext("2d", { willReadFrequently: true });
      for (let x = 0; x < 256; x++) {
        paint.fillStyle = `hsl(${250 - (200 * x) / 255} 70% ${22 + (62 * x) / 255}%)`;
        paint.fillRect(x, 0, 1, 1);
      }
      const { data } = paint.getImageData(0, 0, 256, 1);
      this.shades = Array.from({ length: 256 }, (_, x) => data.slice(4 * x, 4 * x + 4));
      this.scale = document.createElement("div");
      this.scale.className = "scale";
      this.scale.append("–", ramp, "–");
      this.box.textContent = "";
      this.box.append(this.canvas, this.scale);
    }

    resize() { this.draw(); }

    destroy() {}
  }

  // A spot a score, in the colour of its run.
  class Scatter {
    constructor(figure) {
      this.figure = figure;
      this.box = figure.querySelector(".plot");
      this.spots = JSON.parse(figure.dataset.spots).sort((one, other) => one.x - other.x);
      this.names = JSON.parse(figure.dataset.names);
      this.followed = [];
    }

    async load() { this.draw(); }

    changed() {}

    draw() {
      this.plot?.destroy();
      const axis = axes();
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
          { ...axis, label: this.figure.dataset.metric, labelSize: 20, values: labels },
        ],
      }, [xs, ...runs.map(([key]) => this.spots.map((spot, place) => (spot.key === key ? ys[place] : null)))], this.box);
      this.figure.dataset.points = String(xs.length);
    }

    resize() { this.plot?.setSize({ width: Math.max(240, this.box.clientWidth), height: 260 }); }

    destroy() { this.plot?.destroy(); }
  }

  const kinds = { lines: Lines, heatmap: Heatmap, scatter: Scatter };
  const all = new Map();
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const known = all.get(target);
      if (known) known.visible = isIntersecting;
      if (!isIntersecting) continue;
      if (!known) {
        const chart = new kinds[target.dataset.chart](target);
        chart.visible = true;
        all.set(target, chart);
        chart.load();
      } else if (known.stale) known.draw();
    }
  }, { rootMargin: "100px" });

  // Fetches what has come since for the series of these runs.
  async function extend(runs) {
    const stages = new Map();
    for (const chart of all.values()) for (const one of chart.followed) {
      if (runs.has(one.run)) stages.set(one.stage, [...(stages.get(one.stage) ?? []), one]);
    }
    await Promise.all(Array.from(stages, async ([stage, series]) => {
      const from = series.reduce((least, one) => Math.min(least, one.last), Infinity);
      const points = await ask(`${stage}&from=${from}&intervals=${intervals}`);
      if (!points) return;
      await Promise.all(series.map((one) => one.extend(points[one.name]) || one.load(null)));
    }));
    all.forEach((chart) => chart.changed());
  }

  const redraw = () => all.forEach((chart) => chart.draw(true));
  let resizing = null;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(() => all.forEach((chart) => chart.resize()), 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  return {
    extend,
    // A page that stands by itself, without a server.
    isFile: kept !== null,
    start(figure) { seen.observe(figure); },
    end(figure) { seen.unobserve(figure); all.get(figure)?.destroy(); all.delete(figure); },
    obey(axis, smoothing, log) { Object.assign(controls, { axis, smoothing, log }); redraw(); },
  };
})();
