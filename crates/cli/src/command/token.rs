//! Access tokens.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use tombolo_api::{CreateToken, CreatedToken, Role, Token as Described, TokenList, path};
use tombolo_core::id::TokenId;

use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Changed, Format, Rows, Wide};

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Makes a token and prints its secret, this once. With `--project` it reaches that project only.
    Create {
        /// Its name, for people.
        name: String,
        /// What it allows.
        #[arg(long, value_enum)]
        role: RoleName,
        /// Lets it reach all projects instead of `--project`'s.
        #[arg(long)]
        all_projects: bool,
        /// How long it is valid, such as `90days`; for ever if absent.
        #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
        expires_in: Option<Duration>,
    },
    /// Lists the tokens that you may manage.
    List,
    /// Revokes a token at once.
    Revoke {
        /// Its name or id, as `token list` shows them.
        token: String,
    },
}

/// The roles, each with the rights of those before it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// Sees builds, jobs, logs and outputs.
    Viewer,
    /// Also submits and cancels builds.
    Developer,
    /// Also manages projects, tokens and clusters, as far as the token reaches.
    Admin,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Developer => Self::Developer,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl Rows for TokenList {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["id", "name", "role", "project", "age", "expires"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |token: &Described| {
            vec![
                token.id.to_string(),
                token.name.clone(),
                tombolo_core::access::Role::from(token.role).as_str().to_owned(),
                token
                    .project
                    .as_ref()
                    .map_or_else(|| "all".to_owned(), ToString::to_string),
                render::age(token.created_at),
                token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            ]
        };
        self.tokens.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.tokens.iter().map(|token| token.id.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no tokens that you may manage."
    }
}

/// Makes, lists and revokes tokens.
pub(crate) async fn token(command: &Token, session: &Session) -> Result<(), Failure> {
    match command {
        Token::Create {
            name,
            role,
            all_projects,
            expires_in,
        } => {
            let request = CreateToken {
                name: name.clone(),
                role: Role::from(*role),
                project: (!all_projects).then(|| session.project.clone()),
                ttl_seconds: expires_in.map(|duration| duration.as_secs()),
            };
            let created: CreatedToken = session.client.post(&path::tokens(), &request).await?;
            match session.format {
                Format::Json | Format::Yaml => render::print_value(session.format, &created),
                Format::Name => render::line(&created.token.id.to_string()),
                Format::Table | Format::Wide => render::line(&created.secret),
            }
        }
        Token::List => {
            let list: TokenList = session.client.get(&path::tokens()).await?;
            render::print(session.format, &list)
        }
        Token::Revoke { token } => {
            let id = match token.parse::<TokenId>() {
                Ok(id) => id,
                Err(_) => by_name(&session.client.get(&path::tokens()).await?, token)?,
            };
            session.client.act(Method::DELETE, &path::token(id)).await?;
            let (kind, change) = ("token", "revoked");
            let name = token.as_str();
            render::changed(session.format, &Changed { kind, name, change })
        }
    }
}

/// The one token of this name.
fn by_name(list: &TokenList, name: &str) -> Result<TokenId, Failure> {
    let found: Vec<&Described> = list.tokens.iter().filter(|token| token.name == name).collect();
    match found.as_slice() {
        [token] => Ok(token.id),
        [] => Err(Failure::new(
            ExitCode::Failed,
            format!("there is no token `{name}` that you may manage"),
        )
        .hint("`tombolo token list` lists the tokens")),
        several => {
            let ids: Vec<String> = several.iter().map(|token| token.id.to_string()).collect();
            Err(
                Failure::usage(format!("there are {} tokens of the name `{name}`", several.len()))
                    .hint(format!("give the id of one: {}", ids.join(", "))),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_token() {
        let tokens = [(1, "ci"), (2, "twice"), (3, "twice")].map(|(id, name)| Described {
            id: TokenId::from_u128(id),
            name: name.to_owned(),
            role: Role::Viewer,
            project: None,
            created_at: tombolo_core::time::Timestamp(0).into(),
            expires_at: None,
        });
        let list = TokenList { tokens: tokens.into() };
        assert_eq!(by_name(&list, "ci").unwrap(), TokenId::from_u128(1));
        assert_eq!(by_name(&list, "gone").unwrap_err().code, ExitCode::Failed);
        let several = by_name(&list, "twice").unwrap_err();
        assert_eq!(several.code, ExitCode::Usage);
        assert!(several.hint.unwrap().contains(&TokenId::from_u128(3).to_string()));
    }
}
