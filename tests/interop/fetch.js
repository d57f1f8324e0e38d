// Fetches one page through a SOCKS5 proxy with the `socks` package; its body goes to standard output.
//
//     node fetch.js PROXY_PORT USER PASSWORD HOST PORT PATH      (an empty USER: method none)
"use strict";
const { SocksClient } = require("socks");

const TIMEOUT_MS = 15000;

async function main([proxyPort, user, password, host, port, path]) {
  const proxy = { host: "127.0.0.1", port: Number(proxyPort), type: 5 };
  if (user) Object.assign(proxy, { userId: user, password });
  const { socket } = await SocksClient.createConnection({
    proxy,
    command: "connect",
    destination: { host, port: Number(port) },
    timeout: TIMEOUT_MS,
  });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("silent for too long")));
  const name = host.includes(":") ? `[${host}]` : host;
  socket.write(`GET ${path} HTTP/1.0\r\nHost: ${name}\r\n\r\n`);
  const chunks = [];
  for await (const chunk of socket) chunks.push(chunk);
  const raw = Buffer.concat(chunks);
  const end = raw.indexOf("\r\n\r\n");
  if (end < 0 || !raw.subarray(0, 16).includes(" 200 ")) throw new Error(`answered ${raw.subarray(0, 80)}`);
  process.stdout.write(raw.subarray(end + 4));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
