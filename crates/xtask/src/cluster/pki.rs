//! A cluster's certificates and keys, and the kubeconfig made of them.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

use super::place::Cluster;

/// The names by which an API server is reached from within its cluster and from the machine.
const SERVER_NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
/// The first address of the network of Services is the API server's.
const SERVER_SERVICE: &str = "10.96.0.1";

/// Writes the certificates, the key of service accounts, and the kubeconfig of an administrator.
pub(super) fn write(cluster: &Cluster) -> anyhow::Result<()> {
    let folder = cluster.path("pki");
    let authority_key = KeyPair::generate()?;
    let mut authority = parameters(&format!("{}-ca", cluster.name));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_certificate = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut server = parameters("kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for name in SERVER_NAMES {
        server.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    for address in ["127.0.0.1", SERVER_SERVICE, &cluster.address()] {
        let address: IpAddr = address.parse()?;
        server.subject_alt_names.push(SanType::IpAddress(address));
    }
    let mut admin = parameters("admin");
    admin
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

    save(&folder.join("ca.crt"), &authority_certificate)?;
    issue(&folder, "apiserver", server, &issuer)?;
    let (admin_certificate, admin_key) = issue(&folder, "admin", admin, &issuer)?;
    let accounts = KeyPair::generate()?;
    save(&folder.join("sa.key"), &accounts.serialize_pem())?;
    save(&folder.join("sa.pub"), &accounts.public_key_pem())?;

    let kubeconfig = kubeconfig(cluster, &authority_certificate, &admin_certificate, &admin_key);
    save(&cluster.kubeconfig(), &kubeconfig)
}

fn parameters(common_name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters
}

fn issue(
    folder: &Path,
    name: &str,
    mut parameters: CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> anyhow::Result<(String, String)> {
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, issuer)?.pem();
    let key = key.serialize_pem();
    save(&folder.join(format!("{name}.crt")), &certificate)?;
    save(&folder.join(format!("{name}.key")), &key)?;
    Ok((certificate, key))
}

fn kubeconfig(cluster: &Cluster, authority: &str, certificate: &str, key: &str) -> String {
    let (name, address) = (&cluster.name, cluster.address());
    let [authority, certificate, key] = [authority, certificate, key].map(|pem| BASE64.encode(pem));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: {name}
  cluster:
    server: https://{address}:6443
    certificate-authority-data: {authority}
users:
- name: {name}-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {name}
  context: {{cluster: {name}, user: {name}-admin}}
current-context: {name}
"
    )
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use x509_parser::pem::parse_x509_pem;

    use super::write;
    use crate::cluster::place::Cluster;

    #[test]
    fn certificates_hold_what_kubernetes_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pki")).unwrap();
        let cluster = Cluster {
            name: "east".parse().unwrap(),
            index: 3,
            folder: folder.path().to_owned(),
        };
        write(&cluster).unwrap();

        let read = |name: &str| fs::read(folder.path().join("pki").join(name)).unwrap();
        let (_, authority) = parse_x509_pem(&read("ca.crt")).unwrap();
        let authority = authority.parse_x509().unwrap();
        assert!(authority.is_ca());
        for (name, subject) in [
            ("apiserver", "CN=kube-apiserver"),
            ("admin", "CN=admin, O=system:masters"),
        ] {
            let (_, pem) = parse_x509_pem(&read(&format!("{name}.crt"))).unwrap();
            let certificate = pem.parse_x509().unwrap();
            assert_eq!(certificate.subject().to_string(), subject);
            assert_eq!(certificate.issuer().to_string(), "CN=east-ca");
        }
        let (_, pem) = parse_x509_pem(&read("apiserver.crt")).unwrap();
        let server = pem.parse_x509().unwrap();
        let names = format!("{:?}", server.subject_alternative_name().unwrap().unwrap().value);
        assert!(
            names.contains("[10, 200, 3, 2]") && names.contains("[10, 96, 0, 1]"),
            "{names}"
        );
        assert!(names.contains("kubernetes.default.svc"), "{names}");
        assert!(read("sa.pub").starts_with(b"-----BEGIN PUBLIC KEY-----"));
        assert!(read("sa.key").starts_with(b"-----BEGIN PRIVATE KEY-----"));

        let kubeconfig = fs::read_to_string(cluster.kubeconfig()).unwrap();
        assert!(kubeconfig.contains("server: https://10.200.3.2:6443\n"), "{kubeconfig}");
    }
}
