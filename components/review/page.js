// Fills the sections of one head, and fills them again when another is chosen.

function showChanges(head) {
  const where = document.getElementById("change-lists");
  if (!head.production) {
    where.replaceChildren(element("p", {}, "There is no model in production to compare with."));
    return;
  }
  const lists = [
    ["lost", "Lost: only production is right", head.lost], ["won", "Won: only the candidate is right", head.won],
  ];
  where.replaceChildren(...lists.map(([id, title, rows]) => {
    const list = element("div", { id });
    showClips(list, head, rows);
    return element("div", {}, element("h3", {}, `${title} `, element("span", { class: "dim" }, plural(rows.length, "clip"))), list);
  }));
}

function showDoubts(head) {
  const suspects = new Map(head.suspected.map(([row, name, score]) => [row, { name, score }]));
  const duplicates = new Map(data.duplicates);
  showClips(document.getElementById("confident"), head, head.confident);
  showClips(document.getElementById("suspected"), head, [...suspects.keys()], {
    remark: (row) => element(
      "span", {}, "perhaps ", element("b", {}, named(head.names[suspects.get(row).name])),
      ` (by ${suspects.get(row).score.toFixed(3)} more probable than its label)`,
    ),
  });
  if (duplicates.size) {
    showClips(document.getElementById("duplicates"), head, [...duplicates.keys()], {
      remark: (row) => element("span", {}, "looks like training clip ", named(duplicates.get(row))),
    });
  }
}

function showAttention(head) {
  const first = [...head.lost, ...head.won, ...head.confident, ...head.suspected.map(([row]) => row)];
  const rows = [...new Set([...first, ...Object.keys(pictures.attention).map(Number)])];
  showClips(
    document.getElementById("attention-list"), head, rows.filter((row) => pictures.attention[row]),
    { kind: "attention", none: "Not drawn for this model." },
  );
}

function showHead(number) {
  const head = data.scored[number];
  for (const title of document.querySelectorAll(".of-head")) {
    title.replaceChildren(...(data.scored.length > 1 ? ["of ", named(head.name)] : []));
  }
  for (const plots of document.querySelectorAll(".plots")) plots.hidden = plots.dataset.head !== String(number);
  showChanges(head);
  showGroups(head);
  showConfusions(head);
  showDoubts(head);
  showAttention(head);
}

const chosenHead = () => Number(document.querySelector('#heads input[name="head"]:checked')?.value ?? 0);
for (const control of [groupName, groupColumn, groupChanged]) {
  control.addEventListener("input", () => drawGroups(data.scored[chosenHead()]));
}
document.getElementById("heads")?.addEventListener("input", () => showHead(chosenHead()));
data.scored.forEach(showCoverage);
showHead(chosenHead());
showDecision();
document.documentElement.dataset.ready = "";
