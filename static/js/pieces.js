// A file sent in pieces by the tus protocol: it can be paused, and goes on after a broken
// connection or a reload. What is under way is remembered here, not the file: that is chosen again.

const ENDPOINT = "/upload/tus/";
const PREFIX = "kissa-upload:";
const DAY = 24 * 3600 * 1000;
const DELAYS = [1, 2, 4, 8, 15].map((seconds) => seconds * 1000); // between tries without progress
const VERSION = { "Tus-Resumable": "1.0.0", Accept: "application/json" };
const active = new Set();

const keyOf = (user, file) =>
  PREFIX + JSON.stringify([user, file.name, file.size, file.lastModified]);

const base64 = (text) => btoa(String.fromCodePoint(...new TextEncoder().encode(text)));

// A browser may keep nothing at all: then nothing is resumed after a reload.
const storage = {
  get(key) {
    try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* see above */ }
  },
  remove(key) {
    try { localStorage.removeItem(key); } catch { /* see above */ }
  },
  keys() {
    try { return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)); } catch { return []; }
  },
};

function ask(method, url, { headers = {}, body = null, progress = null, began = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries({ ...VERSION, ...headers })) {
      request.setRequestHeader(name, value);
    }
    if (progress) request.upload.addEventListener("progress", (event) => progress(event.loaded));
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(new TypeError("The connection broke")));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    began(request);
    request.send(body);
  });
}

// What this user began in this browser and did not finish. The server is not asked: that would end
// a request of another tab.
export function unfinished(user) {
  const found = [];
  for (const key of storage.keys()) {
    const record = storage.get(key);
    const [owner, name, size] = JSON.parse(key.slice(PREFIX.length));
    if (!(record?.at > Date.now() - DAY)) storage.remove(key);
    else if (owner === user && !active.has(key)) {
      found.push({ key, name, size, offset: record.offset, forget: () => giveUp(key, record.url) });
    }
  }
  return found;
}

async function giveUp(key, url) {
  storage.remove(key);
  try { await ask("DELETE", url); } catch { /* it expires by itself */ }
}

export class Refused extends Error {
  constructor(request) {
    let words = null;
    try { words = JSON.parse(request.responseText).error; } catch { /* a proxy's own page */ }
    super(words ?? `The server answered ${request.status}`);
    this.status = request.status;
  }
}

export class Pieces {
  // `fields` are pairs of names and values; `progress` is told of bytes on their way, `stalled` of
  // a broken connection that is tried again.
  constructor(user, file, size, fields, { progress, stalled }) {
    Object.assign(this, { file, size, fields, progress, stalled, url: null, request: null });
    this.isPaused = false;
    this.key = keyOf(user, file);
    this.strip = fields.find(([name]) => name === "strip-metadata")?.[1] ?? "";
  }

  // Send all that is missing. The last answer; null when it was paused.
  async run() {
    this.isPaused = false;
    const isTwin = active.has(this.key); // the same file is on its way already
    if (isTwin) this.key = null;
    else active.add(this.key);
    try {
      return await this.send();
    } catch (error) {
      if (error.name === "AbortError") return null;
      throw error;
    } finally {
      if (this.key) active.delete(this.key);
    }
  }

  pause() {
    this.isPaused = true;
    this.request?.abort();
    this.wake?.();
  }

  async cancel() {
    this.pause();
    if (this.url) await giveUp(this.key, this.url);
  }

  async send() {
    let answer = await this.insist(() => this.begin());
    let offset = Number(answer.getResponseHeader("Upload-Offset"));
    while (!answer.getResponseHeader("X-File-URL")) {
      this.progress(offset);
      const at = offset;
      answer = await this.insist(() => this.piece(at), () => this.look());
      offset = Number(answer.getResponseHeader("Upload-Offset"));
      this.remember(offset);
    }
    if (this.key) storage.remove(this.key);
    return answer;
  }

  // Do it until it succeeds; what a broken connection or a busy server prevents is tried again.
  async insist(act, again = act) {
    let next = act;
    for (const delay of [...DELAYS, null]) {
      let reason = null;
      try {
        if (this.isPaused) throw new DOMException("", "AbortError");
        const answer = await next();
        if (answer.status < 300) return answer;
        reason = new Refused(answer);
        if (![409, 423].includes(answer.status) && answer.status < 500) throw reason;
        if (answer.status === 507) throw reason;
      } catch (error) {
        if (error instanceof Refused || error.name === "AbortError") {
          if (error.status === 404 && this.key) storage.remove(this.key);
          throw error;
        }
        reason = error;
      }
      if (delay === null) throw reason;
      next = again;
      this.stalled();
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, delay);
      });
    }
    return null;
  }

  begun(request) {
    this.request = request;
  }

  look() {
    return ask("HEAD", this.url, { began: (request) => this.begun(request) });
  }

  async begin() {
    const known = this.url ?? await this.resumable();
    if (known) {
      const answer = await ask("HEAD", known, { began: (request) => this.begun(request) });
      this.url = known;
      if (answer.status !== 404) return answer;
      this.url = null;
    }
    const pairs = [["filename", this.file.name], ...this.fields].filter(([, value]) => value !== "");
    const answer = await ask("POST", ENDPOINT, {
      headers: {
        "Upload-Length": String(this.file.size),
        "Upload-Metadata": pairs.map(([name, value]) => `${name} ${base64(value)}`).join(","),
      },
      began: (request) => this.begun(request),
    });
    if (answer.status === 201) {
      this.url = answer.getResponseHeader("Location");
      this.remember(0);
    }
    return answer;
  }

  // Where an earlier visit stopped. With metadata to be treated otherwise, it begins anew.
  async resumable() {
    const record = this.key && storage.get(this.key);
    if (!record || (record.strip ?? "") === this.strip) return record?.url;
    await giveUp(this.key, record.url);
    return null;
  }

  remember(offset) {
    const { url, strip } = this;
    if (this.key) storage.set(this.key, { url, strip, offset, at: Date.now() });
  }

  piece(offset) {
    return ask("PATCH", this.url, {
      headers: { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
      body: this.file.slice(offset, offset + this.size),
      progress: (loaded) => this.progress(offset + loaded),
      began: (request) => this.begun(request),
    });
  }
}
