// Calls of the management API, and the session by which they are made. The session lives in this tab alone: it is kept
// in sessionStorage and sent as a header, never as a cookie, so no other site can act through this browser.

/** Where the community is: calls go there. */
export const base = location.pathname.replace(/\/admin$/, "") || "/";

const STORED = `plaza admin ${base}`;
const MEDIA = "application/nostr+json+rpc";

/** Why a call was not carried out, as a sentence for people. */
export class Refused extends Error {}

let session = null;
let again = null;

try {
  session = JSON.parse(sessionStorage.getItem(STORED));
} catch {
  // Nothing was kept, or nothing may be: then each page begins logged out.
}

/** Who is logged in: `pubkey`, `rank`; null when nobody is. */
export function me() {
  return session;
}

/** Says what to do when a session has ended: something that returns once there is another one. */
export function whenLoggedOut(ask) {
  again = ask;
}

function keep(opened) {
  session = opened;
  try {
    if (opened) {
      sessionStorage.setItem(STORED, JSON.stringify(opened));
    } else {
      sessionStorage.removeItem(STORED);
    }
  } catch {
    // It lasts as long as this page, then.
  }
}

async function post(authorization, body) {
  let answer;
  try {
    const headers = { "Content-Type": MEDIA, Authorization: authorization };
    answer = await fetch(base, { method: "POST", headers, body, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refused("The relay cannot be reached. Check your connection, then try again.");
  }
  let read;
  try {
    read = await answer.json();
  } catch {
    throw new Refused("The relay answered something that this page does not understand. Try again.");
  }
  return { status: answer.status, error: read.error, result: read.result };
}

/** The body that a token for logging in is signed for. */
export const LOGIN = '{"method":"login","params":[]}';

/** The SHA-256 of it. Browsers compute hashes on encrypted pages alone, and this body never changes. */
export const LOGIN_HASH = "c3b70a42007a4790577f002377c4ee5d9f4533fbbfcb4d8798208dd68a4335f9";

/** Opens a session with a token of NIP-98. */
export async function login(token) {
  const bare = token.trim();
  const { error, result } = await post(bare.startsWith("Nostr ") ? bare : `Nostr ${bare}`, LOGIN);
  if (error) {
    throw new Refused(error);
  }
  keep(result);
}

/** Ends the session, here and at the relay. */
export async function logout() {
  const authorization = session && `Bearer ${session.token}`;
  keep(null);
  if (authorization) {
    await post(authorization, JSON.stringify({ method: "logout", params: [] })).catch(() => {});
  }
}

/** Calls a method; its result. A session that has ended is asked for anew, and the call goes on. */
export async function call(method, ...params) {
  const whose = session?.pubkey;
  for (;;) {
    if (!session) {
      await again();
    }
    const used = session;
    if (whose && used.pubkey !== whose) {
      throw new Refused("Somebody else has logged in. Do this again if you mean it.");
    }
    const { status, error, result } = await post(`Bearer ${used.token}`, JSON.stringify({ method, params }));
    if (status === 401) {
      // Another call may have led to a new session meanwhile.
      if (session === used) {
        keep(null);
      }
    } else if (error) {
      throw new Refused(error);
    } else {
      return result;
    }
  }
}

/** A document of the community: its information (NIP-11), or its rules. */
export async function read(query, accept) {
  const answer = await fetch(base + query, { headers: { Accept: accept }, credentials: "omit", cache: "no-store" });
  return answer.json();
}
