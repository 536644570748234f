// A browser for tests, with a home of its own: the one of this user may not be there, or be in use.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const puppeteer = createRequire(new URL("../report/", import.meta.url))("puppeteer-core");

/** Does `use` with a browser that has these arguments, too, and ends it however that goes. */
export async function withBrowser(args, use) {
  const home = mkdtempSync(join(tmpdir(), "duplex-browser-"));
  try {
    const browser = await puppeteer.launch({
      executablePath: "/usr/bin/chromium",
      userDataDir: home,
      // Root, as in CI, has no sandbox; the pages are our own.
      args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", ...args],
    });
    try {
      await use(browser);
    } finally {
      await browser.close();
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
