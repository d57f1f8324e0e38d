"use strict";

// Numbers and names as an operator reads them. Each function takes what the API gives, null included, and returns text.
const format = (() => {
  const NONE = "–";
  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

  // Three digits that count: 0.123, 1.23, 12.3, 123.
  function digits(value) {
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size >= 99.95) return whole.format(value);
    if (size >= 9.995) return value.toFixed(1);
    return value.toFixed(size >= 0.995 ? 2 : 3);
  }

  // The value in the largest of the units, each so many times the one before, in which it is not below 1.
  function scaled(value, step, units) {
    let at = 0;
    while (at + 1 < units.length && Math.abs(value) >= step * 0.9995) {
      value /= step;
      at += 1;
    }
    return (at === 0 ? short(value) : digits(value)) + " " + units[at];
  }

  const short = (value) => (Math.abs(value) >= 9.95 || Number.isInteger(value) ? whole.format(value) : value.toFixed(1));

  const count = (value) => {
    if (!known(value)) return NONE;
    return Math.abs(value) < 1e7 ? whole.format(value) : scaled(value / 1e3, 1e3, ["k", "M", "G", "T"]);
  };

  // So many a second, without the words "a second".
  const rate = (value) => {
    if (!known(value)) return NONE;
    if (value > 0 && value < 0.05) return "<0.1";
    return Math.abs(value) < 1e6 ? short(value) : scaled(value / 1e3, 1e3, ["k", "M", "G"]);
  };

  // Of bytes a second: links are counted in bits.
  const bits = (bytesPerSecond) =>
    known(bytesPerSecond)
      ? scaled(bytesPerSecond * 8, 1e3, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
      : NONE;

  const bytes = (value) => (known(value) ? scaled(value, 1e3, ["B", "kB", "MB", "GB", "TB", "PB"]) : NONE);

  const ms = (value) => {
    if (!known(value)) return NONE;
    if (value === 0) return "0 ms";
    if (value < 0.9995) return value < 0.0005 ? "<1 µs" : digits(value * 1e3).replace(/\.\d+$/, "") + " µs";
    if (value < 999.5) return digits(value) + " ms";
    return value < 59950 ? digits(value / 1e3) + " s" : age(value);
  };

  const two = (value) => String(value).padStart(2, "0");

  // How long something has lasted, in the two largest units.
  const age = (milliseconds) => {
    if (!known(milliseconds)) return NONE;
    const seconds = Math.max(0, Math.floor(milliseconds / 1e3));
    if (seconds < 60) return seconds + " s";
    if (seconds < 3600) return Math.floor(seconds / 60) + " m " + two(seconds % 60) + " s";
    const hours = Math.floor(seconds / 3600);
    if (hours < 24) return hours + " h " + two(Math.floor((seconds % 3600) / 60)) + " m";
    return Math.floor(hours / 24) + " d " + two(hours % 24) + " h";
  };

  const percent = (part, all) => (known(part) && known(all) && all > 0 ? digits((part / all) * 100) + " %" : NONE);

  const clock = (date) => two(date.getHours()) + ":" + two(date.getMinutes()) + ":" + two(date.getSeconds());

  // Names come from clients. What is invisible or turns the direction of writing is shown as its number, so that no name
  // looks like another or reaches into what stands beside it.
  const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;
  const name = (text) =>
    text === null || text === undefined || text === ""
      ? NONE
      : String(text).replace(UNSEEN, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");

  // A counter's name for one that has no words here.
  const words = (key) => {
    const spaced = key.replaceAll("_", " ");
    return spaced.charAt(0).toUpperCase() + spaced.slice(1);
  };

  return { NONE, known, count, rate, bits, bytes, ms, age, percent, clock, name, words };
})();
