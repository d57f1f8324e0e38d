// Takes one connection through a SOCKS5 proxy's BIND with the `socks` package. The peer is this program, too: it
// connects to where the proxy says, sends FILE and takes an answer. What the client receives goes to standard output.
//
//     node bind.js PROXY_PORT USER PASSWORD PEER FILE      (an empty USER: method none; PEER: the address to expect)
"use strict";
const fs = require("fs");
const net = require("net");
const { SocksClient } = require("socks");

const TIMEOUT_MS = 15000;
const ANSWER = "226 that is all\r\n";

// All that comes, up to the FIN. The package hands bytes that came with a reply over as a bare event.
function collect(socket) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    socket.setTimeout(TIMEOUT_MS, () => reject(new Error("silent for too long")));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
    socket.on("error", reject);
  });
}

// The peer: sends the file and its FIN, and waits for the answer behind them.
function play(peer, file) {
  peer.end(fs.readFileSync(file));
  return collect(peer);
}

function bind(options, file) {
  return new Promise((resolve, reject) => {
    const client = new SocksClient(options);
    let peer, answered;
    client.on("error", reject);
    client.on("bound", ({ remoteHost }) => {
      peer = net.connect({ host: remoteHost.host, port: remoteHost.port, allowHalfOpen: true });
      answered = play(peer, file);
      answered.catch(reject);
    });
    client.on("established", ({ socket, remoteHost }) => {
      if (remoteHost.port !== peer.localPort) reject(new Error(`not the peer: ${JSON.stringify(remoteHost)}`));
      const heard = collect(socket);
      socket.write(ANSWER);
      Promise.all([heard, answered]).then(([bytes, answer]) => {
        if (answer.toString() !== ANSWER) throw new Error(`the peer was answered ${answer}`);
        resolve(bytes);
      }).catch(reject);
    });
    client.connect();
  });
}

async function main([proxyPort, user, password, host, file]) {
  const proxy = { host: "127.0.0.1", port: Number(proxyPort), type: 5 };
  if (user) Object.assign(proxy, { userId: user, password });
  const options = { proxy, command: "bind", destination: { host, port: 0 }, timeout: TIMEOUT_MS };
  process.stdout.write(await bind(options, file));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
