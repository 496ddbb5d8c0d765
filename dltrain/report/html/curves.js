
"use strict";
// Redraws each chart that the page already shows, so that it can be read off, and lines can be hidden.
(() => {
  const LEFT = 58, RIGHT = 14, TOP = 10, BOTTOM = 36, HEIGHT = 300, FEW = 40;
  const make = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const shown = (v) => {
    if (Number.isInteger(v) && Math.abs(v) < 1e5) return String(v);
    if (v !== 0 && (Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3)) return v.toExponential(2).replace("e+", "e");
    return String(Number(v.toPrecision(4)));
  };
  const span = (low, high) =>
    high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high)) ? [low, high] : [low - 0.5, high + 0.5];
  const ticks = (low, high, most) => {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw * (1 - 1e-9));
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
    return found;
  };

  const start = (figure) => {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const plot = figure.querySelector(".plot"), key = figure.querySelector(".key");
    const readout = figure.querySelector(".readout"), scale = figure.querySelector(".scale");
    const hidden = new Set();
    let log = data.log, at = null, view = null;

    const points = () => data.lines.map((line, i) => {
      if (hidden.has(i)) return [];
      return line.x.map((x, j) => [x, line.y[j]]).filter(([, y]) => !log || y > 0);
    });

    const draw = () => {
      const width = Math.max(260, plot.clientWidth), right = width - RIGHT, bottom = HEIGHT - BOTTOM;
      const svg = make("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": data.title, "font-size": 13 });
      const lines = points(), all = lines.flat();
      const text = (x, y, value, anchor) => svg.append(make("text", { x, y, "text-anchor": anchor, fill: "currentColor" }, value));
      const stroke = (d, more) => svg.append(make("path", { d, fill: "none", stroke: "currentColor", ...more }));
      view = null;
      if (all.length) {
        const value = (y) => (log ? Math.log10(y) : y);
        const ends = (list) => span(list.reduce((a, b) => Math.min(a, b)), list.reduce((a, b) => Math.max(a, b)));
        const [x0, x1] = ends(all.map((p) => p[0])), [y0, y1] = ends(all.map((p) => value(p[1])));
        const x = (s) => LEFT + ((s - x0) / (x1 - x0)) * (right - LEFT);
        const y = (v) => bottom - ((value(v) - y0) / (y1 - y0)) * (bottom - TOP);
        for (const tick of ticks(y0, y1, 5)) {
          const v = log ? 10 ** tick : tick;
          stroke(`M${LEFT} ${y(v)}H${right}`, { "stroke-opacity": 0.15 });
          text(LEFT - 6, y(v) + 4, shown(v), "end");
        }
        for (const tick of ticks(x0, x1, width < 400 ? 4 : 6)) {
          if (Number.isInteger(tick)) text(x(tick), bottom + 17, shown(tick), "middle");
        }
        if (data.mark !== null && data.mark >= x0 && data.mark <= x1) {
          stroke(`M${x(data.mark)} ${TOP}V${bottom}`, { "stroke-dasharray": "3 3", "stroke-opacity": 0.6 });
        }
        lines.forEach((line, i) => {
          if (!line.length) return;
          const { colour, dash } = data.lines[i];
          const d = "M" + line.map(([s, v]) => `${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("L");
          const path = make("path", { d, fill: "none", stroke: colour, "stroke-width": 2, "stroke-linejoin": "round" });
          if (dash) path.setAttribute("stroke-dasharray", dash);
          svg.append(path);
          if (line.length <= FEW) for (const [s, v] of line) svg.append(make("circle", { cx: x(s), cy: y(v), r: 2.5, fill: colour }));
        });
        view = { x, y, lines, back: (px) => x0 + ((px - LEFT) / (right - LEFT)) * (x1 - x0) };
      } else text(width / 2, HEIGHT / 2, "no values", "middle");
      text((LEFT + right) / 2, HEIGHT - 4, "step", "middle");
      stroke(`M${LEFT} ${TOP}V${bottom}H${right}`, { "stroke-opacity": 0.5 });
      plot.replaceChildren(svg);
      point();
    };

    // Shows the values nearest to a step: a vertical line, a dot on each line, and the numbers below.
    const point = () => {
      plot.querySelectorAll(".cursor").forEach((node) => node.remove());
      if (at === null || !view) { readout.textContent = ""; return; }
      const nearest = view.lines.map((line) => line.reduce((a, b) => (a && Math.abs(a[0] - at) <= Math.abs(b[0] - at) ? a : b), null));
      const steps = nearest.filter(Boolean).map((p) => p[0]);
      const step = steps.reduce((a, b) => (Math.abs(a - at) <= Math.abs(b - at) ? a : b));
      const svg = plot.firstChild, group = make("g", { class: "cursor" });
      group.append(make("path", { d: `M${view.x(step)} ${TOP}V${HEIGHT - BOTTOM}`, stroke: "currentColor", "stroke-opacity": 0.4 }));
      const said = [`step ${step.toLocaleString("en")}`];
      nearest.forEach((p, i) => {
        if (!p) return;
        group.append(make("circle", { cx: view.x(p[0]), cy: view.y(p[1]), r: 4.5, fill: data.lines[i].colour }));
        said.push(`${data.lines[i].name} ${shown(p[1])}` + (p[0] === step ? "" : ` (step ${p[0].toLocaleString("en")})`));
      });
      svg.append(group);
      readout.textContent = said.join(" · ");
    };

    key.replaceChildren(...data.lines.map((line, i) => {
      const button = document.createElement("button"), swatch = make("svg", { class: "swatch", width: 22, height: 8 });
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.title = `show or hide ${line.name}`;
      swatch.append(make("path", { d: "M0 4H22", stroke: line.colour, "stroke-width": 3, "stroke-dasharray": line.dash || "none" }));
      button.append(swatch, line.name);
      button.addEventListener("click", () => {
        if (!hidden.delete(i)) hidden.add(i);
        button.setAttribute("aria-pressed", String(!hidden.has(i)));
        draw();
      });
      return button;
    }));
    scale.hidden = false;
    scale.setAttribute("aria-pressed", String(log));
    scale.addEventListener("click", () => {
      log = !log;
      scale.setAttribute("aria-pressed", String(log));
      draw();
    });
    const follow = (event) => {
      if (!view) return;
      const box = plot.getBoundingClientRect();
      at = view.back(((event.clientX - box.left) / box.width) * Math.max(260, plot.clientWidth));
      point();
    };
    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerdown", follow);
    plot.addEventListener("pointerleave", () => { at = null; point(); });
    plot.tabIndex = 0;
    plot.addEventListener("keydown", (event) => {
      if (!view || !["ArrowLeft", "ArrowRight", "Escape"].includes(event.key)) return;
      event.preventDefault();
      const steps = [...new Set(view.lines.flat().map((p) => p[0]))].sort((a, b) => a - b);
      const now = steps.reduce((a, s, i) => (Math.abs(s - at) < Math.abs(steps[a] - at) ? i : a), 0);
      const next = at === null ? 0 : now + (event.key === "ArrowRight" ? 1 : -1);
      at = event.key === "Escape" ? null : steps[Math.min(steps.length - 1, Math.max(0, next))];
      point();
    });
    let width = 0;
    const fit = () => { if (plot.clientWidth && plot.clientWidth !== width) { width = plot.clientWidth; draw(); } };
    new ResizeObserver(fit).observe(plot);
    fit();
  };
  document.querySelectorAll("figure.chart").forEach(start);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
})();
