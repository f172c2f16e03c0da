//! Logging in, and contexts.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde::Serialize;
use tombolo_api::{WhoAmI, path};
use url::Url;

use crate::Shared;
use crate::client::Client;
use crate::context::{self, Context, Contexts};
use crate::failure::Failure;
use crate::render::{self, Format, Rows, Wide};

/// A token is a few dozen bytes; what is longer is another file by mistake.
const MAX_TOKEN_BYTES: u64 = 4_096;

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Where the master's REST API is, such as `https://tombolo.example.com`.
    server: Url,
    /// A file with the token; `-` is standard input. Else `TOMBOLO_TOKEN` is taken.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with the certificates (PEM) to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not the URL's host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

/// Checks the token with the master before anything is written. The context's name is that of `--context`, else the host.
pub(crate) async fn login(command: &Login, shared: &Shared) -> Result<(), Failure> {
    let certificate_authority = command.certificate_authority.as_ref().map(|path| {
        fs::read_to_string(path).map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
    });
    let new = Context {
        server: command.server.clone(),
        server_name: command.server_name.clone(),
        certificate_authority: certificate_authority.transpose()?,
        token: token(command)?,
        project: shared.project.clone(),
    };
    let who: WhoAmI = Client::new(&new)?.get(&path::whoami()).await?;
    let name = shared
        .context
        .clone()
        .or_else(|| command.server.host_str().map(str::to_owned));
    let name = name.ok_or_else(|| Failure::usage("the URL has no host"))?;
    let file = context::path()?;
    let mut contexts = Contexts::load(&file)?;
    contexts.contexts.insert(name.clone(), new);
    contexts.current = Some(name.clone());
    contexts.save(&file)?;
    render::line(&format!(
        "Logged in to {} as `{}` (context `{name}`).",
        command.server, who.token.name
    ))
}

fn token(command: &Login) -> Result<SecretString, Failure> {
    let mut text = String::new();
    match &command.token_file {
        Some(path) if path.as_os_str() == "-" => {
            io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
        }
        Some(path) => {
            let file = fs::File::open(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
            file.take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
        }
        None => match std::env::var(context::TOKEN_VARIABLE) {
            Ok(token) => text = token,
            Err(_) if !io::stdin().is_terminal() => {
                io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text)?;
            }
            Err(_) => {
                return Err(Failure::usage("there is no token")
                    .hint("give `--token-file FILE`, set TOMBOLO_TOKEN, or pipe it: `cat token | tombolo login URL`"));
            }
        },
    }
    Ok(SecretString::from(text.trim().to_owned()))
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Lists the contexts.
    List,
    /// Makes a context the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Removes a context.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Serialize)]
struct Listed {
    name: String,
    current: bool,
    server: Url,
    project: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Listed>);

impl Rows for List {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["", "name", "server", "project"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |listed: &Listed| {
            let mark = if listed.current { "*" } else { "" };
            vec![
                mark.to_owned(),
                listed.name.clone(),
                listed.server.to_string(),
                listed.project.clone().unwrap_or_default(),
            ]
        };
        self.0.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|listed| listed.name.clone()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no contexts: `tombolo login URL` makes one."
    }
}

/// Lists, switches and removes contexts.
pub(crate) fn contexts(command: &ContextCommand, format: Format) -> Result<(), Failure> {
    let file = context::path()?;
    let mut contexts = Contexts::load(&file)?;
    match command {
        ContextCommand::List => {
            let listed = contexts.contexts.iter().map(|(name, context)| Listed {
                name: name.clone(),
                current: contexts.current.as_ref() == Some(name),
                server: context.server.clone(),
                project: context.project.as_ref().map(ToString::to_string),
            });
            render::print(format, &List(listed.collect()))
        }
        ContextCommand::Use { name } => {
            contexts.select(Some(name))?;
            contexts.current = Some(name.clone());
            contexts.save(&file)
        }
        ContextCommand::Remove { name } => {
            contexts.select(Some(name))?;
            contexts.contexts.remove(name);
            contexts.current.take_if(|current| current == name);
            contexts.save(&file)
        }
    }
}
