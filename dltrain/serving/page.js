"use strict";
// The page of `dltrain serve`: a form made from /signature, which sends one example to /predict and draws the answer.

const MOST_BARS = 15;
const PEN = 22; // pixels of a canvas of 280
const INSIDE = 20 / 28; // of an image of MNIST is the digit; its centre of mass is in the middle
const SMALL = 16; // below that, as in the digits of scikit-learn (8), the digit's box fills the image
const at = (id) => document.getElementById(id);
const readers = []; // one for each field: () => [name, value], where a File or Blob is an image
let labels = 0;
let signature = null;
let token = sessionStorage.getItem("token") || "";

function make(tag, attributes = {}, ...children) {
  const found = Object.assign(document.createElement(tag), attributes);
  found.append(...children);
  return found;
}

async function call(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(content.error || response.statusText), { status: response.status });
  return content;
}

async function start() {
  const needed = await fetch("v2/health/live").then((r) => r.headers.get("x-token-needed") === "1");
  if (needed) document.querySelector("footer").hidden = true; // links cannot carry it
  if (needed && !token) return askForToken();
  try {
    signature = await call("signature");
  } catch (error) {
    showProblem(error);
    return error.status === 401 && askForToken();
  }
  document.title = signature.name;
  at("name").textContent = signature.name;
  at("about").textContent = `${signature.task}, dltrain ${signature.dltrain}`;
  makeFields();
  at("access").hidden = true;
  at("inputs").hidden = false;
}

function askForToken() {
  at("access").hidden = false;
  at("token").focus();
}

function makeFields() {
  const place = at("fields");
  const fields = signature.fields;
  place.classList.toggle("many", fields.length > 1);
  if (!fields.length) place.append(arraysField());
  for (const field of fields) {
    const alone = fields.length === 1;
    const builders = { image: imageField, text: textField, category: categoryField };
    if (field.kind === "image" && field.channels === 1 && alone) place.append(drawing(field));
    else place.append((builders[field.kind] || plainField)(field));
  }
}

function labelled(field, control, note = "") {
  control.id = `field-${labels++}`;
  return make("div", { className: "field" }, make("label", { htmlFor: control.id, textContent: field.name }), control,
    ...(note ? [make("p", { className: "note", textContent: note })] : []));
}

function plainField(field) {
  const number = field.kind === "number";
  const control = make("input", { type: "text", autocomplete: "off", required: !field.optional });
  if (number) control.inputMode = "decimal";
  if (field.example) control.placeholder = number ? `median ${field.example}` : field.example;
  readers.push(() => {
    const text = control.value.trim();
    if (!text) return [field.name, null];
    return [field.name, field.kind !== "date" && text !== "" && isFinite(text) ? Number(text) : text];
  });
  return labelled(field, control);
}

function categoryField(field) {
  const options = field.levels && field.levels.length <= 200;
  const control = make(options ? "select" : "input", { required: !field.optional });
  if (options) {
    control.append(make("option", { value: "", textContent: "(missing)" }));
    for (const level of field.levels) control.append(make("option", { value: level, textContent: level }));
  }
  readers.push(() => [field.name, control.value === "" ? null : control.value]);
  return labelled(field, control);
}

function textField(field) {
  const control = make("textarea", { required: !field.optional, placeholder: "Paste or type a text" });
  readers.push(() => [field.name, control.value]);
  const found = labelled(field, control);
  found.classList.add("wide");
  return found;
}

function arraysField() {
  const shapes = signature.inputs.map((i) => `${i.name}: ${i.dtype} [rows, ${i.shape.join(", ")}]`).join("; ");
  const control = make("textarea", { required: true, spellcheck: false });
  readers.push(() => ["inputs", JSON.parse(control.value)]);
  return labelled({ name: "Arrays as JSON" }, control, shapes);
}

function imageField(field) {
  const control = make("input", { type: "file", accept: "image/*" });
  const shown = make("img", { alt: "", hidden: true });
  let file = null;
  const take = (given) => {
    file = given || null;
    shown.hidden = !file;
    if (file) shown.src = URL.createObjectURL(file);
    shown.alt = file ? `The chosen image ${file.name}` : "";
  };
  control.addEventListener("change", () => { take(control.files[0]); if (file && readers.length === 1) predict(); });
  readers.push(() => [field.name, file]);
  const found = labelled(field, control, "Choose an image, or drop or paste one here.");
  found.classList.add("drop", "wide");
  found.addEventListener("dragover", (event) => { event.preventDefault(); found.classList.add("over"); });
  found.addEventListener("dragleave", () => found.classList.remove("over"));
  found.addEventListener("drop", (event) => {
    event.preventDefault();
    found.classList.remove("over");
    take(event.dataTransfer.files[0]);
    if (file && readers.length === 1) predict();
  });
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    take(event.clipboardData.files[0]);
    if (file && readers.length === 1) predict();
  });
  at("inputs").addEventListener("reset", () => take(null));
  found.append(shown);
  return found;
}

// A canvas to draw on, white on black, and below it the choice of a file.
function drawing(field) {
  const canvas = make("canvas", { width: 280, height: 280, tabIndex: 0 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Draw here with the mouse or a finger; without them, choose an image file below");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let last = null, drawn = false;
  const clear = () => { pen.fillStyle = "#000"; pen.fillRect(0, 0, 280, 280); drawn = false; };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * 280 / box.width, (event.clientY - box.top) * 280 / box.height];
  };
  const stroke = (to) => {
    pen.strokeStyle = "#fff"; pen.lineWidth = PEN; pen.lineCap = pen.lineJoin = "round";
    pen.beginPath(); pen.moveTo(...last); pen.lineTo(...to); pen.stroke();
    last = to; drawn = true;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId); last = point(event); stroke(last);
  });
  canvas.addEventListener("pointermove", (event) => { if (last) stroke(point(event)); });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => { if (last) { last = null; predict(); } });
  }
  at("inputs").addEventListener("reset", clear);
  clear();
  const file = imageField(field);
  const chosen = readers.pop();
  readers.push(async () => {
    const [name, value] = chosen();
    return [name, drawn || !value ? await centred(canvas, field.size) : value];
  });
  return make("div", { className: "field wide" }, make("span", { className: "label", textContent: "Draw in white on black" }),
    canvas, make("p", { className: "note", textContent: "The drawing is scaled and centred first." }), file);
}

// The drawing as an image of the model's size, scaled and centred as the digits of MNIST or scikit-learn are.
function centred(canvas, size) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, 280, 280);
  let left = 280, top = 280, right = -1, bottom = -1, mass = 0, x = 0, y = 0;
  for (let i = 0; i < 280 * 280; i++) {
    const value = data[4 * i];
    if (!value) continue;
    const column = i % 280, row = (i - column) / 280;
    left = Math.min(left, column); right = Math.max(right, column);
    top = Math.min(top, row); bottom = Math.max(bottom, row);
    mass += value; x += value * (column + 0.5); y += value * (row + 0.5);
  }
  let from = canvas;
  const inside = size < SMALL ? 1 : INSIDE;
  const scale = mass ? inside * size / (Math.max(right - left, bottom - top) + 1) : size / 280;
  const centre = !mass ? [140, 140] : size < SMALL ? [(left + right + 1) / 2, (top + bottom + 1) / 2] : [x / mass, y / mass];
  let side = 280;
  while (side / 2 > 280 * scale && side > 2 * size) { // halving averages, which one large step does not
    side /= 2;
    const half = make("canvas", { width: side, height: side });
    half.getContext("2d").drawImage(from, 0, 0, side, side);
    from = half;
  }
  const small = make("canvas", { width: size, height: size });
  const pen = small.getContext("2d");
  pen.fillStyle = "#000"; pen.fillRect(0, 0, size, size);
  pen.imageSmoothingQuality = "high";
  const wide = 280 * scale;
  pen.drawImage(from, size / 2 - centre[0] * scale, size / 2 - centre[1] * scale, wide, wide);
  return new Promise((done) => small.toBlob(done, "image/png"));
}

async function body() {
  const values = Object.fromEntries(await Promise.all(readers.map((read) => read())));
  const fields = signature.fields;
  if (fields.length === 1 && fields[0].kind === "image") {
    const image = values[fields[0].name];
    if (!image) throw new Error("Choose an image first.");
    return { body: image, headers: { "Content-Type": image.type || "application/octet-stream" } };
  }
  for (const [name, value] of Object.entries(values)) if (value instanceof Blob) values[name] = await base64(value);
  return { body: JSON.stringify(values), headers: { "Content-Type": "application/json" } };
}

function base64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
}

let newest = 0; // answers to older questions are not shown
async function predict() {
  const mine = ++newest;
  at("ask").disabled = true;
  try {
    const answer = await call("predict", { method: "POST", ...(await body()) });
    if (mine === newest) show(answer);
  } catch (error) {
    if (mine === newest) showProblem(error);
  } finally {
    if (mine === newest) at("ask").disabled = false;
  }
}

function showProblem(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  at("answer").hidden = true;
}

function show(answer) {
  const [first] = answer.predictions;
  const shares = Object.entries(first).filter(([name]) => name.startsWith("probability_"))
    .map(([name, value]) => [name.slice("probability_".length), value]).sort((a, b) => b[1] - a[1]);
  const others = Object.entries(first).filter(([name]) => !name.startsWith("probability_"));
  const title = others.find(([name]) => name === "class" || name === "labels");
  at("problem").hidden = true;
  at("answer").hidden = false;
  at("result").textContent = title ? String(title[1]) || "(none)" : "";
  at("result").hidden = !title;
  at("bars").replaceChildren(...shares.slice(0, MOST_BARS).map(bar));
  const rows = others.filter((pair) => pair !== title);
  at("values").hidden = !rows.length;
  at("values").tBodies[0].replaceChildren(...rows.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", { textContent: shortened(value) }))));
  at("json").textContent = JSON.stringify(answer, null, 1);
}

function bar([name, share]) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  rect.setAttribute("width", `${100 * share}%`);
  rect.setAttribute("height", "100%");
  svg.setAttribute("aria-hidden", "true");
  svg.append(rect);
  const track = make("div", { className: "track" }, svg);
  return make("div", { className: "bar" }, make("span", { textContent: name }), track,
    make("span", { textContent: `${(100 * share).toFixed(1)} %` }));
}

function shortened(value) {
  const text = Array.isArray(value) ? JSON.stringify(value) : String(value);
  return text.length > 400 ? `${text.slice(0, 400)} …` : text;
}

at("inputs").addEventListener("submit", (event) => { event.preventDefault(); predict(); });
at("clear").addEventListener("click", () => {
  newest++;
  at("inputs").reset();
  at("answer").hidden = at("problem").hidden = true;
  at("ask").disabled = false;
});
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value;
  sessionStorage.setItem("token", token);
  at("problem").hidden = true;
  start();
});
start().catch(showProblem);
