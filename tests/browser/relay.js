// The relay as a child process with its admin endpoint on, an echo server behind it, and SOCKS5 sessions made by hand.
"use strict";

const assert = require("node:assert/strict");
const { spawn, spawnSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const net = require("node:net");
const { tmpdir } = require("node:os");
const path = require("node:path");

const PATIENCE_MS = 20000;
const binary = process.env.OUTFLOW;

async function until(what, read) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await read();
    if (found) return found;
    assert.ok(Date.now() < end, `${what} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// What answers each byte with itself.
async function startEcho() {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.pipe(socket);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  };
  return { port: server.address().port, stop };
}

class Relay {
  // With `users` they log in, name for name with `password`; with `token` the endpoint asks for it.
  static async start({ users = [], token = null } = {}) {
    const relay = new Relay();
    relay.folder = mkdtempSync(path.join(tmpdir(), "outflow-browser-"));
    relay.records = path.join(relay.folder, "access.jsonl");
    const lines = ["[server]", 'listen = ["127.0.0.1:0"]', "workers = 2", "pin = false", "[admin]", 'listen = ["127.0.0.1:0"]'];
    if (token !== null) {
      const file = path.join(relay.folder, "token");
      writeFileSync(file, token + "\n", { mode: 0o600 });
      lines.push(`token_file = "${file}"`);
    }
    lines.push("[log]", `access = "${relay.records}"`);
    if (users.length > 0) {
      const file = path.join(relay.folder, "users");
      for (const user of users) {
        const added = spawnSync(binary, ["user", "add", user, "--file", file], { input: "password\n" });
        assert.equal(added.status, 0, String(added.stderr));
      }
      lines.push("[auth]", 'methods = ["password"]', `users = "${file}"`);
    }
    const config = path.join(relay.folder, "outflow.toml");
    writeFileSync(config, lines.join("\n") + "\n");
    relay.said = "";
    relay.child = spawn(binary, ["run", "--config", config, "--allow-private"], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [relay.child.stdout, relay.child.stderr]) {
      stream.on("data", (data) => {
        relay.said += data;
      });
    }
    relay.ended = new Promise((resolve) => relay.child.on("close", resolve));
    const find = (pattern) => async () => {
      assert.equal(relay.child.exitCode, null, relay.said);
      return pattern.exec(relay.said)?.[1];
    };
    relay.port = Number(await until("the ready line", find(/listening on 127\.0\.0\.1:(\d+)/)));
    relay.url = await until("the endpoint's address", find(/(http:\/\/127\.0\.0\.1:\d+\/)/));
    return relay;
  }

  // A session of this user to a port of this machine.
  async session(port, user = null) {
    const socket = net.connect(this.port, "127.0.0.1");
    const session = { socket, bytes: Buffer.alloc(0), closed: false };
    socket.on("data", (data) => {
      session.bytes = Buffer.concat([session.bytes, data]);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      session.closed = true;
    });
    const answer = async (bytes, expected) => {
      socket.write(bytes);
      await until("an answer of the relay", () => session.bytes.length >= expected.length || session.closed);
      assert.deepEqual([...session.bytes.subarray(0, expected.length)], expected);
      session.bytes = session.bytes.subarray(expected.length);
    };
    if (user === null) await answer(Buffer.from([5, 1, 0]), [5, 0]);
    else {
      await answer(Buffer.from([5, 1, 2]), [5, 2]);
      const name = Buffer.from(user);
      await answer(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([8]), Buffer.from("password")]), [1, 0]);
    }
    // BND.ADDR is this machine, BND.PORT whatever it left from.
    await answer(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]), [5, 0, 0, 1, 127, 0, 0, 1]);
    await until("the port of the reply", () => session.bytes.length >= 2);
    session.bytes = session.bytes.subarray(2);
    session.echo = async (number) => {
      const before = session.bytes.length;
      socket.write(Buffer.alloc(number, 0x61));
      await until("the echo", () => session.bytes.length >= before + number || session.closed);
      assert.equal(session.bytes.length, before + number);
    };
    session.isClosed = () => until("the end of the session", () => session.closed);
    return session;
  }

  // The access records so far.
  written() {
    return readFileSync(this.records, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }

  async stop() {
    for (const signal of ["SIGTERM", "SIGTERM", "SIGTERM"]) {
      this.child.kill(signal);
      await Promise.race([this.ended, new Promise((resolve) => setTimeout(resolve, 500))]);
      if (this.child.exitCode !== null) break;
    }
    await this.ended;
    rmSync(this.folder, { recursive: true });
  }
}

module.exports = { Relay, startEcho, until };
