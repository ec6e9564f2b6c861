// Completes the last tag of a comma-separated field from the known ones.

for (const field of document.querySelectorAll("[data-tags]")) {
  const list = document.createElement("datalist");
  list.id = `tags-${Math.random().toString(36).slice(2)}`;
  field.after(list);
  field.setAttribute("list", list.id);
  let asked = "";
  field.addEventListener("input", async () => {
    const cut = field.value.lastIndexOf(",") + 1;
    const before = field.value.slice(0, cut);
    const begun = field.value.slice(cut).trim().toLowerCase();
    if (!begun || begun === asked) return;
    asked = begun;
    const answer = await fetch(`/tags?q=${encodeURIComponent(begun)}`, { headers: { Accept: "application/json" } });
    if (!answer.ok || asked !== begun) return;
    const tags = await answer.json();
    list.replaceChildren(...tags.map((tag) => new Option("", before ? `${before} ${tag}` : tag)));
  });
}
