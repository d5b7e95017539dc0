"use strict";
const data = JSON.parse(document.getElementById("map-data").textContent);
const canvas = document.getElementById("map-canvas"), details = document.getElementById("map-details");
const sheet = document.getElementById("map-sheet"), colouring = document.getElementById("map-colour");
const shown = document.getElementById("map-shown"), context = canvas.getContext("2d");
const count = data.x.length, hues = data.classes.map((_, number) => Math.round((360 * number) / data.classes.length));
const legend = document.getElementById("map-legend"), RIGHT = "#8a93a0", WRONG = "#d62f2f";
const isWrong = row => data.predicted[row] !== data.label[row];
let view = { x: data.grid / 2, y: data.grid / 2, zoom: 1 }, selected = -1;

function visible(row) {
  return shown.value === "all" || (shown.value === "wrong" ? isWrong(row) : data.parts[data.part[row]] === shown.value);
}

function scale() {
  return (view.zoom * Math.min(canvas.width, canvas.height)) / (1.08 * data.grid);
}

function place(row) {
  return [canvas.width / 2 + (data.x[row] - view.x) * scale(), canvas.height / 2 + (data.y[row] - view.y) * scale()];
}

function ofClass(number) {
  return `hsl(${hues[number]} 65% ${number % 2 ? 38 : 55}%)`;
}

function colour(row) {
  if (colouring.value === "right") return isWrong(row) ? WRONG : RIGHT;
  return ofClass(colouring.value === "predicted" ? data.predicted[row] : data.label[row]);
}

function explain() {
  const classes = data.classes.map((name, number) => [ofClass(number), name]);
  const colours = colouring.value === "right" ? [[RIGHT, "right"], [WRONG, "wrong"]] : classes;
  legend.replaceChildren(...colours.map(([shade, text]) => {
    const entry = element("span", text), dot = document.createElement("i");
    dot.style.background = shade;
    entry.prepend(dot);
    return entry;
  }));
}

function thumbnail(target, row, x, y, side) {
  const column = row % data.columns, line = Math.floor(row / data.columns);
  target.drawImage(sheet, column * data.side, line * data.side, data.side, data.side, x, y, side, side);
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const radius = ratio * (count > 3000 ? 2 : 3.5), drawn = [];
  for (let row = 0; row < count; row++) {
    const [x, y] = place(row);
    if (visible(row) && x > -99 && y > -99 && x < canvas.width + 99 && y < canvas.height + 99) drawn.push([row, x, y]);
  }
  const side = ratio * Math.min(data.side, 48), asPictures = drawn.length * side * side < canvas.width * canvas.height;
  for (const [row, x, y] of drawn) {
    context.fillStyle = colour(row);
    if (asPictures) {
      context.fillRect(x - side / 2 - 2 * ratio, y - side / 2 - 2 * ratio, side + 4 * ratio, side + 4 * ratio);
      thumbnail(context, row, x - side / 2, y - side / 2, side);
    } else {
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
    }
  }
  if (selected >= 0) {
    const [x, y] = place(selected);
    context.fillStyle = getComputedStyle(canvas).color;
    context.fillRect(x - side / 2 - 3 * ratio, y - side / 2 - 3 * ratio, side + 6 * ratio, side + 6 * ratio);
    thumbnail(context, selected, x - side / 2, y - side / 2, side);
  }
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function picture(row, side) {
  const made = document.createElement("canvas");
  made.width = made.height = data.side;
  made.style.width = made.style.height = `${side}px`;
  thumbnail(made.getContext("2d"), row, 0, 0, data.side);
  return made;
}

function describe(row) {
  const label = data.classes[data.label[row]], predicted = data.classes[data.predicted[row]];
  return `${data.name[row]} (${data.parts[data.part[row]]}): ${label}; predicted ${predicted}, ${data.confidence[row] / 10} %`;
}

function select(row, centre) {
  selected = row;
  if (centre) [view.x, view.y] = [data.x[row], data.y[row]];
  details.replaceChildren(picture(row, 160), element("p", describe(row)), element("p", "Most similar:"));
  for (const other of data.similar[row]) {
    const button = document.createElement("button");
    button.append(picture(other, 56));
    button.setAttribute("aria-label", describe(other));
    button.title = describe(other);
    button.onclick = () => { select(other, true); canvas.focus(); };
    details.append(button);
  }
  draw();
}

function nearest(x, y, within, accept = () => true) {
  let best = -1, least = within;
  for (let row = 0; row < count; row++) {
    if (!visible(row) || !accept(row)) continue;
    const [left, top] = place(row), distance = Math.hypot(left - x, top - y);
    if (distance < least) [best, least] = [row, distance];
  }
  return best;
}

function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
  const before = scale(), fixed = [view.x + (x - canvas.width / 2) / before, view.y + (y - canvas.height / 2) / before];
  view.zoom = Math.min(200, Math.max(1, view.zoom * factor));
  view.x = fixed[0] - (x - canvas.width / 2) / scale();
  view.y = fixed[1] - (y - canvas.height / 2) / scale();
  draw();
}

function reset() {
  view = { x: data.grid / 2, y: data.grid / 2, zoom: 1 };
  draw();
}

const fingers = new Map();
let moved = 0;
const ratioOf = () => canvas.width / canvas.clientWidth;
canvas.onpointerdown = event => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  if (fingers.size === 1) moved = 0;
};
canvas.onpointermove = event => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const others = [...fingers.values()].filter(each => each.pointerId !== event.pointerId);
  moved += Math.hypot(event.offsetX - before.offsetX, event.offsetY - before.offsetY);
  if (others.length) {
    const [other] = others, apart = each => Math.hypot(each.offsetX - other.offsetX, each.offsetY - other.offsetY);
    zoom(apart(event) / Math.max(1, apart(before)), event.offsetX * ratioOf(), event.offsetY * ratioOf());
  } else {
    view.x -= ((event.offsetX - before.offsetX) * ratioOf()) / scale();
    view.y -= ((event.offsetY - before.offsetY) * ratioOf()) / scale();
    draw();
  }
  fingers.set(event.pointerId, event);
};
canvas.onpointerup = event => {
  fingers.delete(event.pointerId);
  if (moved > 5) return;
  const row = nearest(event.offsetX * ratioOf(), event.offsetY * ratioOf(), 30 * ratioOf());
  if (row >= 0) select(row, false);
};
canvas.onpointercancel = event => fingers.delete(event.pointerId);
canvas.addEventListener("wheel", event => {
  if (!event.ctrlKey && document.activeElement !== canvas) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX * ratioOf(), event.offsetY * ratioOf());
}, { passive: false });

const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.onkeydown = event => {
  if (event.key in directions) {
    const [right, down] = directions[event.key];
    const [x, y] = selected < 0 ? [canvas.width / 2, canvas.height / 2] : place(selected);
    const ahead = row => {
      const [left, top] = place(row), along = (left - x) * right + (top - y) * down;
      return row !== selected && along > 0 && along >= Math.abs((left - x) * down + (top - y) * right);
    };
    const row = nearest(x, y, Infinity, selected < 0 ? undefined : ahead);
    if (row >= 0) select(row, view.zoom > 1);
  } else if (event.key === "+") zoom(1.5);
  else if (event.key === "-") zoom(1 / 1.5);
  else if (event.key === "0") reset();
  else return;
  event.preventDefault();
};
document.getElementById("map-in").onclick = () => zoom(1.5);
document.getElementById("map-out").onclick = () => zoom(1 / 1.5);
document.getElementById("map-reset").onclick = reset;
shown.onchange = draw;
colouring.onchange = () => { explain(); draw(); };
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").onchange = draw;
explain();
sheet.decode().then(draw);
