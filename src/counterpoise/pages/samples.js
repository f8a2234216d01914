"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  let runs = [];
  const over = byId("wipe-over");
  const under = byId("wipe-under");
  const choice = { run: 0, crop: 0, index: 0, against: "bicubic" };
  const option = (value, text) => {
    const element = document.createElement("option");
    element.value = value;
    element.textContent = text;
    return element;
  };
  const samples = () => runs[choice.run];
  // A strip has all crops one below the other: one is in sight.
  const place = (image, { crops }) => {
    image.style.objectPosition = `0 ${(100 * choice.crop) / Math.max(1, crops - 1)}%`;
  };

  // Another run's output of the same picture, at the step that is nearest.
  const isAlike = (run) => runs[run].key === samples().key && choice.crop < runs[run].crops;
  const outputOf = (run) => {
    const { steps, outputs, name } = runs[run];
    const step = samples().steps[choice.index];
    const best = steps.map((_, i) => i).reduce((a, b) =>
      (Math.abs(steps[b] - step) < Math.abs(steps[a] - step) ? b : a));
    return { uri: outputs[best], name: `output of ${name}, step ${steps[best]}`,
      strip: runs[run] };
  };
  const againstOf = () => {
    const one = samples();
    const named = {
      bicubic: { uri: one.bicubic, name: "bicubic" },
      hr: { uri: one.hr, name: "HR" },
      lr: { uri: one.lr, name: "LR, pixels enlarged" },
    };
    return named[choice.against] || outputOf(Number(choice.against));
  };

  const show = () => {
    const one = samples();
    const step = one.steps[choice.index];
    const against = againstOf();
    const uri = one.outputs[choice.index];
    byId("wipe").style.width = `${one.side_px * Number(byId("sample-size").value)}px`;
    under.src = against.uri;
    place(under, against.strip || one);
    under.alt = `Crop ${choice.crop + 1}: ${against.name}`;
    over.src = uri;
    place(over, one);
    over.alt = `Crop ${choice.crop + 1}: output at step ${step}`;
    byId("sample-step-name").textContent = step;
    byId("sample-step").setAttribute("aria-valuetext", `step ${step}`);
    byId("against-name").textContent = against.name;
    byId("wipe").querySelector(".right").textContent = against.name;
    byId("wipe").querySelector(".left").textContent = `output, step ${step}`;
    wipe();
  };
  const wipe = () => {
    const at = Number(byId("wipe-at").value);
    over.style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    byId("wipe").querySelector(".edge").style.left = `${at}%`;
    byId("wipe").querySelector(".left").style.visibility = at > 20 ? "" : "hidden";
    byId("wipe").querySelector(".right").style.visibility = at < 80 ? "" : "hidden";
  };
  const choose = (index) => {
    choice.index = index;
    byId("sample-step").value = index;
    show();
  };
  const fillAgainst = () => {
    const select = byId("sample-against");
    const options = [option("bicubic", "bicubic"), option("hr", "HR"), option("lr", "LR")];
    runs.forEach((run, i) => {
      if (i !== choice.run && isAlike(i)) options.push(option(String(i), `output of ${run.name}`));
    });
    select.replaceChildren(...options);
    if (!options.some((one) => one.value === choice.against)) choice.against = "bicubic";
    select.value = choice.against;
  };
  const chooseCrop = () => {
    fillAgainst();
    choose(Math.min(choice.index, samples().steps.length - 1));
  };
  const chooseRun = () => {
    const { crops } = samples();
    byId("sample-crop").replaceChildren(
      ...Array.from({ length: crops }, (_, i) => option(String(i), `${i + 1} of ${crops}`)));
    byId("sample-crop").value = choice.crop;
    byId("sample-step").max = samples().steps.length - 1;
    byId("sample-step").closest("label").hidden = samples().steps.length < 2;
    chooseCrop();
  };
  // The samples that there are now: the same crop as before, and its newest step where that was
  // shown before.
  window.counterpoise.showSamples = (fresh) => {
    const newest = !runs.length || choice.index >= samples().steps.length - 1;
    runs = fresh;
    const having = runs.map((_, i) => i).filter((i) => runs[i].steps.length);
    if (!having.length) {
      runs = [];
      return;
    }
    byId("sample-run").replaceChildren(...having.map((i) => option(String(i), runs[i].name)));
    if (!having.includes(choice.run)) [choice.run] = having;
    byId("sample-run").value = choice.run;
    choice.crop = Math.min(choice.crop, samples().crops - 1);
    if (newest) choice.index = samples().steps.length - 1;
    chooseRun();
  };

  byId("sample-run").addEventListener("change", (event) => {
    choice.run = Number(event.target.value);
    choice.crop = 0;
    choice.index = samples().steps.length - 1;
    chooseRun();
  });
  byId("sample-crop").addEventListener("change", (event) => {
    choice.crop = Number(event.target.value);
    chooseCrop();
  });
  byId("sample-against").addEventListener("change", (event) => {
    choice.against = event.target.value;
    show();
  });
  byId("sample-size").addEventListener("change", show);
  byId("sample-step").addEventListener("input", (event) => choose(Number(event.target.value)));
  byId("wipe-at").addEventListener("input", wipe);
  const drag = (event) => {
    const box = byId("wipe").getBoundingClientRect();
    byId("wipe-at").value = (100 * (event.clientX - box.left)) / box.width;
    wipe();
  };
  byId("wipe").addEventListener("pointerdown", (event) => {
    event.preventDefault();
    byId("wipe").setPointerCapture(event.pointerId);
    drag(event);
  });
  byId("wipe").addEventListener("pointermove", (event) => {
    if (event.buttons) drag(event);
  });
  window.counterpoise.showSamples(JSON.parse(byId("sample-data").textContent));
})();
