"use strict";
// The map: one unit is one pixel of the image, x is the column and y is minus the row.

const element = (id) => document.getElementById(id);
const map = L.map("map", {
  crs: L.CRS.Simple, attributionControl: false, zoomControl: true, boxZoom: false, maxBoundsViscosity: 0,
});
let scene; // what scene.json says
let bands = []; // numbers of the bands that are shown, from 1
const layers = {}; // "decoded", "original" and "errors"

async function get(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// ---- Tiles

// A layer whose tiles come from the server. Zoom 0 shows every pixel once, zoom -k is level k.
function tiled(name, pane) {
  const Tiles = L.TileLayer.extend({
    getTileUrl(place) {
      // An overlay that still fills gets a new address each time, because its tiles change.
      const again = name === "errors" ? `?${Date.now()}` : "";
      return `tile/${name}/${-place.z}/${place.y}/${place.x}/${bands.join()}.png${again}`;
    },
  });
  const layer = new Tiles("", {
    pane, tileSize: 256, minNativeZoom: -scene.levels, maxNativeZoom: 0, minZoom: -scene.levels - 1, maxZoom: 5,
    bounds: [[-scene.rows, 0], [0, scene.cols]], noWrap: true,
  });
  layer.on("tileerror", () => { element("facts").textContent = "A part of the image cannot be read."; });
  return layer;
}

function showBands() {
  const count = Number(element("mode").value);
  const selects = [...element("bands").querySelectorAll("select")];
  selects.forEach((select, k) => { select.parentElement.hidden = k >= count; });
  bands = selects.slice(0, count).map((select) => Number(select.value));
  Object.values(layers).forEach((layer) => layer.redraw());
  if (element("errors").checked) showErrors();
}

function offerBands() {
  const first = scene.shown;
  for (const [k, colour] of ["Band", "G", "B"].entries()) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.setAttribute("aria-label", `${colour} channel`);
    scene.bands.forEach((name, number) => select.add(new Option(name ? `${number + 1} ${name}` : number + 1, number + 1)));
    // Without names of colours, the first three bands are as good a guess as any.
    select.value = first[k] || Math.min(k + 1, scene.bands.length);
    select.addEventListener("change", showBands);
    label.append(select);
    element("bands").append(label);
  }
  element("mode").value = first.length;
  element("mode").parentElement.hidden = scene.bands.length < 3;
  element("mode").addEventListener("change", showBands);
}

// ---- Swipe: the original is cut off at the right of the divider, the reconstruction at the left

let share = 0.5; // of the width, left of the divider
function swipe() {
  const size = map.getSize();
  const [start, end] = [map.containerPointToLayerPoint([0, 0]), map.containerPointToLayerPoint(size)];
  const edge = start.x + share * size.x;
  // `clip` counts from the corner of the pane, which moves with the map.
  const between = (left, right) => `rect(${start.y}px, ${right}px, ${end.y}px, ${left}px)`;
  map.getPane("original").style.clip = between(start.x, edge);
  map.getPane("decoded").style.clip = between(edge, end.x);
  const divider = element("divider");
  divider.style.left = `${share * size.x}px`;
  divider.setAttribute("aria-valuenow", Math.round(100 * share));
}

function offerSwipe() {
  const divider = element("divider");
  divider.hidden = false;
  const moveTo = (value) => { share = Math.min(1, Math.max(0, value)); swipe(); };
  // The pointer soon leaves the thin divider, so the window follows it.
  let held = false;
  divider.addEventListener("pointerdown", (event) => { held = true; event.preventDefault(); divider.focus(); });
  window.addEventListener("pointermove", (event) => {
    held &&= event.buttons > 0;
    const box = element("map").getBoundingClientRect();
    if (held) moveTo((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (step) moveTo(share + step);
  });
  map.on("move zoomend resize", swipe);
  swipe();
}

// ---- Errors: the server measures them in the background, so they come little by little

const percent = (value) => `${(100 * value).toPrecision(3)} %`;
const digits = (value) => Number(value.toPrecision(4)).toString();

async function showErrors() {
  const asked = bands.join();
  let found;
  try { found = await get(`errors/${asked}.json`); }
  catch (error) { element("errors-state").textContent = error.message; return; }
  if (!element("errors").checked || asked !== bands.join()) return;
  layers.errors.addTo(map).redraw();
  drawHistogram(found);
  element("errors-state").textContent = describeErrors(found);
  if (found.running) setTimeout(showErrors, 1000);
}

function describeErrors(found) {
  const from = scene.against ? "measured against the original" : "as the file records them";
  const parts = [`${found.blocks} blocks, ${from}`];
  if (found.running) parts.push(`${percent(found.done)} done`);
  if (found.median !== null) {
    const show = found.relative ? percent : digits;
    const what = found.relative ? "error as a share of its target" : "MSE, without a target";
    parts.push(`${what}: median ${show(found.median)}, largest ${show(found.max)}`);
  }
  if (found.above) parts.push(`${found.above} blocks above ${scene.joint ? "it, which holds for the mean over the bands" : "their target"}`);
  if (found.remark) parts.push(found.remark);
  return `${parts.join("; ")}.`;
}

function drawHistogram(found) {
  const svg = element("histogram").querySelector("svg");
  const most = Math.max(1, ...found.counts);
  const width = 280 / found.counts.length;
  const draw = (name, attributes) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  };
  svg.replaceChildren();
  found.counts.forEach((count, k) => {
    const height = (80 * count) / most;
    draw("rect", { x: k * width, y: 80 - height, width: width - 0.5, height, fill: found.colours[k] });
  });
  const target = found.relative ? 1 / found.top : null;
  if (target) draw("line", { x1: 280 * target, x2: 280 * target, y1: 0, y2: 80, stroke: "#d7191c", "stroke-width": 2 });
  element("scale-top").textContent = found.relative ? (found.top > 1 ? percent(found.top) : "target") : `MSE ${digits(found.top)}`;
  element("scale-target").textContent = target && target < 0.8 ? "target" : "";
  element("scale-target").style.left = `${100 * (target || 0)}%`;
  element("histogram").hidden = false;
}

function toggleErrors() {
  if (element("errors").checked) return showErrors();
  layers.errors.remove();
  element("histogram").hidden = true;
  element("errors-state").textContent = "";
}

// ---- Cursor

const toCoordinates = (col, row) => {
  const [a, b, c, d, e, f] = scene.transform;
  return [a * col + b * row + c, d * col + e * row + f];
};

let asking; // the request for the values under the cursor
async function showCursor(event) {
  const [row, col] = [Math.floor(-event.latlng.lat), Math.floor(event.latlng.lng)];
  asking?.abort();
  if (row < 0 || col < 0 || row >= scene.rows || col >= scene.cols) { element("cursor").textContent = ""; return; }
  const where = [`row ${row}, column ${col}`];
  if (scene.transform) {
    const [x, y] = toCoordinates(col + 0.5, row + 0.5).map((value) => value.toFixed(Math.abs(scene.transform[0]) < 0.01 ? 6 : 2));
    where.push(`${scene.crs || "coordinates"} ${x}, ${y}`);
  }
  element("cursor").textContent = where.join("   ");
  asking = new AbortController();
  const signal = asking.signal;
  await new Promise((done) => setTimeout(done, 60)); // a moving cursor asks for nothing
  if (signal.aborted) return;
  try {
    const found = await get(`values/${row}/${col}/${bands.join()}.json`, { signal });
    const list = (values) => values.map((value) => (value === null ? "masked" : value)).join(", ");
    const parts = [`isoq ${list(found.decoded)}`];
    if (found.original) parts.push(`original ${list(found.original)}`);
    const blocks = found.blocks.filter((block) => block.mse !== null)
      .map((block) => digits(block.mse) + (block.target === null ? "" : ` of ${digits(block.target)}`));
    if (blocks.length) parts.push(`MSE of the block ${blocks.join(", ")}`);
    element("cursor").textContent = `${where.join("   ")}\n${parts.join("   ")}`;
  } catch (error) {
    if (error.name !== "AbortError") element("cursor").textContent = error.message;
  }
}

// ---- Start

async function start() {
  scene = await get("scene.json");
  document.title = `${scene.name} - isoq view`;
  element("name").textContent = scene.name;
  const { kind, value } = scene.target || {};
  const asked = kind === "lossless" ? "lossless" : kind ? `target: ${kind} ${value ?? "by a map"}` : "";
  element("facts").textContent =
    [`${scene.cols} x ${scene.rows} pixels`, `${scene.bands.length} band${scene.bands.length > 1 ? "s" : ""}`, scene.dtype, asked].filter(Boolean).join(", ");
  for (const [name, height] of [["decoded", 210], ["original", 220], ["errors", 230]]) {
    map.createPane(name).style.zIndex = height;
    if (name !== "original" || scene.against) layers[name] = tiled(name, name);
  }
  map.setMinZoom(-scene.levels - 1).setMaxZoom(5);
  map.fitBounds([[-scene.rows, 0], [0, scene.cols]]);
  offerBands();
  showBands();
  layers.decoded.addTo(map);
  layers.original?.addTo(map);
  if (layers.original) offerSwipe();
  element("errors").addEventListener("change", toggleErrors);
  map.on("mousemove", showCursor);
  offerRegions();
}

start().catch((error) => { element("facts").textContent = error.message; });
