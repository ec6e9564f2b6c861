// Arrow keys step through the items, unless somebody is writing.

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("input, textarea, select, video, audio, [contenteditable]")) return;
  document.querySelector(`[data-key="${event.key}"]`)?.click();
});
