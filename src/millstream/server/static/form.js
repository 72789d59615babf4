// A pipeline's input as a form, out of its fields and their JSON Schema; and the form as a request.

import { h } from "./dom.js";
import { FileField } from "./files.js";
import { Problem } from "./server.js";
import { many, size } from "./text.js";

const NUMBERS = ["integer", "number"];

/** A schema without its reference and without "or null". Pure. */
export function plain(schema, root) {
  let found = schema ?? {};
  if (found.$ref) found = { ...found.$ref.split("/").slice(1).reduce((at, key) => at?.[key], root), ...found, $ref: null };
  const options = (found.anyOf ?? found.oneOf)?.filter((each) => each.type !== "null") ?? [];
  if (options.length === 1) found = { ...found, anyOf: null, oneOf: null, ...plain(options[0], root) };
  if (Array.isArray(found.type)) found = { ...found, type: found.type.find((type) => type !== "null") };
  return found;
}

/** Which control a field gets. Pure. */
export function kindOf(field, schema, root) {
  if (field.file) return "files";
  if (schema.enum) return "choice";
  if (schema.type === "boolean" || schema.type === "string") return schema.type;
  if (NUMBERS.includes(schema.type)) return "number";
  const inner = schema.type === "array" ? plain(schema.items, root).type : null;
  return inner === "string" ? "lines" : NUMBERS.includes(inner) ? "numbers" : "json";
}

const lines = (text) => text.split(/\r?\n/).filter((line) => line.trim());
const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : text); // the server says why not

/** What a control's text stands for. Raises SyntaxError. */
const READ = {
  string: (text) => text,
  number,
  lines,
  numbers: (text) => lines(text).map(number),
  json: JSON.parse,
  choice: JSON.parse,
};

export class Form {
  /** @param {any} pipeline as the server describes it @param {(form: Form) => void} start */
  constructor(pipeline, start) {
    this.pipeline = pipeline;
    this.button = h("button.primary", "Start");
    this.button.type = "submit";
    this.fault = h("p.fault", { role: "alert", hidden: true });
    this.fields = pipeline.fields.map((field, at) => this.#field(field, `field-${pipeline.name}-${at}`));
    const submit = (event) => {
      event.preventDefault();
      if (!this.button.disabled) start(this);
    };
    this.element = h("form", { novalidate: true, submit }, h("p.muted", pipeline.doc),
      this.fields.map((field) => field.element), this.fields.length ? null : h("p.muted", "Takes no input."), this.fault, this.button);
  }

  /** The first field for files. */
  get drop() {
    return this.fields.find((field) => field.files)?.files;
  }

  #field({ name, many: several, file }, id) {
    const root = this.pipeline.input;
    const model = plain(root, root);
    const schema = plain(model.properties?.[name], root);
    const kind = kindOf({ file }, schema, root);
    const required = model.required?.includes(name);
    const files = kind === "files" ? new FileField(id, several, () => this.busy(null)) : null;
    const control = files?.input ?? this.#control(kind, id, schema, required);
    const fault = h("p.fault", { id: `${id}-fault`, hidden: true });
    control.setAttribute("aria-describedby", fault.id);
    const hint = [schema.description, { lines: "One a line.", numbers: "One a line.", json: "JSON." }[kind]];
    const title = [h("label", { for: id }, name), required ? null : h("span.muted", "optional")];
    const parts = kind === "boolean" ? [h("div.title", control, title)] : [h("div.title", title), files?.element ?? control];
    const element = h("div.field", parts, h("p.muted", hint.filter(Boolean).join(" ")), fault);
    return { name, kind, several, required, standard: schema.default, control, files, fault, element };
  }

  #control(kind, id, schema, required) {
    const value = schema.default ?? null;
    if (kind === "choice") {
      const options = schema.enum.map((each) => h("option", { value: JSON.stringify(each), selected: each === value }, String(each)));
      return h("select", { id }, required ? null : h("option", { value: "" }, "—"), options);
    }
    if (kind === "boolean") return h("input", { type: "checkbox", id, checked: value === true });
    if (kind === "number") {
      return h("input", { type: "number", id, step: schema.type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum, value });
    }
    const text = kind === "string" ? value : kind === "json" ? JSON.stringify(value, null, 2) : value?.join("\n");
    const keydown = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.element.requestSubmit();
    return h("textarea", { id, rows: kind === "string" ? 2 : 4, keydown }, value === null ? "" : text);
  }

  /** Says what is going on with the request; null when nothing is. */
  busy(text) {
    const files = this.drop?.files ?? [];
    this.button.disabled = text !== null;
    this.button.textContent = text ?? (files.length ? `Start with ${many(files.length, "file")}` : "Start");
  }

  /** The request, or null where a field is at fault (and says so). */
  request() {
    this.#clear();
    const given = [];
    for (const field of this.fields) {
      try {
        const value = read(field);
        if (value !== undefined) given.push([field, value]);
      } catch (error) {
        this.#blame(field, error.message);
      }
    }
    if (this.#focusFault()) return null;
    if (!this.fields.some((field) => field.files?.chosen.length)) {
      return { body: JSON.stringify(Object.fromEntries(given.map(([field, value]) => [field.name, value]))), type: "application/json" };
    }
    const body = new FormData();
    for (const [{ name, several }, value] of given) {
      for (const part of several && Array.isArray(value) ? value : [value]) {
        body.append(name, typeof part === "string" || part instanceof File ? part : JSON.stringify(part));
      }
    }
    return { body, type: null };
  }

  /** What the items of each field are called: files by their names, lines as they are. */
  labels() {
    const named = this.fields.map(({ name, kind, files, control }) =>
      [name, files?.files.map((file) => file.name) ?? (kind === "lines" ? lines(control.value) : [])]);
    return Object.fromEntries(named.filter(([, labels]) => labels.length));
  }

  /** How much is sent, in words. */
  get weight() {
    const files = this.drop?.files ?? [];
    return files.length ? ` ${many(files.length, "file")}, ${size(files.reduce((sum, file) => sum + file.size, 0))}` : "";
  }

  /** Shows what the server says, beside the fields that it names. */
  blame(error) {
    const rest = (error.errors ?? []).filter(({ field, message }) => {
      const found = this.fields.find(({ name }) => field === name || field?.startsWith(`${name}.`) || field?.startsWith(`${name}[`));
      if (found) this.#blame(found, field === found.name ? message : `${field}: ${message}`);
      return !found;
    });
    if (this.#focusFault() && !rest.length) return;
    const known = error instanceof Problem;
    this.fault.replaceChildren(known ? error.message : `The server cannot be reached: ${error.message}`, known ? h("code", error.code) : "");
    this.fault.hidden = false;
  }

  #blame({ fault, control }, message) {
    fault.textContent += (fault.textContent && "; ") + message;
    fault.hidden = false;
    control.setAttribute("aria-invalid", "true");
  }

  #focusFault() {
    const first = this.fields.find(({ fault }) => !fault.hidden);
    first?.control.focus();
    return first !== undefined;
  }

  #clear() {
    this.fault.hidden = true;
    for (const { fault, control } of this.fields) {
      fault.hidden = true;
      fault.textContent = "";
      control.removeAttribute("aria-invalid");
    }
  }
}

/** A field's value; undefined where it is left out. Raises Error, with words for the person. */
function read({ kind, several, required, standard, control, files }) {
  if (files) {
    if (required && !files.chosen.length) throw new Error(several ? "Add at least one file." : "Add a file.");
    return files.chosen.length ? (several ? files.files : files.files[0]) : undefined;
  }
  if (kind === "boolean") return required || control.checked || standard ? control.checked : undefined;
  if (control.validity.badInput) throw new Error("This is not a number.");
  const sent = control.value !== "" || (required && ["string", "lines", "numbers"].includes(kind));
  return sent ? READ[kind](control.value) : undefined;
}
