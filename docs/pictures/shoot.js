// node shoot.js URL SECONDS FILE: opens the dashboard, looks at it for so long, and keeps what it sees by then.
"use strict";

const { chromium } = require("playwright-core");

const [url, seconds, file] = process.argv.slice(2);

async function shoot() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage({ viewport: { width: 1360, height: 1500 }, colorScheme: "light" });
  await page.goto(url);
  await page.waitForTimeout(Number(seconds) * 1000);
  const word = await page.textContent("#state-word");
  if (word !== "serving") throw new Error(`the relay is not serving: ${word}`);
  await page.screenshot({ path: file });
  await browser.close();
}

shoot();
