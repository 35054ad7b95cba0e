"use strict";
const colours = {reference: "#56b4e9", prediction: "#f0a000"};
const SIDE = 640;

function sheet(address) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d", {willReadFrequently: true});
      context.drawImage(image, 0, 0);
      done({width: canvas.width, pixels: context.getImageData(0, 0, canvas.width, canvas.height).data});
    };
    image.onerror = failed;
    image.src = address;
  });
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script").textContent);
    this.sheets = new Map();
    this.canvas = root.querySelector("canvas");
    this.slider = root.querySelector("[name=slice]");
    this.place = root.querySelector(".place");
    this.system = root.querySelector("[name=system]");
    this.sequence = root.querySelector("[name=sequence]");
    this.low = root.querySelector("[name=low]");
    this.high = root.querySelector("[name=high]");
    this.lines = root.querySelector("[name=lines]");
    this.errors = root.querySelector(".errors");
    const {height, width, aspect} = this.data;
    this.scale = Math.max(1, Math.floor(SIDE / Math.max(width, height * aspect)));
    this.canvas.width = width * this.scale;
    this.canvas.height = Math.round(height * aspect * this.scale);
    this.slider.max = this.data.slices - 1;
    this.slider.value = this.data.start;
    this.fill(this.system, this.data.systems);
    this.fill(this.sequence, [...this.data.sequences, ["none", null]]);
    root.querySelector(".of-images").hidden = !this.data.sequences.length;
    for (const each of [this.slider, this.system, this.sequence, this.low, this.high, this.lines])
      each.addEventListener("input", () => this.draw());
    this.canvas.addEventListener("keydown", event => this.key(event));
    this.canvas.addEventListener("click", () => this.canvas.focus());
    this.bars();
    this.draw().then(() => root.classList.add("alive"));
  }

  fill(select, entries) {
    entries.forEach(([name], index) => select.add(new Option(name, index)));
    select.closest("label").hidden = entries.length < 2;
  }

  key(event) {
    const last = this.data.slices - 1, here = Number(this.slider.value);
    const to = {ArrowUp: here + 1, ArrowRight: here + 1, ArrowDown: here - 1, ArrowLeft: here - 1,
      PageUp: here + 5, PageDown: here - 5, Home: 0, End: last}[event.key];
    if (to !== undefined) this.slider.value = Math.min(last, Math.max(0, to));
    else if (event.key === "c") this.lines.checked = !this.lines.checked;
    else if (event.key === "s") this.next(this.sequence);
    else if (event.key === "p") this.next(this.system);
    else return;
    event.preventDefault();
    this.draw();
  }

  next(select) { select.selectedIndex = (select.selectedIndex + 1) % select.options.length; }

  async slice(address, number) {
    if (!address) return null;
    if (!this.sheets.has(address)) this.sheets.set(address, sheet(address));
    const {width: wide, pixels} = await this.sheets.get(address);
    const {height, width} = this.data, across = wide / width, plane = new Uint8Array(height * width);
    const left = number % across * width, top = Math.floor(number / across) * height;
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) plane[y * width + x] = pixels[4 * ((top + y) * wide + left + x)];
    return plane;
  }

  async draw() {
    const number = Number(this.slider.value), turn = this.turn = (this.turn || 0) + 1;
    const sequence = [...this.data.sequences, ["none", null]][this.sequence.selectedIndex];
    const [name, address] = this.data.systems[this.system.selectedIndex];
    const [image, truth, guess] = await Promise.all(
      [sequence[1], this.data.reference, address].map(each => this.slice(each, number)));
    if (turn !== this.turn) return;
    this.ground(image);
    if (this.lines.checked) {
      if (truth) this.outline(truth, colours.reference, 4);
      this.outline(guess, colours.prediction, 2);
    }
    this.place.textContent = `slice ${number + 1} of ${this.data.slices} · ${name}, Dice ${this.data.dice[name]}`;
    this.slider.setAttribute("aria-valuetext", this.place.textContent);
    this.canvas.setAttribute("aria-label", this.place.textContent);
    this.errors.querySelectorAll("i").forEach((bar, index) => bar.classList.toggle("here", index === number));
  }

  ground(image) {
    const context = this.canvas.getContext("2d"), {height, width} = this.data;
    context.fillStyle = "#262626";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!image) return;
    const low = Number(this.low.value), span = Math.max(1, Number(this.high.value) - low);
    const small = this.small = this.small || Object.assign(document.createElement("canvas"), {width, height});
    const pixels = new ImageData(width, height);
    for (let i = 0; i < image.length; i++) {
      pixels.data.fill(255 * (image[i] - low) / span, 4 * i, 4 * i + 3);
      pixels.data[4 * i + 3] = 255;
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
  }

  outline(mask, colour, thickness) {
    const context = this.canvas.getContext("2d"), {height, width} = this.data;
    const dx = this.canvas.width / width, dy = this.canvas.height / height;
    const at = (y, x) => (y < 0 || x < 0 || y >= height || x >= width) ? 0 : mask[y * width + x];
    context.beginPath();
    for (let y = 0; y <= height; y++)
      for (let x = 0; x <= width; x++) {
        if (at(y, x) !== at(y - 1, x)) { context.moveTo(x * dx, y * dy); context.lineTo((x + 1) * dx, y * dy); }
        if (at(y, x) !== at(y, x - 1)) { context.moveTo(x * dx, y * dy); context.lineTo(x * dx, (y + 1) * dy); }
      }
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.lineCap = "square";
    context.stroke();
  }

  bars() {
    const most = Math.max(1, ...this.data.wrong);
    for (const wrong of this.data.wrong) {
      const bar = document.createElement("i");
      bar.style.height = `${wrong ? Math.max(8, 100 * wrong / most) : 0}%`;
      this.errors.append(bar);
    }
  }
}

document.querySelectorAll(".volume").forEach(root => new Viewer(root));
