// Moves one cross-hair over all charts and shows the newest values up to the step below it.
"use strict";
const curves = JSON.parse(document.getElementById("readings").textContent);
const charts = Object.entries(curves).map(([id, curve]) => {
  const figure = document.getElementById(id);
  const numbers = [...figure.querySelectorAll(".legend b")];
  return { ...curve, numbers, rest: numbers.map((b) => b.textContent),
    plot: figure.querySelector(".plot"), cross: figure.querySelector(".cross") };
});

function newest(line, step) { // index of the last point at or before `step`, or -1
  let low = 0, high = line.step.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (line.step[middle] <= step) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function show(share) {
  for (const chart of charts) {
    const [first, last] = chart.steps;
    const step = Math.round(first + share * (last - first));
    chart.cross.style.cssText = `display:block;left:${100 * share}%`;
    chart.numbers[0].textContent = step.toLocaleString("en-US");
    chart.lines.forEach((line, i) => {
      const at = newest(line, step);
      chart.numbers[i + 1].textContent = at < 0 ? "–" : line.text[at];
    });
  }
}

function leave() {
  for (const chart of charts) {
    chart.cross.style.display = "none";
    chart.numbers.forEach((b, i) => { b.textContent = chart.rest[i]; });
  }
}

let share = 1;
const clamp = (x) => Math.min(1, Math.max(0, x));
for (const { plot } of charts) {
  const svg = plot.querySelector("svg");
  const follow = (event) => {
    const box = svg.getBoundingClientRect();
    share = clamp((event.clientX - box.left) / box.width);
    show(share);
  };
  plot.addEventListener("pointermove", follow);
  plot.addEventListener("pointerdown", follow);
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -0.01, ArrowRight: 0.01, Home: -1, End: 1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    share = clamp(share + move);
    show(share);
  });
}
