/* A board whose drawings this page's server reads: each is sent as a PNG to /predict, where a program would send it, too. */

const element = (id) => document.getElementById(id);
const board = element("board");
const PEN = 20;
const LARGE = { bytes: 4e6, side: 4096, sent: { one: 2048, several: 2700 } }; // a larger file is sent smaller; the server takes 8 MiB and 16 million pixels
const SHEETS = { one: [280, 280], several: [840, 560] };
const HINTS = { one: "Draw a digit here, or drop a picture", several: "Write digits here, in rows if you like, or drop a picture of a page" };
const MORE = "?several=1 reads all"; // the server's words
const MOST_DOUBTS = 12;
const PAUSE = { one: 0, several: 300 }; // after a stroke, in milliseconds: a page takes longer, and most strokes are followed by another

let state = { strokes: [], sheet: SHEETS.one, photo: null }; // strokes, each with its width, in pixels of the sheet; photo: the file, and what the browser decoded
let past = [];
let stroke = null;
let found = null; // the answer, and the size of the picture that it is about
let asked = new AbortController();
let timer = 0;

const bars = Array.from({ length: 10 }, (_, digit) => {
  const [row, label, track, fill, value] = ["li", "span", "span", "span", "span"].map((tag) => document.createElement(tag));
  label.textContent = digit;
  [track.className, fill.className, value.className] = ["track", "fill", "value"];
  track.append(fill);
  row.append(label, track, value);
  element("bars").append(row);
  return { row, fill, value };
});

const mode = () => document.querySelector("#mode input:checked").value;
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const isEmpty = () => !state.strokes.length && !state.photo;

function tell(text, kind) {
  document.documentElement.dataset.state = kind;
  element("state").textContent = text;
}

// ---- the answer

/** Bring the page up to date with what was found. */
function show() {
  const answer = found?.answer;
  const several = mode() === "several";
  element("one").hidden = several;
  element("several").hidden = !several;
  const notes = (answer?.warnings ?? []).map((one) => one.replace(MORE, "choose “Several digits” above to read all"));
  let spoken = several ? showPage(answer) : showDigit(answer);
  if (several && answer && !answer.rows.length) notes.unshift("no digit found");
  element("note").textContent = notes.map(sentence).join(" ");
  spoken = [spoken, element("note").textContent].filter(Boolean).join(" ");
  if (element("spoken").textContent !== spoken) element("spoken").textContent = spoken;
  element("undo").disabled = !past.length;
  element("clear").disabled = isEmpty();
  element("hint").textContent = HINTS[mode()];
  element("hint").hidden = !isEmpty();
  draw();
}

function showDigit(answer) {
  element("digit").textContent = answer ? answer.digit : "–";
  element("sure").textContent = answer ? `${percent(answer.confidence)} sure, ${answer.milliseconds.toFixed(0)} ms` : "";
  bars.forEach(({ row, fill, value }, digit) => {
    const share = answer ? answer.probabilities[digit] : 0;
    row.classList.toggle("top", Boolean(answer) && digit === answer.digit);
    fill.style.width = `${100 * share}%`;
    value.textContent = answer ? percent(share) : "";
  });
  return answer ? `${answer.digit}, ${percent(answer.confidence)} sure.` : "";
}

function showPage(answer) {
  const rows = answer?.text ? answer.text.split("/") : [];
  element("text").textContent = rows.join("\n");
  element("copy").hidden = !rows.length || !navigator.clipboard;
  element("copy").textContent = "Copy";
  const digits = answer ? answer.rows.flat() : [];
  const total = rows.length ? `${counted(digits.length, "digit")} in ${counted(rows.length, "row")}` : "";
  element("count").textContent = total && `${total}, ${answer.milliseconds.toFixed(0)} ms`;
  const doubts = (answer?.rows ?? []).flatMap((row, i) =>
    row.flatMap((one, j) => (one.warnings.length ? [`Row ${i + 1}, digit ${j + 1}: ${one.digit}, ${percent(one.confidence)} sure; ${one.warnings.join("; ")}.`] : [])),
  );
  const shown = doubts.slice(0, MOST_DOUBTS);
  if (shown.length < doubts.length) shown.push(`And ${doubts.length - shown.length} more in doubt.`);
  element("doubts").replaceChildren(...shown.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  // spaced, or a screen reader would say a number
  const spelled = rows.map((row, i) => `${rows.length > 1 ? `Row ${i + 1}: ` : ""}${[...row].map((sign) => (sign === " " ? "," : ` ${sign}`)).join("").trim()}.`);
  return total && [`${total}.`, ...spelled, ...(doubts.length ? [`${doubts.length} in doubt.`] : [])].join(" ");
}

/** Ask the server. Returns its document, or null after it has said on the page why there is none. */
async function ask(path, how = {}) {
  const token = element("token").value;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let reply;
  let document;
  try {
    reply = await fetch(path, { ...how, headers });
    document = await reply.json().catch((error) => {
      if (error.name === "AbortError") throw error;
      return { error: `The server answers ${reply.status}.` };
    });
  } catch (error) {
    if (error.name !== "AbortError") tell("The server cannot be reached.", "refused");
    return null;
  }
  if (reply.ok) return document;
  if (reply.status === 401) element("key").hidden = false;
  tell(reply.status === 401 ? (token ? "The token is wrong. Type it again." : "Type the token.") : sentence(document.error), "refused");
  return null;
}

/** Read what is on the board. What was asked before is given up, here and on the server. */
async function read() {
  clearTimeout(timer);
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  if (isEmpty()) {
    found = null;
    show();
    return;
  }
  const query = new URLSearchParams({ model: element("model").value, several: mode() === "several" ? "1" : "0", ink: state.photo ? "auto" : "dark" });
  if (state.photo) tell("Reading…", "reading");
  const { body, size } = state.photo ? await sendable(state.photo) : await drawn();
  if (signal.aborted) return;
  const answer = await ask(`/predict?${query}`, { method: "POST", body, signal });
  if (signal.aborted) return; // a newer picture is on its way
  if (answer) tell(`Read by ${answer.model}, version ${answer.version}.`, "ready");
  found = answer && { answer, size };
  show();
}

// ---- what is on the board, and what was

function change(next) {
  past.push(state);
  state = next;
}

function undo() {
  if (!past.length || stroke) return;
  state = past.pop();
  found = null;
  shape();
  read();
}

function clear() {
  if (isEmpty()) return;
  change({ strokes: [], sheet: SHEETS[mode()], photo: null });
  found = null;
  shape();
  read();
}

async function open(file) {
  if (!file) return;
  const bitmap = await createImageBitmap(file).catch(() => null);
  change({ strokes: [], sheet: bitmap ? [bitmap.width, bitmap.height] : SHEETS[mode()], photo: { file, bitmap } });
  found = null;
  shape();
  show();
  await read();
}

function openFrom(transfer, event) {
  const file = [...transfer.files].find((one) => one.type.startsWith("image/")) ?? transfer.files[0];
  if (!file) return; // text, say, for a field that has the focus
  event.preventDefault();
  open(file);
}

/** Return a file's content as it is, or smaller where it is large, with the size of its picture. */
async function sendable({ file, bitmap }) {
  if (!bitmap) return { body: file, size: SHEETS.one };
  const side = Math.max(bitmap.width, bitmap.height);
  if (file.size <= LARGE.bytes && side <= LARGE.side) return { body: file, size: [bitmap.width, bitmap.height] };
  const scale = Math.min(1, LARGE.sent[mode()] / side);
  const size = [bitmap.width, bitmap.height].map((length) => Math.round(length * scale) || 1);
  const [small, brush] = sheetOf(size);
  brush.drawImage(bitmap, 0, 0, ...size);
  return { body: await small.convertToBlob({ type: "image/jpeg", quality: 0.95 }), size };
}

/** Return the drawing, black on white, whatever the page's colours. */
async function drawn() {
  const [sheet, pen] = sheetOf(state.sheet);
  drawStrokes(pen, "#000");
  return { body: await sheet.convertToBlob(), size: state.sheet };
}

function sheetOf(size) {
  const sheet = new OffscreenCanvas(...size);
  const pen = sheet.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, ...size);
  return [sheet, pen];
}

// ---- drawing

/** Give the board the form of what is on it, and move a drawing onto the sheet of the present mode. */
function shape() {
  const own = SHEETS[mode()];
  if (!state.photo && state.sheet !== own) {
    const scale = Math.min(1, ...own.map((length, axis) => length / state.sheet[axis]));
    const moved = (point) => point.map((value, axis) => (value - state.sheet[axis] / 2) * scale + own[axis] / 2);
    state = { ...state, strokes: state.strokes.map(({ width, points }) => ({ width: width * scale, points: points.map(moved) })), sheet: own };
  }
  const [width, height] = mode() === "several" && state.photo?.bitmap ? state.sheet : own;
  element("paper").style.setProperty("--aspect", Math.min(3, Math.max(0.5, width / height)));
}

/** Return how the sheet lies on the board: its scale, left and top, in pixels of the screen. */
function placed() {
  const [width, height] = state.sheet;
  const scale = Math.min(board.clientWidth / width, board.clientHeight / height) || 1;
  return [scale, (board.clientWidth - width * scale) / 2, (board.clientHeight - height * scale) / 2];
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const size = [board.clientWidth, board.clientHeight].map((length) => Math.max(1, Math.round(length * ratio)));
  if (board.width !== size[0] || board.height !== size[1]) [board.width, board.height] = size;
  const pen = board.getContext("2d");
  const [scale, left, top] = placed();
  const colour = (name) => getComputedStyle(board).getPropertyValue(name);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, board.width, board.height);
  pen.setTransform(scale * ratio, 0, 0, scale * ratio, left * ratio, top * ratio);
  if (state.photo?.bitmap) pen.drawImage(state.photo.bitmap, 0, 0);
  drawStrokes(pen, colour("--ink"));
  if (mode() !== "several" || !found?.answer.rows) return;
  pen.setTransform(ratio, 0, 0, ratio, left * ratio, top * ratio);
  drawBoxes(pen, found.answer.rows.flat(), (scale * state.sheet[0]) / found.size[0], colour);
}

function drawStrokes(pen, colour) {
  Object.assign(pen, { lineCap: "round", lineJoin: "round", strokeStyle: colour });
  for (const { width, points } of state.strokes) {
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(...points[0]);
    for (const point of points.length > 1 ? points.slice(1) : points) pen.lineTo(...point); // a line of no length is a dot
    pen.stroke();
  }
}

/** Draw a box around each digit and the answer above it, or below where there is no room; boxes in doubt are dashed and of another colour. */
function drawBoxes(pen, digits, scale, colour) {
  const heights = digits.map(({ box }) => (box[3] - box[1]) * scale).sort((a, b) => a - b);
  const size = Math.min(24, Math.max(11, 0.4 * heights[heights.length >> 1]));
  Object.assign(pen, { textAlign: "center", textBaseline: "bottom", lineJoin: "round", font: `650 ${size}px system-ui, sans-serif` });
  for (const { digit, box, warnings } of digits) {
    const [x0, y0, x1, y1] = box.map((value) => value * scale);
    const own = colour(warnings.length ? "--doubt" : "--accent");
    for (const [style, width] of [[colour("--paper"), 3.5], [own, 2]]) {
      Object.assign(pen, { strokeStyle: style, lineWidth: width });
      pen.setLineDash(warnings.length && style === own ? [5, 3] : []);
      pen.strokeRect(x0 - 3, y0 - 3, x1 - x0 + 6, y1 - y0 + 6);
    }
    pen.setLineDash([]);
    Object.assign(pen, { strokeStyle: colour("--paper"), lineWidth: 4, fillStyle: own });
    const at = [(x0 + x1) / 2, y0 >= size + 4 ? y0 - 4 : y1 + size + 6];
    pen.strokeText(digit, ...at);
    pen.fillText(digit, ...at);
  }
}

function place(event) {
  const area = board.getBoundingClientRect();
  const [scale, left, top] = placed();
  return [(event.clientX - area.left - board.clientLeft - left) / scale, (event.clientY - area.top - board.clientTop - top) / scale];
}

board.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || stroke) return;
  clearTimeout(timer);
  board.setPointerCapture(event.pointerId);
  if (state.photo) found = null;
  change({ strokes: state.strokes, sheet: SHEETS[mode()], photo: null });
  shape();
  stroke = { id: event.pointerId, width: PEN, points: [place(event)] };
  state.strokes = [...state.strokes, stroke];
  show();
});
board.addEventListener("pointermove", (event) => {
  if (event.pointerId !== stroke?.id) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const one of events.length ? events : [event]) stroke.points.push(place(one));
  draw();
});
for (const kind of ["pointerup", "pointercancel", "lostpointercapture"])
  board.addEventListener(kind, (event) => {
    if (event.pointerId !== stroke?.id) return;
    stroke = null;
    timer = setTimeout(read, PAUSE[mode()]);
  });

const on = (target, kind, does) => target.addEventListener(kind, does);
on(element("undo"), "click", undo);
on(element("clear"), "click", clear);
on(element("file"), "change", (event) => {
  open(event.target.files[0]);
  event.target.value = "";
});
on(element("copy"), "click", async () => {
  await navigator.clipboard.writeText(element("text").textContent).then(
    () => (element("copy").textContent = "Copied"),
    () => getSelection().selectAllChildren(element("text")), // where the browser forbids it, Ctrl+C does it
  );
});
on(element("mode"), "change", changeMode);
on(element("model"), "change", read);
on(element("token"), "change", start);
on(document, "paste", (event) => openFrom(event.clipboardData, event));
on(document, "dragover", (event) => event.preventDefault());
on(document, "drop", (event) => {
  event.preventDefault();
  openFrom(event.dataTransfer, event);
});
on(window, "resize", draw);
on(window.matchMedia("(prefers-color-scheme: dark)"), "change", draw);

function changeMode() {
  document.documentElement.dataset.mode = mode();
  found = null;
  shape();
  show();
  read();
}

async function start() {
  changeMode(); // a browser may have kept the choice when the page is loaded again
  const models = await ask("/v2/repository/index", { method: "POST" });
  if (!models) return;
  element("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  element("which").hidden = models.length < 2;
  tell("Draw, or choose a picture.", "ready");
  if (!isEmpty()) read();
}

start();
