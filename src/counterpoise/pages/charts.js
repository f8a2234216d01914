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
  // What is drawn: replaced where the page follows a training.
  let data, many, steps;
  let figures = [];
  let range = null; // the steps in sight; null: all
  const curveOf = (series) => data.runs[series.run].curves[series.curve];
  const take = (fresh) => {
    data = fresh;
    many = data.runs.length > 1;
    let [low, high] = [Infinity, -Infinity];
    for (const series of data.charts.flatMap((chart) => chart.series))
      for (const x of curveOf(series).x)
        if (x !== null) [low, high] = [Math.min(low, x), Math.max(high, x)];
    // A little room, so that the first and the last value are seen whole.
    const room = 0.01 * (high - low) || 1;
    steps = [low - room, high + room];
  };

  // Means over `width` steps; no line runs over a hole.
  const smoothed = (x, values, width) => values.map((value, i) => {
    if (value === null) return null;
    let [sum, count] = [value, 1];
    for (const way of [-1, 1])
      for (let k = i + way; (values[k] ?? null) !== null && Math.abs(x[k] - x[i]) <= width / 2;
        k += way) {
        sum += values[k];
        count += 1;
      }
    return sum / count;
  });

  const tracesOf = (chart) => {
    const traces = [];
    const width = Number(byId("smoothing").value) * (steps[1] - steps[0]);
    chart.series.forEach((series, place) => {
      const curve = curveOf(series);
      // Told apart without colours too, and where one curve lies on another.
      const number = many ? series.run : place;
      const own = many ? chart.series.slice(0, place).filter((s) => s.run === series.run).length : 0;
      const ink = colour(`c${number % COLOURS}`);
      const dash = DASHES[(number + own + Math.floor(number / COLOURS)) % DASHES.length];
      const wide = chart.only_means ? width || 0.03 * (steps[1] - steps[0]) : width;
      const count = curve.nonFiniteCount;
      const common = { legendgroup: String(place), showlegend: false, hoverinfo: "skip" };
      if (!chart.only_means)
        traces.push({ ...common, x: curve.x, y: curve.y, mode: "lines+markers",
          opacity: chart.series.length > 2 && !many ? 0.2 : 0.33, line: { color: ink, width: 1 },
          marker: { size: curve.x.length <= 40 ? 6 : 2, color: ink } });
      traces.push({ legendgroup: String(place), x: curve.x,
        y: wide ? smoothed(curve.x, curve.m, wide) : curve.m, showlegend: true,
        name: plain(series.label) + (count ? ` (${count} NaN or infinite)` : ""),
        mode: "lines", line: { color: ink, width: 2, dash },
        customdata: curve.y, hovertemplate: chart.only_means ? "%{y:.4~g}" : "%{customdata:.4~g}" });
      if (curve.nonFinite.length)
        traces.push({ ...common, x: curve.nonFinite, y: curve.nonFinite.map(() => 0.05),
          yaxis: "y2", mode: "markers", hoverinfo: "x+name", name: "NaN or infinity",
          marker: { symbol: "x", size: 9, color: colour("severe") } });
    });
    return traces;
  };

  // The spans of findings; with several runs, a line of dashes for each at the foot.
  const shadesOf = (chart) => {
    const shapes = chart.lines.map((y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y,
      y1: y, line: { color: colour("soft"), width: 1.5, dash: "dash" } }));
    const annotations = [];
    if (!byId("shading").checked) return { shapes, annotations };
    const length = steps[1] - steps[0];
    const [starts, labelled] = [[], new Set()];
    data.runs.forEach((run, place) => {
      for (const [number, severity, x0, last] of run.bands) {
        const x1 = Math.max(last, x0 + length / 500);
        if (many) {
          shapes.push({ type: "rect", x0, x1, yref: "paper", y0: 0.025 * place,
            y1: 0.025 * place + 0.018, line: { width: 0 }, opacity: 0.8,
            fillcolor: colour(`c${place % COLOURS}`) });
          continue;
        }
        shapes.push({ type: "rect", x0, x1, yref: "paper", y0: 0, y1: 1, layer: "below",
          fillcolor: colour(severity), opacity: 0.1, line: { width: 1, color: colour(severity) } });
        if (labelled.has(number)) continue; // Several Ds have it.
        labelled.add(number);
        const beside = starts.filter((x) => Math.abs(x - x0) < length / 20).length;
        starts.push(x0);
        annotations.push({ x: x0, y: 1, yref: "paper", xanchor: "left", yanchor: "top",
          showarrow: false, xshift: 2 + 17 * beside, text: `<b>${number}</b>`,
          bgcolor: colour("page"), bordercolor: colour(severity), borderwidth: 1,
          font: { size: 11, color: colour(severity) } });
      }
    });
    return { shapes, annotations };
  };

  const layoutOf = (chart) => {
    const axis = { gridcolor: colour("grid"), linecolor: colour("rule"),
      zerolinecolor: colour("rule"), automargin: true };
    const log = byId("log").checked;
    const [least, most] = chart.span || [];
    const whole = chart.span && !log && chart.series.every((series) =>
      curveOf(series).y.every((y) => y === null || (least <= y && y <= most)));
    const room = 0.04 * (most - least); // so that what lies on an end is seen
    return {
      ...shadesOf(chart), uirevision: "kept",
      xaxis: { ...axis, range: (range || steps).slice(), exponentformat: "none",
        separatethousands: true, title: { text: "step", standoff: 4 }, uirevision: String(range) },
      yaxis: { ...axis, type: log ? "log" : "linear", fixedrange: true, tickformat: ".6~g",
        ...(whole ? { range: [least - room, most + room] } : { autorange: true }) },
      yaxis2: { overlaying: "y", range: [0, 1], fixedrange: true, visible: false },
      hovermode: "x unified", margin: { l: 48, r: 10, t: 6, b: 40 },
      legend: { orientation: "h", y: -0.22, yanchor: "top" },
      paper_bgcolor: colour("page"), plot_bgcolor: colour("page"),
      font: { color: colour("ink"), size: 12, family: "system-ui, sans-serif" },
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"),
        font: { color: colour("ink") } },
      modebar: { color: colour("soft"), activecolor: colour("ink"), bgcolor: "rgba(0,0,0,0)" },
      dragmode: coarse.matches ? false : "zoom",
    };
  };
  const draw = (figure) => {
    const chart = data.charts[figures.indexOf(figure)];
    const plot = figure.querySelector(".plot");
    const first = !plot.classList.contains("js-plotly-plot");
    figure.stale = false;
    window.Plotly.react(plot, tracesOf(chart), layoutOf(chart), {
      responsive: true, displaylogo: false, doubleClick: false,
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "pan2d", "toImage"]],
      toImageButtonOptions: { filename: `counterpoise-${chart.key}`, width: 1200, height: 500 } });
    if (!first) return;
    // The drawing, and where the library measures texts: nothing to read out.
    for (const svg of document.querySelectorAll("#js-plotly-tester, .plot svg"))
      svg.setAttribute("aria-hidden", "true");
    plot.on("plotly_relayout", (change) => {
      if (change["xaxis.range[0]"] !== undefined)
        show([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    });
    plot.on("plotly_doubleclick", () => show(null));
  };
  // Charts are drawn as they come into sight, so that the page opens at once.
  const refresh = () => {
    for (const figure of figures) {
      figure.stale = true;
      if (figure.near) draw(figure);
    }
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.near = isIntersecting;
      if (isIntersecting && target.stale) draw(target);
    }
  }, { rootMargin: "300px" });
  const show = (wanted) => {
    if (String(wanted) === String(range)) return;
    range = wanted;
    refresh();
  };
  const begin = () => {
    watcher.disconnect();
    figures = [...document.querySelectorAll("figure.chart")];
    for (const figure of figures) {
      figure.stale = true;
      watcher.observe(figure);
    }
  };
  const drawnAs = (what) => JSON.stringify(what.charts.map(
    (chart) => [chart.key, chart.title, chart.series.map((one) => one.label)]));

  // New values in the charts that there are, or other charts: `page` is the document they are in.
  window.counterpoise.showCharts = (fresh, page) => {
    const same = drawnAs(fresh) === drawnAs(data);
    take(fresh);
    if (same) {
      refresh();
      return;
    }
    figures.forEach((figure) => window.Plotly.purge(figure.querySelector(".plot")));
    byId("grid").innerHTML = page.getElementById("grid").innerHTML;
    begin();
  };

  take(JSON.parse(byId("data").textContent));
  begin();
  for (const id of ["smoothing", "shading", "log"]) byId(id).addEventListener("change", refresh);
  byId("reset").addEventListener("click", () => show(null));
  dark.addEventListener("change", refresh);
  coarse.addEventListener("change", refresh);
  window.addEventListener("beforeprint", () => figures.forEach((one) => one.stale && draw(one)));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom-first]");
    if (!button) return;
    const [first, last] = [Number(button.dataset.zoomFirst), Number(button.dataset.zoomLast)];
    const margin = Math.max(5, 0.1 * (last - first));
    show([Math.max(steps[0], first - margin), Math.min(steps[1], last + margin)]);
    byId("charts").scrollIntoView();
  });
})();
