// A clip as a figure, lists of clips that grow on demand, and the sheet that opens over the page.

const AT_ONCE = 8;

/** Which part of its file a clip is. */
function segment(row) {
  const { start, duration } = data.clips;
  return start[row] ? ` from ${start[row]} s, ${duration[row]} s long` : "";
}

function answer(head, role, row) {
  const answers = head[role];
  if (!answers) return null;
  const isRight = answers.rank[row] === 1;
  return element(
    "span", { class: isRight ? "good" : "bad" },
    `${isRight ? "✓" : "✗"} ${role}: `, element("b", {}, named(head.names[answers.named[row]])),
    ` ${answers.confidence[row].toFixed(3)}`,
  );
}

/** A clip with its frames, its true class, what each model says, and a remark. */
function clipFigure(head, row, remark = null, kind = "frames") {
  const path = data.clips.path[row];
  const jpeg = pictures[kind][row];
  const strip = jpeg
    ? element("div", { class: "strip" }, element("img", {
      alt: `${kind === "frames" ? "Frames" : "Attention over the frames"} of ${path}`,
      src: `data:image/jpeg;base64,${jpeg}`,
    }))
    : null;
  return element(
    "figure", { class: "clip", "data-clip": data.clips.id[row] }, strip,
    element(
      "figcaption", {},
      element(
        "div", { class: "answers" },
        element("span", {}, "true class: ", element("b", {}, named(head.names[head.labels[row]]))),
        answer(head, "candidate", row) ?? "", answer(head, "production", row) ?? "",
      ),
      remark ? element("div", {}, remark) : "",
      element("div", { class: "where" }, named(path), segment(row)),
    ),
  );
}

/** Fills an element with the first clips of a list and a button for more. */
function showClips(where, head, rows, { remark = () => null, kind = "frames", none = "None." } = {}) {
  where.replaceChildren();
  if (!rows.length) {
    where.append(element("p", {}, none));
    return;
  }
  let shown = 0;
  const button = element("button", { type: "button", class: "more", click: () => more(true) });
  const more = (isAsked) => {
    const next = rows.slice(shown, shown + AT_ONCE).map((row) => clipFigure(head, row, remark(row), kind));
    button.before(...next);
    shown += next.length;
    button.textContent = `Show ${Math.min(AT_ONCE, rows.length - shown)} more of ${rows.length.toLocaleString("en")}`;
    button.hidden = shown >= rows.length;
    if (isAsked && button.hidden) {
      next[0].tabIndex = -1;
      next[0].focus();
    }
  };
  where.append(button);
  more(false);
}

const sheet = document.getElementById("sheet");
document.getElementById("sheet-close").addEventListener("click", () => sheet.close());

/** Opens the sheet with clips; its title is made of texts and elements. */
function openSheet(head, rows, ...title) {
  document.getElementById("sheet-title").replaceChildren(...title);
  showClips(document.getElementById("sheet-clips"), head, rows);
  sheet.showModal();
  sheet.scrollTop = 0;
}

/** Numbers of the clips for which something holds. */
function rowsWhere(holds) {
  return data.clips.id.map((_, row) => row).filter(holds);
}
