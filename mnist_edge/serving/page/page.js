/* A board whose drawings this page's server reads: each is sent as a PNG to /predict, where a program would send it, too. */

const element = (id) => document.getElementById(id);
const board = element("board");
const pen = board.getContext("2d");
const PEN = 20;
const LARGE = { bytes: 4e6, side: 2048 }; // a larger file is sent smaller; the server takes 8 MiB and 16 million pixels unless it is told otherwise
let last = null;
let number = 0;

const bars = Array.from({ length: 10 }, (_, digit) => {
  const [row, label, track, fill, value] = ["li", "span", "span", "span", "span"].map((tag) => document.createElement(tag));
  label.textContent = digit;
  [track.className, fill.className, value.className] = ["track", "fill", "value"];
  track.append(fill);
  row.append(label, track, value);
  element("bars").append(row);
  return { row, fill, value };
});

function tell(text, kind) {
  document.documentElement.dataset.state = kind;
  element("state").textContent = text;
}

function show(answer) {
  element("digit").textContent = answer ? answer.digit : "–";
  element("sure").textContent = answer ? `${(100 * answer.confidence).toFixed(1)} % sure, ${answer.milliseconds.toFixed(0)} ms` : "";
  element("note").textContent = answer ? answer.warnings.join(" ") : "";
  bars.forEach(({ row, fill, value }, digit) => {
    const share = answer ? answer.probabilities[digit] : 0;
    row.classList.toggle("top", Boolean(answer) && digit === answer.digit);
    fill.style.width = `${100 * share}%`;
    value.textContent = answer ? `${(100 * share).toFixed(1)} %` : "";
  });
}

/** Ask the server. Returns its document, or null after it has said on the page why there is none. */
async function ask(path, how = {}) {
  const token = element("token").value;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let reply;
  try {
    reply = await fetch(path, { ...how, headers });
  } catch {
    tell("The server cannot be reached.", "refused");
    return null;
  }
  const document = await reply.json().catch(() => ({ error: `The server answers ${reply.status}.` }));
  if (reply.ok) return document;
  if (reply.status === 401) element("key").hidden = false;
  tell(reply.status === 401 ? (token ? "The token is wrong. Type it again." : "Type the token.") : document.error, "refused");
  return null;
}

async function read(picture, query = "") {
  const mine = ++number;
  const answer = await ask(`/predict?model=${encodeURIComponent(element("model").value)}${query}`, { method: "POST", body: picture });
  if (mine !== number) return; // a newer picture is on its way
  if (answer) tell(`Read by ${answer.model}, version ${answer.version}.`, "ready");
  show(answer);
}

function clear() {
  number++;
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, board.width, board.height);
  show(null);
}

function place(event) {
  const area = board.getBoundingClientRect();
  return [((event.clientX - area.left) * board.width) / area.width, ((event.clientY - area.top) * board.height) / area.height];
}

function lineTo(point) {
  Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
  pen.beginPath();
  pen.moveTo(...last);
  pen.lineTo(...point);
  pen.stroke();
  last = point;
}

board.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  board.setPointerCapture(event.pointerId);
  last = place(event);
  lineTo(last);
});
board.addEventListener("pointermove", (event) => {
  if (!last) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const one of events.length ? events : [event]) lineTo(place(one));
});
for (const kind of ["pointerup", "pointercancel"])
  board.addEventListener(kind, () => {
    if (!last) return;
    last = null;
    board.toBlob((blob) => read(blob, "&ink=dark"));
  });
/** Return a file as it is, or smaller where it is large. */
async function sendable(file, bitmap) {
  const side = bitmap ? Math.max(bitmap.width, bitmap.height) : 0;
  if (!bitmap || (file.size <= LARGE.bytes && side <= 2 * LARGE.side)) return file;
  const scale = Math.min(1, LARGE.side / side);
  const small = new OffscreenCanvas(Math.round(bitmap.width * scale) || 1, Math.round(bitmap.height * scale) || 1);
  const brush = small.getContext("2d");
  brush.fillStyle = "#fff";
  brush.fillRect(0, 0, small.width, small.height);
  brush.drawImage(bitmap, 0, 0, small.width, small.height);
  return small.convertToBlob({ type: "image/jpeg", quality: 0.95 });
}

element("clear").addEventListener("click", clear);
element("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  clear();
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (bitmap) {
    const scale = Math.min(board.width / bitmap.width, board.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    pen.drawImage(bitmap, (board.width - width) / 2, (board.height - height) / 2, width, height);
  }
  await read(await sendable(file, bitmap));
  event.target.value = "";
});
element("token").addEventListener("change", start);

async function start() {
  clear();
  const models = await ask("/v2/repository/index", { method: "POST" });
  if (!models) return;
  element("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  element("which").hidden = models.length < 2;
  tell("Draw, or choose a picture.", "ready");
}

start();
