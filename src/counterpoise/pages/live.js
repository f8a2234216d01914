"use strict";
// The page comes again as it is now, without its scripts: what has changed of it is put in place.
(() => {
  const EVERY_MILLISECONDS = 1000;
  const RETRY_MILLISECONDS = 2000;
  // A busy machine is asked less often: a look may take this share of the time.
  const REST = 5;
  const byId = (id) => document.getElementById(id);
  const read = (page) => JSON.parse(page.getElementById("data").textContent);
  let [data, known] = [read(document), ""];
  const before = new Map();

  const put = (part, html) => {
    const inner = (selector) => [...part.querySelectorAll(selector)];
    const open = inner("details").map((one) => one.open);
    const scrolled = inner(".scroll, pre").map((one) => one.scrollTop);
    const focused = inner("a, button, summary, [tabindex]").indexOf(document.activeElement);
    part.innerHTML = html;
    inner("details").forEach((one, i) => { one.open = open[i] ?? one.open; });
    inner(".scroll, pre").forEach((one, i) => { one.scrollTop = scrolled[i] || 0; });
    if (focused >= 0)
      inner("a, button, summary, [tabindex]")[focused]?.focus({ preventScroll: true });
  };
  const show = async (page) => {
    const fresh = read(page);
    document.title = page.title;
    for (const part of document.querySelectorAll("[data-part]")) {
      const html = page.getElementById(part.id).innerHTML;
      if (before.get(part.id) !== html) put(part, html);
      before.set(part.id, html);
    }
    for (const section of document.querySelectorAll("section"))
      section.hidden = page.getElementById(section.id).hidden;
    window.counterpoise.showCharts(fresh, page);
    if (fresh.samples !== data.samples) {
      const samples = await fetch("samples");
      if (samples.ok) window.counterpoise.showSamples(await samples.json());
    }
    data = fresh;
  };
  const follow = async () => {
    const began = performance.now();
    let wait = RETRY_MILLISECONDS;
    const answer = await fetch(`body?${known}`).catch(() => null);
    byId("lost").hidden = Boolean(answer?.ok);
    try {
      if (answer?.status === 200) {
        await show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        known = answer.headers.get("ETag");
      }
      if (answer?.ok) wait = Math.max(EVERY_MILLISECONDS, REST * (performance.now() - began));
    } finally {
      setTimeout(follow, wait);
    }
  };
  follow();
})();
