// The queue: files picked, dropped or pasted are sent two at a time, each with its progress; what
// is larger than one piece can be paused and resumed.

import { Pieces, unfinished } from "./pieces.js";

const AT_ONCE = 2;
const form = document.querySelector("[data-upload]");
const input = form.querySelector("input[type=file]");
const queue = document.querySelector("[data-queue]");
const template = document.querySelector("[data-entry]");
const head = document.querySelector("[data-head]");
const sum = document.querySelector("[data-sum]");
const limit = Number(form.dataset.max);
const piece = Number(form.dataset.piece);
const left = document.querySelector("[data-unfinished]");
const entries = [];

form.classList.add("scripted");

const size = (bytes) => {
  for (const [unit, one] of [["GB", 2 ** 30], ["MB", 2 ** 20], ["KB", 2 ** 10]]) {
    if (bytes >= one) return `${(bytes / one).toFixed(bytes / one < 10 ? 1 : 0)} ${unit}`;
  }
  return `${bytes} B`;
};

const duration = (seconds) =>
  seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;

class Entry {
  constructor(file, settings) {
    Object.assign(this, { file, settings, state: "waiting", link: null });
    this.row = template.content.firstElementChild.cloneNode(true);
    this.row.querySelector(".name").textContent = file.name;
    this.bar = this.row.querySelector("progress");
    this.bar.setAttribute("aria-label", file.name);
    this.picture();
    queue.prepend(this.row);
    if (file.size > limit) {
      this.refuse(`${size(file.size)} is over this host’s limit of ${size(limit)}`, false);
    } else if (file.size === 0) {
      this.refuse("This file is empty", false);
    } else {
      this.wait();
    }
  }

  picture() {
    if (!this.file.type.startsWith("image/")) return;
    const image = new Image();
    image.className = "pic";
    image.alt = "";
    image.src = URL.createObjectURL(this.file);
    image.addEventListener("load", () => {
      URL.revokeObjectURL(image.src);
      this.row.querySelector(".pic").replaceWith(image);
    });
  }

  tell(state, words, mood = "") {
    this.state = state;
    this.row.dataset.state = state;
    const line = this.row.querySelector(".state");
    line.className = `state ${mood}`;
    line.textContent = words;
    this.bar.hidden = state !== "sending";
    update();
  }

  buttons(...pairs) {
    this.row.querySelector(".buttons").replaceChildren(...pairs.map(([text, act]) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "button", textContent: text });
      button.addEventListener("click", act);
      return button;
    }));
  }

  wait() {
    this.tell("waiting", "waiting");
    this.buttons(["Cancel", () => this.remove()]);
  }

  send() {
    if (this.file.size > piece) this.sendPieces();
    else this.sendWhole();
  }

  sendWhole() {
    const body = new FormData();
    for (const [name, value] of this.settings) body.append(name, value);
    body.append("file", this.file, this.file.name);
    const request = new XMLHttpRequest();
    const begun = performance.now();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      const speed = event.loaded / ((performance.now() - begun) / 1000);
      this.progress(event.loaded / event.total, speed, (event.total - event.loaded) / speed);
    });
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* a proxy's own page */ }
      if (request.status === 200 && answer.url) {
        this.finish({ ...answer, metadata: request.getResponseHeader("X-Metadata") });
      } else if (request.status === 401) this.refuse("You are signed out; sign in and try again");
      else this.refuse(answer.error ?? `The server answered ${request.status}`);
    });
    request.addEventListener("error", () => this.refuse("The connection broke"));
    request.addEventListener("abort", () => this.refuse("Cancelled"));
    this.tell("sending", "starting …");
    this.buttons(["Cancel", () => request.abort()]);
    request.send(body);
  }

  progress(share, speed, left) {
    this.bar.value = share;
    const pace = speed ? ` · ${size(speed)}/s · ${duration(left)} left` : "";
    this.tell("sending", share < 1
      ? `${size(this.file.size)} · ${Math.floor(share * 100)} %${pace}`
      : "sent, being stored …");
  }

  async sendPieces() {
    const total = this.file.size;
    this.from = null; // where this run began, for the pace
    this.pieces ??= new Pieces(form.dataset.user, this.file, piece, this.settings, {
      progress: (sent) => {
        this.from ??= { sent, at: performance.now() };
        const speed = (sent - this.from.sent) / ((performance.now() - this.from.at) / 1000 || 1);
        this.progress(sent / total, speed, (total - sent) / speed);
      },
      stalled: () => { this.from = null; this.tell("sending", "the connection broke, trying again …"); },
    });
    this.tell("sending", "starting …");
    this.buttons(["Pause", () => this.pieces.pause()], ["Cancel", () => this.giveUp()]);
    try {
      const answer = await this.pieces.run();
      if (answer) this.finish(this.outcome(answer));
      else if (this.row.isConnected) this.pause();
    } catch (error) {
      if (error.status === 401) this.refuse("You are signed out; sign in and try again");
      else this.refuse(error.message);
    }
    list();
  }

  outcome(answer) {
    const header = (name) => answer.getResponseHeader(name);
    return {
      url: header("X-File-URL"), itemid: header("X-Item-ID"),
      waiting: header("X-Manual-Approval") === "true", metadata: header("X-Metadata"),
    };
  }

  pause() {
    this.tell("paused", `paused · ${Math.floor(this.bar.value * 100)} % sent`);
    this.buttons(["Resume", () => { this.wait(); next(); }], ["Cancel", () => this.giveUp()]);
    this.row.querySelector("button").focus();
    next();
  }

  async giveUp() {
    this.remove();
    await this.pieces.cancel();
    this.pieces = null;
    list();
    next();
  }

  finish(answer) {
    this.link = answer.url;
    const setting = (wanted) => this.settings.find(([name]) => name === wanted)[1];
    if (answer.album) offerAlbum(answer.album, setting("album"));
    const words = ["done"];
    if (answer.waiting) words.push("waits for an admin");
    const mayTell = setting("strip-metadata") === "yes" || /^(image|video)\//.test(this.file.type);
    const isKept = mayTell && ["unparsed", "untouched"].includes(answer.metadata);
    if (isKept) words.push("place, time and camera stay in it");
    this.tell("done", words.join(" · "), isKept ? "" : "good");
    const name = this.row.querySelector(".name");
    const link = document.createElement("a");
    link.href = answer.waiting ? `/${answer.itemid}` : answer.url;
    link.textContent = this.file.name;
    name.replaceChildren(link);
    if (!answer.waiting) {
      this.buttons(["Copy link", () => {}]);
      this.row.querySelector("button").dataset.copy = this.link;
    } else {
      this.buttons();
    }
    next();
  }

  refuse(words, mayRetry = true) {
    this.tell("failed", words, "bad");
    const remove = ["Remove", () => this.remove()];
    this.buttons(...(mayRetry ? [["Try again", () => { this.retry(); this.wait(); next(); }], remove] : [remove]));
    next();
  }

  // What was begun goes on as it began; what was refused takes what the form says by now.
  retry() {
    this.settings = settings();
    if (!this.pieces?.url) this.pieces = null;
  }

  remove() {
    entries.splice(entries.indexOf(this), 1);
    this.row.remove();
    update();
  }
}

function settings() {
  const data = new FormData(form);
  data.delete("file");
  return [...data];
}

function add(files) {
  const chosen = settings();
  for (const file of files) entries.push(new Entry(file, chosen));
  next();
  list();
}

function next() {
  const sending = entries.filter((entry) => entry.state === "sending").length;
  const waiting = entries.filter((entry) => entry.state === "waiting");
  for (const entry of waiting.slice(0, AT_ONCE - sending)) entry.send();
  update();
}

// What an earlier visit left unfinished, and is not in the queue again.
function list() {
  const rows = unfinished(form.dataset.user)
    .filter((one) => !entries.some((entry) => entry.pieces?.key === one.key))
    .map((one) => {
      const row = document.createElement("li");
      const forget = document.createElement("button");
      Object.assign(forget, { type: "button", className: "button", textContent: "Give up" });
      forget.setAttribute("aria-label", `Give up ${one.name}`);
      forget.addEventListener("click", async () => { await one.forget(); list(); });
      const share = Math.floor((one.offset / one.size) * 100);
      row.append(`${one.name} · ${size(one.size)} · ${share} % sent `, forget);
      return row;
    });
  left.hidden = rows.length === 0;
  left.querySelector("ul").replaceChildren(...rows);
}

function update() {
  const done = entries.filter((entry) => entry.link);
  const failed = entries.filter((entry) => entry.state === "failed").length;
  head.hidden = entries.length === 0;
  sum.textContent = `${done.length} of ${entries.length} sent${failed ? `, ${failed} not` : ""}`;
  head.querySelector("[data-copy-all]").dataset.copy = done.map((entry) => entry.link).join("\n");
  head.querySelector("[data-copy-all]").hidden = done.length < 2;
}

const albums = document.querySelector("[data-albums]");

function offerAlbum(address, title) {
  const known = [...albums.querySelectorAll("a")].some((link) => link.href === address);
  if (known) return;
  const link = document.createElement("a");
  Object.assign(link, { href: address, className: "button", textContent: `Open ${title.trim()}` });
  albums.append(link);
}

function take() {
  add([...input.files]);
  input.value = "";
}

function pasted(text) {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return new File([text], `paste-${stamp}.txt`, { type: "text/plain" });
}

input.required = false;
input.addEventListener("change", take);
form.addEventListener("submit", (event) => { event.preventDefault(); input.click(); });

document.addEventListener("paste", (event) => {
  if (event.target.closest("input, textarea")) return;
  const files = [...event.clipboardData.files];
  const text = event.clipboardData.getData("text/plain");
  if (files.length) add(files);
  else if (text) add([pasted(text)]);
});

let over = 0;
document.addEventListener("dragenter", () => { over += 1; form.classList.add("over"); });
document.addEventListener("dragleave", () => { over -= 1; if (over <= 0) form.classList.remove("over"); });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  form.classList.remove("over");
  const files = [...event.dataTransfer.files];
  const text = event.dataTransfer.getData("text/plain");
  if (files.length) add(files);
  else if (text) add([pasted(text)]);
});

window.addEventListener("beforeunload", (event) => {
  const ends = (entry) => ["sending", "waiting"].includes(entry.state) && !entry.pieces;
  if (entries.some(ends)) event.preventDefault();
});

list();
// Chosen before this script was here; or, on the way back to this page, put there by the browser.
if (performance.getEntriesByType("navigation")[0]?.type === "navigate" && input.files.length) take();
else input.value = "";
