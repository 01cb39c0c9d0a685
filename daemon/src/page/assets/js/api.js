// Asking the box. Every answer needs the cookie that signing in sets.

/** Told when the box wants the token. */
export const signedOut = new EventTarget();

export class Refused extends Error {
  constructor(status) {
    super(`The box answered ${status}.`);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const response = await fetch(path, { credentials: "same-origin", ...options });
  if (response.status === 401) signedOut.dispatchEvent(new Event("needed"));
  if (!response.ok) throw new Refused(response.status);
  return response;
}

export const getJson = async (path, options) => (await request(path, options)).json();
export const getBuffer = async (path, options) => (await request(path, options)).arrayBuffer();

export function post(path, body) {
  const headers = { "content-type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Swaps the token for the cookie; false when it is wrong. Throws `Refused` 429 when there were too many. */
export async function signIn(token) {
  const headers = { "content-type": "application/json" };
  const response = await fetch("/api/login", { method: "POST", headers, body: JSON.stringify({ token }) });
  if (response.status === 401) return false;
  if (!response.ok) throw new Refused(response.status);
  return true;
}

export const signOut = () => post("/api/logout", {});
