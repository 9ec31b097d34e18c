"use strict";
// Everything on the page is built of text nodes, so that no name can become markup.

const data = JSON.parse(document.getElementById("data").textContent);
const pictures = JSON.parse(document.getElementById("pictures").textContent);

/** An element with attributes and children; texts become text nodes. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

/** A name that somebody else gave, kept apart from the direction of the text around it. */
const named = (text) => element("bdi", {}, text);

/** An interval in words, as everywhere else: 0.912 (0.874 to 0.941). */
function intervalInWords(interval, signed = false) {
  if (!interval) return "–";
  const [value, low, high] = interval.map((number) => (signed && number >= 0 ? "+" : "") + number.toFixed(3));
  return `${value} (${low} to ${high})`;
}

/** The same as a line with a dot; the words beside it are its text alternative. */
function whisker(interval, scale) {
  const svg = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const [value, low, high] = interval.map((number) => (95 * number) / scale);
  const picture = svg("svg", { class: "whisker", viewBox: "-100 -10 200 20", "aria-hidden": "true" });
  picture.append(
    svg("line", { class: "zero", x1: 0, x2: 0, y1: -10, y2: 10 }),
    svg("line", { x1: low, x2: high, y1: 0, y2: 0 }),
    svg("circle", { cx: value, cy: 0, r: 4 }),
  );
  return picture;
}

const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
