"use strict";

// Questions to the endpoint that this page came from.
const api = (() => {
  const PATIENCE_MS = 6000;
  const KEY = "outflow.token";

  // Why there is no answer. `status` is 0 where none came at all.
  class Failure extends Error {
    constructor(status, words, wait_s) {
      super(words);
      this.status = status;
      this.wait_s = wait_s;
    }
  }

  // A browser may forbid storage; the token then lives as long as the page.
  let token = "";
  try {
    token = sessionStorage.getItem(KEY) ?? "";
  } catch {
    token = "";
  }

  function keepToken(value) {
    token = value;
    try {
      if (value) sessionStorage.setItem(KEY, value);
      else sessionStorage.removeItem(KEY);
    } catch {
      // It is kept above.
    }
  }

  async function ask(path, method = "GET") {
    const headers = { accept: "application/json" };
    if (token) headers.authorization = "Bearer " + token;
    let answer, text;
    try {
      answer = await fetch("/api/v1/" + path, {
        method,
        headers,
        mode: "same-origin",
        credentials: "omit",
        redirect: "error",
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      text = await answer.text();
    } catch (error) {
      const late = error.name === "TimeoutError";
      throw new Failure(0, late ? "no answer within " + PATIENCE_MS / 1000 + " s" : "no connection");
    }
    let value = null;
    try {
      value = JSON.parse(text);
    } catch {
      if (answer.ok) throw new Failure(answer.status, "the answer is not JSON");
    }
    if (answer.ok) return value;
    const said = value && typeof value.error === "string" ? value.error : "status " + answer.status;
    throw new Failure(answer.status, said, Number(answer.headers.get("retry-after")) || 0);
  }

  // A query string of what is not empty.
  function query(parameters) {
    const set = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    return set.length === 0 ? "" : "?" + new URLSearchParams(set);
  }

  return { Failure, ask, query, keepToken, hasToken: () => token !== "" };
})();
