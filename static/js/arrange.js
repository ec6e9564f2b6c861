// An album put into order: by dragging with mouse or finger, by the arrow keys on a handle, by the
// buttons. Each move is sent at once, one after the other, and said for who cannot see it.

const list = document.querySelector("[data-arrange]");
const form = list.closest("form");
const said = document.querySelector("[data-said]");
const EDGE = 70; // pixels from the edge of the window where it begins to scroll
let sending = Promise.resolve();

for (const part of document.querySelectorAll("[data-scripted]")) part.hidden = false;

const rows = () => [...list.children];

function tell(row, index) {
  said.textContent = `${row.dataset.name} is now ${index + 1} of ${list.children.length}`;
}

// Told by its new neighbour: what others move meanwhile does not change where it belongs.
function send(row) {
  const before = row.nextElementSibling?.dataset.id ?? "";
  const body = new URLSearchParams({ item: row.dataset.id, before });
  sending = sending.then(async () => {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
  }).catch(() => {
    location.replace("?arrange=1&lost=1"); // which tells of it
    return new Promise(() => {}); // and what waits is not sent
  });
}

function place(row, index) {
  const others = rows().filter((one) => one !== row);
  const to = Math.max(0, Math.min(index, others.length));
  const changed = rows().indexOf(row) !== to;
  if (changed) {
    list.insertBefore(row, others[to] ?? null);
    send(row);
  }
  tell(row, to);
}

function columns() {
  const all = rows();
  return all.filter((row) => row.offsetTop === all[0].offsetTop).length;
}

list.addEventListener("keydown", (event) => {
  const grip = event.target.closest("[data-grip]");
  if (!grip || event.altKey || event.ctrlKey || event.metaKey) return;
  const row = grip.closest("[data-id]");
  const index = rows().indexOf(row);
  const to = {
    ArrowLeft: index - 1,
    ArrowRight: index + 1,
    ArrowUp: Math.max(0, index - columns()),
    ArrowDown: index + columns(),
    Home: 0,
    End: list.children.length - 1,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  place(row, to);
  grip.focus();
  row.scrollIntoView({ block: "nearest" });
});

list.addEventListener("click", (event) => {
  const button = event.target.closest("[name=earlier], [name=later]");
  if (!button) return;
  event.preventDefault();
  const row = button.closest("[data-id]");
  place(row, rows().indexOf(row) + (button.name === "earlier" ? -1 : 1));
  button.focus();
});

// Dragging: what is held follows the pointer; a line shows where it would go.

let held = null;

list.addEventListener("pointerdown", (event) => {
  const row = event.target.closest("[data-id]");
  const grip = event.target.closest("[data-grip]");
  if (!row || event.button || held) return;
  // A finger on the picture scrolls the page; one on the handle drags.
  if (!grip && (event.pointerType !== "mouse" || event.target.closest("button"))) return;
  event.preventDefault();
  held = { row, id: event.pointerId, x: event.pageX, y: event.pageY, at: event, target: null };
  (grip ?? row.querySelector("[data-grip]")).focus();
  row.classList.add("held");
  list.setPointerCapture(event.pointerId);
  requestAnimationFrame(follow);
});

list.addEventListener("pointermove", (event) => {
  if (held?.id === event.pointerId) held.at = event;
});

function follow() {
  if (!held) return;
  const { row, at } = held;
  if (at.clientY < EDGE) scrollBy(0, -12);
  else if (at.clientY > innerHeight - EDGE) scrollBy(0, 12);
  row.style.translate = `${at.clientX + scrollX - held.x}px ${at.clientY + scrollY - held.y}px`;
  mark(null);
  const over = document.elementFromPoint(at.clientX, at.clientY)?.closest("[data-arrange] > [data-id]");
  if (over && over !== row) {
    const box = over.getBoundingClientRect();
    mark({ over, side: at.clientX < box.left + box.width / 2 ? "before" : "behind" });
  }
  requestAnimationFrame(follow);
}

function mark(target) {
  held.target?.over.classList.remove("before", "behind");
  target?.over.classList.add(target.side);
  held.target = target;
}

function end(keep) {
  const { row, target } = held;
  mark(null);
  row.style.translate = "";
  row.classList.remove("held");
  held = null;
  if (!keep || !target) return;
  const others = rows().filter((one) => one !== row);
  place(row, others.indexOf(target.over) + (target.side === "behind" ? 1 : 0));
  row.querySelector("[data-grip]").focus({ preventScroll: true });
}

list.addEventListener("pointerup", (event) => {
  if (held?.id !== event.pointerId) return;
  held.at = event;
  follow();
  end(true);
});
list.addEventListener("pointercancel", (event) => { if (held?.id === event.pointerId) end(false); });
document.addEventListener("keydown", (event) => { if (held && event.key === "Escape") end(false); });
