// The case browser. The data has each radiograph as WebP and the networks' maps as bytes; everything is drawn here.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id), picture = byId("picture"), pen = picture.getContext("2d");
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const colours = bytes(data.colours), MEAN = "mean", DEVIATION = "deviation", LARGEST = 16;
const state = {place: 0, class: 0, map: MEAN, fade: 1, window: 255, level: 128, boxes: true, zoom: 1, x: 0.5, y: 0.5};
let fitting = data.cases.map((_, index) => index), current = null, composed = null;

// What is known of a case

// Of a case's models the first is the mean of the networks, which filters and the order of classes follow; then comes each network
const each = (of, index) => of.probability.slice(1).map(probabilities => probabilities[index]);
const votes = (of, index) => each(of, index).filter(probability => probability > 0.5).length;
const verdict = (of, index) => data.verdicts[of.verdict[0][index]].slice(2);
const concerns = (of, index) => of.truth[index] === 1 || of.probability[0][index] > 0.5 || votes(of, index) > 0;
const answers = {
  "": concerns,
  found: (of, index) => verdict(of, index) === "found",
  missed: (of, index) => verdict(of, index) === "missed",
  "false alarm": (of, index) => verdict(of, index) === "false alarm",
  disagree: (of, index) => ![0, data.members.length].includes(votes(of, index)),
  different: (of, index) => concerns(of, index) && index in of.different,
};
const fits = (of, index) => answers[byId("answer").value](of, index);

function filter() {
  const wanted = byId("wanted").value, all = !wanted && !byId("answer").value;
  const classes = wanted ? [+wanted] : [...data.classes.keys()];
  fitting = [...data.cases.keys()].filter(number => all || classes.some(index => fits(data.cases[number], index)));
  state.place = 0;
  show();
}

// The class that a case opens with: the one that is filtered by, one that fits the filter, or the one that it was chosen for
function firstClass(of) {
  if (byId("wanted").value) return +byId("wanted").value;
  const chosen = data.classes.indexOf(of.chosenFor);
  if (!byId("answer").value || fits(of, chosen)) return chosen;
  return data.classes.findIndex((_, index) => fits(of, index));
}

async function show() {
  const of = data.cases[fitting[state.place]];
  current = composed = null;
  byId("heading").textContent = of
    ? `Case ${data.first + fitting[state.place] + 1}: ${of.id}, ${data.why} ${of.chosenFor} (${state.place + 1} of ${fitting.length})`
    : data.cases.length ? "No case fits this filter" : "No test image has a class, so there is no case to show";
  if (!of) {
    for (const id of ["whose", "answers", "answered", "said"]) byId(id).textContent = "";
    return draw();
  }
  if (!of.grey) {
    const image = new Image();
    image.src = `data:image/webp;base64,${of.picture}`;
    await image.decode();
    const [width, height] = of.size, canvas = new OffscreenCanvas(width, height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    of.grey = canvas.getImageData(0, 0, width, height).data.filter((_, index) => index % 4 === 0);
    of.values = of.maps.map(map => bytes(map.values));
  }
  if (of !== data.cases[fitting[state.place]]) return;  // another one was chosen meanwhile
  current = of;
  picture.style.aspectRatio = of.size.join("/");
  state.class = firstClass(of);
  resetPlace();
  update();
}

// Heat: a map is enlarged to the part that the networks saw, linearly between the centres of its cells

function enlarge(of, member, index) {
  const [width, height] = of.size, [rows, columns] = of.maps[member].size, out = new Float32Array(width * height);
  if (rows * columns < 2) return out;
  const values = of.values[member].subarray(index * rows * columns, (index + 1) * rows * columns);
  const edges = (low, high, pixels) => {
    const first = Math.min(Math.round(low * pixels), pixels - 1);
    return [first, Math.max(Math.round(high * pixels), first + 1)];
  };
  const between = ([first, last], cells) => Array.from({length: last - first}, (_, pixel) => {
    const place = clamp((pixel + 0.5) / (last - first) * cells - 0.5, 0, cells - 1), before = Math.floor(place);
    return [before, Math.min(before + 1, cells - 1), place - before];
  });
  const across = edges(of.seen[0], of.seen[2], width), down = edges(of.seen[1], of.seen[3], height);
  const atColumn = between(across, columns);
  between(down, rows).forEach(([above, below, share], y) => atColumn.forEach(([left, right, part], x) => {
    const mix = row => values[row * columns + left] * (1 - part) + values[row * columns + right] * part;
    out[(down[0] + y) * width + across[0] + x] = (mix(above) * (1 - share) + mix(below) * share) / 255;
  }));
  return out;
}

const cells = member => current.maps[member].size[0] * current.maps[member].size[1];
const several = () => [MEAN, DEVIATION].includes(state.map);
const drawn = () => (several() ? [...data.members.keys()].filter(member => cells(member) > 1) : [+state.map]);

// The values of the chosen map or deviation, from 0 to 1; computed once for each choice
function heat() {
  const choice = `${state.class} ${state.map}`;
  if (current.shown?.choice === choice) return current.shown;
  const maps = drawn().map(member => enlarge(current, member, state.class)), [width, height] = current.size;
  let values = new Float32Array(width * height);
  for (const map of maps) for (let i = 0; i < values.length; i++) values[i] += map[i] / maps.length;
  if (state.map === DEVIATION) {
    const squares = new Float32Array(values.length);
    for (const map of maps) for (let i = 0; i < values.length; i++) squares[i] += (map[i] - values[i]) ** 2 / maps.length;
    values = squares.map(square => clamp(Math.sqrt(square) / data.deviation, 0, 1));
  }
  const most = values.reduce((larger, value) => Math.max(larger, value), 0), place = values.indexOf(most);
  current.shown = {choice, values, most, x: (place % width) / width, y: Math.floor(place / width) / height};
  return current.shown;
}

// The brightness of each grey, and the colour and opacity of each value, as in the figures: the radiograph is dimmed, and more heat is
// more opaque. All have 256 steps
function look() {
  const steps = [...Array(256).keys()], low = state.level - state.window / 2, deviates = state.map === DEVIATION;
  return {
    greys: steps.map(grey => 255 * clamp((grey - low) / state.window, 0, 1) * (1 - state.fade * (1 - data.dimmed))),
    opacity: steps.map(value => state.fade * data.opacity * (value / 255) ** (deviates ? 1 : data.exponent)),
    colours: deviates ? steps.flatMap(() => data.sky) : colours,
  };
}

function compose() {
  const [width, height] = current.size, image = new ImageData(width, height), {values} = heat(), {greys, opacity, colours} = look();
  for (let i = 0; i < values.length; i++) {
    const value = Math.round(255 * values[i]), share = opacity[value], grey = greys[current.grey[i]] * (1 - share);
    for (let part = 0; part < 3; part++) image.data[4 * i + part] = grey + share * colours[3 * value + part];
    image.data[4 * i + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// What is seen

function scaleOf(of) {
  const fit = Math.min(picture.width / of.size[0], picture.height / of.size[1]);
  return fit * state.zoom;
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(picture.clientWidth * ratio), height = Math.round(picture.clientHeight * ratio);
  if (picture.width !== width || picture.height !== height) Object.assign(picture, {width, height});
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!current) {
    picture.dataset.shown = "";
    picture.setAttribute("aria-label", byId("heading").textContent);
    return;
  }
  composed ??= compose();
  const scale = scaleOf(current), [columns, rows] = current.size;
  const left = width / 2 - state.x * columns * scale, top = height / 2 - state.y * rows * scale;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(composed, left, top, columns * scale, rows * scale);
  const outline = (x, y, wide, high, colour, dashes) => {
    pen.setLineDash(dashes.map(dash => dash * ratio));
    for (const [style, line] of [["#000", 4], [colour, 2]]) {
      Object.assign(pen, {strokeStyle: style, lineWidth: line * ratio});
      pen.strokeRect(left + x * columns * scale, top + y * rows * scale, wide * columns * scale, high * rows * scale);
    }
  };
  const [x0, y0, x1, y1] = current.seen;
  if (isCropped()) outline(x0, y0, x1 - x0, y1 - y0, "#e69f00", [6, 4]);
  if (state.boxes) {
    const line = 15 * ratio, names = [];  // a name goes below those that it would cover
    pen.font = `${13 * ratio}px system-ui, sans-serif`;
    for (const [label, ...box] of current.boxes) outline(...box, "#fff", label === data.classes[state.class] ? [] : [2, 3]);
    pen.setLineDash([]);
    Object.assign(pen, {lineWidth: 3 * ratio, strokeStyle: "#000", fillStyle: "#fff"});
    for (const [label, x, y] of current.boxes) {
      const start = left + x * columns * scale + 4 * ratio, end = start + pen.measureText(label).width;
      let low = top + y * rows * scale + line;
      while (names.some(other => Math.abs(other.low - low) < line && other.start < end && start < other.end)) low += line / 4;
      names.push({start, end, low});
      pen.strokeText(label, start, low);
      pen.fillText(label, start, low);
    }
  }
  picture.style.touchAction = state.zoom > 1 ? "none" : "pan-y";
  picture.setAttribute("aria-label", described());
  picture.dataset.shown = current.id;
}

const isCropped = () => current.seen.join() !== "0,0,1,1";
const percent = share => `${Math.round(100 * share)}%`;
const nameOfMap = () => byId("map").selectedOptions[0].text;

function described() {
  const name = data.classes[state.class], boxes = current.boxes.map(([label]) => label).join(", "), {most, x, y} = heat();
  const kind = state.map === DEVIATION ? "largest" : "hottest";
  const where = most > 0 ? `${kind} at ${percent(x)} of the width and ${percent(y)} of the height` : "no place stands out";
  const seen = `Radiograph ${current.id}. ${name}, ${nameOfMap()}: ${where}.`;
  return state.boxes && boxes ? `${seen} Boxes: ${boxes}.` : seen;
}

function sentences() {
  const said = [], shown = drawn();
  if (shown.every(member => cells(member) < data.fewest))
    said.push(`This map has fewer than ${data.fewest} cells: too coarse to locate anything.`);
  if (!heat().most) said.push(state.map === DEVIATION ? "The networks do not differ here." : "This map does not vary, so it shows no place.");
  if (isCropped()) said.push(`Orange dashes: ${data.seen}.`);
  if (several() && current.different[state.class]) said.push(current.different[state.class]);
  return said.join(" ");
}

// What the chosen model, the archive and the readers say of a class, as texts
function told(index) {
  const model = several() ? 0 : 1 + Number(state.map), calibrated = current.calibrated[model]?.[index];
  const [yes, no] = current.readers[index] ?? [0, 0], most = yes > no ? "yes" : no > yes ? "no" : "tie";
  return {
    probability: current.probability[model][index].toFixed(3), calibrated: calibrated?.toFixed(3),
    archive: {1: "yes", 0: "no"}[current.truth[index]] ?? "not known",
    readers: yes + no ? [`${Math.max(yes, no)} of ${yes + no}`, most] : null, answer: data.verdicts[current.verdict[model][index]],
  };
}

const nameOfModel = () => several() ? `mean of ${data.members.length} networks` : nameOfMap();

function answered() {
  const {probability, calibrated, archive, readers, answer} = told(state.class);
  const again = readers ? ` ${readers.join(" readers: ")}.` : "";
  return `${data.classes[state.class]}, ${nameOfModel()}: probability ${probability}, `
    + `${calibrated ? `calibrated ${calibrated}` : "not calibrated"}. Archive: ${archive}, ${answer}.${again}`;
}

function table() {
  const mean = current.probability[0], order = [...data.classes.keys()].sort((a, b) => mean[b] - mean[a]);
  byId("whose").textContent = `Probability and answer: ${nameOfModel()}`;
  const focused = document.activeElement?.closest?.("#answers button")?.dataset.class;
  byId("answers").replaceChildren(...order.map(index => {
    const row = document.createElement("tr"), head = document.createElement("th"), button = document.createElement("button");
    Object.assign(button, {type: "button", textContent: data.classes[index], onclick: () => choose("class", index)});
    Object.assign(button.dataset, {class: index});
    button.setAttribute("aria-pressed", index === state.class);
    Object.assign(head, {className: "name", scope: "row"}).append(button);
    const {probability, calibrated, archive, readers, answer} = told(index), ofAll = each(current, index);
    const texts = [
      probability, calibrated ?? "–", `${Math.min(...ofAll).toFixed(3)} to ${Math.max(...ofAll).toFixed(3)}`,
      `${votes(current, index)} of ${ofAll.length}`, archive, ...(data.read ? [readers?.join(": ") ?? ""] : []), answer,
    ];
    row.append(head, ...texts.map((text, column) => Object.assign(document.createElement("td"), {
      textContent: text, className: column > 3 ? "text" : "",
    })));
    return row;
  }));
  if (focused) byId("answers").querySelector(`[data-class="${focused}"]`).focus();
}

// After any change: the controls show the state, and the picture is drawn again
function update() {
  if (!current) return;
  composed = null;
  byId("class").value = state.class;
  byId("map").value = state.map;
  for (const name of ["window", "level"]) byId(name).value = state[name];
  byId("fade").value = Math.round(100 * state.fade);
  byId("boxes").checked = state.boxes;
  const {opacity, colours} = look(), step = value => [0, 1, 2].map(part => 64 * (1 - opacity[value]) + opacity[value] * colours[3 * value + part]);
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map(value => `rgb(${step(value).map(Math.round)})`);
  byId("scale").children[1].style.background = `linear-gradient(to right, ${stops})`;
  const ends = state.map === DEVIATION ? ["networks agree", `standard deviation ${data.deviation}`] : ["no evidence", "most evidence"];
  [byId("scale").firstElementChild.textContent, byId("scale").lastElementChild.textContent] = ends;
  draw();
  byId("answered").textContent = answered();
  byId("said").textContent = sentences();
  table();
}

function choose(name, value) {
  state[name] = value;
  update();
}

function resetPlace() {
  Object.assign(state, {zoom: 1, x: 0.5, y: 0.5});
}

// Zoom by a factor around a point of the canvas, in its pixels; the picture's centre stays on the canvas
function zoom(factor, x = picture.width / 2, y = picture.height / 2) {
  if (!current) return;
  const before = scaleOf(current);
  state.zoom = clamp(state.zoom * factor, 1, LARGEST);
  const after = scaleOf(current);
  move((x - picture.width / 2) * (1 / before - 1 / after), (y - picture.height / 2) * (1 / before - 1 / after));
}

// Move the view by pixels of the radiograph
function move(x, y) {
  if (!current) return;
  const room = 0.5 - 0.5 / state.zoom;
  state.x = clamp(state.x + x / current.size[0], 0.5 - room, 0.5 + room);
  state.y = clamp(state.y + y / current.size[1], 0.5 - room, 0.5 + room);
  draw();
}

function page(step) {
  if (!fitting.length) return;
  state.place = (state.place + step + fitting.length) % fitting.length;
  show();
}

function turn(id, step) {
  const field = byId(id), count = field.options.length;
  field.selectedIndex = (field.selectedIndex + step + count) % count;
  field.onchange();
}

function shift(name, step, low, high) {
  choose(name, clamp(state[name] + step, low, high));
}

const panned = () => current && Math.max(...current.size) / 10 / state.zoom;
const KEYS = [
  [["n", "ArrowRight"], "next case", () => page(1)],
  [["p", "ArrowLeft"], "previous case", () => page(-1)],
  [["c", "ArrowDown"], "next class", () => turn("class", 1)],
  [["C", "ArrowUp"], "previous class", () => turn("class", -1)],
  [["m"], "next map: mean, disagreement, each network", () => turn("map", 1)],
  [["M"], "previous map", () => turn("map", -1)],
  [["o"], "map on or off", () => choose("fade", state.fade ? 0 : 1)],
  [["["], "weaker map", () => shift("fade", -0.1, 0, 1)],
  [["]"], "stronger map", () => shift("fade", 0.1, 0, 1)],
  [["b"], "boxes on or off", () => choose("boxes", !state.boxes)],
  [["+", "="], "larger", () => zoom(1.25)],
  [["-"], "smaller", () => zoom(0.8)],
  [["Shift+ArrowRight"], "move to the right", () => move(panned(), 0)],
  [["Shift+ArrowLeft"], "move to the left", () => move(-panned(), 0)],
  [["Shift+ArrowDown"], "move down", () => move(0, panned())],
  [["Shift+ArrowUp"], "move up", () => move(0, -panned())],
  [["w"], "narrower window", () => shift("window", -15, 10, 255)],
  [["W"], "wider window", () => shift("window", 15, 10, 255)],
  [["l"], "lower level (brighter)", () => shift("level", -10, 0, 255)],
  [["L"], "higher level (darker)", () => shift("level", 10, 0, 255)],
  [["0"], "reset size, place, window and level", () => {
    resetPlace();
    Object.assign(state, {window: 255, level: 128});
    update();
  }],
  [["?"], "this list", () => byId("keys").showModal()],
];
const ACTIONS = Object.fromEntries(KEYS.flatMap(([keys, , action]) => keys.map(key => [key, action])));

document.addEventListener("keydown", event => {
  const arrow = event.key.startsWith("Arrow"), kind = event.target.type ?? "";
  const key = arrow && event.shiftKey ? `Shift+${event.key}` : event.key;
  const used = kind.startsWith("select") || (kind === "range" && (arrow || "+-".includes(key)));
  if (used || event.ctrlKey || event.altKey || event.metaKey || byId("keys").open || !ACTIONS[key]) return;
  if (!arrow && !byId("single").checked) return;
  event.preventDefault();
  ACTIONS[key]();
});

// Mouse, pen and fingers

const pointers = new Map();
const at = event => {
  const frame = picture.getBoundingClientRect(), ratio = picture.width / frame.width;
  return [(event.clientX - frame.left) * ratio, (event.clientY - frame.top) * ratio];
};
picture.onpointerdown = event => {
  pointers.set(event.pointerId, at(event));
  picture.setPointerCapture(event.pointerId);
};
picture.onpointerup = picture.onpointercancel = event => pointers.delete(event.pointerId);
picture.onpointermove = event => {
  if (!current || !pointers.has(event.pointerId)) return;
  const [x, y] = at(event), [fromX, fromY] = pointers.get(event.pointerId);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  pointers.set(event.pointerId, [x, y]);
  if (other) {
    const distance = (a, b) => Math.hypot(a - other[0], b - other[1]) || 1;
    zoom(distance(x, y) / distance(fromX, fromY), (x + other[0]) / 2, (y + other[1]) / 2);
  } else if (event.shiftKey) {
    state.window = clamp(state.window + (x - fromX) / 2, 10, 255);
    state.level = clamp(state.level + (y - fromY) / 2, 0, 255);
    update();
  } else {
    move((fromX - x) / scaleOf(current), (fromY - y) / scaleOf(current));
  }
};
picture.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, ...at(event));
}, {passive: false});

// The controls

const options = (id, entries) => byId(id).append(...entries.map(([value, text]) => new Option(text, value)));
const numbered = names => names.map((name, index) => [index, name]);
options("wanted", numbered(data.classes));
options("class", numbered(data.classes));
const count = data.members.length;
options("map", count > 1 ? [[MEAN, `mean of ${count} networks`], [DEVIATION, "disagreement (SD)"]] : []);
options("map", numbered(data.members));
if (count === 1) state.map = "0";
byId("wanted").onchange = byId("answer").onchange = filter;
byId("class").onchange = () => choose("class", +byId("class").value);
byId("map").onchange = () => choose("map", byId("map").value);
byId("fade").oninput = () => choose("fade", byId("fade").value / 100);
byId("boxes").onchange = () => choose("boxes", byId("boxes").checked);
for (const name of ["window", "level"]) byId(name).oninput = () => choose(name, +byId(name).value);
byId("boxesBy").textContent = `Boxes (${data.boxesBy})`;
for (const button of document.querySelectorAll("[data-key]")) button.onclick = ACTIONS[button.dataset.key];
for (const [keys, meaning] of KEYS) {
  const named = keys.join(" or ").replaceAll("Arrow", "").replaceAll(/\b(Left|Right|Up|Down)\b/g, side => `${side} arrow`);
  const [term, text] = ["dt", "dd"].map(tag => document.createElement(tag));
  Object.assign(term, {textContent: named});
  Object.assign(text, {textContent: meaning});
  byId("keysList").append(term, text);
}
byId("browser").hidden = false;
new ResizeObserver(draw).observe(picture);
show();
