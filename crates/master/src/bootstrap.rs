//! What is made once, at the first start, in the data folder.
//!
//! ```text
//! authority/ca.pem, ca.key.pem   the certificate authority (unless it is given by files); during a rotation, the older root too
//! authority/grant.key.pem        the key that signs grants (unless it is given by a file)
//! secrets.key                    the key that secrets are encrypted with (unless it is given by a file)
//! tombolo.sqlite                 the database
//! sources/                       sources of builds (unless they are kept elsewhere)
//! trust.pem                      what users have to trust, for everybody to read
//! admin.token                    the first admin's token, 0600
//! ```

use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use tombolo_core::access::{Right, Role};
use tombolo_core::control::record::Token;
use tombolo_core::control::{Command, Refusal};
use tombolo_core::id::{ProjectId, TokenId};
use tombolo_core::name::ProjectName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::{self, Authority};
use tombolo_identity::credentials::{self, Chain};
use tombolo_identity::grant::{self, Signer};
use tombolo_identity::key::{self, PrivateKey};
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{self, Identity, Website, WebsiteCertificate};
use tombolo_identity::trust::{self, Trust};
use tombolo_identity::{private_file, token};
use uuid::Uuid;

use crate::configuration::{Checked, Configuration};
use crate::driver::{ApplyError, Handle};

/// The project that there is from the beginning, so that the first build needs nothing else.
pub const DEFAULT_PROJECT: &str = "default";

/// The name of the first token.
const ADMIN_TOKEN_NAME: &str = "admin";

/// Why the master cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA.
    #[error(transparent)]
    Authority(#[from] authority::Error),
    /// The CA is of another trust domain than the configuration says.
    #[error(
        "the certificate authority is of the trust domain `{found}`, and the configuration says `{expected}`: change `trust_domain`, or start in a new data folder"
    )]
    TrustDomain {
        /// The configuration's.
        expected: TrustDomain,
        /// The CA's.
        found: TrustDomain,
    },
    /// A key.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The key of grants.
    #[error(transparent)]
    Grant(#[from] grant::Error),
    /// The trust bundle.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// The master's own certificate.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A secret file.
    #[error(transparent)]
    PrivateFile(#[from] private_file::Error),
    /// Another file.
    #[error("cannot write `{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The first token could not be stored.
    #[error("the first token cannot be stored: {0}")]
    Store(#[from] ApplyError),
}

/// What users have to trust, in PEM; the master writes it into its data folder at every start.
pub fn trust_file(data_folder: &Path) -> PathBuf {
    data_folder.join("trust.pem")
}

/// Places in the data folder.
#[derive(Debug, Clone)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// Makes the folder (0700) if there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        private_file::create_folder(path)?;
        Ok(Self(path.to_owned()))
    }

    /// The places of a folder that may not be there.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("tombolo.sqlite")
    }

    /// The sources of builds.
    pub fn sources(&self) -> PathBuf {
        self.0.join("sources")
    }

    /// The keys that secrets are encrypted with.
    pub fn secret_keys(&self) -> PathBuf {
        self.0.join("secrets.key")
    }

    /// The first admin's token.
    pub fn admin_token(&self) -> PathBuf {
        self.0.join("admin.token")
    }

    /// What users have to trust, in PEM.
    pub fn trust(&self) -> PathBuf {
        trust_file(&self.0)
    }

    fn authority(&self) -> PathBuf {
        self.0.join("authority")
    }

    fn grant_key(&self) -> PathBuf {
        self.authority().join("grant.key.pem")
    }
}

/// Who the master is.
pub struct Foundation {
    /// The CA.
    pub authority: Authority,
    /// Signs grants.
    pub signer: Signer,
    /// What members have to believe.
    pub trust: Trust,
    /// What the master shows to members.
    pub identity: Identity,
    /// What the master shows to users.
    pub website: Website,
    /// Whom the master's own CA vouches for towards users; none if their certificate was given.
    hosts: Option<Vec<String>>,
}

impl Foundation {
    /// Reads all this from the data folder, or makes it.
    pub fn open(
        configuration: &Configuration,
        checked: &Checked,
        folder: &DataFolder,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let authority = open_authority(configuration, &checked.domain, folder, now)?;
        let signer = Signer::new(&match &configuration.authority.grant_key_file {
            Some(path) => PrivateKey::load(path)?,
            None => PrivateKey::load_or_generate(&folder.grant_key())?,
        })?;
        let trust = authority.trust().with_grant_key(signer.public_point())?;
        let authority = authority.announcing(&trust);
        let older = trust.roots().len() - 1;
        if older > 0 {
            tracing::info!(
                older,
                pin = authority.pin(),
                "another certificate authority takes the place of the older one: `tombolo ca status`"
            );
        }
        write_public(&folder.trust(), &authority.trust().pem())?;
        let identity = Identity::new(authority.issue(&Member::Master, trust.clone(), now)?)?;
        let (website, hosts) = match (&configuration.users.certificate_file, &configuration.users.key_file) {
            (Some(chain), Some(key)) => (Website::new(WebsiteCertificate::open(chain, key)?), None),
            _ => {
                let mut hosts = vec![checked.public_host.clone()];
                hosts.extend(configuration.users.hosts.iter().cloned());
                hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
                (Website::new(authority.issue_website(&hosts, now)?), Some(hosts))
            }
        };
        Ok(Self {
            authority,
            signer,
            trust,
            identity,
            website,
            hosts,
        })
    }

    /// Makes new certificates for the master itself. To be called well before the present ones end ([`Chain::renew_in`]).
    pub fn renew(&self, now: Timestamp) -> Result<(), Error> {
        self.identity
            .replace(self.authority.issue(&Member::Master, self.trust.clone(), now)?)?;
        if let Some(hosts) = &self.hosts {
            self.website.replace(self.authority.issue_website(hosts, now)?);
        }
        Ok(())
    }

    /// The master's present certificate.
    pub fn chain(&self) -> Chain {
        self.identity.credentials().chain
    }
}

fn open_authority(
    configuration: &Configuration,
    domain: &TrustDomain,
    folder: &DataFolder,
    now: Timestamp,
) -> Result<Authority, Error> {
    let authority = match existing_authority(configuration, domain, folder)? {
        Some(authority) => authority,
        None => {
            let authority = Authority::create(domain.clone(), now)?;
            authority.save(&folder.authority())?;
            tracing::info!(trust_domain = %domain, "made a certificate authority");
            authority
        }
    };
    // The folder is needed for the key of grants too, also when the CA is given.
    private_file::create_folder(&folder.authority())?;
    Ok(authority)
}

/// The CA, if there is one: given by files, or in the data folder.
pub(crate) fn existing_authority(
    configuration: &Configuration,
    domain: &TrustDomain,
    folder: &DataFolder,
) -> Result<Option<Authority>, Error> {
    let given = &configuration.authority;
    let authority = match (&given.certificate_file, &given.key_file) {
        (Some(certificate), Some(key)) => {
            let certificate = private_file::read_existing(certificate)?;
            let key = SecretString::from(private_file::read_existing(key)?);
            Some(Authority::load(&certificate, &key)?)
        }
        _ => Authority::open(&folder.authority())?,
    };
    match authority {
        Some(authority) if authority.domain() != domain => Err(Error::TrustDomain {
            expected: domain.clone(),
            found: authority.domain().clone(),
        }),
        authority => Ok(authority),
    }
}

/// Where the certificates and the key of the CA are: the files that are given, or those in the data folder.
pub fn authority_files(configuration: &Configuration) -> (PathBuf, PathBuf) {
    let given = &configuration.authority;
    match (&given.certificate_file, &given.key_file) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => Authority::files(&DataFolder::at(&configuration.data_folder).authority()),
    }
}

/// Writes a file that everybody may read.
fn write_public(path: &Path, text: &str) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    // A full disk keeps no master from its start that has nothing new to write.
    let is_written = std::fs::read(path).is_ok_and(|present| present == text.as_bytes());
    if !is_written {
        private_file::write(path, text.as_bytes())?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(failed)
}

/// Makes the first admin's token and the default project, if nobody has any token yet. The token is written to its file first:
/// a crash between the two steps repeats them with the same token.
pub async fn first_token(folder: &DataFolder, handle: &Handle, now: Timestamp) -> Result<(), Error> {
    if handle.query(|control| control.tokens().next().is_some()).await? {
        return Ok(());
    }
    let path = folder.admin_token();
    let written = private_file::read(&path)?.map(|text| SecretString::from(text.trim()));
    let secret = match written.filter(|secret| token::digest(secret).is_ok()) {
        Some(secret) => secret,
        None => {
            let secret = token::generate();
            private_file::write(&path, format!("{}\n", secret.expose_secret()).as_bytes())?;
            secret
        }
    };
    let project = ProjectName::new(DEFAULT_PROJECT).expect("the default project's name is valid");
    let id = |random: [u8; 10]| -> Uuid { uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid() };
    match handle
        .apply(Command::CreateProject {
            id: ProjectId::new(id(rand::random())),
            name: project,
        })
        .await
    {
        Ok(_) | Err(ApplyError::Refused(Refusal::Exists { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let admin = Token {
        id: TokenId::new(id(rand::random())),
        name: ADMIN_TOKEN_NAME.to_owned(),
        secret: token::digest(&secret).expect("the token was made or checked above"),
        right: Right {
            role: Role::Admin,
            project: None,
        },
        created_at: now,
        expires_at: None,
    };
    handle.apply(Command::CreateToken(admin)).await?;
    tracing::info!(file = %path.display(), "made the first admin's token");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn what_is_written_already_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = trust_file(folder.path());
        let file = || {
            let found = std::fs::metadata(&path).unwrap();
            (found.ino(), found.permissions().mode() & 0o777)
        };
        write_public(&path, "one").unwrap();
        let first = file();
        assert_eq!(first.1, 0o644);
        write_public(&path, "one").unwrap();
        assert_eq!(file(), first, "no new file");
        write_public(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(file().1, 0o644);
    }
}
