"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const [run, step, sheet] = ["sample-run", "sample-step", "sheet"].map(byId);
  let runs = [];
  let chosen = Infinity; // a step that somebody chose; the newest one until then

  const show = () => {
    const { steps, sheets } = runs[run.value];
    sheet.src = sheets[step.value];
    sheet.alt = `Held-out crops at step ${steps[step.value]}: LR, bicubic, output, HR`;
    byId("sample-step-name").textContent = steps[step.value];
    step.setAttribute("aria-valuetext", `step ${steps[step.value]}`);
  };
  const showRun = () => {
    step.max = runs[run.value].steps.length - 1;
    step.value = Math.min(chosen, step.max);
    step.closest("label").hidden = step.max < 1;
    show();
  };
  window.counterpoise.showSamples = (fresh) => {
    const before = run.value;
    runs = fresh;
    const having = Object.keys(runs).filter((i) => runs[i].steps.length);
    run.replaceChildren(...having.map((i) => new Option(runs[i].name, i)));
    if (!having.length) return;
    run.value = having.includes(before) ? before : having[0];
    showRun();
  };
  run.addEventListener("change", showRun);
  step.addEventListener("input", () => {
    chosen = step.value === step.max ? Infinity : Number(step.value);
    show();
  });
  window.counterpoise.showSamples(JSON.parse(byId("sample-data").textContent));
})();
