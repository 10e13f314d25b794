// The stream of what changes. fetch, not EventSource, because a token goes into a header. A stream ends every ten minutes,
// and whenever the server goes: it is opened again, and the journal goes on where it was.

import { byId, setText } from './dom.js';

const KEY = 'outflow-token';
const SILENT_MS = 40_000;

export class Unauthorised extends Error {}

const token = {
  get value() { return sessionStorage.getItem(KEY); },
  set value(value) { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); },
};

function headers(more = {}) {
  return token.value ? { Authorization: `Bearer ${token.value}`, ...more } : more;
}

/** Asks with the token, if there is one; for it, if it is wanted. */
export async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(options.headers), credentials: 'same-origin', cache: 'no-store' });
  if (answer.status === 401) throw new Unauthorised();
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.error ?? `the server answered ${answer.status}`);
  }
  return answer;
}

/** Asks a person for the token; false if there is none to be had. */
export function askForToken() {
  const dialog = byId('token');
  const input = byId('token-input');
  setText(byId('token-wrong'), token.value ? 'That token wasn’t taken.' : '');
  token.value = null;
  input.value = '';
  return new Promise((resolve) => {
    const done = (value) => { dialog.close(); resolve(value); };
    byId('token-form').onsubmit = (event) => {
      event.preventDefault();
      token.value = input.value.trim();
      input.value = '';
      done(Boolean(token.value));
    };
    byId('token-cancel').onclick = () => done(false);
    dialog.oncancel = () => resolve(false);
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
}

/** Streams what changes to `hear(event, data)`; says how the connection is to `tell(state, words)`. */
export class Stream {
  #hear; #tell; #query = ''; #lastId = null; #abort = null; #wake = null; #tries = 0; #run = 0;

  constructor(hear, tell) {
    this.#hear = hear;
    this.#tell = tell;
    addEventListener('online', () => this.#wake?.());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#wake?.(); });
  }

  /** Streams with this query from now on. */
  open(query) {
    this.#query = query;
    this.#run += 1;
    this.#abort?.abort();
    this.#wake?.();
    this.#loop(this.#run);
  }

  async #loop(run) {
    while (run === this.#run) {
      let wrong = null;
      try {
        await this.#once(run);
      } catch (error) {
        wrong = error;
      }
      if (run !== this.#run) return;
      if (wrong instanceof Unauthorised) {
        this.#tell('off', 'a token is needed');
        if (await askForToken()) continue;
        await this.#wait(60_000);
        continue;
      }
      const wait = Math.min(10_000, 500 * 2 ** Math.min(this.#tries, 5));
      this.#tries += 1;
      if (this.#tries > 1) {
        const isAway = !wrong || wrong instanceof TypeError || wrong.name === 'AbortError';
        this.#tell('off', isAway ? 'outflow doesn’t answer; trying again' : wrong.message);
      }
      await this.#wait(wait);
    }
  }

  #wait(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  async #once(run) {
    const abort = new AbortController();
    this.#abort = abort;
    // Something comes every 15 s at the latest: a connection that has died without a word is given up.
    let silence = null;
    const heard = () => { clearTimeout(silence); silence = setTimeout(() => abort.abort(), SILENT_MS); };
    heard();
    try {
      const id = this.#lastId ? { 'Last-Event-ID': this.#lastId } : {};
      const answer = await ask(`/api/v1/stream${this.#query}`, { signal: abort.signal, headers: id });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done || run !== this.#run) return;
        heard();
        this.#tries = 0;
        this.#tell('on', 'live');
        const messages = (rest + value).split('\n\n');
        rest = messages.pop();
        messages.forEach((message) => this.#take(message));
      }
    } finally {
      clearTimeout(silence);
      abort.abort();
    }
  }

  #take(message) {
    let event = null; let id = null; let data = '';
    for (const line of message.split('\n')) {
      if (line.startsWith('event: ')) event = line.slice(7);
      else if (line.startsWith('id: ')) id = line.slice(4);
      else if (line.startsWith('data: ')) data += line.slice(6);
    }
    if (!event) return;
    this.#hear(event, JSON.parse(data));
    if (id) this.#lastId = id;
  }
}
