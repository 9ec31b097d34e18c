// The table of classes and slices: sorted by any column, filtered by name, column and significance.

const COLUMNS = [
  { title: "of", key: (group) => (group.isClass ? "class" : group.column) },
  { title: "name", key: (group) => group.value },
  { title: "clips", key: (group) => group.clips, isNumber: true },
  { title: "sources", key: (group) => group.sources, isNumber: true },
  { title: "candidate", key: (group) => group.candidate?.[0], isNumber: true },
  { title: "production", key: (group) => group.production?.[0], isNumber: true },
  { title: "difference", key: (group) => group.difference?.[0], isNumber: true },
  { title: "p (Holm)", key: (group) => group.adjusted, isNumber: true },
];
const MOST_GROUPS = 500;

const groupName = document.getElementById("group-name");
const groupColumn = document.getElementById("group-column");
const groupChanged = document.getElementById("group-changed");
const groupTable = document.getElementById("group-table");
// As the assessment has them: until somebody sorts, classes first.
let sorting = { column: -1, isRising: true };

function compareGroups({ key }, isRising) {
  return (one, other) => {
    const [a, b] = [key(one), key(other)];
    // What has no figure stays last either way.
    if (a == null || b == null) return (a == null) - (b == null);
    const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
    return isRising ? order : -order;
  };
}

/** The groups of a head that pass the filters, in their order. */
function chosenGroups(head) {
  const text = groupName.value.toLocaleLowerCase();
  const found = head.groups.filter((group) =>
    group.value.toLocaleLowerCase().includes(text)
    && (groupColumn.value === "" || COLUMNS[0].key(group) === groupColumn.value.slice(1))
    && (!groupChanged.checked || group.significant));
  if (sorting.column >= 0) found.sort(compareGroups(COLUMNS[sorting.column], sorting.isRising));
  return found;
}

function rowsOfGroup(head, group) {
  if (group.isClass) {
    const label = head.names.indexOf(group.value);
    return rowsWhere((row) => head.labels[row] === label);
  }
  const { values, of } = data.slices[group.column];
  const number = values.indexOf(group.value);
  return rowsWhere((row) => of[row] === number);
}

function groupRow(head, group, scale) {
  const open = () => openSheet(head, rowsOfGroup(head, group), `${plural(group.clips, "clip")} of `, named(group.value));
  const mark = { better: "▲ better", worse: "▼ worse" }[group.significant];
  return element(
    "tr", {},
    element("td", {}, group.isClass ? "class" : named(group.column)),
    element("td", { class: "name" }, element("button", { type: "button", class: "bare", click: open }, named(group.value))),
    element("td", { class: "number" }, String(group.clips)),
    element("td", { class: "number" }, String(group.sources)),
    element("td", { class: "number" }, intervalInWords(group.candidate)),
    element("td", { class: "number" }, intervalInWords(group.production)),
    element(
      "td", { class: "number" }, intervalInWords(group.difference, true), " ",
      mark ? element("b", { class: group.significant === "better" ? "good" : "bad" }, mark) : "",
      group.difference ? whisker(group.difference, scale) : "",
    ),
    element("td", { class: "number" }, group.adjusted == null ? "–" : group.adjusted.toFixed(3)),
  );
}

function drawGroups(head) {
  const found = chosenGroups(head);
  const scale = Math.max(...head.groups.flatMap(({ difference }) => (difference ? difference.map(Math.abs) : [])), 1e-9);
  const sortBy = (column) => () => {
    const isSame = sorting.column === column;
    // Numbers are looked at from the largest down, names from A to Z.
    sorting = { column, isRising: isSame ? !sorting.isRising : !COLUMNS[column].isNumber };
    drawGroups(head);
    groupTable.querySelectorAll("thead button")[column].focus();
  };
  const heads = COLUMNS.map(({ title, isNumber }, column) => element(
    "th",
    {
      scope: "col", class: isNumber ? "number" : null,
      "aria-sort": sorting.column === column ? (sorting.isRising ? "ascending" : "descending") : "none",
    },
    element("button", { type: "button", click: sortBy(column) }, title),
  ));
  const rows = found.slice(0, MOST_GROUPS).map((group) => groupRow(head, group, scale));
  groupTable.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows),
  );
  const more = found.length > MOST_GROUPS ? `; the first ${MOST_GROUPS} are shown` : "";
  document.getElementById("group-count").textContent = `${found.length} of ${plural(head.groups.length, "row")}${more}`;
}

function showGroups(head) {
  const columns = [...new Set(head.groups.map(COLUMNS[0].key))];
  groupColumn.replaceChildren(
    element("option", { value: "" }, "classes and slices"),
    // A column may be called anything, even nothing, so each value begins with a mark.
    ...columns.map((column) => element("option", { value: `=${column}` }, column === "class" ? "classes" : column)),
  );
  sorting = { column: -1, isRising: true };
  drawGroups(head);
}
