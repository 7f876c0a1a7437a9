// Headless Chromium for the scripts that need a browser.
'use strict';

const { chromium } = require('playwright-core');

// Runs something in a new browser. `resolve` maps names: "MAP app.example.com 127.0.0.1".
exports.browse = async (resolve, visit) => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      `--host-resolver-rules=${resolve}`,
    ],
  });
  try {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    context.setDefaultTimeout(17000);
    return await visit(context);
  } finally {
    await browser.close();
  }
};
