"use strict";
// A page at work: what it consists of is started, and follows what happens at the server.
(() => {
  // Milliseconds from one look at the server to the next where something happens, and where nothing does.
  const often = 2000, seldom = 60000;
  // Of the time at most this share is spent on looking.
  const share = 1 / 20;

  // Logs follow while they are open.
  async function follow(log) {
    const from = log.dataset.end ? `&from=${log.dataset.end}` : "";
    const answer = await fetch(log.dataset.log + from).catch(() => null);
    if (!answer?.ok) return;
    const { text, end } = await answer.json();
    if (log.dataset.end === String(end)) return;
    const pre = log.querySelector("pre"), atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4;
    if (!log.dataset.end) pre.textContent = "";
    log.dataset.end = String(end);
    pre.append(text);
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  }

  // What starts each kind of element.
  const starts = {
    "[data-chart]": charts.start,
    "[data-slider]": pictures.slider,
    "[data-wipe]": pictures.wipe,
    "[data-log]": (log) => { if (!charts.isFile) log.addEventListener("toggle", () => { if (log.open) follow(log); }); },
    "[data-together]": (range) => range.addEventListener("input", () => pictures.slide(Number(range.value) / 100)),
    "[data-controls]": (form) => {
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("input", () => {
        const { axis, smoothing, log } = form.elements;
        charts.obey(axis.value, Number(smoothing.value), log.checked);
      });
    },
    "[data-filter]": (input) => input.addEventListener("input", () => {
      const text = input.value.toLowerCase();
      document.querySelectorAll(`#${input.dataset.filter} tbody tr`).forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(text); });
    }),
  };
  const started = new Set();
  function start() {
    for (const element of started) if (!element.isConnected) { charts.end(element); started.delete(element); }
    for (const [selector, begin] of Object.entries(starts)) {
      for (const element of document.querySelectorAll(selector)) if (!started.has(element)) { started.add(element); begin(element); }
    }
  }
  start();
  if (charts.isFile || !window.EventSource) return;

  // These are the scripts' own once started: they stay, unless the server has other data for them.
  const own = "[data-chart], [data-slider], [data-wipe], [data-log], #live";
  // What a person has opened or filtered stays so.
  const personal = ["open", "hidden"];

  // Makes a part of the page what the server says, and touches nothing that is so already.
  function become(old, now) {
    if (old.isEqualNode(now)) return;
    if (old.nodeName !== now.nodeName || old.id !== now.id) { old.replaceWith(now); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) { old.data = now.data; return; }
    if (old.matches(own)) {
      if (Array.from(now.attributes).every(({ name, value }) => old.getAttribute(name) === value)) return;
      now.before = old;
      old.replaceWith(now);
      return;
    }
    for (const { name } of Array.from(old.attributes)) if (!now.hasAttribute(name) && !personal.includes(name)) old.removeAttribute(name);
    for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value && !personal.includes(name)) old.setAttribute(name, value);
    const wanted = new Set(Array.from(now.children, (child) => child.id));
    const known = new Map(Array.from(old.children).filter((child) => child.id).map((child) => [child.id, child]));
    let place = old.firstChild;
    for (const child of Array.from(now.childNodes)) {
      while (place?.id && !wanted.has(place.id)) { const gone = place; place = place.nextSibling; gone.remove(); }
      const match = child.id ? known.get(child.id) : place && !place.id ? place : null;
      if (!match) { old.insertBefore(child, place); continue; }
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      become(match, child);
    }
    while (place) { const gone = place; place = place.nextSibling; gone.remove(); }
  }

  const main = document.getElementById("content"), live = document.getElementById("live");
  let activity = { newest: null, running: [] };
  // The runs whose points and logs have to be asked for: those that are running, and those that were.
  let moving = new Set();

  async function look() {
    const runs = moving;
    moving = new Set(activity.running);
    const logs = Array.from(document.querySelectorAll("[data-log]"));
    const open = logs.filter((log) => log.open && runs.has(decodeURIComponent(log.dataset.log.split("/")[3])));
    const asked = fetch(location.href, { cache: "no-store" }).catch(() => null);
    const [answer] = await Promise.all([asked, charts.extend(runs), ...open.map(follow)]);
    // The next event asks again.
    if (!answer?.ok && answer?.status !== 404) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = page.title;
    for (const part of ["header", "main"]) become(document.querySelector(part), page.querySelector(part));
    start();
  }

  // One look at a time, `often` apart, and none while nobody sees the page.
  let due = null, looking = false, again = false, begun = performance.now(), took = 0;
  function soon() {
    if (looking) again = true;
    if (looking || due || document.hidden) return;
    due = setTimeout(async () => {
      due = null;
      if (document.hidden) return;
      looking = true;
      begun = performance.now();
      await look();
      took = performance.now() - begun;
      looking = false;
      if (again) { again = false; soon(); }
    }, begun + Math.max(often, took / share) - performance.now());
  }

  function concerns(now) {
    const follows = main.dataset.follows.split(" ");
    const runs = [...now.running, ...activity.running];
    return now.newest !== activity.newest || follows.includes("*") || runs.some((run) => follows.includes(run));
  }

  let source = null;
  function connect() {
    source = new EventSource("/events");
    let first = true;
    source.addEventListener("change", (event) => {
      live.textContent = "live";
      const now = JSON.parse(event.data);
      const changed = !first && concerns(now);
      first = false;
      for (const run of now.running) moving.add(run);
      activity = now;
      if (changed) soon();
    });
    source.addEventListener("error", () => { live.textContent = "not connected"; });
  }
  connect();
  // Times such as "3 s ago" grow old.
  setInterval(soon, seldom);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source.close(); return; }
    connect();
    soon();
  });
  addEventListener("pagehide", () => source.close());
})();
