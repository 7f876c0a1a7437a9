// Headless Chromium on the page of events-server.js.
//
// usage: events-browser.js BASE RESOLVE   RESOLVE as for chromium.js; prints "ok …" with what it shows, or fails
'use strict';

const { browse } = require('./chromium');
const { run, step } = require('./steps');

run((base, resolve) =>
  browse(resolve, async (context) => {
    const page = await context.newPage();
    step('the page');
    await page.goto(`${base}/?visit=${process.pid}`);
    step('the last event');
    await page.locator('p li').waitFor();
    const events = await page.locator('ol li').allTextContents();
    return `${events.join(', ')}; ${(await page.locator('p li').textContent()).replace('\n', ' ')}`;
  }),
);
