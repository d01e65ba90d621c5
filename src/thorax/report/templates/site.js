// Tables sort by a click on a heading, and long ones have a search. Without scripts they are as they were.
for (const frame of document.querySelectorAll(".frame")) {
  const body = frame.querySelector("tbody"), rows = [...body.rows];
  const value = (row, index) => {
    const text = (row.cells[index]?.firstChild?.textContent ?? "").trim(), number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  const heads = [...frame.querySelectorAll("thead th")].filter(head => head.colSpan === 1);
  const place = head => head.getBoundingClientRect().left;
  heads.sort((a, b) => place(a) - place(b)).forEach((head, index) => {
    if (head.classList.contains("plot")) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "sort by this column";
    head.append(button);
    button.onclick = () => {
      const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const moving = rows.filter(row => !row.classList.contains("total"));
      moving.sort((a, b) => sign * order(value(a, index), value(b, index)));
      body.append(...moving, ...rows.filter(row => row.classList.contains("total")));
    };
  });
  if (rows.length > 12 && !frame.classList.contains("chart")) {
    const search = document.createElement("input");
    Object.assign(search, {type: "search", placeholder: "search these rows"});
    search.setAttribute("aria-label", "search these rows");
    search.oninput = () => rows.forEach(row => {row.hidden = !row.innerText.toLowerCase().includes(search.value.toLowerCase())});
    frame.before(search);
  }
}
