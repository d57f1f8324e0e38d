"use strict";

// The last 15 minutes as curves. Above each stands its value now, or at the time that the pointer is on.
const charts = (() => {
  const HEIGHT = 132;
  const AXIS_WIDTH = 50;
  const WINDOW_MIN_S = 120;
  const WINDOW_MAX_S = 900;
  const SYNC = uPlot.sync("history");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const font = () => "11px " + getComputedStyle(document.body).fontFamily;

  // What an axis ends at: its largest value with some room, and no less than `floor`, so that silence is a flat line.
  const top = (floor) => (plot, least, most) => [0, Math.max(floor, (most ?? 0) * 1.08)];

  class Chart {
    #spec;
    #host;
    #values = [];
    #when;
    #plot = null;
    #data;
    #now = [];
    #span = [Date.now() / 1e3 - WINDOW_MIN_S, Date.now() / 1e3];
    #at = null;

    // `spec` has title, show(value), axis(value), floor, and series of { key, label, colour, filled, scale }.
    constructor(element, spec) {
      this.#spec = spec;
      this.#data = [[], ...spec.series.map(() => [])];
      const head = dom.make("div", "chart-head");
      head.append(dom.make("h3", "", spec.title));
      this.#when = dom.make("span", "soft when", "now");
      head.append(this.#when);
      const legend = dom.make("p", "legend");
      for (const series of spec.series) {
        const entry = dom.make("span", "entry");
        const mark = dom.make("span", "mark " + series.colour);
        mark.setAttribute("aria-hidden", "true");
        const value = dom.make("span", "value", format.NONE);
        const label = dom.make("span", "soft", series.label);
        label.prepend(mark);
        entry.append(label, value);
        legend.append(entry);
        this.#values.push(value);
      }
      this.#host = dom.make("div", "plot");
      this.#host.setAttribute("role", "img");
      element.append(head, legend, this.#host);
      new ResizeObserver(() => this.#resize()).observe(this.#host);
    }

    // Draws anew, in the colours of now.
    paint() {
      if (this.#plot) this.#plot.destroy();
      this.#plot = null;
      this.#resize();
    }

    // The newest values, one for each series.
    now(values) {
      this.#now = values;
      this.#show();
    }

    // `times` in seconds, `series` by key.
    history(times, series) {
      const spec = this.#spec;
      this.#data = [times, ...spec.series.map((one) => (series[one.key] ?? []).map((v) => scale(one, v)))];
      const end = times.at(-1) ?? 0;
      const span = Math.min(WINDOW_MAX_S, Math.max(WINDOW_MIN_S, end - (times[0] ?? end)));
      this.#span = [end - span, end];
      if (this.#plot) {
        this.#plot.batch(() => {
          this.#plot.setData(this.#data, false);
          this.#plot.setScale("x", { min: this.#span[0], max: this.#span[1] });
        });
      }
      this.#describe();
      this.#show();
    }

    #describe() {
      const minutes = Math.round((this.#span[1] - this.#span[0]) / 60);
      const most = this.#spec.series.map((series, index) => {
        const known = this.#data[index + 1].filter(format.known);
        const value = known.length === 0 ? null : known.reduce((a, b) => Math.max(a, b));
        return series.label + " at most " + this.#spec.show(value);
      });
      const text = this.#spec.title + ", the last " + minutes + " minutes: " + most.join(", ");
      dom.attribute(this.#host, "aria-label", text);
    }

    #show() {
      const past = this.#at !== null && this.#at < this.#data[0].length;
      const end = this.#data[0].at(-1);
      dom.say(this.#when, past ? format.age((end - this.#data[0][this.#at]) * 1e3) + " ago" : "now");
      this.#values.forEach((value, index) => {
        const known = past ? this.#data[index + 1][this.#at] : this.#now[index];
        dom.say(value, this.#spec.show(known ?? null));
      });
    }

    #resize() {
      const width = Math.floor(this.#host.clientWidth);
      if (width < 40) return;
      if (this.#plot) this.#plot.setSize({ width, height: HEIGHT });
      else this.#plot = new uPlot(this.#options(width), this.#data, this.#host);
    }

    #options(width) {
      const axis = {
        stroke: colour("soft"),
        font: font(),
        grid: { stroke: colour("grid"), width: 1 },
        ticks: { show: false },
      };
      const spec = this.#spec;
      return {
        width,
        height: HEIGHT,
        padding: [8, 6, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: SYNC.key, setSeries: false } },
        scales: { x: { range: () => this.#span }, y: { range: top(spec.floor) } },
        axes: [
          { ...axis, size: 22, gap: 3, space: 64, values: (plot, splits) => splits.map(clockOf) },
          { ...axis, size: AXIS_WIDTH, gap: 5, space: 24, values: (plot, splits) => splits.map(spec.axis) },
        ],
        series: [{}, ...spec.series.map(line)],
        hooks: {
          setCursor: [
            (plot) => {
              const on = plot.cursor.left >= 0 && format.known(plot.cursor.idx);
              this.#at = on ? plot.cursor.idx : null;
              this.#show();
            },
          ],
        },
      };
    }
  }

  const scale = (series, value) => (format.known(value) ? value * (series.scale ?? 1) : null);

  function line(series) {
    const stroke = colour(series.colour);
    return {
      stroke,
      width: 1.5,
      fill: series.filled ? stroke + "26" : undefined,
      points: { show: false },
      spanGaps: false,
    };
  }

  function clockOf(seconds) {
    const text = format.clock(new Date(seconds * 1e3));
    return seconds % 60 === 0 ? text.slice(0, 5) : text;
  }

  // An axis needs no zeros behind the point, and its unit stands above it.
  const axis = (show) => (value) => {
    if (value === 0) return "0";
    const text = show(value).replace("bit/s", "").trim();
    return text.replace(/\.(\d*?)0+(?= |$)/, (_, kept) => (kept ? "." + kept : ""));
  };
  const all = {
    throughput: new Chart(dom.at("chart-throughput"), {
      title: "Throughput",
      show: (value) => format.bits(value),
      axis: axis(format.bits),
      floor: 125,
      series: [
        { key: "bytes_down", label: "down", colour: "down", filled: true },
        { key: "bytes_up", label: "up", colour: "up" },
      ],
    }),
    sessions: new Chart(dom.at("chart-sessions"), {
      title: "Sessions",
      show: format.count,
      axis: axis(format.count),
      floor: 4,
      series: [{ key: "active", label: "open", colour: "down", filled: true }],
    }),
    fresh: new Chart(dom.at("chart-new"), {
      title: "New sessions a second",
      show: format.rate,
      axis: axis(format.rate),
      floor: 4,
      series: [
        { key: "accepted", label: "accepted", colour: "down", filled: true },
        { key: "refused", label: "refused", colour: "bad" },
      ],
    }),
    delay: new Chart(dom.at("chart-delay"), {
      title: "Own latency, p99",
      show: format.ms,
      axis: axis(format.ms),
      floor: 0.1,
      series: [
        { key: "delay_p99_ms", label: "delay to service", colour: "down", filled: true },
        { key: "turn_p99_ms", label: "turn", colour: "up" },
      ],
    }),
  };
  const every = Object.values(all);
  const paint = () => every.forEach((chart) => chart.paint());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  paint();

  // What /api/v1/stats says of this second.
  function stats(now) {
    const rates = now.rates ?? {};
    const latencies = now.latencies ?? {};
    all.throughput.now([rates.bytes_down, rates.bytes_up]);
    all.sessions.now([now.counters?.active]);
    all.fresh.now([rates.accepted, rates.refused]);
    all.delay.now([latencies.delay?.p99_ms, latencies.turn?.p99_ms]);
  }

  // What /api/v1/history says. Gives how many points there are.
  function history(past) {
    const end = Date.parse(past.end) / 1e3;
    const length = past.series.active?.length ?? 0;
    const times = Array.from({ length }, (_, at) => end - (length - 1 - at) * past.interval_s);
    every.forEach((chart) => chart.history(times, past.series));
    return length;
  }

  return { stats, history };
})();
