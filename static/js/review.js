// The queue by keyboard: arrows move, space ticks, a approves and r rejects what is ticked, or
// else the row one stands on.

const form = document.querySelector("[data-review]");
const rows = [...document.querySelectorAll("[data-row]")];
const box = (row) => row.querySelector("input[type=checkbox]");
const here = () => rows.indexOf(document.activeElement.closest("[data-row]"));

form?.querySelector("[data-all]").addEventListener("change", (event) => {
  for (const row of rows) box(row).checked = event.target.checked;
});

document.addEventListener("keydown", (event) => {
  if (!form || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, button")) return;
  const at = here();
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const to = at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1);
    rows[Math.max(0, Math.min(rows.length - 1, to))]?.focus();
  } else if (event.key === " " && at >= 0 && event.target === rows[at]) {
    event.preventDefault();
    box(rows[at]).checked = !box(rows[at]).checked;
  } else if (event.key === "a" || event.key === "r") {
    if (!rows.some((row) => box(row).checked) && at >= 0) box(rows[at]).checked = true;
    if (!rows.some((row) => box(row).checked)) return;
    event.preventDefault();
    form.querySelector(`[value="${event.key === "a" ? "approve" : "reject"}"]`).click();
  }
});
