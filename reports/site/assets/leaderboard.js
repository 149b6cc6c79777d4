// Sorts and filters the tables, and draws the plots. Without it the tables stand in their order, whole.
(function () {
  "use strict";

  function compare(one, other, numeric, sign) {
    const a = one.dataset.sort, b = other.dataset.sort;
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);  // nothing stands last
    return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
  }

  function makeSortable(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    if (body.rows.length < 2) return;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const numeric = head.hasAttribute("data-numeric"), sign = falling ? -1 : 1;
        const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], numeric, sign));
        body.append(...rows);
      });
    });
  }

  function makeFilterable(board) {
    const line = board.querySelector(".filter"), body = board.querySelector("tbody");
    if (!line || body.rows.length < 2) return;
    const field = line.querySelector("input"), status = line.querySelector("[role=status]");
    const words = new Map([...body.rows].map((row) => [row, row.textContent.toLowerCase()]));
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of body.rows) {
        row.hidden = !wanted.every((word) => words.get(row).includes(word));
        shown += !row.hidden;
      }
      status.textContent = wanted.length ? `${shown} of ${body.rows.length} rows` : "";
    });
    line.hidden = false;
  }

  function draw(place) {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const options = { actions: false, renderer: "svg", ast: true, tooltip: { theme: dark ? "dark" : "light" } };
    window.vegaEmbed(place, spec, options).catch((error) => {
      console.error(error);
      place.textContent = "This plot could not be drawn; the table holds its numbers.";
    });
  }

  document.querySelectorAll(".board").forEach((board) => {
    makeSortable(board.querySelector("table"));
    makeFilterable(board);
  });
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "200px" });
  if (window.vegaEmbed) document.querySelectorAll(".chart").forEach((place) => seen.observe(place));
})();
