// Asking the box as a reader: the token of the reader's link opens one list and nothing else.

const KEY = "modicd-reading";

export class Refused extends Error {
  constructor(status, text) {
    super(text || `The box answered ${status}.`);
    this.status = status;
  }
}

/** The reader's place: `{list, token}` from the link, else as it was in this tab; null without either. */
export function seat() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.get("token")) {
    sessionStorage.setItem(KEY, JSON.stringify({ list: given.get("list"), token: given.get("token") }));
    // The token goes from the address and its history.
    history.replaceState(null, "", location.pathname);
  }
  return JSON.parse(sessionStorage.getItem(KEY));
}

export class Desk {
  #list;
  #token;

  constructor({ list, token }) {
    this.#list = encodeURIComponent(list);
    this.#token = token;
  }

  async #ask(path, options = {}) {
    const headers = { authorization: `Bearer ${this.#token}`, ...options.headers };
    const response = await fetch(`/api/reading/${this.#list}${path}`, { ...options, headers, credentials: "omit" });
    if (!response.ok) throw new Refused(response.status, await response.text());
    return response;
  }

  /** Where the reader stands. */
  standing = async () => (await this.#ask("")).json();

  exam = async ({ study_ref, session }, signal) => (await this.#ask(`/${study_ref}/${session}`, { signal })).json();

  volume = async ({ study_ref, session }, name, signal) =>
    (await this.#ask(`/${study_ref}/${session}/${name}`, { signal })).arrayBuffer();

  handIn = ({ study_ref, session }, said) => this.#ask(`/${study_ref}/${session}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(said),
  });
}
