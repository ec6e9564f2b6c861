// An album looked through: a click opens a picture or film over the page, arrow keys and swipes go
// on. Other files, and clicks with a key held, go where the link leads.

for (const part of document.querySelectorAll("[data-scripted]")) part.hidden = false;

const links = [...document.querySelectorAll("[data-full]")];
const viewer = document.querySelector("[data-viewer]");
const stage = viewer?.querySelector("[data-stage]");
let at = 0;

function show(index) {
  at = (index + links.length) % links.length;
  const { full, kind, name } = links[at].dataset;
  const shown = document.createElement(kind === "video" ? "video" : "img");
  shown.src = full;
  if (kind === "video") Object.assign(shown, { controls: true, playsInline: true });
  else shown.alt = name;
  stage.replaceChildren(shown);
  viewer.querySelector("[data-caption]").textContent = `${name} · ${at + 1} of ${links.length}`;
  viewer.querySelector("[data-page]").href = links[at].href;
  for (const button of viewer.querySelectorAll("[data-step]")) button.hidden = links.length < 2;
  const next = links[(at + 1) % links.length].dataset;
  if (next.kind === "image") new Image().src = next.full;
}

for (const [index, link] of links.entries()) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(index);
    viewer.showModal();
  });
}

viewer?.addEventListener("click", (event) => {
  const step = event.target.closest("[data-step]");
  if (step) show(at + Number(step.dataset.step));
  else if (event.target.closest("[data-close]") || event.target === stage) viewer.close();
});

viewer?.addEventListener("keydown", (event) => {
  if (event.target.closest("video") || links.length < 2) return;
  if (event.key === "ArrowLeft") show(at - 1);
  if (event.key === "ArrowRight") show(at + 1);
});

viewer?.addEventListener("close", () => {
  stage.replaceChildren(); // a film must not go on
  links[at].focus();
});

let from = null;
stage?.addEventListener("touchstart", (event) => {
  from = event.touches.length === 1 ? event.touches[0].clientX : null;
}, { passive: true });
stage?.addEventListener("touchend", (event) => {
  const way = from === null ? 0 : event.changedTouches[0].clientX - from;
  if (Math.abs(way) > 60 && links.length > 1) show(at + (way < 0 ? 1 : -1));
});
