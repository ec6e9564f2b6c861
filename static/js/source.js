// Lines of a text: #L10 and #L10-L20 in the address mark them, a click on a number chooses one and
// with Shift up to there; the whole text is copied.

const list = document.querySelector(".lines");
const copy = document.querySelector("[data-copy-lines]");
let from = null;

function mark() {
  const [, first, last] = /^#L(\d{1,6})(?:-L?(\d{1,6}))?$/.exec(location.hash) ?? [];
  for (const line of list.querySelectorAll(".marked")) line.classList.remove("marked");
  if (!first) return;
  from = Number(first);
  const [start, end] = [from, Number(last ?? first)].sort((a, b) => a - b);
  const lines = [...list.children].slice(Math.max(0, start - 1), end);
  for (const line of lines) line.classList.add("marked");
  if (last) lines[0]?.scrollIntoView({ block: "center" }); // a single line the browser finds itself
}

list.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || !event.shiftKey || from === null) return;
  event.preventDefault(); // which would open a window
  const here = Number(link.hash.slice(2));
  const start = from;
  history.replaceState(null, "", `#L${Math.min(start, here)}-L${Math.max(start, here)}`);
  mark();
  from = start;
});

copy.hidden = false;
copy.addEventListener("click", async () => {
  const text = copy.textContent;
  try {
    await navigator.clipboard.writeText(list.textContent);
    copy.textContent = "Copied";
  } catch {
    // Without https a browser gives no clipboard: the text is chosen, and the person copies it.
    getSelection().selectAllChildren(list);
    copy.textContent = "Now press Ctrl+C";
  }
  setTimeout(() => { copy.textContent = text; }, 1500);
});

window.addEventListener("hashchange", mark);
mark();
