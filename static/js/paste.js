// A text file that is dropped fills the form; the size is told before it is too much; Ctrl+Enter
// sends. The Tab key goes on to the next field, as everywhere.

const form = document.querySelector("[data-paste]");
const { title, text } = form.elements;
const fault = form.querySelector("[data-fault]");
const told = form.querySelector("[data-size]");
const most = Number(form.dataset.max);

function refuse(sentence) {
  fault.textContent = sentence;
  fault.hidden = !sentence;
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : bytes < 2 ** 20 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 2 ** 20).toFixed(1)} MB`;
}

function measure() {
  const bytes = new Blob([text.value]).size;
  const lines = text.value.split("\n").length;
  told.textContent = bytes ? `${lines} ${lines === 1 ? "line" : "lines"}, ${size(bytes)}` : "";
  refuse(bytes > most ? `This is ${size(bytes)}; a paste has at most ${size(most)}.` : "");
  return bytes <= most;
}

async function take(file) {
  if (file.size > most) return refuse(`${file.name} has ${size(file.size)}; a paste has at most ${size(most)}.`);
  try {
    const content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (content.includes("\0")) throw new TypeError("NUL");
    text.value = content;
    if (!title.value) title.value = file.name;
    measure();
    text.focus();
  } catch {
    refuse(`${file.name} is not text; send it as a file by the upload page.`);
  }
}

for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    form.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) form.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  form.classList.remove("over");
  const [file, more] = event.dataTransfer.files;
  if (!file) return;
  event.preventDefault();
  if (more) refuse("Drop one file at a time.");
  else take(file);
});

let waiting = 0;
text.addEventListener("input", () => { // measured at leisure: the text may be long
  clearTimeout(waiting);
  waiting = setTimeout(measure, 150);
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
form.addEventListener("submit", (event) => {
  if (!measure()) event.preventDefault();
});
measure();
