"use strict";
window.counterpoise = {};
(() => {
  const byId = (id) => document.getElementById(id);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const COLOURS = 8;
  // Plotly reads a few tags in its texts: what comes from files must not be read so.
  const plain = (text) =>
    String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (value) => String(Number(value.toPrecision(4)));

  // ---------------------------------------------------------------- charts
  const extent = (lists) => {
    let low = Infinity;
    let high = -Infinity;
    for (const list of lists)
      for (const value of list)
        if (value !== null) {
          if (value < low) low = value;
          if (value > high) high = value;
        }
    return [low, high];
  };
  // What is drawn: replaced where the page follows a training.
  let data, many, steps;
  let charts = [];
  const curveOf = (series) => data.runs[series.run].curves[series.curve];
  const take = (fresh) => {
    data = fresh;
    many = data.runs.length > 1;
    const all = data.charts.flatMap((chart) => chart.series.map(curveOf));
    steps = extent(all.map((curve) => curve.x));
    // A little room, so that the first and the last value are seen whole.
    const room = 0.01 * (steps[1] - steps[0]) || 1;
    steps = [steps[0] - room, steps[1] + room];
  };
  let sharedRange = null;
  const linked = () => byId("linked").checked;
  const rangeOf = (chart) => (linked() ? sharedRange : chart.range) || steps;

  const smoothed = (x, values, width) => {
    const out = values.slice();
    let start = 0;
    while (start < values.length) {
      if (values[start] === null) {
        start += 1;
        continue;
      }
      let end = start;
      while (end < values.length && values[end] !== null) end += 1;
      let from = start;
      let to = start;
      for (let i = start; i < end; i += 1) {
        while (to < end && x[to] <= x[i] + width / 2) to += 1;
        while (x[from] < x[i] - width / 2) from += 1;
        // Summed anew each time: a running sum never forgets the rounding of a huge value.
        let sum = 0;
        for (let k = from; k < to; k += 1) sum += values[k];
        out[i] = sum / (to - from);
      }
      start = end;
    }
    return out;
  };

  const styleOf = (chart, place) => {
    const { run } = chart.series[place];
    const own = many ? chart.series.slice(0, place).filter((one) => one.run === run).length : 0;
    const number = (many ? run : place) + own;
    return {
      name: `c${(many ? run : place) % COLOURS}`,
      colour: colour(`c${(many ? run : place) % COLOURS}`),
      // Told apart without colours too, and where one curve lies on another.
      dash: DASHES[(number + Math.floor(number / COLOURS)) % DASHES.length],
    };
  };

  const tracesOf = (chart) => {
    const traces = [];
    const width = Number(byId("smoothing").value) * (steps[1] - steps[0]);
    chart.series.forEach((series, place) => {
      if (chart.hidden.has(place)) return;
      const curve = curveOf(series);
      const style = styleOf(chart, place);
      const base = curve.m || curve.y;
      const wide = chart.only_means && !width ? 0.03 * (steps[1] - steps[0]) : width;
      const line = wide ? smoothed(curve.x, base, wide) : base;
      const name = plain(series.label);
      if (line !== curve.y && !chart.only_means)
        traces.push({
          x: curve.x, y: curve.y, mode: "lines", hoverinfo: "skip",
          opacity: chart.series.length > 2 && !many ? 0.2 : 0.33,
          line: { color: style.colour, width: 1 },
        });
      const few = curve.x.length <= 40;
      traces.push({
        x: curve.x, y: line, name, series, mode: few ? "lines+markers" : "lines",
        marker: { size: 6, color: style.colour },
        line: { color: style.colour, width: 2, dash: style.dash },
        customdata: base.map((value, i) => {
          if (value === null) return "";
          const own = chart.only_means ? line[i] : curve.y[i];
          const mean = curve.m && !chart.only_means ? ` (mean ${short(value)})` : "";
          return `${name}: ${short(own)}${mean}`;
        }),
        hovertemplate: "%{customdata}<extra></extra>",
      });
      // A value between two holes has no line.
      const alone = curve.x.map((_, i) => i).filter(
        (i) => curve.y[i] !== null && (curve.y[i - 1] ?? null) === null &&
          (curve.y[i + 1] ?? null) === null);
      if (alone.length && !few)
        traces.push({
          x: alone.map((i) => curve.x[i]), y: alone.map((i) => curve.y[i]), mode: "markers",
          hoverinfo: "skip", marker: { size: 5, color: style.colour },
        });
      if (series.nonFinite.length)
        traces.push({
          x: series.nonFinite, y: series.nonFinite.map(() => 0.05), yaxis: "y2", mode: "markers",
          marker: { symbol: "x", size: 9, color: colour("severe") },
          customdata: series.nonFinite.map(() => `NaN or infinity: ${name}`),
          hovertemplate: "%{customdata}<extra></extra>",
        });
    });
    for (const line of chart.lines)
      traces.push({
        x: steps.slice(), y: [line.value, line.value], mode: "lines", hoverinfo: "skip",
        line: { color: colour("soft"), width: 1.5, dash: "dash" },
      });
    return traces;
  };

  const shadesOf = (chart) => {
    const shapes = [];
    const annotations = [];
    if (chart.band)
      shapes.push({
        type: "rect", xref: "paper", x0: 0, x1: 1, yref: "y", y0: chart.band.low,
        y1: chart.band.high, fillcolor: colour("c2"), opacity: 0.14, layer: "below",
        line: { width: 1, color: colour("c2"), dash: "dot" },
      });
    if (!byId("shading").checked) return { shapes, annotations };
    const length = steps[1] - steps[0];
    const starts = [];
    data.runs.forEach((run, place) => {
      for (const band of run.bands) {
        const x1 = Math.max(band.last, band.first + length / 500);
        if (many) {
          shapes.push({
            type: "rect", x0: band.first, x1, yref: "paper", y0: 0.025 * place,
            y1: 0.025 * place + 0.018, line: { width: 0 }, opacity: 0.8,
            fillcolor: colour(`c${place % COLOURS}`),
          });
          continue;
        }
        shapes.push({
          type: "rect", x0: band.first, x1, yref: "paper", y0: 0, y1: 1, layer: "below",
          fillcolor: colour(band.severity), opacity: 0.1,
          line: { width: 1, color: colour(band.severity) },
        });
        const beside = starts.filter((x) => Math.abs(x - band.first) < length / 20).length;
        starts.push(band.first);
        annotations.push({
          x: band.first, y: 1, yref: "paper", xanchor: "left", yanchor: "top", showarrow: false,
          xshift: 2 + 17 * beside, text: `<b>${band.number}</b>`, bgcolor: colour("page"),
          bordercolor: colour(band.severity), borderwidth: 1,
          font: { size: 11, color: colour(band.severity) },
        });
      }
    });
    return { shapes, annotations };
  };

  // The values that are in sight, with some room; on a log scale in powers of ten.
  const heightOf = (chart, traces) => {
    const [from, to] = rangeOf(chart);
    let seen = [];
    for (const { x, y, yaxis } of traces)
      if (yaxis !== "y2" && x.length)
        seen.push(x.length === 2 ? y : y.filter((_, i) => x[i] !== null && (
          (x[i] >= from && x[i] <= to) || (x[i] < from && (x[i + 1] ?? from) >= from) ||
          (x[i] > to && (x[i - 1] ?? to) <= to))));
    if (chart.log)
      seen = seen.map((list) => list.filter((y) => y > 0).map((y) => Math.log10(y)));
    let [low, high] = extent(seen);
    if (low > high) [low, high] = [0, 1];
    if (chart.span && !chart.log) {
      low = Math.min(chart.span[0], low);
      high = Math.max(chart.span[1], high);
    }
    const flat = high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high));
    const pad = flat ? (chart.log ? 0.5 : 0.5 * Math.abs(high) || 1) : 0.05 * (high - low);
    return [low - pad, high + pad];
  };

  const layoutOf = (chart, traces) => {
    const axis = {
      gridcolor: colour("grid"), linecolor: colour("rule"), zerolinecolor: colour("rule"),
      automargin: true,
    };
    const y = { ...axis, type: chart.log ? "log" : "linear", tickformat: ".6~g",
      range: heightOf(chart, traces), fixedrange: true };
    return {
      ...shadesOf(chart), yaxis: y, xaxis: { ...axis, range: rangeOf(chart).slice(), title: {
        text: "step", standoff: 4 }, exponentformat: "none", separatethousands: true },
      yaxis2: { overlaying: "y", range: [0, 1], fixedrange: true, visible: false },
      hovermode: "x unified", showlegend: false, margin: { l: 48, r: 10, t: 6, b: 40 },
      paper_bgcolor: colour("page"), plot_bgcolor: colour("page"),
      font: { color: colour("ink"), size: 12, family: "system-ui, sans-serif" },
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"),
        font: { color: colour("ink") } },
      dragmode: coarse.matches ? false : "zoom",
    };
  };

  const say = (chart) => {
    if (!chart.log) return;
    const lost = chart.series.reduce((sum, series, place) => chart.hidden.has(place) ? sum :
      sum + curveOf(series).y.filter((value) => value !== null && value <= 0).length, 0);
    if (lost) chart.readout.textContent = `Log scale: ${lost} drawn values at or below 0 have no place on it.`;
  };

  const draw = (chart) => {
    chart.stale = false;
    const traces = tracesOf(chart);
    const first = !chart.plot.classList.contains("js-plotly-plot");
    const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: false };
    window.Plotly.react(chart.plot, traces, layoutOf(chart, traces), config);
    if (!first) return;
    // Where the library measures texts, which is nothing to read out.
    byId("js-plotly-tester")?.setAttribute("aria-hidden", "true");
    chart.plot.on("plotly_relayout", (change) => {
      if (change["xaxis.range[0]"] !== undefined)
        setRange(chart, [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    });
    chart.plot.on("plotly_doubleclick", () => setRange(chart, null));
  };
  const refresh = (list = charts) => {
    for (const chart of list) {
      chart.stale = true;
      if (chart.near) draw(chart);
    }
  };
  const setRange = (chart, range) => {
    if (range) {
      const middle = (range[0] + range[1]) / 2;
      const half = Math.max(range[1] - range[0], 1, (steps[1] - steps[0]) / 1e5) / 2;
      range = [middle - half, middle + half];
      if (range[0] <= steps[0] && range[1] >= steps[1]) range = null;
    }
    if (linked()) sharedRange = range;
    if (chart) chart.range = range;
    refresh(linked() ? charts : [chart]);
  };
  const zoom = (chart, factor, shift = 0) => {
    const [from, to] = rangeOf(chart);
    const half = ((to - from) / 2) * factor;
    let middle = (from + to) / 2 + shift * (to - from);
    middle = Math.min(Math.max(middle, steps[0] + half), steps[1] - half);
    setRange(chart, half * 2 >= steps[1] - steps[0] ? null : [middle - half, middle + half]);
  };
  const toggleLog = (chart) => {
    chart.log = !chart.log;
    chart.figure.querySelector('[data-do="log"]').setAttribute("aria-pressed", String(chart.log));
    chart.readout.textContent = "";
    refresh([chart]);
    say(chart);
  };
  const actions = {
    log: toggleLog,
    in: (chart) => zoom(chart, 0.5),
    out: (chart) => zoom(chart, 2),
    left: (chart) => zoom(chart, 1, -0.25),
    right: (chart) => zoom(chart, 1, 0.25),
    all: (chart) => setRange(chart, null),
    save: (chart) => {
      if (chart.stale) draw(chart);
      window.Plotly.downloadImage(chart.plot, {
        format: "png", width: 1200, height: 500, filename: `counterpoise-${chart.key}` });
    },
  };

  // Values by the keyboard: the arrows walk over the points of the first visible curve.
  const read = (chart, move) => {
    const place = chart.series.findIndex((_, i) => !chart.hidden.has(i));
    if (place < 0) return;
    const [from, to] = rangeOf(chart);
    const xs = curveOf(chart.series[place]).x.filter((x) => x !== null && x >= from && x <= to);
    if (!xs.length) return;
    const near = (x) => xs.reduce((best, at, i) =>
      (Math.abs(at - x) < Math.abs(xs[best] - x) ? i : best), 0);
    const stride = Math.max(1, Math.round(xs.length / 100));
    let at = chart.reading === null ? Math.floor(xs.length / 2) : near(chart.reading) + move * stride;
    if (move === -Infinity) at = 0;
    if (move === Infinity) at = xs.length - 1;
    chart.reading = xs[Math.min(Math.max(at, 0), xs.length - 1)];
    const words = [];
    const points = [];
    if (chart.stale) draw(chart);
    chart.plot.data.forEach((trace, curveNumber) => {
      if (!trace.series) return;
      const curve = curveOf(trace.series);
      let best = -1;
      curve.x.forEach((x, i) => {
        if (x !== null && (best < 0 ||
          Math.abs(x - chart.reading) < Math.abs(curve.x[best] - chart.reading))) best = i;
      });
      if (best < 0) return;
      points.push({ curveNumber, pointNumber: best });
      words.push(`${trace.series.label} ${short((curve.m || curve.y)[best])}`);
    });
    chart.readout.textContent = `Step ${chart.reading}: ${words.join(", ")}`;
    window.Plotly.Fx.hover(chart.plot, points);
  };
  const KEYS = {
    ArrowLeft: (chart) => read(chart, -1), ArrowRight: (chart) => read(chart, 1),
    Home: (chart) => read(chart, -Infinity), End: (chart) => read(chart, Infinity),
    "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.all,
    l: toggleLog, L: toggleLog,
  };

  const fillLegend = (chart) => {
    const legend = chart.figure.querySelector(".legend");
    legend.hidden = !chart.legend && !chart.series[0].nonFiniteCount;
    legend.replaceChildren(...chart.series.map((series, place) => {
      const button = document.createElement("button");
      const style = styleOf(chart, place);
      button.type = "button";
      button.setAttribute("aria-pressed", String(!chart.hidden.has(place)));
      button.innerHTML = '<svg viewBox="0 0 34 8" aria-hidden="true"><line x1="1" x2="33" y1="4" y2="4" stroke-width="3"/></svg><span></span>';
      const line = button.querySelector("line");
      line.style.stroke = `var(--${style.name})`;
      line.style.strokeDasharray = { solid: "", dash: "9 6", dot: "3 4", dashdot: "9 3 3 3" }[style.dash];
      const count = series.nonFiniteCount;
      button.querySelector("span").textContent =
        series.label + (count ? ` (${count} NaN or infinite)` : "");
      button.addEventListener("click", () => {
        const hide = !chart.hidden.has(place);
        if (hide) chart.hidden.add(place);
        else chart.hidden.delete(place);
        button.setAttribute("aria-pressed", String(!hide));
        refresh([chart]);
      });
      return button;
    }));
  };
  // Charts are drawn as they come into sight, so that the page opens at once.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const chart = charts.find((one) => one.figure === entry.target);
      if (!chart) continue;
      chart.near = entry.isIntersecting;
      if (chart.near && chart.stale) draw(chart);
    }
  }, { rootMargin: "300px" });
  const begin = () => {
    watcher.disconnect();
    charts = [...document.querySelectorAll("figure.chart")].map((figure, place) => ({
      ...data.charts[place],
      figure,
      plot: figure.querySelector(".plot"),
      readout: figure.querySelector(".readout"),
      hidden: new Set(data.charts[place].series.map((one, i) => (one.hidden ? i : -1))),
      log: false,
      range: null, // of its own, where zoom is not shared
      near: false,
      stale: true,
      reading: null,
    }));
    for (const chart of charts) {
      fillLegend(chart);
      for (const button of chart.figure.querySelectorAll("[data-do]"))
        button.addEventListener("click", () => actions[button.dataset.do](chart));
      chart.plot.addEventListener("keydown", (event) => {
        const act = KEYS[event.key];
        if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        act(chart);
      });
      watcher.observe(chart.figure);
    }
  };
  const drawnAs = (what) => JSON.stringify(
    what.charts.map((chart) => [chart.key, chart.title, chart.series.map((one) => one.label)]));
  const counts = (chart) => JSON.stringify(chart.series.map((one) => one.nonFiniteCount));

  // New values in the charts that there are, or other charts: `page` is the document they are in.
  window.counterpoise.showCharts = (fresh, page) => {
    const same = drawnAs(fresh) === drawnAs(data);
    take(fresh);
    if (!same) {
      for (const chart of charts) window.Plotly.purge(chart.plot);
      byId("grid").innerHTML = page.getElementById("grid").innerHTML;
      begin();
      return;
    }
    charts.forEach((chart, place) => {
      const before = counts(chart);
      Object.assign(chart, data.charts[place]);
      const figure = page.getElementById(chart.figure.id);
      chart.figure.querySelector("figcaption").innerHTML =
        figure.querySelector("figcaption").innerHTML;
      chart.plot.setAttribute("aria-label", figure.querySelector(".plot").getAttribute("aria-label"));
      if (counts(chart) !== before) fillLegend(chart);
    });
    refresh();
  };

  take(JSON.parse(byId("data").textContent));
  begin();
  for (const id of ["smoothing", "shading", "linked"])
    byId(id).addEventListener("change", () => refresh());
  byId("reset").addEventListener("click", () => {
    for (const chart of charts) chart.range = null;
    sharedRange = null;
    refresh();
  });
  dark.addEventListener("change", () => refresh());
  coarse.addEventListener("change", () => refresh());
  window.addEventListener("beforeprint", () => charts.forEach((chart) => chart.stale && draw(chart)));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom-first]");
    if (!button) return;
    const first = Number(button.dataset.zoomFirst);
    const last = Number(button.dataset.zoomLast);
    const margin = Math.max(5, 0.1 * (last - first));
    byId("linked").checked = true;
    setRange(null, [Math.max(steps[0], first - margin), Math.min(steps[1], last + margin)]);
    byId("charts").scrollIntoView();
  });
})();
