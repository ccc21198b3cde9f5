//! Sessions of people who have logged in. In: keys that were proved. Out: random tokens that stand for them, each in
//! one community and for some hours. Kept in memory alone: a restart ends them all. Says nothing of what somebody may.

use std::collections::HashMap;
use std::sync::PoisonError;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Admin, Caller, Denied};
use crate::community::{Community, Rules};
use crate::event::PublicKey;
use crate::store::CommunityId;

/// How long a session lasts, in seconds.
const SESSION_SECONDS: u64 = 12 * 60 * 60;

/// Sessions of one person in one community. Who opens another one ends the oldest.
const SESSIONS_OF_ONE_MAX: usize = 8;

/// Sessions of all. When there are more, the one that would end first ends.
const SESSIONS_MAX: usize = 4_096;

/// What a session is known by: the hash of its token, so that how long a look-up takes tells nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl SessionId {
    fn of(token: &str) -> SessionId {
        SessionId(Sha256::digest(token.as_bytes()).into())
    }
}

#[derive(Debug, Clone, Copy)]
struct Session {
    key: PublicKey,
    community: CommunityId,
    /// The first second at which it holds no more.
    ends_at: u64,
}

/// Who is logged in.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<SessionId, Session>);

impl Sessions {
    /// Opens a session: its token, and when it ends.
    fn open(&mut self, key: PublicKey, community: CommunityId, now: u64) -> (String, u64) {
        self.0.retain(|_, session| session.ends_at > now);
        let is_theirs = |session: &Session| session.key == key && session.community == community;
        if self.0.values().filter(|session| is_theirs(session)).count() >= SESSIONS_OF_ONE_MAX {
            self.end_first(is_theirs);
        }
        if self.0.len() >= SESSIONS_MAX {
            self.end_first(|_| true);
        }
        let token = hex::encode(secp256k1::rand::random::<[u8; 32]>());
        let ends_at = now + SESSION_SECONDS;
        self.0.insert(SessionId::of(&token), Session { key, community, ends_at });
        (token, ends_at)
    }

    /// Ends that one of these which would end first.
    fn end_first(&mut self, among: impl Fn(&Session) -> bool) {
        let these = self.0.iter().filter(|(_, session)| among(session));
        if let Some(first) = these.min_by_key(|(_, session)| session.ends_at).map(|(id, _)| *id) {
            self.0.remove(&first);
        }
    }

    fn key(&self, id: &SessionId, community: CommunityId, now: u64) -> Option<PublicKey> {
        let session = self.0.get(id)?;
        (session.community == community && session.ends_at > now).then_some(session.key)
    }
}

impl Admin {
    /// Whose session a token stands for.
    ///
    /// # Errors
    /// When it stands for none here.
    pub fn session(
        &self,
        community: &Community,
        token: &str,
        now: u64,
    ) -> Result<(PublicKey, SessionId), &'static str> {
        let id = SessionId::of(token.trim());
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = sessions.key(&id, community.id, now);
        key.map(|key| (key, id)).ok_or("this session has ended; log in again")
    }

    pub(super) fn login(&self, caller: &Caller<'_>, rules: &Rules, now: u64) -> Result<Value, Denied> {
        if caller.session.is_some() {
            return Err(Denied::Refused(
                "sign a token of NIP-98 to log in; a session opens no other".to_owned(),
            ));
        }
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, ends_at) = sessions.open(caller.key, caller.community.id, now);
        let rank = rules.rank(&caller.key);
        tracing::info!(community = caller.community.path(), key = %caller.key, "logged in to manage");
        Ok(json!({"token": token, "expires_at": ends_at, "pubkey": caller.key.to_string(), "rank": rank}))
    }

    /// Ends the session that the call came by; all of the caller's here where it came by none.
    pub(super) fn logout(&self, caller: &Caller<'_>) -> Result<Value, Denied> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match &caller.session {
            Some(id) => drop(sessions.0.remove(id)),
            None => sessions
                .0
                .retain(|_, session| session.key != caller.key || session.community != caller.community.id),
        }
        Ok(json!(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    #[test]
    fn who_logs_in_again_and_again_ends_their_own_oldest_session_alone() {
        let mut sessions = Sessions::default();
        let here = CommunityId(0);
        let (other, _) = sessions.open(person(2), here, 1);
        let (elsewhere, _) = sessions.open(person(1), CommunityId(1), 1);
        let tokens: Vec<String> =
            (0..=SESSIONS_OF_ONE_MAX as u64).map(|at| sessions.open(person(1), here, 1 + at).0).collect();
        let is_open = |token: &str, community| sessions.key(&SessionId::of(token), community, 100).is_some();
        assert!(!is_open(&tokens[0], here));
        assert!(tokens[1..].iter().all(|token| is_open(token, here)));
        assert!(is_open(&other, here) && is_open(&elsewhere, CommunityId(1)));
    }

    #[test]
    fn there_are_never_more_sessions_than_there_may_be() {
        let mut sessions = Sessions::default();
        for number in 0..SESSIONS_MAX as u64 + 10 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            sessions.open(PublicKey(key), CommunityId(0), number);
        }
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        // What has ended makes room by itself.
        sessions.open(person(1), CommunityId(0), SESSIONS_MAX as u64 + 10 + SESSION_SECONDS);
        assert_eq!(sessions.0.len(), 1);
    }
}
