// The field for files: click, drop, paste. What was chosen is listed with a picture of it.

import { arrange, h } from "./dom.js";
import { many, size } from "./text.js";

export class FileField {
  /** @type {Array<{file: File, url: string|undefined, node: HTMLElement}>} */
  chosen = [];

  constructor(id, several, changed) {
    Object.assign(this, { several, changed });
    this.input = h("input.unseen", { type: "file", id, multiple: several, change: () => {
      this.add(this.input.files);
      this.input.value = "";
    } });
    this.list = h("ul.thumbs.plain");
    this.sum = h("p.muted");
    this.element = h("div.files", this.input,
      h("label.zone", { for: id }, h("strong", several ? "Drop files here" : "Drop a file here"),
        h("span.muted", "or choose, or paste")),
      this.list, this.sum);
  }

  get files() {
    return this.chosen.map((each) => each.file);
  }

  add(files) {
    const added = Array.from(files, (file) => this.#entry(file));
    if (!added.length) return;
    if (!this.several) this.#release(this.chosen);
    this.chosen = this.several ? [...this.chosen, ...added] : added.slice(-1);
    this.#draw();
  }

  #entry(file) {
    const url = file.type.startsWith("image/") ? URL.createObjectURL(file) : undefined;
    const blank = h("span.thumb", file.name.split(".").pop().slice(0, 5));
    const error = () => thumb.replaceWith(blank); // no picture after all
    const thumb = url ? h("img.thumb", { src: url, alt: "", decoding: "async", error }) : blank;
    const entry = { file, url };
    const remove = () => {
      this.#release([entry]);
      this.chosen = this.chosen.filter((each) => each !== entry);
      this.#draw();
      this.input.focus();
    };
    entry.node = h("li", thumb, h("span.file-name", { title: file.name }, file.name), h("span.muted", size(file.size)),
      h("button.remove", { "aria-label": `Remove ${file.name}`, click: remove }, "×"));
    return entry;
  }

  #draw() {
    arrange(this.list, this.chosen.map((each) => each.node));
    this.sum.hidden = this.chosen.length < 2;
    this.sum.textContent = `${many(this.chosen.length, "file")}, ${size(this.files.reduce((sum, file) => sum + file.size, 0))}`;
    this.changed();
  }

  #release(entries) {
    for (const { url } of entries) if (url) URL.revokeObjectURL(url);
  }

  /** Empties the field. The pictures' addresses go to the caller, who lets go of them. */
  empty() {
    const urls = this.chosen.map((each) => each.url);
    this.chosen = [];
    this.#draw();
    return urls;
  }
}
