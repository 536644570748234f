// browser.mjs REPORT.html PICTURES: opens a report in Chromium at two widths, in light and in dark, and says what
// is wrong with it. Exit status 1 where something is.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";
import { withBrowser } from "../common/chromium.mjs";

const [, , report, pictures] = process.argv;
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const wrong = [];

/** What is wrong with the page as it is shown now. */
function flaws() {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    found.push(`the page is ${root.scrollWidth} wide, and the window ${root.clientWidth}`);
  }
  const boxed = (element) => element.closest(".scroll") !== null;
  const shown = (element) => element.getClientRects().length > 0;
  for (const element of document.querySelectorAll("main *, header *")) {
    const { left, right, width } = element.getBoundingClientRect();
    if (shown(element) && width > 1 && !boxed(element) && (left < -1 || right > root.clientWidth + 1)) {
      found.push(`${element.tagName} ${element.textContent.slice(0, 40)} reaches from ${left} to ${right}`);
    }
  }
  // What a picture writes must lie in it, and letters must not lie over each other.
  for (const svg of document.querySelectorAll("svg")) {
    if (!shown(svg)) continue;
    const edge = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
    for (const [text, box] of texts) {
      if (box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 1) {
        found.push(`“${text.textContent}” is cut off in ${svg.querySelector("title").textContent}`);
      }
    }
    texts.forEach(([text, a], index) => {
      for (const [other, b] of texts.slice(index + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 4) found.push(`“${text.textContent}” and “${other.textContent}” cover each other`);
      }
    });
  }
  if (document.title.includes("owned") && !document.title.includes("<")) found.push("a script of the data ran");
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1]));
  levels.forEach((level, index) => {
    if (level > (levels[index - 1] ?? 0) + 1) found.push(`heading ${index + 1} is of level ${level}`);
  });
  return found;
}

await withBrowser([], async (browser) => {
  mkdirSync(pictures, { recursive: true });
  for (const width of [1280, 360]) {
    for (const scheme of ["light", "dark"]) {
      const at = `${width} ${scheme}`;
      const page = await browser.newPage();
      page.on("console", (message) => wrong.push(`${at}: console: ${message.text()}`));
      page.on("pageerror", (error) => wrong.push(`${at}: ${error}`));
      page.on("request", (request) => {
        if (!/^(file|data|blob):/.test(request.url())) wrong.push(`${at}: it asks for ${request.url()}`);
      });
      await page.setViewport({ width, height: 900 });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await page.goto(pathToFileURL(resolve(report)).href);
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
      wrong.push(...(await page.evaluate(flaws)).map((flaw) => `${at}: ${flaw}`));
      await page.screenshot({ path: join(pictures, `${width}-${scheme}.png`), fullPage: true });
      // The page lets no other script in; the debugger's own is not the page's.
      await page.evaluate((await import("node:fs")).readFileSync(axe, "utf8"));
      const { violations } = await page.evaluate(() => axe.run());
      for (const { id, impact, help, nodes } of violations) {
        if (impact === "serious" || impact === "critical") {
          wrong.push(`${at}: ${impact}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 200))}`);
        } else {
          console.log(`${at}: ${impact}: ${id}: ${help}: ${nodes[0].html.slice(0, 200)}`);
        }
      }
      await page.close();
    }
  }
});
for (const flaw of wrong) console.error(flaw);
process.exitCode = wrong.length > 0 ? 1 : 0;
