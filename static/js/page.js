// What every page has: parts that only scripts make useful, buttons that copy, forms that ask once,
// times as people say them.

for (const part of document.querySelectorAll("[data-scripted]")) part.hidden = false;

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const told = button.querySelector("[data-told]") ?? button;
  const text = told.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    // Without https a browser gives no clipboard: let the person take it by hand.
    window.prompt("Copy this:", button.dataset.copy);
    return;
  }
  told.textContent = "Copied";
  setTimeout(() => { told.textContent = text; }, 1500);
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

for (const time of document.querySelectorAll("time[data-ago]")) {
  const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  time.title = time.textContent;
  const whole = seconds > 0 ? Math.round : Math.trunc; // what ends in 2 days and 23 hours has 3 days
  const now = seconds > 0 ? "within a minute" : "just now";
  time.textContent = unit === "second" ? now : format.format(whole(seconds / size), unit);
}
