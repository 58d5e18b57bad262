//! The certificates and keys of one cluster.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate authority whose papers lie in one folder: `ca.crt`, and `NAME.crt` with `NAME.key` for each.
pub struct Certificates {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Founds an authority.
    pub fn create(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut params = named("ferritelb-lab", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, key()).expect("a CA certificate is well formed");
        let certificates = Self { folder: folder.to_path_buf(), authority };
        certificates.write("ca.crt", &certificates.authority.pem());
        certificates
    }

    /// A server's certificate, good for the given names and addresses.
    pub fn server(&self, name: &str, names: &[&str], addresses: &[IpAddr]) {
        let mut params = named(name, None);
        params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        for dns in names {
            let dns = (*dns).try_into().expect("a DNS name is ASCII");
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, &params);
    }

    /// A client's certificate: who it is for Kubernetes, and in which group.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) {
        let mut params = named(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, &params);
    }

    /// A key pair without a certificate: `NAME.key` and `NAME.pub`.
    pub fn key_pair(&self, name: &str) {
        let key = key();
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(&format!("{name}.pub"), &key.public_key_pem());
    }

    /// The file of a certificate or key.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn issue(&self, name: &str, params: &CertificateParams) {
        let key = key();
        let certificate = params.signed_by(&key, &self.authority).expect("a leaf certificate is well formed");
        self.write(&format!("{name}.key"), &key.serialize_pem());
        self.write(&format!("{name}.crt"), &certificate.pem());
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system gives random numbers")
}

fn named(common: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name = name;
    params
}
