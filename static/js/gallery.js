// Thumbnails come gently: those near the view, a few at a time, since the server may first have to
// make them; and the grid goes on by itself near its end.

const AT_ONCE = 3;
const WAITS = [1000, 2000, 4000, 8000, 15000]; // milliseconds between two tries of a busy server

const waiting = [];
let loading = 0;

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    waiting.push({ image: target, tries: 0 });
  }
  next();
}, { rootMargin: "400px" });

function next() {
  while (loading < AT_ONCE && waiting.length) load(waiting.shift());
}

async function load(entry) {
  const { image, tries } = entry;
  loading += 1;
  if (await shows(image, image.dataset.src + (tries ? `?again=${tries}` : ""))) {
    image.dataset.shown = "";
  } else if (tries < WAITS.length && await isBusy(image.dataset.src)) {
    entry.tries += 1;
    setTimeout(() => { waiting.push(entry); next(); }, WAITS[tries]);
  } else {
    image.remove(); // there is none, and the icon below it stays
  }
  loading -= 1;
  next();
}

function shows(image, address) {
  return new Promise((tell) => {
    image.addEventListener("load", () => tell(true), { once: true });
    image.addEventListener("error", () => tell(false), { once: true });
    image.src = address;
  });
}

// An image does not say why it failed.
async function isBusy(address) {
  try {
    return (await fetch(address, { method: "HEAD" })).status === 503;
  } catch {
    return true;
  }
}

function watch(part) {
  for (const image of part.querySelectorAll("img[data-src]")) near.observe(image);
}

watch(document);

const grid = document.querySelector("[data-grid]");
const older = document.querySelector("[data-older]");

if (grid && older) {
  const observer = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting || older.ariaBusy === "true") return;
    older.ariaBusy = "true";
    try {
      const answer = await fetch(older.href);
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of page.querySelectorAll("noscript")) part.remove();
      const tiles = [...page.querySelectorAll("[data-grid] > li")];
      grid.append(...tiles.map((tile) => document.adoptNode(tile)));
      watch(grid);
      const link = page.querySelector("[data-older]");
      older.ariaBusy = "false";
      observer.unobserve(older);
      if (!link) return older.remove();
      older.href = link.getAttribute("href");
      observer.observe(older); // anew, since it tells only of changes: the end may still be near
    } catch {
      older.ariaBusy = "false";
      observer.disconnect(); // the link is still there
    }
  }, { rootMargin: "600px" });
  observer.observe(older);
}
