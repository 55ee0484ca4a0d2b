"use strict";
// Pictures: snapshots under a slider, one seed of them, two grids as a wipe.
const pictures = (() => {
  function slider(figure) {
    const frames = JSON.parse(figure.dataset.frames), count = Number(figure.dataset.count) || null;
    const image = figure.querySelector("img"), canvas = figure.querySelector("canvas");
    const range = figure.querySelector("input[type=range]"), output = figure.querySelector("output"), play = figure.querySelector("[data-play]");
    const choice = figure.querySelector(".seed select");
    // Those that are shown, and the next ones on either side: there may be hundreds.
    const loaded = [];
    const load = (number) => { if (frames[number] && !loaded[number]) { loaded[number] = new Image(); loaded[number].src = frames[number].address; } return loaded[number]; };
    let seed = null, timer = null;
    // Snapshot pictures are the squarest grid of the seeds from 0 on, two white pixels between images.
    const gap = 2;
    const columns = () => (count ? Math.ceil(Math.sqrt(count)) : guess(image));
    const rows = () => (count ? Math.ceil(count / columns()) : Math.max(1, Math.round((columns() * image.naturalHeight) / image.naturalWidth)));
    const show = () => {
      const number = Number(range.value), frame = frames[number];
      output.textContent = `${(frame.images ?? 0).toLocaleString("en")} images seen`;
      image.src = frame.address;
      const picture = load(number);
      load(number + 1); load(number - 1);
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
    // In the place of an earlier slider, which knew fewer snapshots, it stands where that stood.
    figure.place = () => ({ number: Number(range.value), isLast: Number(range.value) >= frames.length - 1, seed });
    const place = figure.before?.place?.();
    if (place && !place.isLast) range.value = String(place.number);
    if (place && place.seed !== null) follow(place.seed);
    else if (place) show();
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

  // All sliders of a page at once, at a share of the training.
  function slide(share) {
    document.querySelectorAll("[data-slider]").forEach((figure) => figure.slide(share));
  }

  return { slider, wipe, slide };
})();
