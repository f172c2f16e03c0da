//! Users' access tokens: made and revoked.

use std::collections::{BTreeMap, HashMap};

use super::outbox::Outbox;
use super::record::Token;
use super::{Change, Control, Refusal, Reply};
use crate::access::Role;
use crate::digest::Digest;
use crate::id::{ProjectId, TokenId};

/// All tokens, by id and by the digest of their secret.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_id: BTreeMap<TokenId, Token>,
    by_secret: HashMap<Digest, TokenId>,
}

impl Tokens {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Token> {
        self.by_id.values()
    }

    pub(super) fn by_secret(&self, secret: &Digest) -> Option<&Token> {
        self.by_id.get(self.by_secret.get(secret)?)
    }

    pub(super) fn insert(&mut self, token: Token) {
        self.by_secret.insert(token.secret, token.id);
        self.by_id.insert(token.id, token);
    }

    fn remove(&mut self, id: TokenId) -> Option<Token> {
        let token = self.by_id.remove(&id)?;
        self.by_secret.remove(&token.secret);
        Some(token)
    }

    pub(super) fn remove_project(&mut self, project: ProjectId) {
        self.by_secret.retain(|_, id| {
            self.by_id
                .get(id)
                .is_some_and(|token| token.right.project != Some(project))
        });
        self.by_id.retain(|_, token| token.right.project != Some(project));
    }
}

/// Whether the token manages the whole installation, for ever. Without one nobody could manage anything any more.
fn is_chief(token: &Token) -> bool {
    token.right.permits(Role::Admin, None) && token.expires_at.is_none()
}

impl Control {
    pub(super) fn create_token(&mut self, outbox: &mut Outbox, token: Token) -> Result<Reply, Refusal> {
        if let Some(project) = token.right.project {
            self.projects
                .get(project)
                .ok_or_else(|| Refusal::not_found("project", &project))?;
        }
        let taken = self.tokens.by_id.contains_key(&token.id)
            || self.tokens.by_secret.contains_key(&token.secret)
            || self.tokens.iter().any(|other| other.name == token.name);
        if taken {
            return Err(Refusal::exists("token", &token.name));
        }
        self.tokens.insert(token.clone());
        outbox.changes.push(Change::PutToken(token.clone()));
        Ok(Reply::Token(token))
    }

    pub(super) fn revoke_token(&mut self, outbox: &mut Outbox, id: TokenId) -> Result<Reply, Refusal> {
        let token = self
            .tokens
            .by_id
            .get(&id)
            .ok_or_else(|| Refusal::not_found("token", &id))?;
        if is_chief(token) && !self.tokens.iter().any(|other| other.id != id && is_chief(other)) {
            return Err(Refusal::Conflict(format!(
                "token `{}` is the last admin token of the installation: make another one first, with the role `admin` and \
                 without a project or an end",
                token.name
            )));
        }
        self.tokens.remove(id);
        outbox.changes.push(Change::DeleteToken(id));
        Ok(Reply::Done)
    }
}
