// The confusions of the candidate: a matrix of up to 40 classes, else the most confused pairs first. A cell opens its clips.

const MOST_CLASSES = 40;
const PAIRS_AT_ONCE = 30;

/** Rows of clips by true and named class: Map(label -> Map(named -> rows)). */
function confusionsOf(head) {
  const found = new Map();
  head.labels.forEach((label, row) => {
    const name = head.candidate.named[row];
    if (!found.has(label)) found.set(label, new Map());
    const byName = found.get(label);
    if (!byName.has(name)) byName.set(name, []);
    byName.get(name).push(row);
  });
  return found;
}

function openCell(head, label, name, rows) {
  if (label === name) openSheet(head, rows, `${plural(rows.length, "clip")} of `, named(head.names[label]), ", named rightly");
  else openSheet(head, rows, `${plural(rows.length, "clip")} of `, named(head.names[label]), " named ", named(head.names[name]));
}

function matrixCell(head, label, name, rows, clips) {
  if (!rows) return element("td", {});
  const share = rows.length / clips;
  return element("td", {}, element("button", {
    type: "button",
    class: `${label === name ? "right" : "wrong"} heat-${Math.min(4, Math.floor(5 * share))}`,
    "data-label": label, "data-named": name,
    "aria-label": `${plural(rows.length, "clip")} of ${head.names[label]} named ${head.names[name]}`,
    click: () => openCell(head, label, name, rows),
  }, String(rows.length)));
}

function matrix(head, found, shown) {
  const heading = (number, scope) => element("th", { scope, title: head.names[number] }, named(head.names[number]));
  const corner = element("td", { class: "corner dim" }, "true ↓ · named →");
  return element(
    "table", { class: "confusion" },
    element("thead", {}, element("tr", {}, corner, ...shown.map((number) => heading(number, "col")))),
    element("tbody", {}, ...shown.map((label) => {
      const byName = found.get(label) ?? new Map();
      const clips = [...byName.values()].reduce((sum, rows) => sum + rows.length, 0);
      return element(
        "tr", {}, heading(label, "row"), ...shown.map((name) => matrixCell(head, label, name, byName.get(name), clips)),
      );
    })),
  );
}

/** Pairs of different classes as [label, named, rows, clips of the label], the one with most clips first. */
function confusedPairs(found) {
  const pairs = [...found].flatMap(([label, byName]) => {
    const clips = [...byName.values()].reduce((sum, rows) => sum + rows.length, 0);
    return [...byName].filter(([name]) => name !== label).map(([name, rows]) => [label, name, rows, clips]);
  });
  return pairs.sort((one, other) => other[2].length - one[2].length || one[0] - other[0] || one[1] - other[1]);
}

function pairRow(head, [label, name, rows, clips]) {
  return element(
    "tr", {},
    element("td", { class: "name" }, named(head.names[label])), element("td", { class: "name" }, named(head.names[name])),
    element("td", { class: "number" }, element("button", {
      type: "button", class: "bare", "data-label": label, "data-named": name,
      "aria-label": `${plural(rows.length, "clip")} of ${head.names[label]} named ${head.names[name]}`,
      click: () => openCell(head, label, name, rows),
    }, String(rows.length))),
    element("td", { class: "number" }, (rows.length / clips).toFixed(3)),
  );
}

function pairTable(where, head, pairs) {
  const body = element("tbody");
  const titles = [["true class", null], ["named", null], ["clips", "number"], ["share of the class", "number"]];
  const heads = titles.map(([title, style]) => element("th", { scope: "col", class: style }, title));
  const button = element("button", { type: "button", class: "more", click: () => more() });
  const more = () => {
    const shown = body.childElementCount;
    body.append(...pairs.slice(shown, shown + PAIRS_AT_ONCE).map((pair) => pairRow(head, pair)));
    button.hidden = body.childElementCount >= pairs.length;
    button.textContent = `Show more of ${plural(pairs.length, "confused pair")}`;
  };
  where.append(
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)),
    button,
  );
  more();
}

function showConfusions(head) {
  const where = document.getElementById("confusion");
  const found = confusionsOf(head);
  const shown = [...new Set([...head.labels, ...head.candidate.named])].sort((a, b) => a - b);
  where.replaceChildren();
  if (shown.length > MOST_CLASSES) {
    const pairs = confusedPairs(found);
    if (pairs.length) pairTable(where, head, pairs);
    else where.append(element("p", {}, "No clip is named wrongly."));
    return;
  }
  where.append(
    element(
      "p", { class: "legend dim" }, element("span", { class: "right" }, "named rightly"),
      element("span", { class: "wrong" }, "named wrongly"),
      "The stronger, the larger the share of the true class. Choose a number to see its clips.",
    ),
    element(
      "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" }, matrix(head, found, shown),
    ),
  );
}
