//! A real `OpenLDAP` server of one test: its own configuration, database, certificate and ports, ended with it.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use resetd::domain::directory::{LdapAttributes, LdapSecurity, LdapSource, UserFilter};
use resetd::domain::secret::Secret;
use tempfile::TempDir;

use crate::debian::Wanted;
use crate::server::{PATIENCE, end_of, stderr};
use crate::tls::certificates::Authority;

pub(super) const BASE: &str = "ou=people,dc=example,dc=com";
pub(super) const READER: &str = "cn=reader,dc=example,dc=com";
pub(super) const PASSWORD: &str = "hunter2-of-the-reader";

/// Where Debian puts it; a user's path need not have it.
const PROGRAM: &str = "/usr/sbin/slapd";
const SLAPD: Wanted = Wanted {
    purpose: "ask a real OpenLDAP server",
    packages: &["slapd"],
    // Without a configuration of the system's own no service is started: only the program is wanted.
    answers: Some("slapd slapd/no_configuration boolean true"),
    is_there: || Path::new(PROGRAM).exists(),
};

/// A running slapd. Anonymous users find nothing in it.
pub(super) struct Slapd {
    folder: TempDir,
    plain: u16,
    tls: u16,
    child: Option<Child>,
}

/// One entry for each of these, in the order of the lines.
const USERS: &str = "\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=reader,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: hunter2-of-the-reader

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Ann
mail: ann@example.com
preferredLanguage: de-CH, en;q=0.5
employeeNumber: 17
employeeType: google
employeeType: saml:corp

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
mail: bob@example.com
description: locked

dn: uid=twin,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: Twin
mail: twin1@example.com

dn: cn=other twin,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin
cn: other twin
sn: Twin
mail: twin2@example.com

dn: uid=broken,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: broken
cn: Broken
sn: Broken
mail: broken@example.com,evil@example.com

dn: uid=many,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: many
cn: Many
sn: Many
mail: many1@example.com
mail: many2@example.com

dn: uid=bare,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bare
cn: Bare
sn: Bare

dn: uid=admin,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: admin
cn: Admin
sn: Admin
mail: admin@example.com

dn: ou=elsewhere,dc=example,dc=com
objectClass: organizationalUnit
ou: elsewhere

dn: cn=there,ou=elsewhere,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
cn: there
ref: ldap://127.0.0.1:9/ou=people,dc=example,dc=com
";

impl Slapd {
    pub(super) fn start() -> Self {
        installed();
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let path = folder.path();
        authority.sign().write(path);
        fs::write(path.join("ca.pem"), &authority.pem).unwrap();
        fs::create_dir(path.join("data")).unwrap();
        fs::write(path.join("slapd.conf"), configuration(path)).unwrap();
        fs::write(path.join("users.ldif"), USERS).unwrap();
        let mut slapd = Self { folder, plain: 0, tls: 0, child: None };
        slapd.load(USERS);
        // A free port may be taken by another test before slapd has it.
        for _ in 0..10 {
            (slapd.plain, slapd.tls) = (free_port(), free_port());
            if slapd.try_run() {
                return slapd;
            }
        }
        panic!("slapd does not start: {}", slapd.log());
    }

    /// Puts entries into the database of a server that is not running.
    fn load(&self, ldif: &str) {
        let file = self.path("users.ldif");
        fs::write(&file, ldif).unwrap();
        let mut command = Command::new(PROGRAM);
        // By its other name, slapd is the program that loads entries.
        command.args(["-T", "add", "-f"]).arg(self.path("slapd.conf")).arg("-l").arg(file);
        let output = end_of(&mut command);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// Whether it listens.
    fn try_run(&mut self) -> bool {
        let log = File::create(self.path("log")).unwrap();
        let addresses = format!("ldap://127.0.0.1:{}/ ldaps://127.0.0.1:{}/", self.plain, self.tls);
        let child = Command::new(PROGRAM)
            .args(["-d", "0", "-h", &addresses, "-f"])
            .arg(self.path("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let child = self.child.insert(child.unwrap());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if [self.plain, self.tls].iter().all(|&port| is_listened_on(port)) {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("slapd does not listen within {PATIENCE:?}: {}", self.log());
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// On the same ports.
    pub(super) fn start_again(&mut self) {
        assert!(self.try_run(), "slapd does not start again: {}", self.log());
    }

    /// Stops in the middle of whatever it does, without closing anything; or goes on.
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// How it is asked, over TLS unless that is changed.
    pub(super) fn source(&self) -> LdapSource {
        let text = |name: &str| Some(name.to_owned());
        LdapSource {
            host: "127.0.0.1".into(),
            port: self.tls,
            security: LdapSecurity::Tls,
            ca_file: Some(self.path("ca.pem")),
            bind: Some((READER.into(), Secret::new(PASSWORD))),
            base: BASE.into(),
            filter: UserFilter::parse("(&(objectClass=inetOrgPerson)(uid={username}))").unwrap(),
            disabled_filter: text("(description=locked)"),
            attributes: LdapAttributes {
                username: "uid".into(),
                email: text("mail"),
                user_id: text("entryUUID"),
                credential_id: text("employeeNumber"),
                identity_providers: text("employeeType"),
                language: text("preferredLanguage"),
            },
        }
    }

    pub(super) fn start_tls(&self) -> LdapSource {
        LdapSource { port: self.plain, security: LdapSecurity::StartTls, ..self.source() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
argsfile {folder}/args
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
suffix \"dc=example,dc=com\"
directory {folder}/data
maxsize 16777216
access to attrs=userPassword by anonymous auth
access to * by dn.exact=\"{READER}\" read
"
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_listened_on(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Installs it if it is not there. Every test that needs it fails where that fails.
fn installed() {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| SLAPD.install()).as_ref();
    installed.unwrap_or_else(|failure| panic!("{failure}"));
}
