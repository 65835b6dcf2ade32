// Opens studies in the OHIF viewer, in a real browser, and writes down what it asked and what it drew.
//
// usage: node ohif.mjs TOOLS GATEWAY_PORT TOKEN FOLDER PATIENT STUDY...
//
// PATIENT is the Patient ID for which the list is searched, without wildcards; empty for the list of all.
// TOOLS holds `ohif/dist` and `node_modules/playwright-core`. A small server gives the viewer to the browser and passes what lies
// below /dicom-web on to the gateway, with the token, which the browser never sees. FOLDER gets a screenshot of each study.
// Prints one JSON object a line: {"asked", "accept", "status"} for each request to the gateway, {"study", "instance", "range",
// "invert", "drawn"} for two slices of each study, where `drawn` is the gray that the canvas has where each cell lies, by rows,
// and {"failed", "why"} for what did not work.

import http from "node:http";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const [tools, gatewayPort, token, folder, patient, ...studies] = process.argv.slice(2);
const dist = path.join(path.resolve(tools), "ohif", "dist");
const { chromium } = createRequire(path.join(path.resolve(tools), "x.js"))("playwright-core");
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const KINDS = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm",
  ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png" };
// Shared memory, which the viewer's decoders use, needs a page that is isolated.
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin" };
const CONFIG = `window.config = { routerBasename: "/", extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 2, showErrorDetails: "always", showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  investigationalUseDialog: { option: "never" },
  defaultDataSourceName: "dicomweb", dataSources: [{ namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
  sourceName: "dicomweb", configuration: { friendlyName: "gateway", name: "gateway", qidoRoot: "/dicom-web", wadoRoot: "/dicom-web",
  wadoUriRoot: "/dicom-web", qidoSupportsIncludeField: true, imageRendering: "wadors", thumbnailRendering: "wadors",
  enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: ${patient === ""}, bulkDataURI: { enabled: true } } }] };`;

function pass(request, response) {
  const headers = { ...request.headers, authorization: `Bearer ${token}` };
  const onward = http.request({ host: "127.0.0.1", port: gatewayPort, method: request.method, path: request.url, headers }, (answer) => {
    say({ asked: `${request.method} ${request.url}`, accept: request.headers.accept ?? "", status: answer.statusCode });
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", (error) => {
    say({ failed: request.url, why: String(error) });
    response.destroy();
  });
  request.pipe(onward);
}

const server = http.createServer((request, response) => {
  const name = new URL(request.url, "http://here").pathname;
  if (name.startsWith("/dicom-web/")) return pass(request, response);
  if (name === "/app-config.js") {
    response.writeHead(200, { ...ISOLATED, "Content-Type": KINDS[".js"] });
    return response.end(CONFIG);
  }
  let file = path.join(dist, path.normalize(name));
  // The viewer's own addresses are no files.
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isFile()) file = path.join(dist, "index.html");
  response.writeHead(200, { ...ISOLATED, "Content-Type": KINDS[path.extname(file)] ?? "application/octet-stream" });
  fs.createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const root = `http://127.0.0.1:${server.address().port}`;

// Runs in the page. The cell's colour without smoothing: what lies in the middle of each cell.
async function drawn(at) {
  const { getRenderingEngines, metaData } = window.cornerstone;
  const viewports = getRenderingEngines().flatMap((engine) => engine.getViewports());
  const viewport = viewports.find((one) => one.setImageIdIndex && one.getImageIds().length > 0);
  viewport.setProperties({ interpolationType: 0 });
  await viewport.setImageIdIndex(at);
  const done = new Promise((ready) => viewport.element.addEventListener("CORNERSTONE_IMAGE_RENDERED", ready, { once: true }));
  viewport.render();
  await done;
  const { dimensions, imageData } = viewport.getImageData();
  const canvas = viewport.getCanvas();
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const ratio = window.devicePixelRatio || 1;
  const gray = [];
  for (let row = 0; row < dimensions[1]; row += 1) {
    for (let column = 0; column < dimensions[0]; column += 1) {
      const [x, y] = viewport.worldToCanvas(imageData.indexToWorld([column, row, 0]));
      const [left, top] = [Math.floor(x * ratio), Math.floor(y * ratio)];
      const inside = left >= 0 && top >= 0 && left < canvas.width && top < canvas.height;
      const place = 4 * (top * canvas.width + left);
      const [red, green, blue] = pixels.data.slice(place, place + 3);
      gray.push(inside && red === green && green === blue ? red : null);
    }
  }
  const { voiRange, invert } = viewport.getProperties();
  const instance = metaData.get("sopCommonModule", viewport.getCurrentImageId()).sopInstanceUID;
  return { instance, range: [voiRange.lower, voiRange.upper], invert, size: dimensions.slice(0, 2), drawn: gray };
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true,
  args: ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader", "--no-proxy-server"] });
let code = 0;
try {
  for (const study of ["", ...studies]) {
    const page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
    page.on("pageerror", (error) => say({ failed: study || "list", why: `the page: ${error}` }));
    page.on("console", (message) => {
      if (message.type() === "error") say({ console: message.text().slice(0, 300) });
    });
    if (study === "") {
      await page.goto(patient === "" ? `${root}/` : `${root}/?mrn=${patient}`);
      const many = (count) => document.body.innerText.includes(`1-${count} of ${count}`);
      await page.waitForFunction(many, studies.length, { timeout: 90000 });
      say({ list: await page.evaluate(() => document.body.innerText) });
      await page.screenshot({ path: path.join(folder, "list.png") });
    } else {
      await page.goto(`${root}/viewer?StudyInstanceUIDs=${study}`);
      const shown = () => window.cornerstone?.getRenderingEngines?.()?.some((engine) =>
        engine.getViewports().some((one) => one.setImageIdIndex && one.getImageIds().length > 0 && one.getCurrentImageId() && one.getImageData()));
      await page.waitForFunction(shown, null, { timeout: 120000 });
      // The tour that is offered to who comes for the first time would lie over the picture.
      await page.getByText("Skip all").click({ timeout: 10000 }).catch(() => {});
      for (const at of [0, 2]) say({ study, ...(await page.evaluate(drawn, at)) });
      await page.screenshot({ path: path.join(folder, `${study}.png`) });
    }
    await page.close();
  }
} catch (error) {
  say({ failed: "the run", why: String(error) });
  for (const context of browser.contexts()) for (const page of context.pages()) await page.screenshot({ path: path.join(folder, "failed.png") });
  code = 1;
} finally {
  await browser.close();
  server.close();
}
process.exit(code);
