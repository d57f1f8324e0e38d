// Numbers and names as the page writes them.
"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");
const vm = require("node:vm");

const source = readFileSync(path.join(__dirname, "../../src/admin/dashboard/format.js"), "utf8");
const format = vm.runInNewContext(source + "; format");

const all = (write, cases) => {
  for (const [value, text] of cases) assert.equal(write(value), text, `of ${value}`);
};

test("rates_are_in_bits_and_amounts_in_bytes", () => {
  all(format.bits, [[0, "0 bit/s"], [0.1, "0.8 bit/s"], [124, "992 bit/s"], [125, "1.00 kbit/s"], [1.25e6, "10.0 Mbit/s"], [3.1e8, "2.48 Gbit/s"], [1.25e14, "1,000 Tbit/s"], [null, "–"]]);
  all(format.bytes, [[0, "0 B"], [999, "999 B"], [1000, "1.00 kB"], [999400, "999 kB"], [999999, "1.00 MB"], [5.76e9, "5.76 GB"], [undefined, "–"]]);
});

test("durations_have_the_unit_that_fits", () => {
  all(format.ms, [[0, "0 ms"], [0.0001, "<1 µs"], [0.035, "35 µs"], [0.9, "900 µs"], [1, "1.00 ms"], [70.84, "70.8 ms"], [999.6, "1.00 s"], [59949, "59.9 s"], [61000, "1 m 01 s"], [NaN, "–"]]);
  all(format.age, [[0, "0 s"], [59999, "59 s"], [60000, "1 m 00 s"], [3600e3, "1 h 00 m"], [86400e3, "1 d 00 h"], [-5, "0 s"], [null, "–"]]);
});

test("counts_are_whole_until_they_are_long", () => {
  all(format.count, [[0, "0"], [8123, "8,123"], [9999999, "9,999,999"], [12345678, "12.3 M"]]);
  all(format.rate, [[0, "0"], [0.01, "<0.1"], [2.44, "2.4"], [312.4, "312"], [1.2e6, "1.20 M"]]);
  assert.equal(format.percent(1, 8), "12.5 %");
  assert.equal(format.percent(1, 0), "–");
});

test("what_is_unseen_in_a_name_is_shown", () => {
  all(format.name, [
    ["ann", "ann"],
    ["", "–"],
    [null, "–"],
    ["a\u202eb", "a\\u{202e}b"],
    ["a\n\u0000", "a\\u{a}\\u{0}"],
    ["\ud800", "\\u{d800}"],
    ["\u{e0041}", "\\u{e0041}"],
    ["漢字 مدير é", "漢字 مدير é"],
  ]);
});
