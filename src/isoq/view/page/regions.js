"use strict";
// Regions: polygons of [column, row], on whole pixels, and what isoq would make of them.

const regions = [];
const shapes = L.layerGroup(); // the regions on the map
let tool = null; // "rectangle", "polygon" or none
let corners = []; // of the region that is being drawn
let sketch = null; // its shape on the map

const toLatLng = ([col, row]) => [-row, col];
const snapped = (latlng) => [
  Math.min(scene.cols, Math.max(0, Math.round(latlng.lng))),
  Math.min(scene.rows, Math.max(0, Math.round(-latlng.lat))),
];
const boxOf = ([left, top], [right, bottom]) => [[left, top], [right, top], [right, bottom], [left, bottom]];

function drawSketch(points) {
  sketch?.remove();
  sketch = L.polygon(points.map(toLatLng), { color: "#ffb000", weight: 2, dashArray: "5 4", interactive: false }).addTo(map);
}

function choose(next) {
  tool = tool === next ? null : next;
  corners = [];
  sketch?.remove();
  for (const name of ["rectangle", "polygon"]) element(name).setAttribute("aria-pressed", tool === name);
  element("map").classList.toggle("drawing", tool !== null);
  // While a region is drawn, the mouse belongs to it.
  map.dragging[tool === "rectangle" ? "disable" : "enable"]();
  map.doubleClickZoom[tool ? "disable" : "enable"]();
  element("hint").textContent = {
    rectangle: "Drag from corner to corner.",
    polygon: "Click the corners. A double click ends the polygon, Escape drops it.",
  }[tool] || "";
}

// Twice the area of a ring, above 0 if it runs counterclockwise in axes to the right and up.
const signedArea = (ring) => ring.reduce((sum, [x, y], k) => {
  const [u, v] = ring[(k + 1) % ring.length];
  return sum + x * v - u * y;
}, 0);

function finish(points) {
  // A double click sets its corner twice.
  const ring = points.filter(([x, y], k) => k === 0 || x !== points[k - 1][0] || y !== points[k - 1][1]);
  choose(null);
  if (ring.length < 3 || signedArea(ring) === 0) return;
  regions.push(ring);
  L.polygon(ring.map(toLatLng), { color: "#ffb000", weight: 2, interactive: false }).addTo(shapes);
  forgetResult();
}

function offerDrawing() {
  element("rectangle").addEventListener("click", () => choose("rectangle"));
  element("polygon").addEventListener("click", () => choose("polygon"));
  element("clear").addEventListener("click", () => { regions.length = 0; shapes.clearLayers(); choose(null); forgetResult(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") choose(null); });
  map.on("mousedown", (event) => { if (tool === "rectangle") corners = [snapped(event.latlng)]; });
  map.on("mousemove", (event) => {
    if (!corners.length) return;
    const here = snapped(event.latlng);
    drawSketch(tool === "rectangle" ? boxOf(corners[0], here) : [...corners, here]);
  });
  map.on("mouseup", (event) => { if (tool === "rectangle" && corners.length) finish(boxOf(corners[0], snapped(event.latlng))); });
  map.on("click", (event) => { if (tool === "polygon") { corners.push(snapped(event.latlng)); drawSketch(corners); } });
  map.on("dblclick", () => { if (tool === "polygon") finish(corners); });
}

// The regions as `isoq compress --roi` takes them: in the reference system of the image, which the
// member `crs` names, so that edges stay straight. Without one, columns and rows.
function toGeoJson() {
  const features = regions.map((region) => {
    const ring = region.map(([col, row]) => (scene.geojson_crs ? toCoordinates(col, row) : [col, row]));
    if (signedArea(ring) < 0) ring.reverse(); // RFC 7946: counterclockwise
    return { type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [[...ring, ring[0]]] } };
  });
  const crs = scene.geojson_crs && { crs: { type: "name", properties: { name: scene.geojson_crs } } };
  return { type: "FeatureCollection", ...crs, features };
}

function save() {
  if (!regions.length) { element("result").textContent = "Draw a region first."; return; }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(toGeoJson(), null, 1)], { type: "application/geo+json" }));
  link.download = scene.geojson;
  link.click();
  URL.revokeObjectURL(link.href);
}

function forgetResult() {
  element("result").textContent = regions.length ? `${regions.length} region${regions.length > 1 ? "s" : ""}.` : "";
  element("command").hidden = true;
}

const inBytes = (count) => (count < 1e4 ? `${count} bytes` : count < 1e7 ? `${(count / 1e3).toPrecision(3)} kB` : `${(count / 1e6).toPrecision(3)} MB`);

async function estimate(event) {
  event.preventDefault();
  if (!regions.length) { element("result").textContent = "Draw a region first."; return; }
  const asked = new URLSearchParams({
    regions: JSON.stringify(toGeoJson()), kind: element("kind").value, value: element("value").value, inside: element("inside").value,
  });
  element("estimate").disabled = true;
  element("result").textContent = "Some tiles are being compressed for the estimate.";
  try {
    const found = await get(`estimate.json?${asked}`);
    const note = found.decoded ? " This is the size of the decoded image; the original may need more." : "";
    element("result").textContent = `About ${inBytes(found.bytes)}, and ${inBytes(found.without)} without the regions.${note}`;
    element("command").textContent = found.command;
    element("command").hidden = false;
  } catch (error) {
    element("result").textContent = error.message;
  }
  element("estimate").disabled = false;
}

function offerRegions() {
  shapes.addTo(map);
  offerDrawing();
  const { kind, value } = scene.target || {};
  const known = [...element("kind").options].some((option) => option.value === kind);
  element("kind").value = known ? kind : "mse";
  element("value").value = known ? value : "";
  element("target").addEventListener("submit", estimate);
  element("target").addEventListener("input", forgetResult);
  element("save").addEventListener("click", save);
}
