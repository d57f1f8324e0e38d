// Fetches one page through an HTTP proxy with a Node client; its body goes to standard output.
//
//     node fetch.js undici|global-agent PROXY_URL URL
"use strict";

const TIMEOUT_MS = 15000;

async function byUndici(proxy, url) {
  const { ProxyAgent, request } = require("undici");
  const { username, password, origin } = new URL(proxy);
  const token = username ? `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` : undefined;
  const dispatcher = new ProxyAgent({ uri: origin, token });
  const { statusCode, body } = await request(url, { dispatcher, headersTimeout: TIMEOUT_MS });
  if (statusCode !== 200) throw new Error(`answered ${statusCode}`);
  const page = Buffer.from(await body.arrayBuffer());
  await dispatcher.close();
  return page;
}

function byGlobalAgent(proxy, url) {
  process.env.GLOBAL_AGENT_HTTP_PROXY = proxy;
  require("global-agent").bootstrap();
  return new Promise((resolve, reject) => {
    const asked = require("http").get(url, (answer) => {
      if (answer.statusCode !== 200) return reject(new Error(`answered ${answer.statusCode}`));
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => resolve(Buffer.concat(pieces)));
    });
    asked.setTimeout(TIMEOUT_MS, () => asked.destroy(new Error("silent for too long")));
    asked.on("error", reject);
  });
}

async function main([client, proxy, url]) {
  const page = await { undici: byUndici, "global-agent": byGlobalAgent }[client](proxy, url);
  process.stdout.write(page);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
