// Fetches one page by datagrams through a SOCKS5 proxy with the `socks` package; it goes to standard output.
//
//     node udp.js PROXY_HOST PROXY_PORT USER PASSWORD HOST PORT PATH      (an empty USER: method none)
"use strict";
const dgram = require("node:dgram");
const { once } = require("node:events");
const { isIPv6 } = require("node:net");
const { SocksClient } = require("socks");

const TIMEOUT_MS = 15000;

async function main([proxyHost, proxyPort, user, password, host, port, path]) {
  const proxy = { host: proxyHost, port: Number(proxyPort), type: 5 };
  if (user) Object.assign(proxy, { userId: user, password });
  const client = new SocksClient({
    proxy,
    command: "associate",
    destination: { host: isIPv6(proxyHost) ? "::" : "0.0.0.0", port: 0 },
    timeout: TIMEOUT_MS,
  });
  const established = once(client, "established", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  client.connect();
  const [{ socket, remoteHost }] = await established;
  const udp = dgram.createSocket(isIPv6(proxyHost) ? "udp6" : "udp4");
  udp.bind(0, proxyHost);
  await once(udp, "listening");
  let page = Buffer.alloc(0);
  for (;;) {
    const answer = once(udp, "message", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const remote = { host, port: Number(port) };
    const frame = SocksClient.createUDPFrame({ remoteHost: remote, data: Buffer.from(`${page.length} ${path}`) });
    udp.send(frame, remoteHost.port, remoteHost.host);
    const [message] = await answer;
    const { frameNumber, remoteHost: source, data } = SocksClient.parseUDPFrame(message);
    if (frameNumber !== 0 || source.port !== Number(port)) {
      throw new Error(`answered by ${source.host} ${source.port}, fragment ${frameNumber}`);
    }
    if (data.length === 0) break;
    page = Buffer.concat([page, data]);
  }
  udp.close();
  socket.destroy();
  process.stdout.write(page);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
