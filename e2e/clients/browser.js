// Headless Chromium on the demo's chat page, in two windows that hear each other.
//
// usage: browser.js URL RESOLVE   RESOLVE maps names: "MAP app.example.com 127.0.0.1"; prints "ok …", or fails
'use strict';

const { browse } = require('./chromium');
const { run } = require('./steps');

async function openPage(context, url) {
  const page = await context.newPage();
  await page.goto(url);
  const status = page.locator('#status[data-state=open]');
  await status.waitFor();
  return { page, status: await status.textContent() };
}

async function say(from, to, text) {
  await from.page.getByLabel('Message').fill(text);
  await from.page.getByRole('button', { name: 'Send' }).click();
  for (const window of [from, to]) {
    await window.page.locator('#messages li.said', { hasText: text }).waitFor();
  }
}

run((url, resolve) =>
  browse(resolve, async (context) => {
    const first = await openPage(context, url);
    const second = await openPage(context, url);
    await say(first, second, 'hello from the first window');
    await say(second, first, 'and hello back: grüße 🚂');
    await first.page.reload();
    await first.page.locator('#status[data-state=open]').waitFor();
    await say(first, second, 'here again after a reload');
    const shown = process.env.SCREENSHOT;
    if (shown) await second.page.screenshot({ path: shown });
    return `${second.status}, title "${await second.page.title()}"`;
  }),
);
