// My files: how many are chosen stands on the buttons; a click with Shift chooses a range; links
// are copied without leaving the page; deleting asks once, here.

const form = document.querySelector("[data-shelf]");
if (form) enhance(form);

function enhance(form) {
  const boxes = [...form.querySelectorAll("input[name=id]")];
  const all = form.querySelector("[data-all]");
  const copy = form.querySelector("[data-links]");
  const erase = form.querySelector("[data-delete]");
  const told = copy.querySelector("[data-told]");
  const files = (count) => (count === 1 ? "1 file" : `${count} files`);
  let last = null;

  function update() {
    const chosen = boxes.filter((box) => box.checked);
    const links = chosen.map((box) => box.dataset.link).filter(Boolean);
    all.checked = chosen.length === boxes.length;
    all.indeterminate = chosen.length > 0 && !all.checked;
    erase.textContent = `Delete ${files(chosen.length)}`;
    told.textContent = links.length === 1 ? "Copy link" : `Copy ${links.length} links`;
    copy.disabled = links.length === 0;
    copy.dataset.copy = links.join("\n"); // page.js copies it
  }

  copy.type = "button";
  form.addEventListener("click", (event) => {
    const box = event.target.closest("input[name=id]");
    if (!box) return;
    if (event.shiftKey && last) {
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
      for (const one of boxes.slice(from, to + 1)) one.checked = box.checked;
    }
    last = box;
    update();
  });
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    update();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const box of boxes) box.checked = false;
    update();
  });
  form.addEventListener("submit", (event) => {
    if (event.submitter !== erase) {
      const isExpiry = !event.submitter?.name; // pins have one
      if (isExpiry && !("into" in (event.submitter?.dataset ?? {})) && !form.querySelector("[data-expires]").value) event.preventDefault();
      return;
    }
    const count = boxes.filter((box) => box.checked).length;
    const them = count === 1 ? "it" : "them";
    if (!window.confirm(`Delete ${files(count)}? Nobody can bring ${them} back.`)) {
      event.preventDefault();
      return;
    }
    const sure = Object.assign(document.createElement("input"), { type: "hidden", name: "sure", value: "1" });
    form.append(sure);
    setTimeout(() => sure.remove()); // gone again when the browser comes back to this page
  });
  window.addEventListener("pageshow", update);
  update();
}
