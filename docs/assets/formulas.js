// Draws every formula that the extension arithmatex marked: \( ... \) in a line, \[ ... \] on a line of its own.
// Headings with a formula come again in the table of contents, there without a mark.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".arithmatex")) {
    const text = place.textContent.trim();
    katex.render(text.slice(2, -2), place, { displayMode: text.startsWith("\\["), throwOnError: false });
  }
  for (const entry of document.querySelectorAll(".md-nav .md-ellipsis")) {
    if (!entry.textContent.includes("\\(")) continue;
    const parts = entry.textContent.trim().split(/\\\(|\\\)/); // text and formulas by turns
    entry.replaceChildren(...parts.map((part, number) => {
      const place = document.createElement("span");
      if (number % 2) katex.render(part, place, { throwOnError: false });
      else place.textContent = part;
      return place;
    }));
  }
});
