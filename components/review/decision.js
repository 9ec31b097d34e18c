// The form: the command that records the decision, and the model card with the reviewer's words.

/** A word of a POSIX shell, as Python's shlex.quote writes it. */
function shellQuoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** Text on one line that Markdown shows as it is; `model_card.plain` in Python. */
function plainMarkdown(text) {
  const line = text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "").trim().split(/\s+/).join(" ");
  const escaped = line.replace(/[\\`*_[\]<>|~&$@#]|:(?=\S)|(?<=[Ww]{3})\.|^[-+=]/g, "\\$&").replace(/^([0-9]+)([.)])/, "$1\\$2");
  return /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(line) ? `\u2068${escaped}\u2069` : escaped;
}

const who = document.getElementById("who");
const why = document.getElementById("why");
const done = document.getElementById("done");
const chosenAction = () => document.querySelector('#decide input[name="action"]:checked').value;

function decisionCommand() {
  const words = [
    "vivit", "models", chosenAction(), data.candidate, "--workdir", data.workdir || "RUN",
    // With "=", as a reason may begin with a dash.
    `--by=${who.value || "NAME"}`, `--why=${why.value || "REASON"}`,
  ];
  return words.map(shellQuoted).join(" ");
}

/** The model card with a decision, as Markdown; the same as Python writes. */
function decidedCard() {
  const fields = {
    action: data.actions[chosenAction()],
    who: plainMarkdown(who.value),
    when: plainMarkdown(new Date().toISOString().replace(/\.\d+Z$/, "+00:00")),
    why: why.value.split(/\r?\n/).map((line) => `> ${plainMarkdown(line)}`.trimEnd()).join("\n"),
  };
  return `${data.card}\n${data.review.replace(/\{(\w+)\}/g, (_, name) => fields[name])}`;
}

function showDecision() {
  const command = document.getElementById("command");
  const draw = () => {
    command.textContent = decisionCommand();
    done.textContent = "";
  };
  const form = document.getElementById("decide");
  form.addEventListener("input", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("copy").addEventListener("click", async () => {
    if (!form.reportValidity()) return;
    try {
      await navigator.clipboard.writeText(decisionCommand());
      done.textContent = "Copied.";
    } catch {
      // Browsers may refuse it to a file; it is selected instead.
      getSelection().selectAllChildren(command);
      done.textContent = "Selected; copy it by hand.";
    }
  });
  document.getElementById("card").addEventListener("click", () => {
    if (!form.reportValidity()) return;
    const address = URL.createObjectURL(new Blob([decidedCard()], { type: "text/markdown" }));
    element("a", { href: address, download: `model-card-${data.candidate}.md` }).click();
    URL.revokeObjectURL(address);
    done.textContent = "Downloaded.";
  });
  draw();
}
