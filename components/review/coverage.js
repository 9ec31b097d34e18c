// The slider on accuracy against coverage: moves a marker along the curve and says what it stands for.

function showCoverage(head, number) {
  const section = document.querySelector(`.plots[data-head="${number}"]`);
  const slider = section.querySelector("input");
  const { threshold, coverage, accuracy, x, y } = head.coverage;
  const marker = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  marker.setAttribute("class", "marker");
  marker.setAttribute("r", 5);
  document.getElementById(`coverage-${number}`).append(marker);
  const move = () => {
    const point = Number(slider.value);
    const clips = Math.round(coverage[point] * data.clips.id.length);
    marker.setAttribute("cx", x[point]);
    marker.setAttribute("cy", y[point]);
    const found = `threshold ${threshold[point].toFixed(3)}: answers ${(100 * coverage[point]).toFixed(1)} % `
      + `(${clips.toLocaleString("en")} of ${plural(data.clips.id.length, "clip")}), `
      + `${(100 * accuracy[point]).toFixed(1)} % of these right`;
    section.querySelector("output").textContent = found;
    slider.setAttribute("aria-valuetext", found);
  };
  slider.addEventListener("input", move);
  // A browser that reloads a page keeps where the slider was.
  move();
}
